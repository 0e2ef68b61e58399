//! The outermost frame of every C function.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vixdisklib_sys::VixError;

use crate::error::Failure;
use crate::library;
use crate::log::Log;

/// Runs the body of the C function `function`; a panic in it becomes a log line and `default`.
///
/// Nothing may unwind into C. What a panic leaves behind stays usable: every structure that calls share is changed
/// under a lock in steps that do not panic half-way.
pub(super) fn boundary<T>(function: &str, default: T, body: impl FnOnce() -> T) -> T {
    guarded(function, default, library::log, body)
}

/// Runs a body that succeeds or fails, and logs why it failed.
pub(super) fn call(function: &str, body: impl FnOnce() -> Result<(), Failure>) -> VixError {
    boundary(function, VixError::FAIL, || {
        settle(function, &library::log(), VixError::OK, body())
    })
}

/// Runs the body of a call that only submits a request: success is `VIX_ASYNC`.
pub(super) fn submit(function: &str, body: impl FnOnce() -> Result<(), Failure>) -> VixError {
    boundary(function, VixError::FAIL, || {
        settle(function, &library::log(), VixError::ASYNC, body())
    })
}

/// Runs an accepted request on a thread of ours. The log is the one from its submission: `Exit` may be on its way.
pub(super) fn complete(
    function: &str,
    log: &Log,
    body: impl FnOnce() -> Result<(), Failure>,
) -> VixError {
    guarded(
        function,
        VixError::FAIL,
        || log.clone(),
        || settle(function, log, VixError::OK, body()),
    )
}

fn settle(function: &str, log: &Log, success: VixError, result: Result<(), Failure>) -> VixError {
    match result {
        Ok(()) => success,
        Err(failure) => failure.report(function, log),
    }
}

fn guarded<T>(
    function: &str,
    default: T,
    log: impl FnOnce() -> Log,
    body: impl FnOnce() -> T,
) -> T {
    let body = || {
        #[cfg(test)]
        injected::trip();
        body()
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        // Neither logging nor dropping the payload, which may have a destructor of its own, may unwind either.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            log().mistake(&format!(
                "{function}: internal error, please report: {}",
                message(panic.as_ref())
            ));
            drop(panic);
        }));
        default
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Panics on demand, for the test that none gets out.
#[cfg(test)]
pub(super) mod injected {
    use std::cell::Cell;

    thread_local! {
        static ARMED: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes the next boundary on this thread panic.
    pub(in crate::abi) fn arm() {
        ARMED.set(true);
    }

    /// Whether the panic has not happened.
    pub(in crate::abi) fn is_armed() -> bool {
        ARMED.get()
    }

    pub(super) fn trip() {
        assert!(!ARMED.take(), "injected by a test");
    }
}
