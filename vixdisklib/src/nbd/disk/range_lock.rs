//! Keeps writers of the same sectors apart.

use disk_units::SectorRange;
use parking_lot::{Condvar, Mutex};

/// Ranges that are being written. There are as many as requests in flight, so a plain list does.
#[derive(Debug, Default)]
pub(super) struct RangeLock {
    held: Mutex<Vec<SectorRange>>,
    released: Condvar,
}

/// Holds a range until dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct RangeGuard<'a> {
    lock: &'a RangeLock,
    range: SectorRange,
}

impl RangeLock {
    /// Waits until nobody holds any sector of `range`.
    pub(super) fn lock(&self, range: SectorRange) -> RangeGuard<'_> {
        let mut held = self.held.lock();
        while held.iter().any(|other| other.intersection(range).is_some()) {
            self.released.wait(&mut held);
        }
        held.push(range);
        RangeGuard { lock: self, range }
    }
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        let mut held = self.lock.held.lock();
        if let Some(index) = held.iter().position(|range| *range == self.range) {
            held.swap_remove(index);
        }
        drop(held);
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
        assert!(lock.held.lock().is_empty());
    }
}
