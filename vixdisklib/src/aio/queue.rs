//! The requests of one disk, in order: what the library has, and what waits for its turn.
//!
//! Parts are submitted by the thread that asks for them, up to the depth of the queue. Behind that a thread of the queue
//! submits them, as soon as the library calls back: callbacks must not call the library (Virtual Disk Programming Guide),
//! and an executor that polls late, or never, holds up nobody.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use disk_units::{SectorCount, SectorRange};
use parking_lot::{Condvar, Mutex, MutexGuard};
use vixdisklib_sys::VixError;

use super::completion::{Completion, Next};
use super::limits::IoLimits;
use super::part::Part;
use super::{Direction, in_callback, wake};
use crate::api::Api;
use crate::buffer::{AlignedBuf, Lent};
use crate::disk::Handle;

/// The disk of a queue.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) api: &'static Api,
    pub(crate) handle: Handle,
    /// Calls on the handle may overlap.
    pub(crate) parallel: bool,
}

// SAFETY: a handle is not bound to a thread (Virtual Disk Programming Guide, multithreading), and the queue lets calls
// on it overlap only where the library allows that: see `Queue::take`.
unsafe impl Sync for Target {}

/// A request as the queue knows it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) direction: Direction,
    pub(crate) range: SectorRange,
    /// The length of its parts.
    pub(crate) longest: SectorCount,
    pub(crate) completion: Completion<Lent>,
}

/// The queue of one disk.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(super) target: Target,
    state: Mutex<State>,
    /// A part ended, a request arrived, or the queue closes.
    changed: Condvar,
    /// Whether anything was submitted since the library was last waited for.
    unsettled: AtomicBool,
}

#[derive(Debug)]
struct State {
    depth: usize,
    next_number: u64,
    /// Requests of which parts remain to be submitted.
    waiting: VecDeque<(u64, Arc<Request>)>,
    /// Every request that is not done, the waiting ones included.
    unfinished: BTreeSet<u64>,
    /// How many parts the library has.
    in_flight: usize,
    /// How many threads are inside a submitting call.
    submitting: usize,
    submitter: Option<JoinHandle<()>>,
    closing: bool,
}

impl Request {
    pub(crate) fn new(
        direction: Direction,
        range: SectorRange,
        limits: IoLimits,
        buf: AlignedBuf,
    ) -> Arc<Self> {
        Arc::new(Self {
            direction,
            range,
            longest: limits.request.sectors(),
            completion: Completion::new(range, Lent::new(buf)),
        })
    }

    /// How many parts the request has, or too many to count.
    fn parts(&self) -> usize {
        let parts = self.range.count().get().div_ceil(self.longest.get());
        usize::try_from(parts).unwrap_or(usize::MAX)
    }

    /// Ends a request that the queue does not take.
    fn refuse(&self, code: VixError) {
        if let Next::Part { range, .. } = self.completion.next(self.range.count()) {
            let ended = self.completion.end(range, code);
            drop(ended.garbage);
            if let Some(waker) = ended.waker {
                wake(waker);
            }
        }
    }
}

impl Queue {
    pub(crate) fn new(target: Target, limits: IoLimits) -> Arc<Self> {
        Arc::new(Self {
            target,
            state: Mutex::new(State {
                depth: limits.depth.get(),
                next_number: 0,
                waiting: VecDeque::new(),
                unfinished: BTreeSet::new(),
                in_flight: 0,
                submitting: 0,
                submitter: None,
                closing: false,
            }),
            changed: Condvar::new(),
            unsettled: AtomicBool::new(false),
        })
    }

    pub(crate) fn set_depth(&self, limits: IoLimits) {
        self.state.lock().depth = limits.depth.get();
        self.changed.notify_all();
    }

    /// Submits a request now where the depth allows it, else puts it in line. One caller at a time, unless calls on the
    /// handle may overlap.
    pub(crate) fn enqueue(self: &Arc<Self>, request: Arc<Request>) {
        self.unsettled.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        let room = state.depth.saturating_sub(state.in_flight);
        let now = state.waiting.is_empty() && request.parts() <= room && !in_callback();
        if !now && !self.has_submitter(&mut state) {
            drop(state);
            return request.refuse(VixError::OUT_OF_MEMORY);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.unfinished.insert(number);
        state.waiting.push_back((number, request));
        if now {
            self.submit(&mut state);
        } else {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Submits until nothing waits, or none may be submitted now.
    fn submit(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        while let Some(part) = self.take(state) {
            MutexGuard::unlocked(state, || part.submit());
            state.submitting -= 1;
            self.changed.notify_all();
        }
    }

    /// The next part, if one waits and the calling thread may submit it.
    fn take(self: &Arc<Self>, state: &mut State) -> Option<Part> {
        // This keeps submitting calls apart where they must not overlap. Other calls on the handle are kept apart by the
        // disk, which waits for the queue before it makes them.
        while state.in_flight < state.depth && (self.target.parallel || state.submitting == 0) {
            let (number, request) = state.waiting.front()?;
            let (number, request) = (*number, Arc::clone(request));
            match request.completion.next(request.longest) {
                Next::Part { range, last } => {
                    if last {
                        state.waiting.pop_front();
                    }
                    state.in_flight += 1;
                    state.submitting += 1;
                    let queue = Arc::clone(self);
                    return Some(Part {
                        queue,
                        request,
                        number,
                        range,
                    });
                }
                Next::Nothing { done } => {
                    state.waiting.pop_front();
                    if done {
                        state.unfinished.remove(&number);
                        self.changed.notify_all();
                    }
                }
            }
        }
        None
    }

    /// A part is done, and with it the whole request if `done`.
    pub(super) fn end(&self, number: u64, done: bool) {
        let mut state = self.state.lock();
        state.in_flight -= 1;
        if done {
            state.unfinished.remove(&number);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Starts the queue's thread if it does not run.
    fn has_submitter(self: &Arc<Self>, state: &mut State) -> bool {
        if state.submitter.is_none() {
            let queue = Arc::clone(self);
            let thread = thread::Builder::new().name("vixdisklib-queue".to_owned());
            state.submitter = thread.spawn(move || queue.run()).ok();
        }
        state.submitter.is_some()
    }

    fn run(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while !state.closing {
            self.submit(&mut state);
            if !state.closing {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Whether something was submitted that nobody has waited for yet, be it long done.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed)
    }

    /// Waits until the library has, or had, all of every request that was put in line before.
    pub(crate) fn wait_submitted(&self) {
        self.wait_for(|state| state.waiting.front().map(|(number, _)| *number));
    }

    /// Waits until every request that was put in line before is done, its waker has run, and what was given up is freed.
    /// That the callbacks have returned is for the library's own wait to say.
    pub(crate) fn wait_idle(&self) {
        self.wait_for(|state| state.unfinished.first().copied());
        self.unsettled.store(false, Ordering::Relaxed);
    }

    /// Waits until the oldest request of a kind is younger than this call, so that others who go on submitting cannot
    /// hold it up, and until nobody is inside a call that the caller's must not overlap.
    fn wait_for(&self, oldest: impl Fn(&State) -> Option<u64>) {
        let mut state = self.state.lock();
        let end = state.next_number;
        while oldest(&state).is_some_and(|number| number < end)
            || (state.submitting > 0 && !self.target.parallel)
        {
            self.changed.wait(&mut state);
        }
    }

    /// Ends the queue's thread; nothing waits any more.
    pub(crate) fn close(&self) {
        let submitter = {
            let mut state = self.state.lock();
            state.closing = true;
            state.submitter.take()
        };
        self.changed.notify_all();
        if let Some(submitter) = submitter {
            submitter.join().expect("submitting does not panic");
        }
    }
}
