//! Which requests of callers are not done yet.

use std::cell::Cell;
use std::collections::BTreeSet;
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

/// Requests by number, in the order in which they came.
#[derive(Default)]
pub(super) struct Flight {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    running: BTreeSet<u64>,
}

impl Flight {
    /// Gives the request its number.
    pub(super) fn enter(&self) -> u64 {
        let mut state = self.state.lock();
        let number = state.next;
        state.next = number.saturating_add(1);
        state.running.insert(number);
        number
    }

    /// To be called after the caller was.
    pub(super) fn leave(&self, number: u64) {
        self.state.lock().running.remove(&number);
        self.ended.notify_all();
    }

    /// Waits for what has entered. Those that enter meanwhile are not waited for: there may always be some.
    pub(super) fn wait(&self) {
        let mut state = self.state.lock();
        let end = state.next;
        while state.running.first().is_some_and(|first| *first < end) {
            self.ended.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn later_requests_are_not_waited_for() {
        let flight = Arc::new(Flight::default());
        let first = flight.enter();
        let (done, is_done) = mpsc::channel();
        let waiting = Arc::clone(&flight);
        let thread = thread::spawn(move || {
            waiting.wait();
            done.send(()).expect("somebody listens");
        });
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err());
        // There is always one.
        let later = flight.enter();
        flight.leave(first);
        is_done
            .recv_timeout(Duration::from_secs(10))
            .expect("the wait is over");
        thread.join().expect("no panic");
        flight.leave(later);
        flight.wait();
    }
}
