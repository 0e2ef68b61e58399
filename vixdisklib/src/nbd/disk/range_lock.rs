//! Keeps writers of the same sectors apart.

use disk_units::SectorRange;
use parking_lot::{Condvar, Mutex};

/// Ranges that are being written, or will be. There are as many as requests in flight, so a plain list does.
#[derive(Debug, Default)]
pub(super) struct RangeLock {
    queue: Mutex<Queue>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// In the order in which they came. Each has its turn when none before it overlaps, so that nobody waits for
    /// those who come later.
    tickets: Vec<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    number: u64,
    range: SectorRange,
}

impl Queue {
    fn add(&mut self, range: SectorRange) -> Ticket {
        let number = self.next;
        self.next += 1;
        let ticket = Ticket { number, range };
        self.tickets.push(ticket);
        ticket
    }

    fn must_wait(&self, ticket: Ticket) -> bool {
        let earlier = self.tickets.iter().take_while(|other| **other != ticket);
        earlier
            .map(|other| other.range.intersection(ticket.range))
            .any(|common| common.is_some())
    }
}

/// Holds a range until dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct RangeGuard<'a> {
    lock: &'a RangeLock,
    ticket: Ticket,
}

impl RangeLock {
    /// Waits until nobody who came before holds, or waits for, any sector of `range`.
    pub(super) fn lock(&self, range: SectorRange) -> RangeGuard<'_> {
        let mut queue = self.queue.lock();
        let ticket = queue.add(range);
        while queue.must_wait(ticket) {
            self.released.wait(&mut queue);
        }
        RangeGuard { lock: self, ticket }
    }
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        let mut queue = self.lock.queue.lock();
        // Not `swap_remove`: the order says who is next.
        queue.tickets.retain(|ticket| *ticket != self.ticket);
        drop(queue);
        self.lock.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk_units::Sector;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).unwrap()
    }

    /// Else a long range would wait for as long as others write anywhere in it.
    #[test]
    fn newcomers_wait_behind_those_who_wait() {
        let lock = RangeLock::default();
        let first = lock.lock(range(0, 10));
        let order = Mutex::new(Vec::new());
        let enter = |name, range| {
            let _guard = lock.lock(range);
            order.lock().push(name);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| enter("long", range(0, 20)));
            std::thread::sleep(Duration::from_millis(50));
            scope.spawn(|| enter("newcomer", range(15, 20)));
            std::thread::sleep(Duration::from_millis(50));
            enter("elsewhere", range(20, 30));
            drop(first);
        });
        assert_eq!(order.into_inner(), ["elsewhere", "long", "newcomer"]);
    }

    #[test]
    fn only_overlapping_ranges_wait() {
        let lock = RangeLock::default();
        let first = lock.lock(range(0, 10));
        drop(lock.lock(range(10, 20)));
        let entered = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = lock.lock(range(9, 11));
                entered.store(true, Ordering::SeqCst);
            });
            std::thread::sleep(Duration::from_millis(50));
            assert!(!entered.load(Ordering::SeqCst));
            drop(first);
        });
        assert!(entered.load(Ordering::SeqCst));
        assert!(lock.queue.lock().tickets.is_empty());
    }
}
