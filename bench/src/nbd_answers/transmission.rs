//! Replies, as many as there are requests in one system call; long data goes from a file without being copied.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Result;
use super::content::{Content, PAGE};
use super::handshake::{CONTEXT, Framing};

const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668e_33ef;

/// Bytes of a request.
const REQUEST: usize = 28;
/// Bytes that are received at once.
const RECEIVE: usize = 64 << 10;
/// The most extents of one reply, and the longest of them.
const EXTENTS: usize = 1 << 17;
const LONGEST_EXTENT: u64 = (1 << 32) - (1 << 16);
/// A flag of block status requests: one extent is enough.
const ONE: u16 = 1 << 3;

mod command {
    pub(super) const READ: u16 = 0;
    pub(super) const DISCONNECT: u16 = 2;
    pub(super) const BLOCK_STATUS: u16 = 7;
}

mod chunk {
    pub(super) const DATA: u16 = 1;
    pub(super) const HOLE: u16 = 2;
    pub(super) const BLOCK_STATUS: u16 = 5;
}

struct Request {
    flags: u16,
    command: u16,
    cookie: [u8; 8],
    offset: u64,
    length: u32,
}

impl Request {
    fn decode(bytes: &[u8; REQUEST]) -> Result<Self> {
        let (magic, rest) = bytes.split_first_chunk().ok_or("a short request")?;
        let (flags, rest) = rest.split_first_chunk().ok_or("a short request")?;
        let (command, rest) = rest.split_first_chunk().ok_or("a short request")?;
        let (cookie, rest) = rest.split_first_chunk().ok_or("a short request")?;
        let (offset, rest) = rest.split_first_chunk().ok_or("a short request")?;
        let length = rest.first_chunk().ok_or("a short request")?;
        if u32::from_be_bytes(*magic) != REQUEST_MAGIC {
            return Err("this is no request".into());
        }
        Ok(Self {
            flags: u16::from_be_bytes(*flags),
            command: u16::from_be_bytes(*command),
            cookie: *cookie,
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
        })
    }
}

/// Answers until the client disconnects.
pub(crate) fn run(mut stream: &UnixStream, content: &Content, framing: Framing) -> Result {
    let mut received = vec![0; RECEIVE];
    let mut have = 0;
    let mut replies = Replies {
        stream,
        content,
        framing,
        heads: Vec::new(),
        bodies: Vec::new(),
    };
    loop {
        let read = stream.read(&mut received[have..])?;
        if read == 0 {
            return Ok(());
        }
        have += read;
        let (requests, rest) = received[..have].as_chunks();
        let (done, rest) = (have - rest.len(), rest.len());
        for request in requests {
            let request = Request::decode(request)?;
            if request.command == command::DISCONNECT {
                return replies.send();
            }
            replies.add(&request)?;
        }
        replies.send()?;
        received.copy_within(done..done + rest, 0);
        have = rest;
    }
}

/// Replies that were not sent yet.
struct Replies<'a> {
    stream: &'a UnixStream,
    content: &'a Content,
    framing: Framing,
    heads: Vec<u8>,
    /// So many bytes of data behind so many of the heads.
    bodies: Vec<(usize, usize)>,
}

impl Replies<'_> {
    fn add(&mut self, request: &Request) -> Result {
        let length = usize::try_from(request.length)?;
        let (is_hole, end) = self.content.at(request.offset);
        match (request.command, self.framing) {
            (command::READ, Framing::Simple) => {
                self.heads.extend(SIMPLE_MAGIC.to_be_bytes());
                self.heads.extend([0; 4]);
                self.heads.extend(request.cookie);
            }
            (command::READ, Framing::Structured) => {
                let is_hole = is_hole && end >= request.offset + u64::from(request.length);
                if is_hole {
                    self.chunk(request, chunk::HOLE, 12)?;
                } else {
                    self.chunk(request, chunk::DATA, 8 + length)?;
                }
                self.heads.extend(request.offset.to_be_bytes());
                if is_hole {
                    self.heads.extend(request.length.to_be_bytes());
                    return Ok(());
                }
            }
            (command::BLOCK_STATUS, Framing::Structured) => return self.status(request),
            _ => return Err("a command that nobody measures".into()),
        }
        self.bodies.push((self.heads.len(), length));
        if length > PAGE {
            return self.send();
        }
        Ok(())
    }

    fn status(&mut self, request: &Request) -> Result {
        let most = if request.flags & ONE == 0 { EXTENTS } else { 1 };
        let (mut extents, mut count) = (Vec::new(), 0);
        let mut offset = request.offset;
        let end = offset + u64::from(request.length);
        while offset < end && count < most {
            let (is_hole, until) = self.content.at(offset);
            let length = (until.min(end) - offset).min(LONGEST_EXTENT);
            extents.extend(u32::try_from(length)?.to_be_bytes());
            // A hole that reads as zeros.
            extents.extend(if is_hole { 3_u32 } else { 0 }.to_be_bytes());
            offset += length;
            count += 1;
        }
        self.chunk(request, chunk::BLOCK_STATUS, 4 + extents.len())?;
        self.heads.extend(CONTEXT.to_be_bytes());
        self.heads.append(&mut extents);
        Ok(())
    }

    /// The head of the one chunk of a reply.
    fn chunk(&mut self, request: &Request, kind: u16, length: usize) -> Result {
        const DONE: u16 = 1;
        self.heads.extend(STRUCTURED_MAGIC.to_be_bytes());
        self.heads.extend(DONE.to_be_bytes());
        self.heads.extend(kind.to_be_bytes());
        self.heads.extend(request.cookie);
        self.heads.extend(u32::try_from(length)?.to_be_bytes());
        Ok(())
    }

    /// Sends all. Only the last body may be longer than a page.
    fn send(&mut self) -> Result {
        let long = self.bodies.pop_if(|(_, length)| *length > PAGE);
        let (mut slices, mut start) = (Vec::new(), 0);
        for (end, length) in self.bodies.drain(..) {
            slices.push(IoSlice::new(&self.heads[start..end]));
            slices.push(IoSlice::new(&self.content.page[..length]));
            start = end;
        }
        slices.push(IoSlice::new(&self.heads[start..]));
        // As many as one system call takes.
        for slices in slices.chunks_mut(1024) {
            write_all(self.stream, slices)?;
        }
        self.heads.clear();
        let (mut offset, mut left) = (0, long.map_or(0, |(_, length)| length));
        while left > 0 {
            let file = &self.content.file;
            left -= rustix::fs::sendfile(self.stream, file, Some(&mut offset), left)?;
        }
        Ok(())
    }
}

fn write_all(mut stream: &UnixStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let sent = stream.write_vectored(slices)?;
        IoSlice::advance_slices(&mut slices, sent);
    }
    Ok(())
}
