//! An encrypted connection: one thread reads it while others write.
//!
//! The state of the encryption is behind a lock that is never held while the socket blocks, so that a host that takes
//! nothing does not keep this side from receiving. What must reach the socket in order is encrypted and sent under a
//! second lock; a reader that has something to send (an answer to a key update, an alert) and finds that lock taken leaves
//! it to whoever has it.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConnection;

use crate::stream::{ByteStream, write_all};

/// What is encrypted at a time, in bytes. Two of these are the most that a connection holds.
const CHUNK: usize = 256 << 10;

/// Encrypted bytes that are received at a time.
const RECEIVE: usize = 64 << 10;

/// One TLS session over `S`, in the role of the client.
pub(crate) struct TlsStream<S> {
    inner: S,
    state: Mutex<ClientConnection>,
    received: Mutex<Received>,
    /// Encrypted bytes on their way to the socket; empty unless locked.
    sending: Mutex<Vec<u8>>,
}

/// Encrypted bytes that were received but not decrypted yet.
struct Received {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsStream")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S: ByteStream> TlsStream<S> {
    /// Goes on with a session whose handshake over `inner` is done.
    pub(crate) fn new(inner: S, mut session: ClientConnection) -> Self {
        session.set_buffer_limit(Some(CHUNK));
        Self {
            inner,
            state: Mutex::new(session),
            received: Mutex::new(Received {
                bytes: vec![0; RECEIVE].into_boxed_slice(),
                start: 0,
                end: 0,
            }),
            sending: Mutex::default(),
        }
    }

    /// Receives and decrypts some bytes; false at the end.
    fn receive(&self) -> io::Result<bool> {
        let mut received = self.received.lock();
        let Received { bytes, start, end } = &mut *received;
        if start == end {
            // The encryption is not locked meanwhile.
            let count = self.inner.read(bytes)?;
            (*start, *end) = (0, count);
            if count == 0 {
                return Ok(false);
            }
        }
        let decrypted = {
            let mut state = self.state.lock();
            let mut waiting = bytes.get(*start..*end).unwrap_or_default();
            state.read_tls(&mut waiting)?;
            *start = end.saturating_sub(waiting.len());
            state.process_new_packets()
        };
        // Also after a failure, because the host is told why.
        let sent = self.send_pending();
        decrypted.map_err(invalid_data)?;
        sent?;
        Ok(true)
    }

    /// Sends what the encryption itself has to say, unless another thread is sending and will do it.
    fn send_pending(&self) -> io::Result<()> {
        // Whoever holds the lock looks again after giving it back, so nothing is left behind.
        while self.state.lock().wants_write() {
            let Some(mut sending) = self.sending.try_lock() else {
                return Ok(());
            };
            take_pending(&mut self.state.lock(), &mut sending)?;
            self.send(&mut sending)?;
        }
        Ok(())
    }

    /// Sends all of `bytes` and leaves it empty, also after a failure.
    fn send(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let result = write_all(&self.inner, &mut [IoSlice::new(bytes)]);
        bytes.clear();
        result
    }
}

impl<S: ByteStream> ByteStream for TlsStream<S> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state.lock().reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The length of everything inside is known, so an end without farewell deceives nobody.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            if !self.receive()? {
                return Ok(0);
            }
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sending = self.sending.lock();
        let written = {
            let mut state = self.state.lock();
            let written = state.writer().write_vectored(slices)?;
            take_pending(&mut state, &mut sending)?;
            written
        };
        self.send(&mut sending)?;
        drop(sending);
        // What the reader left to this thread.
        self.send_pending()?;
        Ok(written)
    }

    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.inner.set_timeouts(read, write)
    }

    fn say_goodbye(&self) -> io::Result<()> {
        self.state.lock().send_close_notify();
        self.send_pending()
    }

    fn shut_down(&self) {
        self.inner.shut_down();
    }
}

fn take_pending(state: &mut ClientConnection, into: &mut Vec<u8>) -> io::Result<()> {
    while state.wants_write() {
        state.write_tls(into)?;
    }
    Ok(())
}

fn invalid_data(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
