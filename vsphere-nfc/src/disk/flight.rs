//! How many requests of callers are not done yet.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Condvar, Mutex};

thread_local! {
    static CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a callback.
pub(super) fn is_callback() -> bool {
    CALLBACK.get()
}

/// Runs a caller's callback. Its panic goes no further: whoever else waits for the thread has nothing to do with it.
pub(super) fn call_back(callback: impl FnOnce()) {
    let before = CALLBACK.replace(true);
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("a callback has panicked");
    }
    CALLBACK.set(before);
}

#[derive(Default)]
pub(super) struct Flight {
    count: Mutex<usize>,
    empty: Condvar,
}

impl Flight {
    pub(super) fn enter(&self) {
        let mut count = self.count.lock();
        *count = count.saturating_add(1);
    }

    /// To be called after the caller was.
    pub(super) fn leave(&self) {
        let mut count = self.count.lock();
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.empty.notify_all();
        }
    }

    pub(super) fn wait(&self) {
        let mut count = self.count.lock();
        while *count > 0 {
            self.empty.wait(&mut count);
        }
    }
}
