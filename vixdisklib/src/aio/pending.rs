//! How many requests of a disk the library still holds.

use parking_lot::{Condvar, Mutex};

/// A counter to wait on.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    /// Whether anything was submitted since the last time that somebody waited.
    unsettled: bool,
}

impl Pending {
    pub(crate) fn begin(&self) {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.unsettled = true;
    }

    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            self.idle.notify_all();
        }
    }

    /// Whether something was submitted that nobody has waited for yet, be it long done.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.state.lock().unsettled
    }

    /// Waits until nothing is in flight.
    pub(crate) fn wait_idle(&self) {
        let mut state = self.state.lock();
        self.idle
            .wait_while(&mut state, |state| state.in_flight > 0);
        state.unsettled = false;
    }
}
