//! Reading a caller's connection parameters, as far as the rules ask for it.

use std::ffi::{CStr, CString, c_char};
use std::mem::offset_of;
use std::ptr;

use vixdisklib_sys::{VixDiskLibConnectParams, VixDiskLibSpecType};

/// What parameters are about: enough to tell two virtual machines apart. No secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    server: Option<CString>,
    pub(crate) vmx_spec: Option<CString>,
    object: Option<(CString, Option<CString>)>,
}

impl Target {
    /// Whether this names the disks of the local file system.
    pub(crate) fn is_local(&self) -> bool {
        *self == Self::default()
    }
}

/// A copy of a C string; `None` for null.
///
/// # Safety
/// `text` is null, or a NUL-terminated string.
pub(crate) unsafe fn text(text: *const c_char) -> Option<CString> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller vouches for the string.
    Some(unsafe { CStr::from_ptr(text) }.to_owned())
}

/// What these parameters are about. The tail that VDDK 6.7 added is read only if the library allocated them
/// (`whole`): callers built for older releases have a shorter structure.
///
/// # Safety
/// `params` is null, or points to at least the members before `reserved`, with valid strings in them; if `whole`, to
/// all members.
pub(crate) unsafe fn target(params: *const VixDiskLibConnectParams, whole: bool) -> Target {
    if params.is_null() {
        return Target::default();
    }
    let length = if whole {
        size_of::<VixDiskLibConnectParams>()
    } else {
        offset_of!(VixDiskLibConnectParams, reserved)
    };
    let mut copy = VixDiskLibConnectParams::default();
    // SAFETY: the caller vouches for so many bytes; `copy` is ours and as long as the whole; any bytes are valid in it.
    unsafe {
        ptr::copy_nonoverlapping(params.cast::<u8>(), (&raw mut copy).cast::<u8>(), length);
    }
    let object = if copy.specType == VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT {
        // SAFETY: `specType` says which member is valid; pointers may have any value.
        let spec = unsafe { copy.spec.vStorageObjSpec };
        // SAFETY: the caller vouches for the strings.
        let id = unsafe { text(spec.id) };
        // SAFETY: as above.
        id.map(|id| (id, unsafe { text(spec.datastoreMoRef) }))
    } else {
        None
    };
    Target {
        // SAFETY: the caller vouches for the strings.
        server: unsafe { text(copy.serverName) },
        // SAFETY: as above.
        vmx_spec: unsafe { text(copy.vmxSpec) },
        object,
    }
}
