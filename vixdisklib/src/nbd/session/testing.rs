//! What the tests of sessions need: a stream in memory, an export in memory, and a client that checks nothing.

#![allow(
    clippy::big_endian_bytes,
    reason = "the client builds its messages by hand, so that the server's encoder is not its own judge"
)]

mod ram;
mod stream;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use super::handshake::Negotiated;
use super::{SessionError, Shared, TlsMode, run};
use crate::nbd::limits::Limits;
use crate::nbd::table::{Entry, ExportTable};
use crate::nbd::wire::reply::Framing;
pub(super) use ram::{Map, Ram};
use stream::{Duplex, Pipe, scramble};

/// What a client without wishes has negotiated about a writable export.
pub(super) fn negotiated(framing: Framing) -> Negotiated {
    let ram = Ram::new(512);
    let export = Arc::new(Arc::new(ram));
    let entry = Entry::new(String::new(), String::new(), export);
    Negotiated {
        flags: entry.flags(framing.has_chunks()),
        export: Arc::new(entry),
        framing,
        contexts: Vec::new(),
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

/// A chunk of a reply: whether it is the last, its type and what it carries.
pub(super) type Chunk = (bool, u16, Vec<u8>);

/// The client's end, and the session that serves it.
pub(super) struct Client {
    to_server: Arc<Pipe>,
    from_server: Arc<Pipe>,
    pub(super) shared: Arc<Shared>,
    session: Option<JoinHandle<Result<(), SessionError>>>,
    encrypted: bool,
    extended: bool,
    /// What the last extended chunk repeated of its request.
    pub(super) echoed_offset: u64,
}

impl Client {
    /// Connects to a server with these exports.
    pub(super) fn new(exports: Vec<(&str, Arc<Ram>)>) -> Self {
        Self::with_limits(exports, Limits::default())
    }

    pub(super) fn with_limits(exports: Vec<(&str, Arc<Ram>)>, limits: Limits) -> Self {
        Self::connect(exports, limits, TlsMode::Off)
    }

    pub(super) fn connect(exports: Vec<(&str, Arc<Ram>)>, limits: Limits, tls: TlsMode) -> Self {
        let entries = exports
            .into_iter()
            .map(|(name, ram)| Entry::new(name.to_owned(), format!("about {name}"), Arc::new(ram)))
            .collect();
        let shared = Arc::new(Shared::new(ExportTable::new(entries, None, None), limits));
        let (to_server, from_server) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        let stream = Duplex {
            incoming: Arc::clone(&to_server),
            outgoing: Arc::clone(&from_server),
            tls,
            encrypted: AtomicBool::new(false),
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
            encrypted: false,
            extended: false,
            echoed_offset: 0,
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

    /// The same with extended headers.
    pub(super) fn ready_extended(ram: &Arc<Ram>) -> Self {
        let mut client = Self::greeted(vec![("disk", Arc::clone(ram))]);
        client.extend();
        let query = contexts("disk", &["base:allocation"]);
        assert_eq!(client.verdict(10, &query), 1);
        assert_eq!(client.verdict(7, &info("disk", &[])), 1);
        client
    }

    /// Negotiates extended headers.
    pub(super) fn extend(&mut self) {
        assert_eq!(self.option(11, &[]), [(1, vec![])]);
        self.extended = true;
    }

    /// What follows the server's consent to STARTTLS.
    pub(super) fn start_tls(&mut self) {
        self.send(&[1]);
        self.encrypted = true;
    }

    pub(super) fn greet(&mut self, flags: u32) {
        assert_eq!(self.read(18), b"NBDMAGICIHAVEOPT\0\x03");
        self.send(&flags.to_be_bytes());
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        // A session that has ended already is seen by what it says at the end.
        let mut bytes = bytes.to_vec();
        if self.encrypted {
            scramble(&mut bytes);
        }
        let _ = self.to_server.write(&bytes);
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
        if self.encrypted {
            scramble(&mut bytes);
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
        length: u64,
    ) {
        let magic: u32 = if self.extended {
            0x21e4_1c71
        } else {
            0x2560_9513
        };
        let mut bytes = magic.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        match u32::try_from(length) {
            Ok(length) if !self.extended => bytes.extend(length.to_be_bytes()),
            _ => bytes.extend(length.to_be_bytes()),
        }
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
            magic => {
                let (cookie, (last, kind, payload)) = self.chunk_of(magic);
                assert!(last, "the only chunk of its reply");
                Reply::Chunk {
                    cookie,
                    kind,
                    payload,
                }
            }
        }
    }

    /// All chunks of one reply.
    pub(super) fn chunks(&mut self, cookie: u64) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        loop {
            let magic = self.u32();
            let (found, chunk) = self.chunk_of(magic);
            assert_eq!(found, cookie);
            let last = chunk.0;
            chunks.push(chunk);
            if last {
                return chunks;
            }
        }
    }

    fn chunk_of(&mut self, magic: u32) -> (u64, Chunk) {
        let expected = if self.extended {
            0x6e8a_278c
        } else {
            0x668e_33ef
        };
        assert_eq!(magic, expected, "{magic:#x}");
        let flags = self.u16();
        assert!(flags < 2);
        let kind = self.u16();
        let cookie = self.u64();
        let length = if self.extended {
            self.echoed_offset = self.u64();
            self.u64()
        } else {
            u64::from(self.u32())
        };
        let payload = self.read(usize::try_from(length).unwrap());
        (cookie, (flags == 1, kind, payload))
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

/// The payload of a block status request with extended headers.
pub(super) fn status_payload(length: u64, ids: &[u64]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    for id in ids {
        bytes.extend(&id.to_be_bytes()[4..]);
    }
    bytes
}

/// A number as it goes over the wire.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
