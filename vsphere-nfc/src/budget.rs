//! How much may be in flight to one host, over all its connections.
//!
//! A host holds every request in memory until it is answered, and shares that memory between all its clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

/// Budgets that are in use, by host.
static BUDGETS: Mutex<BTreeMap<String, Weak<Budget>>> = Mutex::new(BTreeMap::new());

/// A number of bytes that may be in flight at a time. Disks that share one share the limit.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
    /// Held by whoever is next, so that no large request waits for ever behind small ones.
    turn: Mutex<()>,
}

impl Budget {
    /// What a host gets that was not given another one, in bytes: 32 MiB. Hosts of version 7 have 48 MiB for all clients.
    pub const DEFAULT: usize = 32 << 20;

    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: Mutex::new(0),
            freed: Condvar::new(),
            turn: Mutex::new(()),
        })
    }

    /// The budget of [`Self::DEFAULT`] bytes that all disks on this host share.
    #[must_use]
    pub fn of_host(host: &str) -> Arc<Self> {
        let mut budgets = BUDGETS.lock();
        if let Some(budget) = budgets.get(host).and_then(Weak::upgrade) {
            return budget;
        }
        budgets.retain(|_, budget| budget.strong_count() > 0);
        let budget = Self::new(Self::DEFAULT);
        budgets.insert(host.to_owned(), Arc::downgrade(&budget));
        budget
    }

    /// How many bytes are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        *self.used.lock()
    }

    /// Waits until `bytes` more fit in, or nothing is in flight: what is larger than the budget goes alone.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Permit {
        let _turn = self.turn.lock();
        let mut used = self.used.lock();
        while *used > 0 && used.saturating_add(bytes) > self.limit {
            self.freed.wait(&mut used);
        }
        *used = used.saturating_add(bytes);
        Permit {
            budget: Arc::clone(self),
            bytes,
        }
    }
}

/// Bytes that are in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock();
        *used = used.saturating_sub(self.bytes);
        self.budget.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_does_not_fit_waits() {
        let budget = Budget::new(100);
        let first = budget.reserve(60);
        let (done, is_done) = mpsc::channel();
        let waiting = Arc::clone(&budget);
        let thread = thread::spawn(move || {
            let permit = waiting.reserve(60);
            done.send(()).unwrap();
            permit
        });
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err());
        assert_eq!(budget.in_flight(), 60);
        drop(first);
        is_done.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(thread.join().unwrap());
        assert_eq!(budget.in_flight(), 0);
    }

    #[test]
    fn what_is_larger_than_all_goes_alone() {
        let budget = Budget::new(100);
        let permit = budget.reserve(1000);
        assert_eq!(budget.in_flight(), 1000);
        drop(permit);
    }

    #[test]
    fn a_host_has_one_budget() {
        let budget = Budget::of_host("one.example");
        assert!(Arc::ptr_eq(&budget, &Budget::of_host("one.example")));
        assert!(!Arc::ptr_eq(&budget, &Budget::of_host("two.example")));
    }
}
