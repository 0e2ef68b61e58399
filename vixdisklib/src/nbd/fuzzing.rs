//! A session without sockets, for fuzz targets. Not part of the API.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use super::export::Export;
use super::limits::Limits;
use super::session::{self, ByteStream, Shared, TlsMode};
use super::table::{Entry, ExportTable};

/// Serves the export `disk` to a client that sends `packets`, each of which is one that a read returns, and then hangs
/// up. Returns all that the server sent. Encryption changes no byte.
pub fn replay(
    packets: impl IntoIterator<Item = Vec<u8>>,
    disk: impl Export + 'static,
    limits: Limits,
    tls: bool,
) -> Vec<u8> {
    let entry = Entry::new("disk".to_owned(), "a disk".to_owned(), Arc::new(disk));
    let shared = Shared::new(ExportTable::new(vec![entry], None, None), limits);
    let stream = Tape {
        incoming: Mutex::new(packets.into_iter().collect()),
        outgoing: Mutex::default(),
        tls,
    };
    if let Err(error) = session::run(&stream, &shared, |_| {}) {
        tracing::trace!(%error, "session");
    }
    stream.outgoing.into_inner()
}

struct Tape {
    incoming: Mutex<VecDeque<Vec<u8>>>,
    outgoing: Mutex<Vec<u8>>,
    tls: bool,
}

impl ByteStream for Tape {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.incoming.lock();
        while incoming.front().is_some_and(Vec::is_empty) {
            incoming.pop_front();
        }
        let Some(packet) = incoming.front_mut() else {
            return Ok(0);
        };
        let count = packet.len().min(buf.len());
        buf[..count].copy_from_slice(&packet[..count]);
        packet.drain(..count);
        Ok(count)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut outgoing = self.outgoing.lock();
        let before = outgoing.len();
        slices
            .iter()
            .for_each(|slice| outgoing.extend_from_slice(slice));
        Ok(outgoing.len() - before)
    }

    fn close(&self) {
        self.incoming.lock().clear();
    }

    fn tls(&self) -> TlsMode {
        if self.tls {
            TlsMode::Offered
        } else {
            TlsMode::Off
        }
    }

    fn start_tls(&self) -> io::Result<()> {
        Ok(())
    }
}
