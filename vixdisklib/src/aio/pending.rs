//! How many requests of a disk the library still holds.

use parking_lot::{Condvar, Mutex};

/// A counter to wait on.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    count: Mutex<usize>,
    idle: Condvar,
}

impl Pending {
    pub(crate) fn begin(&self) {
        *self.count.lock() += 1;
    }

    pub(crate) fn end(&self) {
        let mut count = self.count.lock();
        *count -= 1;
        if *count == 0 {
            self.idle.notify_all();
        }
    }

    /// Waits until nothing is in flight.
    pub(crate) fn wait_idle(&self) {
        let mut count = self.count.lock();
        self.idle.wait_while(&mut count, |count| *count > 0);
    }
}
