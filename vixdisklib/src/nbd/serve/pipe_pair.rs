//! A connection on two descriptors, such as standard input and output, that may be pipes.
//!
//! A pipe cannot be shut down from another thread as a socket can, so that whoever reads or writes waits for the pipe
//! and for the end of the session at the same time.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// What a pipe that is ready takes without blocking (`PIPE_BUF` of Linux).
const ATOMIC: usize = 4096;

#[derive(Debug)]
pub(super) struct PipePair {
    input: OwnedFd,
    output: OwnedFd,
    input_end: End,
    output_end: End,
    write_timeout: Option<Timespec>,
}

impl PipePair {
    pub(super) fn new(
        input: OwnedFd,
        output: OwnedFd,
        write_timeout: Option<Duration>,
    ) -> io::Result<Self> {
        Ok(Self {
            input,
            output,
            input_end: End::new()?,
            output_end: End::new()?,
            write_timeout: write_timeout.and_then(|time| time.try_into().ok()),
        })
    }

    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_until(buf, None)
    }

    pub(super) fn read_until(
        &self,
        buf: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let (ready, ended) =
            self.input_end
                .wait_for(self.input.as_fd(), PollFlags::IN, left.as_ref())?;
        if ended && (!ready || self.output_end.is_reached()) {
            return Ok(0);
        }
        Ok(rustix::io::read(&self.input, buf)?)
    }

    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(slice) = slices.iter().find(|slice| !slice.is_empty()) else {
            return Ok(0);
        };
        let timeout = self.write_timeout.as_ref();
        let (_, ended) = self
            .output_end
            .wait_for(self.output.as_fd(), PollFlags::OUT, timeout)?;
        if ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = slice.len().min(ATOMIC);
        Ok(rustix::io::write(&self.output, &slice[..most])?)
    }

    /// Ends receiving: what has arrived can still be read.
    pub(super) fn stop_receiving(&self) {
        self.input_end.reach();
    }

    /// Ends both directions at once.
    pub(super) fn cut(&self) {
        // In this order, because who is told that nothing more comes looks whether anything still goes out.
        self.output_end.reach();
        self.input_end.reach();
    }
}

/// The end of one direction: a pipe that hangs up when it is reached.
#[derive(Debug)]
struct End {
    reached: OwnedFd,
    open: Mutex<Option<OwnedFd>>,
}

impl End {
    fn new() -> io::Result<Self> {
        let (reached, open) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            reached,
            open: Mutex::new(Some(open)),
        })
    }

    fn reach(&self) {
        drop(self.open.lock().take());
    }

    fn is_reached(&self) -> bool {
        self.open.lock().is_none()
    }

    /// Waits until `fd` is ready or the end is reached, and tells which of them is so.
    fn wait_for(
        &self,
        fd: BorrowedFd<'_>,
        what: PollFlags,
        timeout: Option<&Timespec>,
    ) -> io::Result<(bool, bool)> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(fd, what),
                PollFd::new(&self.reached, PollFlags::empty()),
            ];
            match poll(&mut fds, timeout) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => {
                    let [ready, ended] = fds.map(|fd| !fd.revents().is_empty());
                    return Ok((ready, ended));
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_and_the_end_wakes_a_reader() {
        let (from_client, to_server) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (from_server, to_client) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let pair = PipePair::new(from_client, to_client, None).unwrap();
        rustix::io::write(&to_server, b"ask").unwrap();
        let mut buf = [0; 10];
        assert_eq!(pair.read(&mut buf).unwrap(), 3);
        assert_eq!(
            pair.write(&[IoSlice::new(b""), IoSlice::new(b"reply")])
                .unwrap(),
            5
        );
        assert_eq!(rustix::io::read(&from_server, &mut buf).unwrap(), 5);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| pair.read(&mut [0; 10]).unwrap());
            pair.stop_receiving();
            assert_eq!(reader.join().unwrap(), 0);
        });
        // As with sockets: what came before the end is still there, unless all is over.
        rustix::io::write(&to_server, b"last").unwrap();
        assert_eq!(pair.read(&mut buf[..2]).unwrap(), 2);
        assert_eq!(pair.write(&[IoSlice::new(b"x")]).unwrap(), 1);
        pair.cut();
        assert!(pair.write(&[IoSlice::new(b"x")]).is_err());
        assert_eq!(pair.read(&mut buf).unwrap(), 0);
    }

    #[test]
    fn a_reader_that_takes_nothing_fails_the_write() {
        let (from_client, _to_server) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (_from_server, to_client) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let soon = Some(Duration::from_millis(10));
        let pair = PipePair::new(from_client, to_client, soon).unwrap();
        let page = [0; ATOMIC];
        let error = (0..10_000).find_map(|_| pair.write(&[IoSlice::new(&page)]).err());
        assert_eq!(error.unwrap().kind(), io::ErrorKind::TimedOut);
    }
}
