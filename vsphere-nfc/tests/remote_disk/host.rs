//! A host that keeps one disk in memory.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use vsphere_nfc::wire::aio::{
    Bitmap, DdbValue, Direction, ErrorReply, FileOpened, Geometry, HEADER, Header, Io, OpenFile,
    OpenFlags, QueryBlocks, Reply, Request, SocketOptions,
};
use vsphere_nfc::wire::classic::{FRAME, Frame};
use vsphere_nfc::{
    Budget, Compression, Dialed, Error, OpenOptions, RemoteDisk, Result, Sector, Timeouts,
};

pub(crate) const HANDLE: u64 = 0xFFFF_FFFF_8000_0001;
pub(crate) const PATH: &str = "[datastore1] vm/vm.vmdk";

/// What a client has sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) operation: u32,
    pub(crate) request: Request,
    pub(crate) extra: Vec<u8>,
}

/// What a test does with a message.
pub(crate) enum Verdict {
    /// What hosts do.
    Serve,
    /// The test has answered, or will.
    Served,
    HangUp,
}

type Script = dyn Fn(&mut Connection, &Message) -> io::Result<Verdict> + Send + Sync;

pub(crate) struct Host {
    pub(crate) data: Mutex<Vec<u8>>,
    pub(crate) ddb: HashMap<&'static str, &'static str>,
    pub(crate) flags: Mutex<Vec<OpenFlags>>,
    /// Largest buffers.
    pub(crate) buffers: (u32, u32),
    /// Writes as they came: operation, offset of the part, length of the part.
    pub(crate) writes: Mutex<Vec<(u32, u64, u32)>>,
    /// Connections.
    pub(crate) dials: AtomicUsize,
    /// Sessions that ended as they should.
    pub(crate) goodbyes: AtomicUsize,
    pub(crate) script: Box<Script>,
}

/// One client.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) host: Arc<Host>,
    /// Counted from 0.
    pub(crate) number: usize,
    pub(crate) buffer: u32,
    /// Held by tests that answer from several threads.
    pub(crate) turn: Arc<Mutex<()>>,
    /// For tests to remember messages.
    pub(crate) held: Vec<Message>,
}

impl Host {
    /// With a disk of so many sectors, all different.
    pub(crate) fn new(sectors: usize) -> Self {
        let mut data = vec![0; sectors * 512];
        for (number, sector) in data.chunks_mut(512).enumerate() {
            // Some of each sector is zero, and every eighth sector is.
            if number % 8 != 7 {
                sector[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
                sector[100..300].fill((number % 251) as u8);
            }
        }
        Self {
            data: Mutex::new(data),
            ddb: HashMap::from([("adapterType", "lsilogic"), ("uuid", "60 00 C2 9a")]),
            flags: Mutex::default(),
            buffers: (2 << 20, 4),
            writes: Mutex::default(),
            dials: AtomicUsize::new(0),
            goodbyes: AtomicUsize::new(0),
            script: Box::new(|_, _| Ok(Verdict::Serve)),
        }
    }

    pub(crate) fn script(
        mut self,
        script: impl Fn(&mut Connection, &Message) -> io::Result<Verdict> + Send + Sync + 'static,
    ) -> Arc<Self> {
        self.script = Box::new(script);
        Arc::new(self)
    }

    pub(crate) fn open(self: &Arc<Self>, options: &OpenOptions) -> Result<RemoteDisk> {
        let host = Arc::clone(self);
        RemoteDisk::open(move || host.dial(), PATH, options)
    }

    pub(crate) fn dial(self: &Arc<Self>) -> std::result::Result<Dialed, Error> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection {
            stream: theirs,
            host: Arc::clone(self),
            number: self.dials.fetch_add(1, Ordering::SeqCst),
            buffer: 0,
            turn: Arc::default(),
            held: Vec::new(),
        };
        thread::spawn(move || {
            // A client that hangs up is none of this thread's business.
            let _ = connection.serve();
            let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        });
        Ok(Dialed {
            stream: Box::new(ours),
            tag: Some(b"PlainText".to_vec()),
            host: "host.example".to_owned(),
        })
    }

    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    pub(crate) fn goodbyes(&self) -> usize {
        for _ in 0..200 {
            if self.goodbyes.load(Ordering::SeqCst) > 0 {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.goodbyes.load(Ordering::SeqCst)
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        self.data.lock().unwrap().clone()
    }
}

impl Connection {
    /// The same connection for another thread.
    pub(crate) fn another(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            host: Arc::clone(&self.host),
            turn: Arc::clone(&self.turn),
            held: Vec::new(),
            ..*self
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        self.shake_hands()?;
        while let Some(message) = self.receive()? {
            let host = Arc::clone(&self.host);
            match (host.script)(self, &message)? {
                Verdict::Serve => self.answer(&message)?,
                Verdict::Served => {}
                Verdict::HangUp => return Ok(()),
            }
        }
        Ok(())
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        assert_eq!(self.frame()?, Frame::ClientRandom(b"PlainText".to_vec()));
        assert_eq!(self.frame()?, Frame::Probe);
        let ours = Frame::Version {
            version: 11,
            second: 0,
        };
        assert_eq!(self.frame()?, ours);
        self.stream
            .write_all(&Frame::ProbeReply { knows_version: 1 }.encode())?;
        self.stream.write_all(&ours.encode())?;
        let connection = self.frame()?;
        let mut names = vec![0; connection.extra() as usize];
        self.stream.read_exact(&mut names)?;
        assert_eq!(names, b"vddknbdmode");
        assert_eq!(self.frame()?, Frame::Features(3));
        assert_eq!(self.frame()?, Frame::OpenAio);
        self.stream.write_all(&Frame::OpenAio.encode())
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let mut frame = [0; FRAME];
        self.stream.read_exact(&mut frame)?;
        Ok(Frame::decode(&frame).unwrap())
    }

    /// The next message; none when the client has said goodbye.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Message>> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        if header[..4] == [4, 0, 0, 0] {
            let mut rest = [0; FRAME - HEADER];
            self.stream.read_exact(&mut rest)?;
            assert_eq!(rest, [0; FRAME - HEADER]);
            self.host.goodbyes.fetch_add(1, Ordering::SeqCst);
            return Ok(None);
        }
        let header = Header::decode(&header).unwrap();
        let mut payload = vec![0; header.size as usize];
        self.stream.read_exact(&mut payload)?;
        let request = Request::decode(header.kind, &payload).unwrap();
        let mut extra = vec![0; request.extra() as usize];
        self.stream.read_exact(&mut extra)?;
        Ok(Some(Message {
            operation: header.operation,
            request,
            extra,
        }))
    }

    pub(crate) fn send(&mut self, operation: u32, reply: Reply, extra: &[u8]) -> io::Result<()> {
        self.stream.write_all(&reply.encode(operation))?;
        self.stream.write_all(extra)
    }

    pub(crate) fn refuse(&mut self, operation: u32, code: u32, text: &str) -> io::Result<()> {
        let error = ErrorReply {
            code,
            detail: 0,
            text: text.len() as u32,
        };
        self.send(operation, Reply::Error(error), text.as_bytes())
    }

    /// Does what hosts do.
    pub(crate) fn answer(&mut self, message: &Message) -> io::Result<()> {
        let operation = message.operation;
        match message.request {
            Request::OpenSession(open) => {
                let (size, count) = self.host.buffers;
                if open.buffer_size > size || open.buffer_count > count {
                    return self.refuse(operation, 5, "Failed to allocate the requested buffers");
                }
                self.buffer = open.buffer_size;
                self.send(operation, Reply::SessionOpened, &[])
            }
            Request::SetSocketOptions(_) => {
                let reply = Reply::SetSocketOptions(SocketOptions::OF_ESXI);
                self.send(operation, reply, &[])
            }
            Request::SetResourcePool(pool) => {
                self.send(operation, Reply::SetResourcePool(pool), &[])
            }
            Request::OpenFile(open) => {
                assert_eq!(message.extra, PATH.as_bytes());
                let opened = self.opened(open);
                self.send(operation, Reply::FileOpened(opened), &[])
            }
            Request::Io(io) if io.direction == Direction::Read => {
                for part in self.parts(io) {
                    self.send_part(operation, io, part)?;
                }
                Ok(())
            }
            Request::Io(io) => {
                if self.take_part(operation, io, &message.extra) {
                    self.send(operation, Reply::Io(Io::written(io.offset, io.total)), &[])?;
                }
                Ok(())
            }
            Request::DdbGet(_) => {
                let key = String::from_utf8(message.extra.clone()).unwrap();
                let value = self.host.ddb.get(key.as_str()).copied().unwrap_or_default();
                let reply = DdbValue {
                    value: value.len() as u32,
                };
                self.send(operation, Reply::DdbValue(reply), value.as_bytes())
            }
            Request::QueryBlocks(query) => self.send_blocks(operation, query),
            Request::CloseFile(close) => {
                assert_eq!(close.handle, HANDLE);
                self.send(operation, Reply::CloseFile(close), &[])
            }
            Request::CloseSession(close) => self.send(operation, Reply::CloseSession(close), &[]),
            _ => panic!("a message that no client sends: {message:?}"),
        }
    }

    pub(crate) fn opened(&self, open: OpenFile) -> FileOpened {
        self.host.flags.lock().unwrap().push(open.flags);
        FileOpened {
            status: 0,
            handle: HANDLE,
            file_type: open.file_type,
            flags: open.flags.0,
            capacity: self.host.data.lock().unwrap().len() as u64,
            sector_size: 512,
            geometry: Geometry {
                cylinders: 1,
                heads: 2,
                sectors: 3,
            },
        }
    }

    /// The parts of a read, as begin and length.
    pub(crate) fn parts(&self, io: Io) -> Vec<(u32, u32)> {
        let step = self.buffer as usize;
        let begins = (0..io.total).step_by(step);
        begins
            .map(|begin| (begin, self.buffer.min(io.total - begin)))
            .collect()
    }

    /// One part of a read, compressed as it was asked for.
    pub(crate) fn part(&self, io: Io, (begin, length): (u32, u32)) -> (Io, Vec<u8>) {
        let from = io.offset as usize + begin as usize;
        let raw = self.host.data.lock().unwrap()[from..from + length as usize].to_vec();
        let method = Compression::from_number(io.compression).unwrap();
        let mut small = Vec::new();
        let (method, extra) = if method.compress(&raw, &mut small) {
            (method, small)
        } else {
            (Compression::None, raw)
        };
        let reply = Io {
            handle_or_status: 0,
            compression: method.number(),
            part: begin,
            length,
            sent: extra.len() as u32,
            ..io
        };
        (reply, extra)
    }

    pub(crate) fn send_part(&mut self, operation: u32, io: Io, part: (u32, u32)) -> io::Result<()> {
        let (reply, extra) = self.part(io, part);
        self.send(operation, Reply::Io(reply), &extra)
    }

    /// Takes a part of a write; true if it was the last.
    pub(crate) fn take_part(&mut self, operation: u32, io: Io, extra: &[u8]) -> bool {
        assert_eq!(io.handle_or_status, HANDLE);
        assert!(io.length <= self.buffer, "{} bytes in one part", io.length);
        let mut part = vec![0; io.length as usize];
        let method = Compression::from_number(io.compression).unwrap();
        method.decompress(extra, &mut part).unwrap();
        let from = io.offset as usize + io.part as usize;
        self.host.data.lock().unwrap()[from..from + part.len()].copy_from_slice(&part);
        let write = (operation, from as u64, io.length);
        self.host.writes.lock().unwrap().push(write);
        io.part + io.length == io.total
    }

    /// A chunk holds data unless it is zero.
    fn send_blocks(&mut self, operation: u32, query: QueryBlocks) -> io::Result<()> {
        assert_eq!(query.start % query.chunk, 0);
        let bitmap = Bitmap::new(query.count).unwrap();
        let bits = {
            let data = self.host.data.lock().unwrap();
            let chunk = query.chunk as usize;
            let asked = data[query.start as usize..].chunks(chunk);
            let used = (0..query.count).zip(asked);
            let used = used.filter(|(_, chunk)| chunk.iter().any(|byte| *byte != 0));
            bitmap.pack(used.map(|(number, _)| number..number + 1))
        };
        self.send(operation, Reply::Blocks(bitmap), &bits)
    }
}

/// For reading, with a budget of its own, and a host that may be silent for a while only.
pub(crate) fn options() -> OpenOptions {
    let mut timeouts = Timeouts::default();
    timeouts.read = Duration::from_secs(20);
    OpenOptions::new()
        .timeouts(timeouts)
        .budget(Budget::new(Budget::DEFAULT))
}

pub(crate) fn impatient(patience: Duration) -> OpenOptions {
    let mut timeouts = Timeouts::default();
    timeouts.read = patience;
    options().timeouts(timeouts)
}

pub(crate) fn read(disk: &RemoteDisk, start: u64, sectors: usize) -> Result<Vec<u8>> {
    let mut data = vec![0xA5; sectors * 512];
    disk.read_at(Sector::new(start), &mut data)?;
    Ok(data)
}
