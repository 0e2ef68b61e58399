//! How fast clients are let in.

use std::time::{Duration, Instant};

/// Lets so many in at once, and from then on one per interval. Time in which nobody came counts towards the next ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    interval: Duration,
    /// How far ahead of the clock `taken` may be.
    ahead: Duration,
    /// The end of the last interval that was taken.
    taken: Option<Instant>,
}

impl Admission {
    pub(super) fn new(interval: Duration, at_once: usize) -> Self {
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX).max(1);
        Self {
            interval,
            ahead: interval.saturating_mul(at_once - 1),
            taken: None,
        }
    }

    /// How long the next one has to wait; none if it need not.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let ahead = self.taken?.saturating_duration_since(now);
        ahead.checked_sub(self.ahead).filter(|wait| !wait.is_zero())
    }

    /// One was let in.
    pub(super) fn take(&mut self, now: Instant) {
        let from = self.taken.map_or(now, |taken| taken.max(now));
        self.taken = from.checked_add(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn some_at_once_then_one_per_interval() {
        let start = Instant::now();
        let mut admission = Admission::new(10 * MS, 3);
        for _ in 0..3 {
            assert_eq!(admission.wait(start), None);
            admission.take(start);
        }
        assert_eq!(admission.wait(start), Some(10 * MS));
        assert_eq!(admission.wait(start + 9 * MS), Some(MS));
        assert_eq!(admission.wait(start + 10 * MS), None);
        admission.take(start + 10 * MS);
        assert_eq!(admission.wait(start + 10 * MS), Some(10 * MS));
        // After a long rest it is as at the beginning, and no more.
        let later = start + 1000 * MS;
        for _ in 0..3 {
            assert_eq!(admission.wait(later), None);
            admission.take(later);
        }
        assert!(admission.wait(later).is_some());
    }

    #[test]
    fn no_interval_lets_all_in() {
        let start = Instant::now();
        let mut admission = Admission::new(Duration::ZERO, 1);
        for _ in 0..1000 {
            assert_eq!(admission.wait(start), None);
            admission.take(start);
        }
    }
}
