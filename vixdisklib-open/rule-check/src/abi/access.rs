//! PrepareForAccess, EndAccess and Cleanup.

use std::ffi::{CString, c_char};
use std::sync::Arc;

use vixdisklib_sys::{VixDiskLibConnectParams, VixError};

use super::engine;
use crate::check::{Check, Scope};
use crate::gate::checked;
use crate::params::{Target, target, text};
use crate::rule::Rule;
use crate::state::{Access, State};

/// What the parameters are about.
///
/// # Safety
/// The contract of [`abi`](super), for connection parameters.
unsafe fn about(state: &State, params: *const VixDiskLibConnectParams) -> Target {
    let whole = state.loans.contains_key(&params.addr());
    // SAFETY: the caller's promise; what is on loan is a whole structure.
    unsafe { target(params, whole) }
}

fn common(
    check: &mut Check<'_>,
    params: *const VixDiskLibConnectParams,
    identity: Option<&CString>,
) {
    check.on_init_thread(Rule::AccessThread);
    check.pointer("connectParams", params);
    check.identity(identity);
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn prepare_for_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(identity) };
    checked(
        "_PrepareForAccess",
        Scope::Initialised,
        format_args!("{params:p}, {name:?}"),
        |check| common(check, params, name.as_ref()),
        |_| engine!(prepare_for_access(params, identity)),
        |state, call, _| {
            // Whatever the answer was, `EndAccess` is due.
            state.accesses.push(Access {
                call: Arc::clone(call),
                // SAFETY: the contract of `abi`, for connection parameters.
                target: unsafe { about(state, params) },
                identity: name.clone(),
            });
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn end_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(identity) };
    checked(
        "_EndAccess",
        Scope::Initialised,
        format_args!("{params:p}, {name:?}"),
        |check| {
            common(check, params, name.as_ref());
            // SAFETY: the contract of `abi`, for connection parameters.
            let target = unsafe { about(check.state, params) };
            let disks = check.state.disks.values();
            let open: Vec<_> = disks
                .filter(|disk| check.target(disk.connection) == target)
                .map(|disk| Arc::clone(&disk.call))
                .collect();
            for call in open {
                let what = "this disk is open";
                check.broken(Rule::EndAccessOpenDisks, what, Some(call));
            }
        },
        |_| engine!(end_access(params, identity)),
        |state, _, _| {
            // SAFETY: the contract of `abi`, for connection parameters.
            let target = unsafe { about(state, params) };
            let mut accesses = state.accesses.iter();
            // Without one it clears up after a process that died, which is fine.
            if let Some(ended) =
                accesses.position(|access| access.target == target && access.identity == name)
            {
                state.accesses.remove(ended);
            }
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn cleanup(
    params: *const VixDiskLibConnectParams,
    cleaned_up: *mut u32,
    remaining: *mut u32,
) -> VixError {
    checked(
        "_Cleanup",
        Scope::Initialised,
        format_args!("{params:p}, .."),
        |check| {
            check.on_init_thread(Rule::AccessThread);
            // SAFETY: the contract of `abi`, for connection parameters.
            let target = unsafe { about(check.state, params) };
            if let Some(spec) = target.vmx_spec {
                let what = format!("`vmxSpec` is {spec:?}");
                check.broken(Rule::CleanupVmxSpec, what, None);
            }
        },
        |_| engine!(cleanup(params, cleaned_up, remaining)),
        |_, _, _| {},
    )
}
