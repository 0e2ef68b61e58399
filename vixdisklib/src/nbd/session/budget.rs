//! Bounds what requests hold in memory at one time: those of one connection, and those of all.

use parking_lot::{Condvar, Mutex};

/// The memory that all connections of a server share.
///
/// Half of it is shared out evenly, so that every connection can go on whatever the others do. The other half is lent
/// to those who need more, first come first served.
#[derive(Debug)]
pub(super) struct Memory {
    /// What each connection has for itself.
    own: usize,
    lendable: usize,
    lent: Mutex<usize>,
    returned: Condvar,
}

impl Memory {
    /// `bytes` in all, for so many connections.
    pub(super) fn new(bytes: usize, connections: usize) -> Self {
        Self {
            own: bytes / 2 / connections.max(1),
            lendable: bytes - bytes / 2,
            lent: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// What a connection that holds `bytes` has to borrow.
    fn loan(&self, bytes: usize) -> usize {
        // More than there is to lend would never be had; what is that long has to wait for all of it.
        bytes.saturating_sub(self.own).min(self.lendable)
    }
}

/// Requests and bytes that may be in flight on one connection.
#[derive(Debug)]
pub(super) struct Budget<'m> {
    max_requests: usize,
    max_bytes: usize,
    memory: &'m Memory,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    requests: usize,
    bytes: usize,
    /// A thread waits to borrow.
    borrowing: bool,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    budget: &'a Budget<'a>,
    bytes: usize,
}

impl<'m> Budget<'m> {
    pub(super) fn new(max_requests: usize, max_bytes: usize, memory: &'m Memory) -> Self {
        Self {
            max_requests,
            max_bytes,
            memory,
            used: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits until one more request with `bytes` fits in: among those of the connection, where a request that is alone
    /// always fits, and into the memory of all. One thread at a time.
    pub(super) fn acquire(&self, bytes: usize) -> Permit<'_> {
        let mut used = self.used.lock();
        loop {
            while used.requests > 0
                && (used.requests >= self.max_requests || used.bytes + bytes > self.max_bytes)
            {
                self.freed.wait(&mut used);
            }
            let more = self.memory.loan(used.bytes + bytes) - self.memory.loan(used.bytes);
            if more == 0 {
                break;
            }
            let mut lent = self.memory.lent.lock();
            if *lent + more <= self.memory.lendable {
                *lent += more;
                break;
            }
            // Who gives something back sees this before the wait begins, and notifies after.
            used.borrowing = true;
            drop(used);
            self.memory.returned.wait(&mut lent);
            drop(lent);
            used = self.used.lock();
            used.borrowing = false;
        }
        used.requests += 1;
        used.bytes += bytes;
        drop(used);
        Permit {
            budget: self,
            bytes,
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Budget { memory, used, .. } = self.budget;
        let mut used = used.lock();
        let before = memory.loan(used.bytes);
        used.requests -= 1;
        used.bytes -= self.bytes;
        let returned = before - memory.loan(used.bytes);
        // Who waits to borrow may need less now, or nothing.
        let tell = returned > 0 || used.borrowing;
        drop(used);
        if tell {
            *memory.lent.lock() -= returned;
            memory.returned.notify_all();
        }
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
        let memory = Memory::new(1 << 20, 1);
        let budget = Budget::new(2, 100, &memory);
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

    /// Connections that take all there is do not keep another one from what is its own.
    #[test]
    fn every_connection_has_something_for_itself() {
        let memory = Memory::new(800, 4);
        let budgets: Vec<_> = (0..4).map(|_| Budget::new(99, 1000, &memory)).collect();
        let hogs = [budgets[0].acquire(300), budgets[1].acquire(300)];
        assert_eq!(*memory.lent.lock(), 400);
        // Now nothing is left but what each has.
        for _ in 0..10 {
            drop([budgets[2].acquire(50), budgets[2].acquire(50)]);
            drop(budgets[3].acquire(100));
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let poor = &budgets[2];
            scope.spawn(move || {
                let permit = poor.acquire(150);
                sender.send(()).unwrap();
                drop(permit);
            });
            let waiting = receiver.recv_timeout(Duration::from_millis(50));
            assert_eq!(waiting, Err(mpsc::RecvTimeoutError::Timeout));
            drop(hogs);
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        });
        assert_eq!(*memory.lent.lock(), 0);
    }

    /// What waits to borrow goes on when its own connection gives back what it had for itself.
    #[test]
    fn giving_back_ones_own_is_enough() {
        let memory = Memory::new(400, 2);
        let (hog, poor) = (Budget::new(9, 1000, &memory), Budget::new(9, 1000, &memory));
        let held = hog.acquire(300);
        let first = poor.acquire(100);
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let poor = &poor;
            scope.spawn(move || {
                drop(poor.acquire(100));
                sender.send(()).unwrap();
            });
            let waiting = receiver.recv_timeout(Duration::from_millis(50));
            assert_eq!(waiting, Err(mpsc::RecvTimeoutError::Timeout));
            drop(first);
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        });
        drop(held);
        assert_eq!(*memory.lent.lock(), 0);
    }

    #[test]
    fn a_request_larger_than_everything_comes_alone() {
        let memory = Memory::new(100, 10);
        let budget = Budget::new(9, 10, &memory);
        let permit = budget.acquire(10_000);
        assert_eq!(*memory.lent.lock(), 50);
        drop(permit);
        assert_eq!(*memory.lent.lock(), 0);
    }

    #[test]
    fn many_at_once_never_borrow_more_than_there_is() {
        let memory = Memory::new(1000, 5);
        let memory = &memory;
        std::thread::scope(|scope| {
            for number in 0..8_usize {
                scope.spawn(move || {
                    let budget = Budget::new(4, 600, memory);
                    std::thread::scope(|scope| {
                        let (running, done) = mpsc::channel();
                        // Requests end by themselves, whoever waits.
                        scope.spawn(move || done.into_iter().for_each(drop::<Permit<'_>>));
                        for round in 0..500 {
                            let bytes = (number * 37 + round * 13) % 250;
                            running.send(budget.acquire(bytes)).unwrap();
                            assert!(*memory.lent.lock() <= memory.lendable);
                        }
                    });
                });
            }
        });
        assert_eq!(*memory.lent.lock(), 0);
    }
}
