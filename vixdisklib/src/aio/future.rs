//! What the caller holds of a request.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use disk_units::SectorCount;

use super::check_not_in_callback;
use super::queue::Request;
use crate::api::Api;
use crate::buffer::AlignedBuf;
use crate::disk::Facts;
use crate::error::{Error, Result};
use crate::log::Window;

/// A read or write that was submitted, or waits for its turn; gives the buffer back, on failure too.
///
/// The output is the outcome and the buffer. A long request reaches the library in parts, in any order; if one fails, the
/// whole has failed, the error names the sectors of that part, and parts that the library had not got yet it does not
/// get. After a failed read the contents of the buffer are undefined; after a failed write any of its sectors may have been
/// written.
///
/// It needs no runtime: any executor can poll it, and [`wait`](Self::wait) blocks without one. Requests make progress
/// whether or not they are polled.
///
/// # Dropping
/// It is safe at any time, blocks nothing, and gives the request up: what waits for its turn is taken out of the line,
/// and its buffer freed; what the library has got it finishes, and the buffer lives until then. So a write whose future
/// was dropped has happened wholly, in part, or not at all. [`Disk::settle`](crate::Disk::settle) waits for what the
/// library still has.
///
/// # Wakers
/// Wakers run on threads of the library, which waits for them: they should only wake. What one must not do on the spot
/// fails with [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock): waiting for a request that is not done, settling,
/// flushing, closing, and every other call on a disk that blocks. Polling and starting requests there works, and so does
/// dropping a disk: another thread closes it.
///
/// # Forks
/// In a forked child the outcome is [`ErrorKind::Forked`](crate::ErrorKind::Forked) at once, and the buffer an empty one.
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
/// drop(first); // gives up, and frees nothing too early
/// disk.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it gives the request up"]
#[derive(Debug)]
pub struct IoFuture(Stage);

enum Stage {
    Refused(Box<(Error, AlignedBuf)>),
    Waiting(Waiting),
    Finished,
}

struct Waiting {
    request: Arc<Request>,
    api: &'static Api,
    facts: Arc<Facts>,
    window: Window,
}

impl fmt::Debug for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => formatter.write_str("Refused"),
            Self::Waiting(Waiting { request, .. }) => {
                write!(
                    formatter,
                    "Waiting({:?} {})",
                    request.direction, request.range
                )
            }
            Self::Finished => formatter.write_str("Finished"),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A thread that a forked child lacks may have held the lock.
        if self.facts.birth.is_here() {
            drop(self.request.completion.abandon());
        }
    }
}

impl Waiting {
    fn poll(&self, context: &Context<'_>) -> Poll<(Result<()>, AlignedBuf)> {
        let operation = self.request.direction.operation();
        if let Err(error) = self.facts.check_here(operation) {
            let error = error.with_range(self.request.range);
            return Poll::Ready((Err(error), AlignedBuf::new(SectorCount::ZERO)));
        }
        let (outcome, lent) = match self.request.completion.poll(context) {
            Poll::Ready(done) => done,
            Poll::Pending => return Poll::Pending,
        };
        let outcome = outcome.map_err(|failure| {
            let error = self.api.error(operation, failure.code, self.window);
            self.facts.locate(error.with_range(failure.range))
        });
        Poll::Ready((outcome, lent.take_back()))
    }
}

impl IoFuture {
    pub(crate) fn refused(error: Error, buf: AlignedBuf) -> Self {
        Self(Stage::Refused(Box::new((error, buf))))
    }

    /// For a request that is put in line next, on this thread if its log lines are to explain a failure.
    pub(crate) fn waiting(request: Arc<Request>, api: &'static Api, facts: Arc<Facts>) -> Self {
        Self(Stage::Waiting(Waiting {
            request,
            api,
            facts,
            window: Window::open(),
        }))
    }

    #[cfg(test)]
    pub(super) fn request(&self) -> Arc<Request> {
        match &self.0 {
            Stage::Waiting(waiting) => Arc::clone(&waiting.request),
            _ => panic!("it does not wait"),
        }
    }

    /// Blocks until the request is done.
    ///
    /// Inside a waker that runs on a thread of the library, which must not block, a request that is not done is given up:
    /// the outcome is [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock), and the buffer an empty one where the library
    /// still has the request's.
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
                Poll::Pending => {}
            }
            if let Err(error) = future.may_block() {
                return future.give_up(error);
            }
            thread::park();
        }
    }

    /// Refuses to wait where the end can never come: in a forked child, also one that polling takes for its parent, and
    /// inside a callback.
    fn may_block(&self) -> Result<()> {
        let Stage::Waiting(waiting) = &self.0 else {
            return Ok(());
        };
        let (facts, request) = (&waiting.facts, &waiting.request);
        let operation = request.direction.operation();
        facts
            .check_surely_here(operation)
            .and_then(|()| check_not_in_callback(operation))
            .map_err(|error| facts.locate(error.with_range(request.range)))
    }

    #[cold]
    fn give_up(mut self, error: Error) -> (Result<()>, AlignedBuf) {
        let lent = match mem::replace(&mut self.0, Stage::Finished) {
            Stage::Waiting(waiting) => waiting.request.completion.abandon(),
            Stage::Refused(_) | Stage::Finished => None,
        };
        let buf = lent.map_or_else(
            || AlignedBuf::new(SectorCount::ZERO),
            |lent| lent.take_back(),
        );
        (Err(error), buf)
    }
}

impl Future for IoFuture {
    type Output = (Result<()>, AlignedBuf);

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Waiting(waiting) = &self.0 {
            let polled = waiting.poll(context);
            if polled.is_ready() {
                self.0 = Stage::Finished;
            }
            return polled;
        }
        match mem::replace(&mut self.0, Stage::Finished) {
            Stage::Refused(refused) => {
                let (error, buf) = *refused;
                Poll::Ready((Err(error), buf))
            }
            Stage::Waiting(_) | Stage::Finished => {
                panic!("a request was polled after it was ready")
            }
        }
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
