//! Connect, ConnectEx and Disconnect.

use std::ffi::c_char;
use std::sync::Arc;

use vixdisklib_sys::{Bool, VixDiskLibConnectParams, VixDiskLibConnection, VixError};

use super::{ENGINE, engine};
use crate::check::Scope;
use crate::gate::checked;
use crate::params::target;
use crate::rule::Rule;
use crate::state::Connection;

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn connect(
    params: *const VixDiskLibConnectParams,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    let pass_on = || engine!(connect(params, connection));
    // SAFETY: passed on.
    unsafe { connect_by("_Connect", params, connection, pass_on) }
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn connect_ex(
    params: *const VixDiskLibConnectParams,
    read_only: Bool,
    snapshot: *const c_char,
    transport_modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    // SAFETY: passed on.
    let pass_on =
        || unsafe { (ENGINE.connect_ex)(params, read_only, snapshot, transport_modes, connection) };
    // SAFETY: passed on.
    unsafe { connect_by("_ConnectEx", params, connection, pass_on) }
}

/// # Safety
/// The contract of [`abi`](super).
unsafe fn connect_by(
    name: &'static str,
    params: *const VixDiskLibConnectParams,
    connection: *mut VixDiskLibConnection,
    pass_on: impl FnOnce() -> VixError,
) -> VixError {
    checked(
        name,
        Scope::Initialised,
        format_args!("{params:p}, .."),
        |check| {
            check.on_init_thread(Rule::ConnectThread);
            check.pointer("the place for the connection", connection);
        },
        |_| pass_on(),
        |state, call, answer| {
            if !answer.is_ok() || connection.is_null() {
                return;
            }
            let whole = state.loans.contains_key(&params.addr());
            // SAFETY: the contract of `abi`, for connection parameters; what is on loan is a whole structure.
            let target = unsafe { target(params, whole) };
            // SAFETY: not null, and the call that worked wrote it.
            let connection = unsafe { *connection };
            state.connections.insert(
                connection.addr(),
                Connection {
                    call: Arc::clone(call),
                    params: params.addr(),
                    target,
                },
            );
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn disconnect(connection: VixDiskLibConnection) -> VixError {
    checked(
        "_Disconnect",
        Scope::Initialised,
        format_args!("{connection:p}"),
        |check| {
            check.on_init_thread(Rule::ConnectThread);
            if !check.connection(connection.addr()) {
                return;
            }
            let disks = check.state.disks.values();
            let open: Vec<_> = disks
                .filter(|disk| disk.connection == connection.addr())
                .map(|disk| Arc::clone(&disk.call))
                .collect();
            for call in open {
                let what = "this disk is open";
                check.broken(Rule::DisconnectOpenDisks, what, Some(call));
            }
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.disconnect)(connection) },
        |state, call, _| state.bury_connection(connection.addr(), call),
    )
}
