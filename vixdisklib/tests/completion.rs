//! Every order of the threads that meet at a request, in a model: the ends of its parts, the queue, and the future.

use std::sync::Arc;
use std::task::Poll;

use disk_units::{Sector, SectorCount, SectorRange};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use vixdisklib_sys::VixError;

use completion::{Completion, Ended, Next, Outcome};

#[path = "../src/aio/completion.rs"]
#[allow(dead_code, reason = "the crate uses what the model does not")]
mod completion;

/// What the model puts in the place of the crate's lock.
mod sync {
    use loom::sync::MutexGuard;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no panic under the lock")
        }
    }
}

/// Memory with a cell for each part; the model fails when two touch one at the same time, or in no order.
struct Memory {
    cells: [UnsafeCell<u32>; 2],
    drops: AtomicUsize,
}

// SAFETY: the model runs one thread at a time, and fails when two would touch a cell in no order.
unsafe impl Sync for Memory {}

/// The owner of the memory: whoever has it touches all of it.
struct Buf(Arc<Memory>);

impl Drop for Buf {
    fn drop(&mut self) {
        for cell in &self.0.cells {
            cell.with_mut(|_| ());
        }
        self.0.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn request() -> (Arc<Completion<Buf>>, Arc<Memory>) {
    let memory = Arc::new(Memory {
        cells: Default::default(),
        drops: AtomicUsize::new(0),
    });
    let two = SectorRange::whole(SectorCount::new(2));
    let request = Completion::new(two, Buf(Arc::clone(&memory)));
    (Arc::new(request), memory)
}

/// What the queue does: the next part, if there is one.
fn next(request: &Completion<Buf>) -> Option<SectorRange> {
    match request.next(SectorCount::new(1)) {
        Next::Part { range, .. } => Some(range),
        Next::Nothing { .. } => None,
    }
}

/// What the library and its callback do with a part. Gives whether the request was done then.
fn complete(
    request: &Completion<Buf>,
    memory: &Memory,
    range: SectorRange,
    code: VixError,
) -> bool {
    let cell = usize::from(range.start() != Sector::ZERO);
    // SAFETY: nothing is read or written; the model looks for others that touch the cell now.
    memory.cells[cell].with_mut(|_| ());
    let Ended {
        done,
        waker,
        garbage,
    } = request.end(range, code);
    drop(garbage);
    if let Some(waker) = waker {
        waker.wake();
    }
    done
}

fn wait(request: &Completion<Buf>) -> Outcome<Buf> {
    loom::future::block_on(std::future::poll_fn(|context| request.poll(context)))
}

#[test]
fn the_last_part_to_end_hands_the_buffer_to_the_future() {
    loom::model(|| {
        let (request, memory) = request();
        let parts = [next(&request), next(&request)].map(|part| part.expect("two parts"));
        let threads = parts.map(|part| {
            let (request, memory) = (Arc::clone(&request), Arc::clone(&memory));
            thread::spawn(move || complete(&request, &memory, part, VixError::OK))
        });
        let (outcome, buf) = wait(&request);
        assert!(outcome.is_ok());
        drop(buf);
        let done = threads.map(|thread| thread.join().expect("no panic"));
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "done once");
        assert_eq!(memory.drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn of_two_failures_the_first_sector_counts_in_every_order() {
    loom::model(|| {
        let (request, memory) = request();
        let parts = [next(&request), next(&request)].map(|part| part.expect("two parts"));
        let threads = parts.map(|part| {
            let (request, memory) = (Arc::clone(&request), Arc::clone(&memory));
            thread::spawn(move || complete(&request, &memory, part, VixError::FAIL))
        });
        let (outcome, _buf) = wait(&request);
        assert_eq!(outcome.expect_err("failed").range, parts[0]);
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn a_future_dropped_at_any_time_leaves_the_buffer_to_the_last_part() {
    loom::model(|| {
        let (request, memory) = request();
        // The queue's thread submits both parts, if it comes to that; a thread of the library ends the first.
        let queue = {
            let (request, memory) = (Arc::clone(&request), Arc::clone(&memory));
            thread::spawn(move || {
                let first = next(&request).map(|part| {
                    let (request, memory) = (Arc::clone(&request), Arc::clone(&memory));
                    thread::spawn(move || complete(&request, &memory, part, VixError::OK))
                });
                if let Some(part) = next(&request) {
                    complete(&request, &memory, part, VixError::OK);
                }
                if let Some(thread) = first {
                    thread.join().expect("no panic");
                }
            })
        };
        drop(request.abandon());
        queue.join().expect("no panic");
        assert_eq!(memory.drops.load(Ordering::Relaxed), 1, "freed, and once");
        assert_eq!(next(&request), None, "nothing is submitted any more");
    });
}

#[test]
fn a_poll_that_meets_the_end_is_ready_or_woken() {
    loom::model(|| {
        let (request, memory) = request();
        let first = next(&request).expect("a part");
        let ending = {
            let (request, memory) = (Arc::clone(&request), Arc::clone(&memory));
            thread::spawn(move || {
                complete(&request, &memory, first, VixError::OK);
                let second = next(&request).expect("another part");
                complete(&request, &memory, second, VixError::OK);
            })
        };
        // A task of another executor polled before, and is not told any more.
        let context = std::task::Context::from_waker(std::task::Waker::noop());
        match request.poll(&context) {
            Poll::Ready(done) => drop(done),
            Poll::Pending => drop(wait(&request)),
        }
        ending.join().expect("no panic");
        assert_eq!(memory.drops.load(Ordering::Relaxed), 1);
    });
}
