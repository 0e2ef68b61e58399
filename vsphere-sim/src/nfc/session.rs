//! An open session: one request after another, whose replies come in any order.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use vsphere_nfc::Compression;
use vsphere_nfc::wire::aio::{
    DdbValue, Direction, FileOpened, HEADER, Header, Io, OpenFile, OpenSession, Reply, Request,
    SocketOptions,
};

use super::blocks;
use super::channel::{Channel, room};
use super::file::{FAILED, OpenDisk, Refusal};
use super::peer::Peer;
use super::reads::{Read, Readers};
use super::sender::Sender;
use super::writes::{NO_MEMORY, Writes, injected, no_memory, trailing};
use crate::budget::Share;
use crate::injection::{Injection, IoKind};
use crate::transcript::Event;
use crate::world::Ticket;

/// What a session has that does not say: bytes of a buffer.
const BUFFER: u32 = 64 << 10;
/// The code for requests that are not known; a convention of this simulator.
const UNSUPPORTED: u32 = 6;
/// A message that no client knows, for the change of a host.
const UNASKED: u32 = 16;

/// So many opened disks have different handles.
const MAX_HANDLES: u32 = 1 << 30;
/// So many disks of a session may be open.
const MAX_DISKS: usize = 64;

/// A session.
pub(super) struct Session {
    peer: Arc<Peer>,
    channel: Arc<Channel>,
    ticket: Ticket,
    disks: HashMap<u64, Arc<OpenDisk>>,
    /// The number of the last disk.
    opened: u32,
    /// None until the session is open.
    open: Option<Open>,
}

/// What a session has from its begin on.
struct Open {
    readers: Readers,
    writes: Writes,
    /// The memory and the place that it takes.
    _shares: [Share; 2],
}

/// Whether another request follows.
enum Next {
    GoOn,
    End,
}

impl Session {
    pub(super) fn new(peer: Arc<Peer>, channel: Arc<Channel>, ticket: Ticket) -> Self {
        Self {
            peer,
            channel,
            ticket,
            disks: HashMap::new(),
            opened: 0,
            open: None,
        }
    }

    /// Carries out requests until the client closes the session.
    pub(super) fn run(mut self) -> io::Result<&'static str> {
        let sender = Sender::new(Arc::clone(&self.peer), Arc::clone(&self.channel))?;
        let sender = Arc::new(sender);
        let result = self.serve(&sender);
        if result.is_err() {
            // Nobody waits for what else there is to say.
            self.channel.cut();
        }
        // In this order: what reads and sends ends before the disks close.
        self.open = None;
        sender.finish();
        for (_, disk) in self.disks.drain() {
            close(disk);
        }
        result.map(|()| "closed by the client")
    }

    fn serve(&mut self, sender: &Arc<Sender>) -> io::Result<()> {
        let mut payload = Vec::new();
        let mut extra = Vec::new();
        loop {
            let mut header = [0; HEADER];
            self.channel.read_exact(&mut header)?;
            let header = Header::decode(&header).map_err(io::Error::other)?;
            let payload = room(&mut payload, header.size as usize);
            self.channel.read_exact(payload)?;
            let request = Request::decode(header.kind, payload).map_err(io::Error::other)?;
            // It was bounded by its decoding.
            let extra = room(&mut extra, request.extra() as usize);
            self.channel.read_exact(extra)?;
            self.peer.message()?;
            self.interrupt(sender)?;
            if let Next::End = self.carry_out(sender, &request, header.operation, extra)? {
                return Ok(());
            }
        }
    }

    /// What may happen to an open session at any request.
    fn interrupt(&self, sender: &Sender) -> io::Result<()> {
        let switch = self.peer.happens(|injection| match injection {
            Injection::HostSwitch { message } => Some(*message),
            _ => None,
        });
        match switch {
            Some(true) => {
                let mut message = Reply::SetResourcePool(0).encode(u32::MAX);
                message[4..8].copy_from_slice(&UNASKED.to_le_bytes());
                self.peer.message()?;
                self.channel.send(&message, &[])?;
            }
            Some(false) => {
                sender.finish();
                self.peer.site.switch_host()?;
                return Err(io::Error::other("the machine moved to another host"));
            }
            None => {}
        }
        let in_maintenance = self
            .peer
            .site
            .injections
            .holds(|injection| match injection {
                Injection::Maintenance { .. } => Some(()),
                _ => None,
            });
        match in_maintenance {
            Some(()) => Err(io::Error::other("the host goes into maintenance")),
            None => Ok(()),
        }
    }

    fn carry_out(
        &mut self,
        sender: &Arc<Sender>,
        request: &Request,
        operation: u32,
        extra: &[u8],
    ) -> io::Result<Next> {
        if let Request::OpenSession(wanted) = request {
            self.open_session(sender, *wanted, operation)?;
            return Ok(Next::GoOn);
        }
        if let Request::Io(part) = request
            && part.direction == Direction::Write
        {
            let disk = self.disks.get(&part.handle_or_status).cloned();
            let open = self.open.as_mut().ok_or_else(not_open)?;
            open.writes.add(operation, *part, extra, disk.as_deref())?;
            return Ok(Next::GoOn);
        }
        if let Some(open) = &mut self.open {
            open.writes.release_all()?;
        }
        match request {
            Request::SetSocketOptions(_) => {
                sender.send(
                    &Reply::SetSocketOptions(SocketOptions::OF_ESXI),
                    operation,
                    &[],
                )?;
            }
            Request::SetResourcePool(pool) => {
                sender.send(&Reply::SetResourcePool(*pool), operation, &[])?;
            }
            Request::OpenFile(open) => self.open_file(sender, *open, operation, extra)?,
            Request::CloseFile(close) => {
                self.close_file(close.handle);
                sender.send(&Reply::CloseFile(*close), operation, &[])?;
            }
            Request::Io(read) => self.read(sender, *read, operation)?,
            Request::DdbGet(get) => {
                let key = String::from_utf8_lossy(extra).into_owned();
                let disk = self.disks.get(&get.handle);
                match disk.map(|disk| disk.disk.metadata(&key).unwrap_or_default()) {
                    Some(value) => {
                        let length = u32::try_from(value.len()).unwrap_or_default();
                        let reply = Reply::DdbValue(DdbValue { value: length });
                        sender.send(&reply, operation, value.as_bytes())?;
                    }
                    None => refuse(sender, operation, &no_handle())?,
                }
                self.peer.note(Event::Metadata {
                    connection: self.peer.connection,
                    key,
                });
            }
            Request::QueryBlocks(query) => {
                self.peer.note(Event::Blocks {
                    connection: self.peer.connection,
                    offset: query.start,
                    chunk: query.chunk,
                    count: query.count,
                });
                let disk = self.disks.get(&query.handle).ok_or_else(no_handle);
                let unable = self.peer.is(&Injection::NoBlocks);
                let disk = disk.and_then(|disk| {
                    let refusal = Refusal::new(UNSUPPORTED, "not supported for this disk");
                    if unable { Err(refusal) } else { Ok(disk) }
                });
                match disk.and_then(|disk| blocks::allocated(disk, *query)) {
                    Ok((bitmap, bits)) => sender.send(&Reply::Blocks(bitmap), operation, &bits)?,
                    Err(refusal) => refuse(sender, operation, &refusal)?,
                }
            }
            Request::CloseSession(close) => {
                if let Some(open) = &self.open {
                    open.readers.settle();
                }
                self.peer.note(Event::SessionClosed {
                    connection: self.peer.connection,
                });
                sender.send(&Reply::CloseSession(*close), operation, &[])?;
                return Ok(Next::End);
            }
            _ => refuse(sender, operation, &Refusal::new(UNSUPPORTED, "unsupported"))?,
        }
        Ok(Next::GoOn)
    }

    fn open_session(
        &mut self,
        sender: &Arc<Sender>,
        wanted: OpenSession,
        operation: u32,
    ) -> io::Result<()> {
        match self.begin(sender, wanted) {
            Ok(open) => {
                self.open = Some(open);
                self.peer.note(Event::SessionOpened {
                    connection: self.peer.connection,
                    buffer_size: wanted.buffer_size,
                    buffer_count: wanted.buffer_count,
                });
                sender.send(&Reply::SessionOpened, operation, &[])
            }
            Err(refusal) => refuse(sender, operation, &refusal),
        }
    }

    fn begin(&mut self, sender: &Arc<Sender>, wanted: OpenSession) -> Result<Open, Refusal> {
        let site = &self.peer.site;
        let part = if wanted.buffer_size == 0 {
            BUFFER
        } else {
            wanted.buffer_size
        };
        let small = self.peer.happens(|injection| match injection {
            Injection::SmallBuffers { limit } if part > *limit => Some(*limit),
            _ => None,
        });
        let memory = u64::from(part.max(BUFFER)) * u64::from(wanted.buffer_count.max(1));
        if !part.is_multiple_of(512) {
            return Err(Refusal::new(
                FAILED,
                format!("a buffer of {part} bytes is not whole sectors"),
            ));
        }
        let too_much = u64::from(part) > site.limits.buffer_size
            || memory > site.limits.session_memory
            || small.is_some();
        if too_much {
            return Err(Refusal::new(
                FAILED,
                format!("the buffer size {part} is not accepted"),
            ));
        }
        if self.peer.is(&Injection::SessionRefused) {
            return Err(no_memory(part));
        }
        // A session that is opened again has other buffers then.
        self.open = None;
        let place = site.sessions_left.take(1);
        let place = place.ok_or_else(|| Refusal::new(NO_MEMORY, "too many sessions"))?;
        let share = site.memory.take(memory).ok_or_else(|| no_memory(part))?;
        Ok(Open {
            readers: Readers::new(&self.peer, sender, part),
            writes: Writes::new(&self.peer, sender),
            _shares: [share, place],
        })
    }

    fn open_file(
        &mut self,
        sender: &Sender,
        request: OpenFile,
        operation: u32,
        path: &[u8],
    ) -> io::Result<()> {
        self.open.as_ref().ok_or_else(not_open)?;
        if self.disks.len() >= MAX_DISKS {
            return refuse(
                sender,
                operation,
                &Refusal::new(FAILED, "too many open disks"),
            );
        }
        self.opened = self.opened % MAX_HANDLES + 1;
        match OpenDisk::open(&self.peer, self.opened, &self.ticket, request, path) {
            Ok((disk, reply)) => {
                self.peer.note(Event::DiskOpened {
                    connection: self.peer.connection,
                    path: String::from_utf8_lossy(path).into_owned(),
                    flags: request.flags.0,
                });
                self.disks.insert(disk.handle, Arc::new(disk));
                sender.send(&Reply::FileOpened(reply), operation, &[])
            }
            Err(refusal) => {
                // As observed on ESXi 7.0.3, all zeroes.
                let zeroes = Reply::FileOpened(FileOpened::default());
                let planned = self
                    .peer
                    .site
                    .injections
                    .holds(|injection| match injection {
                        Injection::ErrorReply { trailing } => Some(*trailing),
                        _ => None,
                    });
                let follows = planned.unwrap_or(true).then_some(&zeroes);
                sender.refuse(operation, refusal.code, &refusal.text, follows)
            }
        }
    }

    fn read(&mut self, sender: &Sender, read: Io, operation: u32) -> io::Result<()> {
        self.peer.note(Event::Read {
            connection: self.peer.connection,
            operation,
            offset: read.offset,
            length: read.length,
            compression: read.compression,
        });
        match self.prepare(read, operation) {
            Ok(read) => self.open.as_mut().ok_or_else(not_open)?.readers.add(read),
            Err(refusal) => {
                let zeroes = Reply::Io(Io {
                    direction: Direction::Read,
                    ..Io::written(read.offset, 0)
                });
                let follows = trailing(&self.peer).then_some(&zeroes);
                sender.refuse(operation, refusal.code, &refusal.text, follows)
            }
        }
    }

    fn prepare(&self, read: Io, operation: u32) -> Result<Read, Refusal> {
        let disk = self
            .disks
            .get(&read.handle_or_status)
            .ok_or_else(no_handle)?;
        if (read.part, read.total, read.sent) != (0, read.length, read.length) {
            return Err(Refusal::new(FAILED, "the lengths of the read differ"));
        }
        disk.check(read.offset, read.length.into())?;
        injected(&self.peer, IoKind::Read, read.length)?;
        let compression = Compression::from_number(read.compression)
            .ok_or_else(|| Refusal::new(FAILED, "there is no such compression"))?;
        let memory = self.peer.site.memory.take(read.length.into());
        Ok(Read {
            operation,
            disk: Arc::clone(disk),
            offset: read.offset,
            length: read.length,
            compression,
            _memory: memory.ok_or_else(|| no_memory(read.length))?,
        })
    }

    fn close_file(&mut self, handle: u64) {
        if let Some(open) = &self.open {
            open.readers.settle();
        }
        if let Some(disk) = self.disks.remove(&handle) {
            close(disk);
            self.peer.note(Event::DiskClosed {
                connection: self.peer.connection,
            });
        }
    }
}

/// Makes durable what was written.
fn close(disk: Arc<OpenDisk>) {
    let closed = match Arc::try_unwrap(disk) {
        Ok(disk) => disk.disk.close(),
        Err(shared) => shared.disk.flush(),
    };
    if let Err(error) = closed {
        tracing::warn!(%error, "closing a disk failed");
    }
}

fn refuse(sender: &Sender, operation: u32, refusal: &Refusal) -> io::Result<()> {
    sender.refuse(operation, refusal.code, &refusal.text, None)
}

fn no_handle() -> Refusal {
    Refusal::new(FAILED, "there is no such handle")
}

fn not_open() -> io::Error {
    io::Error::other("the session is not open")
}
