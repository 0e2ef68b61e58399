//! Connect, ConnectEx, Disconnect and Cleanup.

use std::ffi::c_char;
use std::ptr;

use vixdisklib_sys::{Bool, VixDiskLibConnectParams, VixDiskLibConnection, VixError};

use super::boundary::call;
use super::params::read_params;
use super::pointer;
use crate::error::Failure;
use crate::handles::Handle;
use crate::library::{current, refuse_in_callback};
use crate::remote;

/// The handle in the pointer that a caller holds for a connection.
pub(super) fn handle(connection: VixDiskLibConnection) -> Handle {
    Handle::from_address(connection.addr())
}

/// `VixDiskLib_Connect`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn connect(
    params: *const VixDiskLibConnectParams,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    call("VixDiskLib_Connect", || {
        // SAFETY: the same contract is passed on.
        unsafe { connect_to(params, false, ptr::null(), ptr::null(), connection) }
    })
}

/// `VixDiskLib_ConnectEx`. Logs in at a server. For local disks a snapshot and a choice of transports have no meaning; they
/// are ignored.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn connect_ex(
    params: *const VixDiskLibConnectParams,
    read_only: Bool,
    snapshot: *const c_char,
    transport_modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    call("VixDiskLib_ConnectEx", || {
        // SAFETY: the same contract is passed on.
        unsafe {
            connect_to(
                params,
                read_only != 0,
                snapshot,
                transport_modes,
                connection,
            )
        }
    })
}

/// # Safety
/// The contract of [`abi`](super).
unsafe fn connect_to(
    params: *const VixDiskLibConnectParams,
    read_only: bool,
    snapshot: *const c_char,
    transport_modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> Result<(), Failure> {
    // SAFETY: the contract of `abi`, for a pointer to a result.
    let output = unsafe { pointer::output(connection, "connection") }?;
    let output = output.write(ptr::null_mut());
    let library = current()?;
    // SAFETY: the contract of `abi`, for connection parameters.
    let params = unsafe { read_params(params) };
    let request = remote::Request {
        // SAFETY: the contract of `abi`, for a string.
        snapshot: unsafe { pointer::optional_utf8(snapshot, "snapshotRef") }?,
        // SAFETY: the contract of `abi`, for a string.
        transports: unsafe { pointer::optional_utf8(transport_modes, "transportModes") }?,
    };
    let handle = library.connect(params, read_only, request)?;
    *output = ptr::without_provenance_mut(handle.address());
    Ok(())
}

/// `VixDiskLib_Disconnect`. Disks that were left open are closed.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn disconnect(connection: VixDiskLibConnection) -> VixError {
    call("VixDiskLib_Disconnect", || {
        refuse_in_callback()?;
        current()?.disconnect(handle(connection))
    })
}

/// `VixDiskLib_Cleanup`: neither local disks nor those over a network leave anything behind that could be cleaned.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn cleanup(
    params: *const VixDiskLibConnectParams,
    cleaned: *mut u32,
    remaining: *mut u32,
) -> VixError {
    call("VixDiskLib_Cleanup", || {
        for count in [cleaned, remaining] {
            // SAFETY: the contract of `abi`, for a pointer to a result.
            if let Some(output) = unsafe { pointer::optional_output(count) } {
                output.write(0);
            }
        }
        current()?;
        // SAFETY: the contract of `abi`, for connection parameters.
        let params = unsafe { read_params(params) };
        match params.is_local() {
            true => Ok(()),
            false => remote::check_cleanup(&params),
        }
    })
}
