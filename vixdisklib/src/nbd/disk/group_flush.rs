//! Flushes of several clients at once become one.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::nbd::ErrorNumber;
use crate::nbd::export::ExportError;

/// Runs one flush at a time. Who comes while one runs is served by the next one: the running one may have begun before
/// the writes that the newcomer means.
#[derive(Debug, Default)]
pub(super) struct GroupFlush {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Those who wait for the flush that has not begun.
    next: Option<Arc<Batch>>,
}

/// One flush; everybody whom it serves has its result, for the system tells of a lost write only once.
#[derive(Debug, Default)]
struct Batch {
    result: Mutex<Option<Result<(), ExportError>>>,
}

impl GroupFlush {
    /// Has a whole run of `flush` between now and the return.
    pub(super) fn run(
        &self,
        flush: impl FnOnce() -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let mut state = self.state.lock();
        let batch = Arc::clone(state.next.get_or_insert_default());
        loop {
            if let Some(result) = &*batch.result.lock() {
                return result.clone();
            }
            if !state.running {
                break;
            }
            self.changed.wait(&mut state);
        }
        // Nothing runs and this batch has no result, so it is the next one.
        state.running = true;
        state.next = None;
        drop(state);
        let mut leader = Leader {
            group: self,
            batch: &batch,
            result: Err(ExportError::new(
                ErrorNumber::Io,
                "the flush did not come to an end",
            )),
        };
        leader.result = flush();
        leader.result.clone()
    }
}

/// Tells the others when it is dropped, also by a panic.
struct Leader<'a> {
    group: &'a GroupFlush,
    batch: &'a Batch,
    result: Result<(), ExportError>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut state = self.group.state.lock();
        *self.batch.result.lock() = Some(self.result.clone());
        state.running = false;
        drop(state);
        self.group.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    fn wait_until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing happens");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn failure(text: &str) -> ExportError {
        ExportError::new(ErrorNumber::Io, text)
    }

    /// The first flush is held while five more arrive: they share the second one, which begins after they came.
    #[test]
    fn newcomers_share_the_next_flush_and_never_the_running_one() {
        let group = GroupFlush::default();
        let runs = AtomicUsize::new(0);
        let (let_go, held) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (group, runs) = (&group, &runs);
            let first = scope.spawn(move || {
                group.run(|| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    held.recv().unwrap();
                    Err(failure("the first"))
                })
            });
            wait_until(|| runs.load(Ordering::SeqCst) == 1);
            let others: Vec<_> = (0..5)
                .map(|_| {
                    scope.spawn(move || {
                        group.run(|| {
                            runs.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        })
                    })
                })
                .collect();
            // Each of them holds the batch, and the group does.
            wait_until(|| {
                let state = group.state.lock();
                state.next.as_ref().map(Arc::strong_count) == Some(6)
            });
            assert_eq!(runs.load(Ordering::SeqCst), 1, "they wait");
            let_go.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Err(failure("the first")));
            for other in others {
                assert_eq!(other.join().unwrap(), Ok(()));
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    /// A lost write is told once by the system, and so to everybody in that flush, whatever the next one says.
    #[test]
    fn a_failure_reaches_all_whom_it_concerns() {
        let group = GroupFlush::default();
        let runs = AtomicUsize::new(0);
        let (let_go, held) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (group, runs) = (&group, &runs);
            scope.spawn(move || {
                group.run(|| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    held.recv().unwrap();
                    Ok(())
                })
            });
            wait_until(|| runs.load(Ordering::SeqCst) == 1);
            let others: Vec<_> = (0..3)
                .map(|_| scope.spawn(move || group.run(|| Err(failure("lost")))))
                .collect();
            wait_until(|| {
                let state = group.state.lock();
                state.next.as_ref().map(Arc::strong_count) == Some(4)
            });
            let_go.send(()).unwrap();
            for other in others {
                assert_eq!(other.join().unwrap(), Err(failure("lost")));
            }
        });
        assert_eq!(group.run(|| Ok(())), Ok(()), "the next one is its own");
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let group = GroupFlush::default();
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            group.run(|| panic!("the export is broken"))
        }));
        assert!(broken.is_err());
        assert_eq!(group.run(|| Ok(())), Ok(()));
    }
}
