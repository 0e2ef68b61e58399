//! Requests in flight: who owns a buffer while the library works on it, and who has to wait for a turn.
//!
//! A request is cut into parts as long as the transport takes them (`limits`). The parts wait in the disk's `queue`, in
//! order, until fewer than its depth are in flight, and are given to the library one by one (`part`). The library calls
//! back once for each, on threads of its own; when nothing of the request is left there, its `completion` gives the
//! outcome and the buffer to the `future`. Until then nobody but the library touches the buffer.

mod completion;
mod future;
mod limits;
mod part;
mod queue;
mod sync;
#[cfg(all(test, feature = "embedded"))]
mod tests;

use std::cell::Cell;
use std::task::Waker;

use crate::contain::contain;
use crate::error::{Error, ErrorKind, Operation, Result};

pub use future::IoFuture;
pub use limits::{IoLimits, RequestSize};

pub(crate) use queue::{Queue, Request, Target};

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a waker for the library, which then waits for it: nothing in there may wait for the
/// library, or call it. A waker may well drop a disk, along with a task whose executor has gone.
pub(crate) fn in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Refuses what would wait for the callback that this thread is in.
pub(crate) fn check_not_in_callback(operation: Operation) -> Result<()> {
    if in_callback() {
        Err(would_deadlock(operation))
    } else {
        Ok(())
    }
}

#[cold]
fn would_deadlock(operation: Operation) -> Error {
    let text = "a waker that runs on a thread of the library cannot wait for the library";
    Error::new(ErrorKind::Deadlock, operation, text)
}

/// Wakes, on a thread that the library may be waiting for.
fn wake(waker: Waker) {
    let outside = IN_CALLBACK.replace(true);
    contain(|| waker.wake());
    IN_CALLBACK.set(outside);
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::Read,
            Self::Write => Operation::Write,
        }
    }
}
