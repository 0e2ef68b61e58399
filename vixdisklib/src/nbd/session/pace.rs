//! How long reads and block status take of late: whether it pays to let another thread wait for requests meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Waking another thread takes about as long. Reads from the system's cache are several times faster, reads from a
/// medium several times slower.
const QUICK: u64 = 20_000;

/// What moving a byte through memory takes at most, in nanoseconds: a processor is as fast as the next one at that.
const BYTES_PER_NANOSECOND: usize = 2;

/// The recent mean time of a read, besides that of moving its bytes.
#[derive(Debug)]
pub(super) struct Pace {
    nanoseconds: AtomicU64,
}

impl Pace {
    /// Slow until the opposite is seen.
    pub(super) const fn new() -> Self {
        Self {
            nanoseconds: AtomicU64::new(4 * QUICK),
        }
    }

    /// Takes note of so many reads in a row, of so many bytes together. The last turns count most.
    pub(super) fn record(&self, elapsed: Duration, reads: usize, bytes: usize) {
        let moving = u64::try_from(bytes / BYTES_PER_NANOSECOND).unwrap_or(u64::MAX);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let elapsed = elapsed.saturating_sub(moving);
        let each = elapsed / u64::try_from(reads.max(1)).expect("a usize has at most 64 bits");
        let before = self.nanoseconds.load(Ordering::Relaxed);
        // Threads may overwrite each other's: it stays a mean of what some of them saw.
        let mean = before / 2 + each / 2;
        self.nanoseconds.store(mean, Ordering::Relaxed);
    }

    /// Whether short reads are over before another thread would have begun.
    pub(super) fn is_quick(&self) -> bool {
        self.nanoseconds.load(Ordering::Relaxed) < QUICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_turns_change_it() {
        let pace = Pace::new();
        assert!(!pace.is_quick());
        let after = |pace: &Pace, micros| {
            (0..100).find(|_| {
                pace.record(Duration::from_micros(micros), 10, 0);
                pace.is_quick() == (micros < 200)
            })
        };
        assert!(after(&pace, 20).is_some_and(|turns| turns > 0 && turns < 10));
        // One read that had to wait for a medium is enough to let others go on beside it.
        assert_eq!(after(&pace, 5000), Some(0));
        assert!(after(&pace, 20).is_some());
        pace.record(Duration::MAX, 0, 0);
        assert!(!pace.is_quick());
        // A long read that is as quick as memory.
        (0..100).for_each(|_| pace.record(Duration::from_micros(500), 1, 1 << 20));
        assert!(pace.is_quick());
    }
}
