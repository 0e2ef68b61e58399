//! The requests of one disk that were accepted and have not called back yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::Failure;

/// Counts requests in and out.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    in_flight: BTreeSet<u64>,
    /// Requests from any of these numbers on are held back.
    holds: Vec<u64>,
}

impl Requests {
    /// Counts one request in. It counts as in flight until the ticket is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Ticket {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.in_flight.insert(number);
        Ticket {
            requests: Arc::clone(self),
            number,
        }
    }

    /// Blocks until every request that was counted in before this call is out. Later ones do not prolong the wait,
    /// so another thread that keeps submitting cannot hold it for ever.
    pub(crate) fn wait(&self) {
        let end = self.state.lock().next;
        self.wait_before(end);
    }

    /// Holds back every request that is counted in from now on. Gives the number of the first one.
    pub(crate) fn hold(&self) -> u64 {
        let mut state = self.state.lock();
        let first = state.next;
        state.holds.push(first);
        first
    }

    /// Ends a hold that begins with this number. Whoever waits to run what was held must be told besides.
    pub(crate) fn release(&self, first: u64) {
        let mut state = self.state.lock();
        if let Some(index) = state.holds.iter().position(|held| *held == first) {
            state.holds.swap_remove(index);
        }
    }

    /// Blocks until every request with a lower number is out.
    pub(crate) fn wait_before(&self, end: u64) {
        let mut state = self.state.lock();
        while state.in_flight.first().is_some_and(|oldest| *oldest < end) {
            self.finished.wait(&mut state);
        }
    }
}

/// Who hears of the end of a request.
pub(crate) trait Finish: Send + 'static {
    /// Runs what is left to do of the request, and tells how it went. A panic in there must not get out.
    fn finish(self, body: impl FnOnce() -> Result<(), Failure>);
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Ticket {
    requests: Arc<Requests>,
    number: u64,
}

impl Ticket {
    /// Whether the request is held back.
    pub(crate) fn is_held(&self) -> bool {
        let state = self.requests.state.lock();
        state.holds.iter().any(|first| *first <= self.number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.requests.state.lock().in_flight.remove(&self.number);
        self.requests.finished.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn waiting_ends_with_the_last_earlier_request() {
        let requests = Arc::new(Requests::default());
        requests.wait();
        let first = requests.begin();
        let second = requests.begin();
        let (send, receive) = mpsc::channel();
        let waiter = {
            let requests = Arc::clone(&requests);
            thread::spawn(move || {
                requests.wait();
                send.send(()).expect("receiver lives");
            })
        };
        drop(second);
        assert!(receive.recv_timeout(Duration::from_millis(50)).is_err());
        drop(first);
        receive
            .recv_timeout(Duration::from_secs(10))
            .expect("the wait ended");
        waiter.join().expect("no panic");
    }

    #[test]
    fn later_requests_do_not_prolong_a_wait() {
        let requests = Arc::new(Requests::default());
        let early = requests.begin();
        let end = requests.state.lock().next;
        let _late = requests.begin();
        let finisher = thread::spawn(move || drop(early));
        requests.wait_before(end);
        finisher.join().expect("no panic");
        assert_eq!(requests.state.lock().in_flight.len(), 1);
    }

    #[test]
    fn a_hold_is_for_later_requests_and_ends_by_itself() {
        let requests = Arc::new(Requests::default());
        let early = requests.begin();
        let outer = requests.hold();
        let middle = requests.begin();
        let inner = requests.hold();
        let late = requests.begin();
        let held = || [&early, &middle, &late].map(Ticket::is_held);
        assert_eq!(held(), [false, true, true]);
        requests.release(outer);
        assert_eq!(held(), [false, false, true]);
        requests.release(inner);
        assert_eq!(held(), [false, false, false]);
    }
}
