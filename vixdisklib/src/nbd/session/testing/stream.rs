//! A connection in memory, with something that stands for TLS.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::nbd::session::{ByteStream, TlsMode};

/// Silence for so long is an end, so that a test which goes wrong fails instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// One direction of a connection in memory.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Pipe {
    pub(super) fn read(&self, buf: &mut [u8]) -> usize {
        let mut state = self.state.lock();
        while state.0.is_empty() && !state.1 {
            if self.changed.wait_for(&mut state, PATIENCE).timed_out() {
                state.1 = true;
            }
        }
        let count = state.0.len().min(buf.len());
        for (slot, byte) in buf.iter_mut().zip(state.0.drain(..count)) {
            *slot = byte;
        }
        count
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.0.extend(bytes);
        self.changed.notify_all();
        Ok(bytes.len())
    }

    pub(super) fn close(&self) {
        self.state.lock().1 = true;
        self.changed.notify_all();
    }
}

/// The server's end of a connection in memory.
#[derive(Debug)]
pub(in crate::nbd::session) struct Duplex {
    pub(super) incoming: Arc<Pipe>,
    pub(super) outgoing: Arc<Pipe>,
    pub(super) tls: TlsMode,
    pub(super) encrypted: AtomicBool,
}

/// What stands for TLS here: enough to tell what went through it and what did not.
pub(super) fn scramble(bytes: &mut [u8]) {
    for byte in bytes {
        *byte ^= 0xa5;
    }
}

impl ByteStream for Duplex {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.incoming.read(buf);
        if self.encrypted.load(Ordering::SeqCst) {
            scramble(&mut buf[..count]);
        }
        Ok(count)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Short writes are normal on sockets, so the sender must be ready for them.
        let first = slices.iter().find(|slice| !slice.is_empty());
        let Some(slice) = first else { return Ok(0) };
        let mut bytes = slice[..slice.len().min(1000)].to_vec();
        if self.encrypted.load(Ordering::SeqCst) {
            scramble(&mut bytes);
        }
        self.outgoing.write(&bytes)
    }

    fn sends_files(&self) -> bool {
        !self.encrypted.load(Ordering::SeqCst)
    }

    fn send_file(&self, file: &File, position: u64, length: usize) -> io::Result<usize> {
        let mut bytes = vec![0; length.min(1000)];
        let count = file.read_at(&mut bytes, position)?;
        self.outgoing.write(&bytes[..count])
    }

    fn close(&self) {
        self.incoming.close();
        self.outgoing.close();
    }

    fn tls(&self) -> TlsMode {
        self.tls
    }

    /// The client says in one byte whether its handshake goes well.
    fn start_tls(&self) -> io::Result<()> {
        let mut byte = [0];
        if self.incoming.read(&mut byte) == 0 || byte != [1] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.encrypted.store(true, Ordering::SeqCst);
        Ok(())
    }
}
