//! Bounds what the requests of one connection hold in memory at one time.

use parking_lot::{Condvar, Mutex};

/// Requests and bytes that may be in flight.
#[derive(Debug)]
pub(super) struct Budget {
    max_requests: usize,
    max_bytes: usize,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    requests: usize,
    bytes: usize,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max_requests: usize, max_bytes: usize) -> Self {
        Self {
            max_requests,
            max_bytes,
            used: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits until one more request with `bytes` fits in. A request that is alone always fits.
    pub(super) fn acquire(&self, bytes: usize) -> Permit<'_> {
        let mut used = self.used.lock();
        while used.requests > 0
            && (used.requests >= self.max_requests || used.bytes + bytes > self.max_bytes)
        {
            self.freed.wait(&mut used);
        }
        used.requests += 1;
        used.bytes += bytes;
        Permit {
            budget: self,
            bytes,
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock();
        used.requests -= 1;
        used.bytes -= self.bytes;
        drop(used);
        // Only the one thread that reads requests ever waits.
        self.budget.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn waits_for_requests_and_for_bytes() {
        let budget = Budget::new(2, 100);
        let big = budget.acquire(1000);
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let budget = &budget;
            scope.spawn(move || {
                let one = budget.acquire(60);
                sender.send("one").unwrap();
                let two = budget.acquire(40);
                sender.send("two").unwrap();
                drop(one);
                let three = budget.acquire(60);
                sender.send("three").unwrap();
                drop((two, three));
            });
            let waiting = receiver.recv_timeout(Duration::from_millis(50));
            assert_eq!(waiting, Err(mpsc::RecvTimeoutError::Timeout));
            drop(big);
            let order: Vec<_> = receiver.iter().collect();
            assert_eq!(order, ["one", "two", "three"]);
        });
        assert_eq!(budget.used.lock().bytes, 0);
    }
}
