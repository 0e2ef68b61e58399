//! Reads: several of a session at the same time, each in parts.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use vmdk_engine::Sector;
use vsphere_nfc::Compression;
use vsphere_nfc::wire::aio::{Direction, Io, Reply};

use super::channel::room;
use super::file::{FAILED, OpenDisk, refusal_of};
use super::peer::Peer;
use super::sender::Sender;
use crate::budget::Share;
use crate::injection::{FragmentFault, Injection};
use crate::random;

/// A read that was asked for.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) operation: u32,
    pub(super) disk: Arc<OpenDisk>,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) compression: Compression,
    /// The memory of the host that it takes until it is done.
    pub(super) _memory: Share,
}

/// The threads that read for a session, and what waits for them.
#[derive(Debug)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    limit: usize,
}

#[derive(Debug)]
struct Shared {
    peer: Arc<Peer>,
    sender: Arc<Sender>,
    /// The length of a part.
    part: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Read>,
    running: usize,
    closed: bool,
    failed: bool,
}

impl Readers {
    pub(super) fn new(peer: &Arc<Peer>, sender: &Arc<Sender>, part: u32) -> Self {
        Self {
            shared: Arc::new(Shared {
                peer: Arc::clone(peer),
                sender: Arc::clone(sender),
                part,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            threads: Vec::new(),
            limit: peer.site.limits.parallel_reads.max(1),
        }
    }

    /// Queues a read.
    pub(super) fn add(&mut self, read: Read) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        if state.failed {
            return Err(io::Error::other("a reply could not be sent"));
        }
        let shuffled = self.shared.peer.site.injections.holds(is_shuffle).is_some();
        let place = if shuffled {
            random::below(state.waiting.len() + 1)
        } else {
            state.waiting.len()
        };
        state.waiting.insert(place, read);
        let busy = state.running + state.waiting.len();
        drop(state);
        self.shared.changed.notify_one();
        if busy > self.threads.len() && self.threads.len() < self.limit {
            let shared = Arc::clone(&self.shared);
            self.threads
                .push(thread::Builder::new().spawn(move || shared.work())?);
        }
        Ok(())
    }

    /// Waits until all reads are done.
    pub(super) fn settle(&self) {
        let mut state = self.shared.state.lock();
        while state.running > 0 || !(state.waiting.is_empty() || state.failed) {
            self.shared.changed.wait(&mut state);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.closed = true;
            state.waiting.clear();
        }
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn is_shuffle(injection: &Injection) -> Option<()> {
    (*injection == Injection::Shuffle).then_some(())
}

impl Shared {
    fn work(&self) {
        let mut buffers = Buffers::default();
        loop {
            let read = {
                let mut state = self.state.lock();
                loop {
                    if state.closed || state.failed {
                        return;
                    }
                    if let Some(read) = state.waiting.pop_front() {
                        state.running += 1;
                        break read;
                    }
                    self.changed.wait(&mut state);
                }
            };
            let sent = self.carry_out(&read, &mut buffers);
            drop(read);
            let mut state = self.state.lock();
            state.running -= 1;
            state.failed |= sent.is_err();
            self.changed.notify_all();
        }
    }

    fn carry_out(&self, read: &Read, buffers: &mut Buffers) -> io::Result<()> {
        let mut parts: Vec<u32> = (0..read.length).step_by(self.part as usize).collect();
        if self.peer.site.injections.holds(is_shuffle).is_some() {
            for position in (1..parts.len()).rev() {
                parts.swap(position, random::below(position + 1));
            }
        }
        for part in parts {
            let length = self.part.min(read.length - part);
            let (data, packed) = (
                room(&mut buffers.data, length as usize),
                &mut buffers.packed,
            );
            let sector = Sector::new((read.offset + u64::from(part)) / 512);
            if let Err(error) = read.disk.disk.read_at(sector, data) {
                let refusal = refusal_of(&error, "read");
                return self
                    .sender
                    .refuse(read.operation, FAILED, &refusal.text, None);
            }
            let compression = self.compress(read.compression, data, packed);
            let extra: &[u8] = if compression == Compression::None {
                data
            } else {
                packed
            };
            let reply = Io {
                handle_or_status: 0,
                direction: Direction::Read,
                compression: compression.number(),
                offset: read.offset,
                total: read.length,
                part,
                length,
                sent: u32::try_from(extra.len()).unwrap_or(u32::MAX),
            };
            self.send(read.operation, reply, extra)?;
        }
        Ok(())
    }

    /// How a part is sent; compressed it is in `packed`.
    fn compress(&self, wanted: Compression, data: &[u8], packed: &mut Vec<u8>) -> Compression {
        if wanted == Compression::None || self.peer.is(&Injection::Uncompressed) {
            return Compression::None;
        }
        if wanted == Compression::SkipZ && self.peer.is(&Injection::RawSkipZ) {
            packed.clear();
            packed.extend_from_slice(data);
            return wanted;
        }
        if wanted.compress(data, packed) {
            wanted
        } else {
            Compression::None
        }
    }

    fn send(&self, operation: u32, mut reply: Io, extra: &[u8]) -> io::Result<()> {
        let bytes = self.peer.happens(|injection| match injection {
            Injection::DisconnectInRead { bytes } => Some(*bytes),
            _ => None,
        });
        if let Some(bytes) = bytes {
            let head = Reply::Io(reply).encode(operation);
            let extra = &extra[..extra.len().min(bytes as usize)];
            return self.sender.break_off(&head, extra);
        }
        let fault = self.peer.happens(|injection| match injection {
            Injection::BadFragment { fault } => Some(*fault),
            _ => None,
        });
        let damaged;
        let extra = match fault {
            None => extra,
            Some(FragmentFault::Overlap) => {
                self.sender.send(&Reply::Io(reply), operation, extra)?;
                extra
            }
            Some(FragmentFault::OutOfRange) => {
                reply.part = reply.total.saturating_sub(reply.length).saturating_add(512);
                extra
            }
            Some(FragmentFault::Empty) => {
                (reply.length, reply.sent, reply.compression) = (0, 0, 0);
                &[]
            }
            Some(FragmentFault::Length) => {
                // What is told is consistent, but not what was promised.
                let shorter = &extra[..extra.len() / 2];
                reply.sent = u32::try_from(shorter.len()).unwrap_or(u32::MAX);
                if reply.compression == 0 {
                    reply.compression = Compression::Zlib.number();
                }
                shorter
            }
            Some(FragmentFault::Data) => {
                if reply.compression == 0 {
                    reply.compression = Compression::Zlib.number();
                }
                damaged = extra.iter().map(|byte| !byte).collect::<Vec<u8>>();
                &damaged
            }
        };
        self.sender.send(&Reply::Io(reply), operation, extra)
    }
}

/// What one thread reads into.
#[derive(Debug, Default)]
struct Buffers {
    data: Vec<u8>,
    packed: Vec<u8>,
}
