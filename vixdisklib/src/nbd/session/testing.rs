//! What the tests of sessions need: a stream in memory, an export in memory, and a client that checks nothing.

#![allow(
    clippy::big_endian_bytes,
    reason = "the client builds its messages by hand, so that the server's encoder is not its own judge"
)]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use disk_units::ByteLen;
use parking_lot::{Condvar, Mutex};

use super::{ByteStream, SessionError, Shared, run};
use crate::nbd::ErrorNumber;
use crate::nbd::export::{BlockState, BlockVisitor, Export, ExportError, ZeroRequest};
use crate::nbd::limits::Limits;
use crate::nbd::table::{Entry, ExportTable};

/// One direction of a connection in memory.
#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Pipe {
    fn read(&self, buf: &mut [u8]) -> usize {
        let mut state = self.state.lock();
        while state.0.is_empty() && !state.1 {
            self.changed.wait(&mut state);
        }
        let count = state.0.len().min(buf.len());
        for (slot, byte) in buf.iter_mut().zip(state.0.drain(..count)) {
            *slot = byte;
        }
        count
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.0.extend(bytes);
        self.changed.notify_all();
        Ok(bytes.len())
    }

    fn close(&self) {
        self.state.lock().1 = true;
        self.changed.notify_all();
    }
}

/// The server's end of a connection in memory.
#[derive(Debug)]
pub(super) struct Duplex {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl ByteStream for Duplex {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.incoming.read(buf))
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Short writes are normal on sockets, so the sender must be ready for them.
        let first = slices.iter().find(|slice| !slice.is_empty());
        let Some(slice) = first else { return Ok(0) };
        self.outgoing.write(&slice[..slice.len().min(1000)])
    }

    fn close(&self) {
        self.incoming.close();
        self.outgoing.close();
    }
}

/// An export in memory, whose calls can be held back and made to fail.
#[derive(Debug)]
pub(super) struct Ram {
    pub(super) bytes: Mutex<Vec<u8>>,
    pub(super) read_only: bool,
    /// Reads of this offset wait until something is sent.
    pub(super) gate: Mutex<Option<(u64, Receiver<()>)>>,
    pub(super) flushes: Mutex<Vec<&'static str>>,
}

impl Ram {
    pub(super) fn new(size: usize) -> Self {
        Self {
            bytes: Mutex::new(vec![0; size]),
            read_only: false,
            gate: Mutex::new(None),
            flushes: Mutex::default(),
        }
    }

    pub(super) fn read_only(size: usize) -> Self {
        Self {
            read_only: true,
            ..Self::new(size)
        }
    }

    /// Makes reads at `offset` wait until the sender has sent.
    pub(super) fn hold(&self, offset: u64) -> Sender<()> {
        let (sender, receiver) = channel();
        *self.gate.lock() = Some((offset, receiver));
        sender
    }
}

fn index(position: ByteLen) -> usize {
    usize::try_from(position.get()).unwrap()
}

impl Export for Arc<Ram> {
    fn size(&self) -> ByteLen {
        ByteLen::new(self.bytes.lock().len().try_into().unwrap())
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn can_trim(&self) -> bool {
        true
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        let gate = self.gate.lock().take_if(|gate| gate.0 == offset.get());
        if let Some((_, receiver)) = gate {
            receiver.recv().unwrap();
        }
        buf.copy_from_slice(&self.bytes.lock()[index(offset)..][..buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        if buf.starts_with(b"fail") {
            return Err(ExportError::new(ErrorNumber::Io, "the medium is broken"));
        }
        self.bytes.lock()[index(offset)..][..buf.len()].copy_from_slice(buf);
        self.flushes.lock().push("write");
        Ok(())
    }

    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        if request.fast_only {
            return Err(ExportError::new(ErrorNumber::NotSupported, "not fast"));
        }
        self.bytes.lock()[index(offset)..][..index(length)].fill(0);
        self.flushes
            .lock()
            .push(if request.may_free { "free" } else { "zero" });
        Ok(())
    }

    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.bytes.lock()[index(offset)..][..index(length)].fill(0);
        self.flushes.lock().push("trim");
        Ok(())
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.flushes.lock().push("flush");
        Ok(())
    }

    /// Alternates between data and hole every 1000 bytes.
    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        let mut at = offset.get();
        while at < offset.get() + length.get() {
            let next = (at / 1000 + 1) * 1000;
            let state = if (at / 1000).is_multiple_of(2) {
                BlockState::Data
            } else {
                BlockState::Hole
            };
            if let ControlFlow::Break(()) = visit(ByteLen::new(next - at), state) {
                break;
            }
            at = next;
        }
        Ok(())
    }
}

/// A reply in the transmission phase.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Simple {
        cookie: u64,
        error: u32,
    },
    Chunk {
        cookie: u64,
        kind: u16,
        payload: Vec<u8>,
    },
}

/// The client's end, and the session that serves it.
pub(super) struct Client {
    to_server: Arc<Pipe>,
    from_server: Arc<Pipe>,
    pub(super) shared: Arc<Shared>,
    session: Option<JoinHandle<Result<(), SessionError>>>,
}

impl Client {
    /// Connects to a server with these exports.
    pub(super) fn new(exports: Vec<(&str, Arc<Ram>)>) -> Self {
        Self::with_limits(exports, Limits::default())
    }

    pub(super) fn with_limits(exports: Vec<(&str, Arc<Ram>)>, limits: Limits) -> Self {
        let entries = exports
            .into_iter()
            .map(|(name, ram)| Entry {
                name: name.to_owned(),
                description: format!("about {name}"),
                export: Arc::new(ram),
            })
            .collect();
        let shared = Arc::new(Shared::new(ExportTable::new(entries), limits));
        let (to_server, from_server) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        let stream = Duplex {
            incoming: Arc::clone(&to_server),
            outgoing: Arc::clone(&from_server),
        };
        let session = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let result = run(&stream, &shared, |_| {});
                stream.outgoing.close();
                result
            })
        };
        Self {
            to_server,
            from_server,
            shared,
            session: Some(session),
        }
    }

    /// Connects, and says hello with the usual flags.
    pub(super) fn greeted(exports: Vec<(&str, Arc<Ram>)>) -> Self {
        let mut client = Self::new(exports);
        client.greet(3);
        client
    }

    /// Connects to one export and enters transmission, with structured replies and base:allocation.
    pub(super) fn ready(ram: &Arc<Ram>) -> Self {
        let mut client = Self::greeted(vec![("disk", Arc::clone(ram))]);
        assert_eq!(client.option(8, &[]), [(1, vec![])]);
        assert_eq!(
            client
                .option(10, &contexts("disk", &["base:allocation"]))
                .len(),
            2
        );
        assert_eq!(client.option(7, &info("disk", &[])).len(), 2);
        client
    }

    pub(super) fn greet(&mut self, flags: u32) {
        assert_eq!(self.read(18), b"NBDMAGICIHAVEOPT\0\x03");
        self.send(&flags.to_be_bytes());
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        // A session that has ended already is seen by what it says at the end.
        let _ = self.to_server.write(bytes);
    }

    pub(super) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let count = self.from_server.read(&mut bytes[done..]);
            assert_ne!(
                count, 0,
                "the server hung up after {done} of {length} bytes"
            );
            done += count;
        }
        bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.read(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.read(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.read(8).try_into().unwrap())
    }

    pub(super) fn send_option(&mut self, option: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        self.send(b"IHAVEOPT");
        self.send(&option.to_be_bytes());
        self.send(&length.to_be_bytes());
        self.send(data);
    }

    /// Sends an option and returns all replies up to the final one, as type and data.
    pub(super) fn option(&mut self, option: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send_option(option, data);
        let mut replies = Vec::new();
        loop {
            assert_eq!(self.u64(), 0x0003_e889_0455_65a9);
            assert_eq!(self.u32(), option);
            let kind = self.u32();
            let length = self.u32();
            let data = self.read(length as usize);
            replies.push((kind, data));
            if kind == 1 || kind >= 1 << 31 {
                return replies;
            }
        }
    }

    /// The type of the final reply to an option.
    pub(super) fn verdict(&mut self, option: u32, data: &[u8]) -> u32 {
        self.option(option, data).last().unwrap().0
    }

    pub(super) fn request(
        &mut self,
        flags: u16,
        command: u16,
        cookie: u64,
        offset: u64,
        length: u32,
    ) {
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        self.send(&bytes);
    }

    /// Reads a reply of either kind, without the data behind a simple one.
    pub(super) fn reply(&mut self) -> Reply {
        match self.u32() {
            0x6744_6698 => {
                let error = self.u32();
                let cookie = self.u64();
                Reply::Simple { cookie, error }
            }
            0x668e_33ef => {
                assert_eq!(self.u16(), 1, "every chunk ends its reply");
                let kind = self.u16();
                let cookie = self.u64();
                let length = self.u32();
                let payload = self.read(length as usize);
                Reply::Chunk {
                    cookie,
                    kind,
                    payload,
                }
            }
            magic => panic!("no reply magic: {magic:#x}"),
        }
    }

    /// Reads a structured error: its number and text.
    pub(super) fn error(&mut self) -> (u32, String) {
        match self.reply() {
            Reply::Chunk {
                kind: 0x8001,
                payload,
                ..
            } => {
                let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
                let length = u16::from_be_bytes(payload[4..6].try_into().unwrap());
                let text = String::from_utf8(payload[6..].to_vec()).unwrap();
                assert_eq!(text.len(), usize::from(length));
                (number, text)
            }
            other => panic!("no error: {other:?}"),
        }
    }

    /// Hangs up without farewell, as far as the server can tell.
    pub(super) fn hang_up(&mut self) {
        self.to_server.close();
    }

    /// Takes no more answers: the server's attempts to send fail.
    pub(super) fn stop_listening(&mut self) {
        self.from_server.close();
    }

    /// Waits for the server to end the session. Returns what it still sent and how the session ended.
    pub(super) fn finish(mut self) -> (Vec<u8>, Result<(), SessionError>) {
        let result = self.session.take().unwrap().join().unwrap();
        let mut rest = Vec::new();
        let mut buf = [0; 4096];
        loop {
            match self.from_server.read(&mut buf) {
                0 => return (rest, result),
                count => rest.extend_from_slice(&buf[..count]),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.hang_up();
    }
}

fn counted(text: &str) -> Vec<u8> {
    let mut data = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    data.extend(text.as_bytes());
    data
}

/// The data of INFO and GO.
pub(super) fn info(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = counted(name);
    data.extend(u16::try_from(wanted.len()).unwrap().to_be_bytes());
    for kind in wanted {
        data.extend(kind.to_be_bytes());
    }
    data
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub(super) fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = counted(name);
    data.extend(u32::try_from(queries.len()).unwrap().to_be_bytes());
    for query in queries {
        data.extend(counted(query));
    }
    data
}
