//! Looking for the next request again and again before sleeping, where requests come that fast.
//!
//! A client with one request in flight sends the next one some microseconds after the reply, while putting a thread to sleep
//! and waking it takes several times as long. So a thread that has seen requests come that fast looks for the
//! next one for a moment first. It stops to when they no longer do, and never more threads do it than half the
//! processors: a client that needs the processor must have it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// A sleep that lasts no longer would have been spared by looking.
const SHORT_SLEEP: Duration = Duration::from_micros(100);

/// What looking in vain costs, and what one short sleep or one find brings: there are fewer vain looks than others.
const MOST_HOPE: u32 = 16;
const IN_VAIN: u32 = 4;

/// Threads that are looking, in the whole process.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

fn most_looking() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| available_parallelism().map_or(0, |cores| cores.get() / 2))
}

/// What one connection has seen of its client.
#[derive(Debug)]
pub(super) struct Polling {
    time: Duration,
    hope: AtomicU32,
}

impl Polling {
    /// For so long at a time; never, if that is zero.
    pub(super) fn new(time: Duration) -> Self {
        Self {
            time,
            hope: AtomicU32::new(0),
        }
    }

    /// Looks with `now`, at least once if there is hope.
    pub(super) fn poll<T>(&self, mut now: impl FnMut() -> Option<T>) -> Option<T> {
        if self.time.is_zero() || self.hope.load(Ordering::Relaxed) < IN_VAIN {
            return None;
        }
        let _turn = Turn::take()?;
        let start = Instant::now();
        loop {
            if let Some(found) = now() {
                self.hope.store(MOST_HOPE, Ordering::Relaxed);
                return Some(found);
            }
            if start.elapsed() >= self.time {
                break;
            }
            std::hint::spin_loop();
        }
        self.hope.store(
            self.hope.load(Ordering::Relaxed).saturating_sub(IN_VAIN),
            Ordering::Relaxed,
        );
        None
    }

    /// Waits with `wait`, and sees whether it was worth sleeping.
    pub(super) fn sleep<T>(&self, wait: impl FnOnce() -> T) -> T {
        if self.time.is_zero() {
            return wait();
        }
        let start = Instant::now();
        let result = wait();
        let hope = self.hope.load(Ordering::Relaxed);
        let hope = if start.elapsed() < SHORT_SLEEP {
            (hope + 1).min(MOST_HOPE)
        } else {
            0
        };
        self.hope.store(hope, Ordering::Relaxed);
        result
    }
}

/// The right to look.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let more = |looking| (looking < most_looking()).then(|| looking + 1);
        let taken = LOOKING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        // Not `then_some`: one that was not taken must not be dropped.
        taken.is_ok().then(|| Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LOOKING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    /// Tests of one process share the turns.
    static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

    fn looks(polling: &Polling) -> usize {
        let mut looks = 0;
        assert!(
            polling
                .poll(|| {
                    looks += 1;
                    None::<()>
                })
                .is_none()
        );
        looks
    }

    #[test]
    fn it_takes_requests_in_a_row_to_look_and_vain_looks_to_stop() {
        let _alone = ALONE.lock();
        let polling = Polling::new(Duration::from_micros(1));
        assert_eq!(looks(&polling), 0, "nothing is known of the client");
        for _ in 0..IN_VAIN {
            assert_eq!(looks(&polling), 0);
            polling.sleep(|| ());
        }
        if most_looking() == 0 {
            return;
        }
        assert!(looks(&polling) > 0);
        assert_eq!(looks(&polling), 0, "it was in vain");
        (0..IN_VAIN).for_each(|_| polling.sleep(|| ()));
        assert_eq!(polling.poll(|| Some(7)), Some(7));
        let vain = (0..100).take_while(|_| looks(&polling) > 0).count();
        assert_eq!(vain, usize::try_from(MOST_HOPE / IN_VAIN).unwrap());
        (0..IN_VAIN).for_each(|_| polling.sleep(|| ()));
        polling.sleep(|| sleep(2 * SHORT_SLEEP));
        assert_eq!(looks(&polling), 0, "the client takes its time");
    }

    #[test]
    fn who_gets_no_turn_gives_none_back() {
        let _alone = ALONE.lock();
        let turns: Vec<Turn> = std::iter::repeat_with(Turn::take)
            .flatten()
            .take(most_looking())
            .collect();
        for _ in 0..3 {
            assert!(Turn::take().is_none());
        }
        assert_eq!(LOOKING.load(Ordering::Relaxed), most_looking());
        drop(turns);
    }

    #[test]
    fn it_can_be_switched_off() {
        let polling = Polling::new(Duration::ZERO);
        (0..100).for_each(|_| polling.sleep(|| ()));
        assert_eq!(looks(&polling), 0);
    }
}
