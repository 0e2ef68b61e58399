//! Receiving: small messages through a buffer, data straight to where it belongs.

use std::io;
use std::time::Instant;

use super::Shared;
use crate::failure::Failure;
use crate::stream::{ByteStream, is_timeout};

/// Bytes that are received at a time for headers. What of data comes along is copied, so it is not more than that.
const BUFFER: usize = 4 << 10;

pub(super) struct Incoming<'a> {
    shared: &'a Shared,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Whether a message has begun, of which the host owes the rest, and when its last bytes came.
    within: bool,
    last: Instant,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            within: false,
            last: Instant::now(),
        }
    }

    /// The last message has ended.
    pub(super) fn end_message(&mut self) {
        self.within = false;
    }

    /// Receives as much as `buf` takes.
    pub(super) fn fill(&mut self, mut buf: &mut [u8]) -> Result<(), Failure> {
        while !buf.is_empty() {
            let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
            let count = waiting.len().min(buf.len());
            self.within |= count > 0;
            let (now, later) = buf.split_at_mut(count);
            now.copy_from_slice(waiting.get(..count).unwrap_or_default());
            self.start = self.start.saturating_add(count);
            buf = later;
            if buf.len() >= BUFFER {
                let count = self.receive(|stream| stream.read(buf))?;
                self.within = true;
                buf = buf.get_mut(count..).unwrap_or_default();
            } else if !buf.is_empty() {
                let mut buffer = std::mem::take(&mut self.buffer);
                let received = self.receive(|stream| stream.read(&mut buffer));
                self.buffer = buffer;
                (self.start, self.end) = (0, received?);
            }
        }
        Ok(())
    }

    /// Receives `count` bytes into a buffer of its own. The count was checked.
    pub(super) fn take(&mut self, count: u32) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Receives some bytes, at least one. A silent host is waited for while it owes nothing.
    fn receive(
        &mut self,
        mut read: impl FnMut(&dyn ByteStream) -> io::Result<usize>,
    ) -> Result<usize, Failure> {
        loop {
            match read(&*self.shared.stream) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => {
                    self.shared.table.lock().restart_clock();
                    self.last = Instant::now();
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    let within = self.within.then_some(self.last);
                    if self.shared.is_overdue(within) {
                        let text = format!("it sent nothing for {:?}", self.shared.patience);
                        return Err(io::Error::new(io::ErrorKind::TimedOut, text).into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
