//! Replies of an open session: in order, late if the host is far away, broken if somebody wants it so.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vsphere_nfc::wire::aio::{ErrorReply, HEADER, Reply};

use super::channel::Channel;
use super::peer::{Peer, sleep};
use crate::injection::{HeaderField, Injection};
use crate::transcript::Event;

/// So many bytes may be on their way to a client far away.
const MAX_QUEUED: usize = 64 << 20;

/// Sends replies. Several threads may, at the same time.
#[derive(Debug)]
pub(super) struct Sender {
    peer: Arc<Peer>,
    channel: Arc<Channel>,
    /// What is on its way, if the way is long.
    queue: Option<Arc<Queue>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// When a line with an injected bandwidth is free again.
    free: Mutex<Instant>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    closed: bool,
}

impl Sender {
    pub(super) fn new(peer: Arc<Peer>, channel: Arc<Channel>) -> io::Result<Self> {
        let is_far = !peer.site.latency.is_zero();
        let queue = is_far.then(Arc::<Queue>::default);
        let thread = match &queue {
            None => None,
            Some(queue) => {
                let (queue, channel) = (Arc::clone(queue), Arc::clone(&channel));
                Some(thread::Builder::new().spawn(move || queue.deliver(&channel))?)
            }
        };
        Ok(Self {
            peer,
            channel,
            queue,
            thread: Mutex::new(thread),
            free: Mutex::new(Instant::now()),
        })
    }

    /// Sends a reply and what follows it.
    ///
    /// # Errors
    /// After one, nobody can go on with the connection, and it has ended.
    pub(super) fn send(&self, reply: &Reply, operation: u32, extra: &[u8]) -> io::Result<()> {
        let sent = self.try_send(reply, operation, extra);
        if sent.is_err() {
            self.finish();
            self.channel.cut();
        }
        sent
    }

    fn try_send(&self, reply: &Reply, operation: u32, extra: &[u8]) -> io::Result<()> {
        self.peer.message()?;
        let mut head = reply.encode(operation);
        self.hold_back(head.len() + extra.len());
        let field = self.peer.happens(|injection| match injection {
            Injection::BadHeader { field } => Some(*field),
            _ => None,
        });
        match field {
            Some(HeaderField::Magic) => head[0] ^= 0xff,
            Some(HeaderField::Kind) => head[4..8].copy_from_slice(&[99, 0, 0, 0]),
            Some(HeaderField::Operation) => head[15] ^= 0x80,
            None => {}
        }
        if self.peer.is(&Injection::TruncatedFrame) {
            return self.break_off(&head[..HEADER / 2], &[]);
        }
        self.write(head, extra)
    }

    /// Sends a part of a message, and ends the connection.
    pub(super) fn break_off(&self, head: &[u8], extra: &[u8]) -> io::Result<()> {
        self.write(head.to_vec(), extra)?;
        self.finish();
        self.channel.cut();
        Err(io::Error::other("ended by an injection"))
    }

    /// Refuses an operation. `follows` is the reply that hosts send after that, unless they do not.
    pub(super) fn refuse(
        &self,
        operation: u32,
        code: u32,
        text: &str,
        follows: Option<&Reply>,
    ) -> io::Result<()> {
        self.peer.note(Event::Refused {
            connection: self.peer.connection,
            operation,
            code,
            text: text.to_owned(),
        });
        let error = ErrorReply {
            code,
            detail: 0,
            text: u32::try_from(text.len()).unwrap_or_default(),
        };
        self.send(&Reply::Error(error), operation, text.as_bytes())?;
        match follows {
            Some(reply) => self.send(reply, operation, &[]),
            None => Ok(()),
        }
    }

    /// What injections make of the time that a message takes.
    fn hold_back(&self, bytes: usize) {
        let stall = self.peer.happens(|injection| match injection {
            Injection::Stall { time } => Some(*time),
            _ => None,
        });
        sleep(stall.unwrap_or_default() + self.peer.delay());
        let rate = self
            .peer
            .site
            .injections
            .holds(|injection| match injection {
                Injection::Bandwidth { bytes } => Some((*bytes).max(1)),
                _ => None,
            });
        if let Some(rate) = rate {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let time = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
            let end = {
                // One message after another, whoever sends them.
                let mut free = self.free.lock();
                *free = (*free).max(Instant::now()) + time;
                *free
            };
            sleep(end.saturating_duration_since(Instant::now()));
        }
    }

    fn write(&self, mut head: Vec<u8>, extra: &[u8]) -> io::Result<()> {
        match &self.queue {
            None => self.channel.send(&head, extra),
            Some(queue) => {
                head.extend_from_slice(extra);
                queue.push(Instant::now() + self.peer.site.latency, head)
            }
        }
    }

    /// Waits until everything is sent.
    pub(super) fn finish(&self) {
        if let Some(queue) = &self.queue {
            queue.state.lock().closed = true;
            queue.changed.notify_all();
        }
        if let Some(thread) = self.thread.lock().take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn push(&self, due: Instant, message: Vec<u8>) -> io::Result<()> {
        let mut state = self.state.lock();
        while state.bytes > MAX_QUEUED && !state.closed {
            self.changed.wait(&mut state);
        }
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.bytes += message.len();
        state.messages.push_back((due, message));
        self.changed.notify_all();
        Ok(())
    }

    /// Sends each message when it is due.
    fn deliver(&self, channel: &Channel) {
        loop {
            let (due, message) = {
                let mut state = self.state.lock();
                loop {
                    if let Some(next) = state.messages.pop_front() {
                        break next;
                    }
                    if state.closed {
                        return;
                    }
                    self.changed.wait(&mut state);
                }
            };
            sleep(due.saturating_duration_since(Instant::now()));
            let sent = channel.send(&message, &[]);
            let mut state = self.state.lock();
            state.bytes -= message.len();
            if sent.is_err() {
                state.closed = true;
                state.messages.clear();
            }
            self.changed.notify_all();
        }
    }
}
