//! IsAttachPossible and Attach.

use vixdisklib_sys::{VixDiskLibHandle, VixError};

use super::boundary::call;
use super::disk::handle;
use crate::disk::OpenDisk;
use crate::library::{current, refuse_in_callback};

/// `VixDiskLib_IsAttachPossible`: `VIX_OK`, or the code that `Attach` would return.
///
/// # Safety
/// None: the handles are looked up.
pub(crate) unsafe extern "C" fn is_attach_possible(
    parent: VixDiskLibHandle,
    child: VixDiskLibHandle,
) -> VixError {
    call("VixDiskLib_IsAttachPossible", || {
        refuse_in_callback()?;
        let library = current()?;
        let parent = library.disk(handle(parent))?;
        let child = library.disk(handle(child))?;
        OpenDisk::check_attach(&parent, &child)
    })
}

/// `VixDiskLib_Attach`. The parent's handle can only be closed then, also if it failed; only if one of the handles is
/// none, or both are the same, nothing happens.
///
/// # Safety
/// None: the handles are looked up.
pub(crate) unsafe extern "C" fn attach(
    parent: VixDiskLibHandle,
    child: VixDiskLibHandle,
) -> VixError {
    call("VixDiskLib_Attach", || {
        refuse_in_callback()?;
        let library = current()?;
        let parent = library.disk(handle(parent))?;
        let child = library.disk(handle(child))?;
        OpenDisk::attach(&parent, &child, library.workers())
    })
}
