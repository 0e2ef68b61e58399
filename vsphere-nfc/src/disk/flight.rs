//! How many requests of callers are not done yet.

use std::cell::Cell;

use parking_lot::{Condvar, Mutex};

thread_local! {
    static CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a callback.
pub(super) fn is_callback() -> bool {
    CALLBACK.get()
}

/// Runs a caller's callback.
pub(super) fn call_back(callback: impl FnOnce()) {
    /// Also when it panics.
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            CALLBACK.set(self.0);
        }
    }
    let _reset = Reset(CALLBACK.replace(true));
    callback();
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
