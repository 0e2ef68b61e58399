//! Requests in flight: who owns a buffer while the library works on it.
//!
//! The library gets a counted reference to the request, which it gives back by calling [`on_complete`] exactly once.
//! Until then nobody else touches the buffer. Dropping the future drops only the caller's reference.

mod pending;

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use disk_units::{SectorCount, SectorRange};
use parking_lot::Mutex;
use vixdisklib_sys::VixError;

use crate::api::Api;
use crate::buffer::AlignedBuf;
use crate::disk::{Facts, Handle};
use crate::error::{Error, Operation, Result};
use crate::log::Window;

pub(crate) use pending::Pending;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a waker for the library, which then waits for it: nothing in there may wait for the
/// library. A waker may well drop a disk, along with a task whose executor has gone.
pub(crate) fn in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::Read,
            Self::Write => Operation::Write,
        }
    }
}

/// The disk of a request.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) api: &'static Api,
    pub(crate) handle: Handle,
    pub(crate) facts: Arc<Facts>,
}

/// A request that the library holds a reference to.
pub(crate) struct InFlight {
    state: Mutex<State>,
    buf: UnsafeCell<AlignedBuf>,
    pending: Arc<Pending>,
}

enum State {
    Running(Option<Waker>),
    Done(VixError),
}

// SAFETY: `state` and `pending` are synchronised by themselves. `buf` is touched by the library alone while the
// state is `Running`, and by the one future alone once it is `Done`; the lock of `state` orders the two.
unsafe impl Sync for InFlight {}

impl InFlight {
    /// Hands a request to the library.
    pub(crate) fn submit(
        target: Target,
        direction: Direction,
        range: SectorRange,
        buf: AlignedBuf,
        pending: &Arc<Pending>,
    ) -> IoFuture {
        let window = Window::open();
        pending.begin();
        let request = Arc::new(Self {
            state: Mutex::new(State::Running(None)),
            buf: UnsafeCell::new(buf),
            pending: Arc::clone(pending),
        });
        request.start(&target, direction, range);
        IoFuture(Stage::Waiting {
            request,
            target,
            direction,
            range,
            window,
        })
    }

    fn start(self: &Arc<Self>, target: &Target, direction: Direction, range: SectorRange) {
        let table = &target.api.table;
        let (handle, first, count) = (target.handle.0, range.start().get(), range.count().get());
        // SAFETY: the request is new, so nobody else refers to the buffer yet.
        let bytes = unsafe { &mut *self.buf.get() }.as_mut_ptr();
        let calls = table.read_async.zip(table.write_async);
        let outcome = match (direction, calls) {
            (Direction::Read, Some((read, _))) => self.lend(|token| {
                // SAFETY: the handle is open, and is not closed before `pending` is idle; the range fits the buffer
                // and the disk; the bytes belong to the request, which `token` keeps alive until `on_complete` ran.
                unsafe { read(handle, first, count, bytes, Some(on_complete), token) }
            }),
            (Direction::Write, Some((_, write))) => self.lend(|token| {
                // SAFETY: as above; the library only reads the bytes.
                unsafe { write(handle, first, count, bytes, Some(on_complete), token) }
            }),
            // A library without these calls does the work before this returns, just as one that has them does on its
            // synchronous transports; so no two calls meet on the handle.
            (Direction::Read, None) => {
                // SAFETY: as above; every earlier request on the handle completed inside its own call.
                Some(unsafe { (table.read)(handle, first, count, bytes) })
            }
            (Direction::Write, None) => {
                // SAFETY: as above.
                Some(unsafe { (table.write)(handle, first, count, bytes) })
            }
        };
        if let Some(code) = outcome {
            self.finish(code);
        }
    }

    /// Gives the library a reference to the request along with `submit`. `None` if the library accepted: then
    /// `on_complete` tells the outcome.
    fn lend(self: &Arc<Self>, submit: impl FnOnce(*mut c_void) -> VixError) -> Option<VixError> {
        let token = Arc::into_raw(Arc::clone(self)).cast_mut().cast::<c_void>();
        let code = submit(token);
        if code.without_detail() == VixError::ASYNC {
            return None;
        }
        // SAFETY: not accepted, so `on_complete` never runs and this reference is ours.
        drop(unsafe { Arc::from_raw(token.cast_const().cast::<Self>()) });
        // Only `VIX_ASYNC` accepts a request (Virtual Disk Programming Guide): after `VIX_OK` no data would ever come.
        Some(if code.is_ok() { VixError::FAIL } else { code })
    }

    fn finish(&self, code: VixError) {
        let before = mem::replace(&mut *self.state.lock(), State::Done(code));
        if let State::Running(Some(waker)) = before {
            let outside = IN_CALLBACK.replace(true);
            // A waker is the caller's code and may panic, and this may be a library's thread.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            IN_CALLBACK.set(outside);
        }
        self.pending.end();
    }
}

/// The library's word that a request is done, from a thread of its own or from inside the submitting call.
unsafe extern "C" fn on_complete(token: *mut c_void, code: VixError) {
    // SAFETY: `token` is the reference that `start` gave the library, which calls back exactly once.
    let request = unsafe { Arc::from_raw(token.cast_const().cast::<InFlight>()) };
    request.finish(code);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(request)));
}

/// A read or write that was submitted; gives the buffer back, on failure too.
///
/// It needs no runtime: any executor can poll it, and [`wait`](Self::wait) blocks without one. Dropping it cancels
/// nothing: the library works on, and the buffer lives until it is done.
///
/// Wakers run on threads of the library. One that polls, waits or closes a disk on the spot, instead of having another
/// thread do so, makes the library wait for itself. Dropping a disk there is fine: another thread closes it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use vixdisklib::{AlignedBuf, Library, OpenFlags, Sector, SectorCount};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let disk = connection.open_disk(&path, OpenFlags::READ_ONLY)?;
/// let first = disk.read_async(Sector::new(0), AlignedBuf::new(SectorCount::new(8)));
/// let second = disk.read_async(Sector::new(8), AlignedBuf::new(SectorCount::new(8)));
/// let (done, sectors) = second.wait();
/// done?;
/// assert!(sectors.iter().all(|byte| *byte == 7));
/// drop(first); // cancels nothing, frees nothing too early
/// disk.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the request runs anyway, but nobody learns whether it worked"]
#[derive(Debug)]
pub struct IoFuture(Stage);

enum Stage {
    Refused(Box<(Error, AlignedBuf)>),
    Waiting {
        request: Arc<InFlight>,
        target: Target,
        direction: Direction,
        range: SectorRange,
        window: Window,
    },
    Finished,
}

impl fmt::Debug for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => formatter.write_str("Refused"),
            Self::Waiting {
                direction, range, ..
            } => write!(formatter, "Waiting({direction:?} {range})"),
            Self::Finished => formatter.write_str("Finished"),
        }
    }
}

impl IoFuture {
    pub(crate) fn refused(error: Error, buf: AlignedBuf) -> Self {
        Self(Stage::Refused(Box::new((error, buf))))
    }

    /// Blocks until the request is done.
    ///
    /// # Panics
    /// If the future was polled to its end before.
    pub fn wait(self) -> (Result<()>, AlignedBuf) {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let mut future = self;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut future).poll(&mut context) {
                Poll::Ready(done) => return done,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for IoFuture {
    type Output = (Result<()>, AlignedBuf);

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Waiting { request, .. } = &self.0
            && let State::Running(waker) = &mut *request.state.lock()
        {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        match mem::replace(&mut self.0, Stage::Finished) {
            Stage::Refused(refused) => {
                let (error, buf) = *refused;
                Poll::Ready((Err(error), buf))
            }
            Stage::Waiting {
                request,
                target,
                direction,
                range,
                window,
            } => Poll::Ready(request.take(&target, direction, range, window)),
            Stage::Finished => panic!("a request was polled after it was ready"),
        }
    }
}

impl InFlight {
    /// The outcome and the buffer; called once, when the state is `Done`.
    fn take(
        &self,
        target: &Target,
        direction: Direction,
        range: SectorRange,
        window: Window,
    ) -> (Result<()>, AlignedBuf) {
        // SAFETY: the state is `Done`, so the library is through with the buffer, and the one future asks once.
        let buf = mem::replace(
            unsafe { &mut *self.buf.get() },
            AlignedBuf::new(SectorCount::ZERO),
        );
        let code = match &*self.state.lock() {
            State::Done(code) => *code,
            State::Running(_) => unreachable!("taken only when done"),
        };
        if code == VixError::OK {
            return (Ok(()), buf);
        }
        let error = target.api.error(direction.operation(), code, window);
        (Err(target.facts.locate(error.with_range(range))), buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>() {}

    #[test]
    fn a_future_moves_between_threads() {
        is_send::<IoFuture>();
        is_send::<AlignedBuf>();
    }
}
