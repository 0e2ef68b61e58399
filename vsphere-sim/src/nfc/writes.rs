//! Writes: parts with one number, and one reply after the last.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use vmdk_engine::Sector;
use vsphere_nfc::Compression;
use vsphere_nfc::wire::aio::{Direction, Io, MAX_EXTRA, Reply};

use super::channel::room;
use super::file::{FAILED, OpenDisk, PERMISSION, Refusal, refusal_of};
use super::peer::Peer;
use super::sender::Sender;
use crate::injection::{Injection, IoKind};
use crate::transcript::Event;

/// Replies are held back no longer than this.
const HOLD: Duration = Duration::from_millis(100);
/// The code for a host without memory, as observed in public logs.
pub(super) const NO_MEMORY: u32 = 5;

/// The writes of a session.
#[derive(Debug)]
pub(super) struct Writes {
    peer: Arc<Peer>,
    sender: Arc<Sender>,
    /// One at a time: what a host makes of parts of two writes in turn is not known, so no client may count on it.
    begun: Option<Begun>,
    held: Arc<Mutex<Held>>,
    /// Those that send replies that were held back for long enough.
    releasers: Vec<JoinHandle<()>>,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Begun {
    operation: u32,
    offset: u64,
    total: u32,
    received: u32,
    compression: u32,
    failed: bool,
}

impl Writes {
    pub(super) fn new(peer: &Arc<Peer>, sender: &Arc<Sender>) -> Self {
        Self {
            peer: Arc::clone(peer),
            sender: Arc::clone(sender),
            begun: None,
            held: Arc::default(),
            releasers: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Takes a part of a write. `disk` is none if there is no such handle.
    pub(super) fn add(
        &mut self,
        operation: u32,
        part: Io,
        extra: &[u8],
        disk: Option<&OpenDisk>,
    ) -> io::Result<()> {
        let is_first = self.begun.is_none();
        let begun = self.begun.get_or_insert(Begun {
            operation,
            offset: part.offset,
            total: part.total,
            received: 0,
            compression: part.compression,
            failed: false,
        });
        let follows = (operation, part.offset, part.total, part.part)
            == (begun.operation, begun.offset, begun.total, begun.received)
            && part.length > 0;
        let end = begun.received.checked_add(part.length);
        let Some(end) = end.filter(|end| follows && *end <= begun.total) else {
            return Err(io::Error::other(
                "the parts of a write do not follow each other",
            ));
        };
        begun.received = end;
        let is_last = end == begun.total;
        let result = if begun.failed {
            Ok(())
        } else {
            carry_out(&self.peer, part, extra, disk, is_first, &mut self.data)
        };
        if let Err(refusal) = result {
            begun.failed = true;
            let trailing = trailing(&self.peer);
            let follows = trailing.then_some(Reply::Io(Io::written(0, 0)));
            self.sender
                .refuse(operation, refusal.code, &refusal.text, follows.as_ref())?;
        }
        if is_last { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(begun) = self.begun.take().filter(|begun| !begun.failed) else {
            return Ok(());
        };
        self.peer.note(Event::Written {
            connection: self.peer.connection,
            operation: begun.operation,
            offset: begun.offset,
            length: begun.total,
            compression: begun.compression,
        });
        let reply = Reply::Io(Io::written(begun.offset, begun.total));
        let delayed = self.peer.happens(|injection| match injection {
            Injection::DelayedWriteReply { writes } => Some(*writes),
            _ => None,
        });
        self.held.lock().pass_a_write();
        match delayed {
            Some(writes) => self.hold(writes, begun.operation, reply)?,
            None => self.sender.send(&reply, begun.operation, &[])?,
        }
        self.release(|left| left == 0)
    }

    /// Sends a reply after so many further writes, or when none came for a while.
    fn hold(&mut self, writes: u32, operation: u32, reply: Reply) -> io::Result<()> {
        self.held.lock().0.push_back((writes, operation, reply));
        self.releasers.retain(|releaser| !releaser.is_finished());
        let (held, sender) = (Arc::clone(&self.held), Arc::clone(&self.sender));
        let releaser = thread::Builder::new().spawn(move || {
            thread::sleep(HOLD);
            // An error ends the connection, which others see.
            let _ = release(&held, &sender, |_| true);
        })?;
        self.releasers.push(releaser);
        Ok(())
    }

    /// Sends all replies that are held back.
    pub(super) fn release_all(&mut self) -> io::Result<()> {
        self.release(|_| true)
    }

    fn release(&mut self, is_due: impl Fn(u32) -> bool) -> io::Result<()> {
        release(&self.held, &self.sender, is_due)
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        for releaser in self.releasers.drain(..) {
            // Its panic was reported when it happened.
            let _ = releaser.join();
        }
    }
}

/// Replies that are held back: how many writes have to come first, the operation, the reply.
#[derive(Debug, Default)]
struct Held(VecDeque<(u32, u32, Reply)>);

impl Held {
    fn pass_a_write(&mut self) {
        for (left, ..) in &mut self.0 {
            *left = left.saturating_sub(1);
        }
    }
}

fn release(held: &Mutex<Held>, sender: &Sender, is_due: impl Fn(u32) -> bool) -> io::Result<()> {
    loop {
        let next = held.lock().0.pop_front_if(|(left, ..)| is_due(*left));
        let Some((_, operation, reply)) = next else {
            return Ok(());
        };
        sender.send(&reply, operation, &[])?;
    }
}

/// Whether an ordinary reply follows an error of a read or a write.
pub(super) fn trailing(peer: &Peer) -> bool {
    let planned = peer.site.injections.holds(|injection| match injection {
        Injection::ErrorReply { trailing } => Some(*trailing),
        _ => None,
    });
    planned.unwrap_or(false)
}

/// What injections have against a read or a write of so many bytes.
pub(super) fn injected(peer: &Peer, kind: IoKind, length: u32) -> Result<(), Refusal> {
    let error = peer.happens(|injection| match injection {
        Injection::IoError { on, code, text } if *on == kind => {
            Some(Refusal::new(*code, text.clone()))
        }
        Injection::OutOfMemory { above } if length > *above => Some(no_memory(length)),
        _ => None,
    });
    error.map_or(Ok(()), Err)
}

/// The text tells 24 bytes more than were asked for, as in public logs.
pub(super) fn no_memory(length: u32) -> Refusal {
    let bytes = u64::from(length) + 24;
    Refusal::new(
        NO_MEMORY,
        format!("Failed to allocate the requested {bytes} bytes"),
    )
}

fn carry_out(
    peer: &Peer,
    part: Io,
    extra: &[u8],
    disk: Option<&OpenDisk>,
    is_first: bool,
    data: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if is_first {
        injected(peer, IoKind::Write, part.total)?;
    }
    debug_assert_eq!(part.direction, Direction::Write);
    let disk = disk.ok_or_else(|| Refusal::new(FAILED, "there is no such handle"))?;
    if part.length as usize > MAX_EXTRA {
        return Err(Refusal::new(FAILED, "a part of a write is too long"));
    }
    if part.compression == 0 && part.sent != part.length {
        return Err(Refusal::new(FAILED, "a part of a write has two lengths"));
    }
    if !disk.writable {
        return Err(Refusal::new(
            PERMISSION,
            "the disk is open for reading only",
        ));
    }
    let start = part.offset.checked_add(u64::from(part.part));
    let start = start.ok_or_else(|| Refusal::new(FAILED, "there is no such offset"))?;
    disk.check(start, part.length.into())?;
    let compression = Compression::from_number(part.compression)
        .ok_or_else(|| Refusal::new(FAILED, "there is no such compression"))?;
    let bytes = if compression == Compression::None {
        extra
    } else {
        let data = room(data, part.length as usize);
        let unpacked = compression.decompress(extra, data);
        unpacked.map_err(|error| Refusal::new(FAILED, error.to_string()))?;
        data
    };
    let written = disk.disk.write_at(Sector::new(start / 512), bytes);
    written.map_err(|error| refusal_of(&error, "write"))?;
    disk.changed(start, part.length.into());
    Ok(())
}
