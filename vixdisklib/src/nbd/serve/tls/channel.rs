//! The inside of one encrypted connection: one thread reads it while another writes.
//!
//! The state of the encryption is behind a lock that is never held while the socket blocks, so a client that takes no
//! answers does not keep the server from reading what it sends. What must reach the socket in order is encrypted and
//! sent under a second lock; a reader that has something to send (an answer to a key update, an alert) and finds that
//! lock taken leaves it to whoever has it.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustls::{ServerConfig, ServerConnection};

use crate::nbd::session::ByteStream;

/// What is encrypted at a time, in bytes. Two of these are the most that a connection holds.
const CHUNK: usize = 256 << 10;

/// Encrypted bytes that are received at a time.
const RECEIVE: usize = 64 << 10;

pub(in crate::nbd::serve) struct TlsChannel {
    state: Mutex<ServerConnection>,
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

impl std::fmt::Debug for TlsChannel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TlsChannel").finish_non_exhaustive()
    }
}

impl TlsChannel {
    /// Does the server's part of the handshake over `socket`.
    pub(in crate::nbd::serve) fn accept(
        config: &Arc<ServerConfig>,
        socket: &impl ByteStream,
    ) -> io::Result<Self> {
        let mut state = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        state.set_buffer_limit(Some(CHUNK));
        let channel = Self {
            state: Mutex::new(state),
            received: Mutex::new(Received {
                bytes: vec![0; RECEIVE].into_boxed_slice(),
                start: 0,
                end: 0,
            }),
            sending: Mutex::default(),
        };
        while channel.state.lock().is_handshaking() {
            if !channel.receive(socket)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        channel.send_pending(socket)?;
        Ok(channel)
    }

    /// Reads what was inside; 0 at the end.
    pub(in crate::nbd::serve) fn read(
        &self,
        socket: &impl ByteStream,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.state.lock().reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The length of everything inside is known, so an end without farewell deceives nobody.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            if !self.receive(socket)? {
                return Ok(0);
            }
        }
    }

    /// Encrypts some of `slices` and sends all of that.
    pub(in crate::nbd::serve) fn write_vectored(
        &self,
        socket: &impl ByteStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let mut sending = self.sending.lock();
        let written = {
            let mut state = self.state.lock();
            let written = state.writer().write_vectored(slices)?;
            take_pending(&mut state, &mut sending)?;
            written
        };
        send(socket, &mut sending)?;
        drop(sending);
        // What the reader left to this thread.
        self.send_pending(socket)?;
        Ok(written)
    }

    /// Tells the client that nothing more comes.
    pub(in crate::nbd::serve) fn say_goodbye(&self, socket: &impl ByteStream) -> io::Result<()> {
        self.state.lock().send_close_notify();
        // A client that takes nothing does not get it.
        self.send_pending(&Hasty(socket))
    }

    /// Receives and decrypts some bytes; false at the end.
    fn receive(&self, socket: &impl ByteStream) -> io::Result<bool> {
        let mut received = self.received.lock();
        let received = &mut *received;
        if received.start == received.end {
            // The encryption is not locked meanwhile.
            received.start = 0;
            received.end = 0;
            received.end = socket.read(&mut received.bytes)?;
            if received.end == 0 {
                return Ok(false);
            }
        }
        let decrypted = {
            let mut state = self.state.lock();
            let mut waiting = &received.bytes[received.start..received.end];
            let before = waiting.len();
            state.read_tls(&mut waiting)?;
            received.start += before - waiting.len();
            state.process_new_packets()
        };
        // Also after a failure, because the client is told why.
        let sent = self.send_pending(socket);
        decrypted.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        sent?;
        Ok(true)
    }

    /// Sends what the encryption itself has to say, unless another thread is sending and will do it.
    fn send_pending(&self, socket: &impl ByteStream) -> io::Result<()> {
        // Whoever holds the lock looks again after giving it back, so nothing is left behind.
        while self.state.lock().wants_write() {
            let Some(mut sending) = self.sending.try_lock() else {
                return Ok(());
            };
            take_pending(&mut self.state.lock(), &mut sending)?;
            send(socket, &mut sending)?;
        }
        Ok(())
    }
}

/// A socket that is not waited for.
struct Hasty<'a, S>(&'a S);

impl<S: ByteStream> ByteStream for Hasty<'_, S> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::TimedOut.into())
            }
            result => result,
        }
    }

    fn close(&self) {
        self.0.close();
    }
}

fn take_pending(
    state: &mut MutexGuard<'_, ServerConnection>,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    while state.wants_write() {
        state.write_tls(into)?;
    }
    Ok(())
}

/// Sends all of `bytes` and leaves it empty, also after a failure.
/// Whether to try again: a stalled client is given up by the socket itself.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn send(socket: &impl ByteStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut left = bytes.as_slice();
    let mut result = Ok(());
    while !left.is_empty() && result.is_ok() {
        match socket.write_vectored(&[IoSlice::new(left)]) {
            Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => left = &left[sent..],
            Err(error) if is_passing(&error) => {}
            Err(error) => result = Err(error),
        }
    }
    bytes.clear();
    result
}
