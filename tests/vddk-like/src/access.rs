//! Access to virtual machines, which only servers have: every one that is prepared has to be ended before `Exit`.

use std::ffi::c_char;
use std::sync::atomic::{AtomicI64, Ordering};

use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::{VixDiskLibConnectParams, VixError};

use crate::log;
use crate::release::Release;

/// What is prepared and not ended.
static PREPARED: AtomicI64 = AtomicI64::new(0);

type Function = unsafe extern "C" fn(*const VixDiskLibConnectParams, *const c_char) -> VixError;

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn prepare_for_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    // SAFETY: the contract of this function.
    unsafe { note(ENGINE.prepare_for_access, params, identity, 1) }
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn end_access(
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
) -> VixError {
    // SAFETY: the contract of this function.
    unsafe { note(ENGINE.end_access, params, identity, -1) }
}

/// Counts it for a server; the engine answers for everything else.
///
/// # Safety
/// As the engine's function.
unsafe fn note(
    engine: Option<Function>,
    params: *const VixDiskLibConnectParams,
    identity: *const c_char,
    change: i64,
) -> VixError {
    // SAFETY: null, or complete parameters.
    let params_given = unsafe { params.as_ref() };
    if params_given.is_some_and(|params| !params.serverName.is_null()) && !identity.is_null() {
        PREPARED.fetch_add(change, Ordering::Relaxed);
        return VixError::OK;
    }
    // SAFETY: passed on.
    let answer = engine.map(|function| unsafe { function(params, identity) });
    Release::current().code(answer.unwrap_or(VixError::NOT_SUPPORTED))
}

/// Ends the process where access was prepared and not ended, or the other way round.
pub(crate) fn check_ended() {
    if PREPARED.swap(0, Ordering::Relaxed) != 0 {
        log::die("PrepareForAccess and EndAccess do not match");
    }
}
