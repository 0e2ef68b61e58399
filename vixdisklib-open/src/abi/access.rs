//! PrepareForAccess and EndAccess.

use std::ffi::c_char;

use vixdisklib_sys::{VixDiskLibConnectParams, VixError};

use super::boundary::call;
use super::params::read_params;
use super::pointer;
use crate::config::Network;
use crate::error::Failure;
use crate::library::current;
use crate::params::ConnectParams;
use crate::remote;

/// `VixDiskLib_PrepareForAccess`: keeps a vCenter server from moving a virtual machine. Refuses for local disks, which have
/// neither, and for ESXi hosts.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn prepare_for_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    call("VixDiskLib_PrepareForAccess", || {
        // SAFETY: the same contract is passed on.
        unsafe { at_server(params, identity, remote::prepare_access) }
    })
}

/// `VixDiskLib_EndAccess`: permits what `PrepareForAccess` forbids. Refuses as that does.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn end_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    call("VixDiskLib_EndAccess", || {
        // SAFETY: the same contract is passed on.
        unsafe { at_server(params, identity, remote::end_access) }
    })
}

/// # Safety
/// The contract of [`abi`](super).
unsafe fn at_server(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
    operation: fn(&ConnectParams, &str, &Network) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // SAFETY: the contract of `abi`, for a string.
    let identity = unsafe { pointer::utf8(identity, "identity") }?;
    let library = current()?;
    // SAFETY: the contract of `abi`, for connection parameters.
    let params = unsafe { read_params(params) };
    if params.is_local() {
        return Err(Failure::note(
            VixError::NOT_SUPPORTED,
            "local disks need no preparation, only those on a vCenter server do",
        ));
    }
    operation(&params, identity, library.network())
}
