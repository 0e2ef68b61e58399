//! Whether a request is done: how many of its parts the library has, and what became of the others.
//!
//! This file stands on its own, so that a model checker can run it through every order of its callers.

use std::mem;
use std::task::{Context, Poll, Waker};

use disk_units::{SectorCount, SectorRange};
use vixdisklib_sys::VixError;

use super::sync::Mutex;

/// One request, shared by the future, the queue, and each part that the library has. `B` owns the memory of the data.
#[derive(Debug)]
pub(crate) struct Completion<B> {
    state: Mutex<State<B>>,
}

#[derive(Debug)]
struct State<B> {
    /// `None` once it was given back or dropped, which is not before `is_done`.
    buf: Option<B>,
    /// What no part was made of yet.
    rest: SectorRange,
    /// How many parts the library has.
    lent: usize,
    /// Of the parts that failed the one at the lowest sector.
    failure: Option<Failure>,
    /// The future was dropped.
    abandoned: bool,
    waker: Option<Waker>,
}

/// A part that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) range: SectorRange,
    pub(crate) code: VixError,
}

/// What to do about a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Give these sectors to the library. `last`: there will be no further part.
    Part { range: SectorRange, last: bool },
    /// Nothing is left to do. `done`: nothing is left at the library either.
    Nothing { done: bool },
}

/// What the end of a part leaves to the caller, outside of every lock.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ended<B> {
    /// The whole request is done.
    pub(crate) done: bool,
    pub(crate) waker: Option<Waker>,
    /// The buffer, if nobody waits for it any more.
    pub(crate) garbage: Option<B>,
}

/// What a request gives when it is done.
pub(crate) type Outcome<B> = (Result<(), Failure>, B);

impl<B> State<B> {
    fn gives_up(&self) -> bool {
        self.failure.is_some() || self.abandoned
    }

    /// Nothing of the request is at the library, and nothing will be.
    fn is_done(&self) -> bool {
        self.lent == 0 && (self.rest.is_empty() || self.gives_up())
    }

    fn take(&mut self) -> Option<Outcome<B>> {
        if !self.is_done() {
            return None;
        }
        let outcome = self.failure.map_or(Ok(()), Err);
        self.buf.take().map(|buf| (outcome, buf))
    }
}

impl<B> Completion<B> {
    pub(crate) fn new(range: SectorRange, buf: B) -> Self {
        Self {
            state: Mutex::new(State {
                buf: Some(buf),
                rest: range,
                lent: 0,
                failure: None,
                abandoned: false,
                waker: None,
            }),
        }
    }

    /// Cuts the next part off, which counts as lent from now on.
    pub(crate) fn next(&self, longest: SectorCount) -> Next {
        let mut state = self.state.lock();
        if state.gives_up() || state.rest.is_empty() {
            let done = state.is_done();
            return Next::Nothing { done };
        }
        let (range, rest) = match state.rest.start().checked_add(longest) {
            Some(end) if end < state.rest.end() => state.rest.split_at(end),
            _ => state.rest.split_at(state.rest.end()),
        };
        state.rest = rest;
        state.lent += 1;
        Next::Part {
            range,
            last: rest.is_empty(),
        }
    }

    /// The library is through with a part that [`next`](Self::next) gave out.
    pub(crate) fn end(&self, range: SectorRange, code: VixError) -> Ended<B> {
        let mut state = self.state.lock();
        state.lent -= 1;
        let failure = Failure { range, code };
        let lowest = |known: Failure| range.start() < known.range.start();
        if code != VixError::OK && state.failure.is_none_or(lowest) {
            state.failure = Some(failure);
        }
        let done = state.is_done();
        Ended {
            done,
            waker: if done { state.waker.take() } else { None },
            garbage: if done && state.abandoned {
                state.buf.take()
            } else {
                None
            },
        }
    }

    /// The outcome and the buffer, once, when the request is done; else the task is woken then.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Outcome<B>> {
        // What a waker does when it is cloned or dropped is the caller's, so it happens outside of the lock.
        let (done, known) = {
            let mut state = self.state.lock();
            let known = state.waker.as_ref();
            let known = known.is_some_and(|waker| waker.will_wake(context.waker()));
            (state.take(), known)
        };
        match done {
            Some(done) => return Poll::Ready(done),
            None if known => return Poll::Pending,
            None => {}
        }
        let mut waker = Some(context.waker().clone());
        let mut state = self.state.lock();
        if let Some(done) = state.take() {
            return Poll::Ready(done);
        }
        mem::swap(&mut state.waker, &mut waker);
        drop(state);
        drop(waker);
        Poll::Pending
    }

    /// Nobody waits any more: what the library has not got, it will not get. Gives the buffer back if the library has no
    /// part of it; otherwise the last part's end does.
    pub(crate) fn abandon(&self) -> Option<B> {
        let mut state = self.state.lock();
        state.abandoned = true;
        let buf = if state.lent == 0 {
            state.buf.take()
        } else {
            None
        };
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        buf
    }

    /// Looks at the buffer, if it is there still.
    pub(crate) fn with_buf<R>(&self, look: impl FnOnce(&B) -> R) -> Option<R> {
        self.state.lock().buf.as_ref().map(look)
    }
}
