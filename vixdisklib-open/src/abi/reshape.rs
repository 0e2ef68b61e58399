//! Unlink, Rename, Grow, Shrink and Defragment.

use std::ffi::{c_char, c_void};

use disk_units::SectorCount;
use vixdisklib_sys::{
    Bool, VixDiskLibConnection, VixDiskLibHandle, VixDiskLibProgressFunc, VixDiskLibSectorType,
    VixError,
};

use super::boundary::call;
use super::callback::listener;
use super::{connect, disk, pointer};
use crate::files;
use crate::library::{current, refuse_in_callback};

/// `VixDiskLib_Unlink`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn unlink(
    connection: VixDiskLibConnection,
    path: *const c_char,
) -> VixError {
    call("VixDiskLib_Unlink", || {
        // SAFETY: the contract of `abi`, for a string.
        let path = unsafe { pointer::path_text(path, "path") }?;
        current()?.require_writable(connect::handle(connection))?;
        files::unlink(&path)
    })
}

/// `VixDiskLib_Rename`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> VixError {
    call("VixDiskLib_Rename", || {
        // SAFETY: the contract of `abi`, for a string.
        let from = unsafe { pointer::path_text(from, "srcFileName") }?;
        // SAFETY: the contract of `abi`, for a string.
        let to = unsafe { pointer::path_text(to, "dstFileName") }?;
        current()?;
        files::rename(&from, &to)
    })
}

/// `VixDiskLib_Grow`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn grow(
    connection: VixDiskLibConnection,
    path: *const c_char,
    capacity: VixDiskLibSectorType,
    update_geometry: Bool,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    call("VixDiskLib_Grow", || {
        // SAFETY: the contract of `abi`, for a string.
        let path = unsafe { pointer::path_text(path, "path") }?;
        current()?.require_writable(connect::handle(connection))?;
        // SAFETY: the contract of `abi`, for a progress function.
        let mut listener = unsafe { listener(progress, progress_data) };
        files::grow(
            &path,
            SectorCount::new(capacity),
            update_geometry != 0,
            &mut listener,
        )
    })
}

/// `VixDiskLib_Shrink`. Calls of other threads on the disk wait until it is done.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn shrink(
    disk: VixDiskLibHandle,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    call("VixDiskLib_Shrink", || {
        refuse_in_callback()?;
        let library = current()?;
        let disk = library.disk(disk::handle(disk))?;
        // SAFETY: the contract of `abi`, for a progress function.
        let mut listener = unsafe { listener(progress, progress_data) };
        disk.shrink(library.workers(), &mut listener)
    })
}

/// `VixDiskLib_Defragment`. Calls of other threads on the disk wait until it is done.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn defragment(
    disk: VixDiskLibHandle,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    call("VixDiskLib_Defragment", || {
        refuse_in_callback()?;
        let library = current()?;
        let disk = library.disk(disk::handle(disk))?;
        // SAFETY: the contract of `abi`, for a progress function.
        let mut listener = unsafe { listener(progress, progress_data) };
        disk.defragment(library.workers(), &mut listener)
    })
}
