//! Buffered reading of what a client sends: one system call for many small messages.

use std::time::Instant;

use super::{ByteStream, SessionError};

const BUFFER: usize = 64 << 10;

/// The receiving side of a connection.
pub(super) struct Input<'a, S> {
    stream: &'a S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S> Input<'_, S> {
    /// The next message of fixed size, if all of it has arrived; it is still to be read.
    pub(super) fn peek<const N: usize>(&self) -> Option<&[u8; N]> {
        self.buffer[self.start..self.end].first_chunk()
    }
}

impl<'a, S: ByteStream> Input<'a, S> {
    pub(super) fn new(stream: &'a S) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// Reads a message of fixed size; `None` if the client hung up before its first byte.
    pub(super) fn message<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<Option<[u8; N]>, SessionError> {
        if self.start == self.end && self.fill()? == 0 {
            return Ok(None);
        }
        let mut message = [0; N];
        self.exact(&mut message, what)?;
        Ok(Some(message))
    }

    /// Fills `out`. Long runs go to it directly, past the buffer.
    pub(super) fn exact(&mut self, out: &mut [u8], what: &'static str) -> Result<(), SessionError> {
        self.exact_until(out, what, None)
    }

    /// The same, if all of it comes before the deadline.
    pub(super) fn exact_until(
        &mut self,
        out: &mut [u8],
        what: &'static str,
        deadline: Option<Instant>,
    ) -> Result<(), SessionError> {
        let mut done = 0;
        while done < out.len() {
            if self.start < self.end {
                let taken = (self.end - self.start).min(out.len() - done);
                out[done..done + taken]
                    .copy_from_slice(&self.buffer[self.start..self.start + taken]);
                self.start += taken;
                done += taken;
                continue;
            }
            let read = if out.len() - done >= BUFFER {
                let read = receive(self.stream, &mut out[done..], deadline)?;
                done += read;
                read
            } else {
                self.fill_until(deadline)?
            };
            if read == 0 {
                return Err(SessionError::Truncated(what));
            }
        }
        Ok(())
    }

    /// Reads `length` bytes, already checked against a limit, into memory.
    pub(super) fn bytes(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<Vec<u8>, SessionError> {
        let mut bytes = vec![0; length];
        self.exact(&mut bytes, what)?;
        Ok(bytes)
    }

    /// Reads past `length` bytes, keeping none.
    pub(super) fn skip(&mut self, length: u64, what: &'static str) -> Result<(), SessionError> {
        let mut left = length;
        while left > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(SessionError::Truncated(what));
            }
            let here = self.end - self.start;
            let taken = usize::try_from(left).map_or(here, |left| here.min(left));
            self.start += taken;
            left -= u64::try_from(taken).expect("a usize has at most 64 bits");
        }
        Ok(())
    }

    /// Whether all that was received has been used.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn fill(&mut self) -> Result<usize, SessionError> {
        self.fill_until(None)
    }

    fn fill_until(&mut self, deadline: Option<Instant>) -> Result<usize, SessionError> {
        self.start = 0;
        self.end = 0;
        self.end = receive(self.stream, &mut self.buffer, deadline)?;
        Ok(self.end)
    }
}

fn receive<S: ByteStream>(
    stream: &S,
    buf: &mut [u8],
    deadline: Option<Instant>,
) -> Result<usize, SessionError> {
    loop {
        let result = match deadline {
            None => stream.read(buf),
            Some(deadline) => stream.read_until(buf, deadline),
        };
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.map_err(SessionError::Io),
        }
    }
}
