//! PrepareForAccess and EndAccess.

use std::ffi::c_char;

use vixdisklib_sys::{VixDiskLibConnectParams, VixError};

use super::boundary::call;
use super::params::read_params;
use super::pointer;
use crate::error::Failure;
use crate::library::current;

/// `VixDiskLib_PrepareForAccess`: refuses. It keeps a vCenter server from moving a virtual machine; a local disk has
/// neither.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn prepare_for_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    call("VixDiskLib_PrepareForAccess", || {
        // SAFETY: the same contract is passed on.
        unsafe { refuse(params, identity) }
    })
}

/// `VixDiskLib_EndAccess`: refuses, for there was nothing to prepare.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn end_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    call("VixDiskLib_EndAccess", || {
        // SAFETY: the same contract is passed on.
        unsafe { refuse(params, identity) }
    })
}

/// # Safety
/// The contract of [`abi`](super).
unsafe fn refuse(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> Result<(), Failure> {
    // SAFETY: the contract of `abi`, for a string.
    unsafe { pointer::text(identity, "identity") }?;
    current()?;
    // SAFETY: the contract of `abi`, for connection parameters.
    unsafe { read_params(params) }.require_local()?;
    Err(Failure::note(
        VixError::NOT_SUPPORTED,
        "local disks need no preparation, only those on a vCenter server do",
    ))
}
