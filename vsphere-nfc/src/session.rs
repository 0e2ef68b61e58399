//! One connection on which disks are open: many requests in flight, answered in any order.
//!
//! ```text
//!   Session         what disks use: calls, reads, writes           session.rs begin.rs
//!    ├─ Sender      one message after another, numbered            send.rs
//!    ├─ Table       what is in flight, by number                   table.rs
//!    └─ Reader      a thread that receives and hands out           reader.rs incoming.rs parts.rs
//! ```
//!
//! Requests are sent by the threads that make them. Answers are received by one thread, straight to where they belong,
//! and what waits for them is called on it. When the connection ends, for whatever reason, everything in flight fails
//! with that reason.

mod begin;
mod incoming;
mod parts;
mod reader;
mod send;
mod table;

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::failure::Failure;
use crate::handshake;
use crate::stream::ByteStream;
use crate::wire::aio::{CloseFile, CloseSession, Io, Reply, Request};
use send::Sender;
use table::{Pending, Read, Table};

pub(crate) use send::Write;

/// What is called when a request is done. It runs on the thread that receives, or on the one that finds the connection
/// broken; it must not wait for another request.
pub(crate) type Done<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

/// Where the data of a read goes.
pub(crate) trait Target: Send {
    /// Lets `fill` fill a part of the request, told in bytes from its begin. It is within the request.
    fn fill_part(
        &mut self,
        part: Range<u32>,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure>;

    /// Everything was filled, or nothing more will be.
    fn finish(self: Box<Self>, result: Result<(), Failure>);
}

/// An answer that is no data of the disk: the message, and what followed it.
pub(crate) type Answer = (Reply, Vec<u8>);

pub(crate) struct Session {
    shared: Arc<Shared>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads that send and the one that receives have in common.
struct Shared {
    stream: Box<dyn ByteStream>,
    sender: Mutex<Sender>,
    table: Mutex<Table>,
    /// How long the host may be silent while requests are in flight.
    patience: Duration,
}

impl Session {
    /// Goes on after the handshake, with a thread that receives. `stream` must have a time-out for reading shorter than
    /// `patience`.
    fn start(stream: Box<dyn ByteStream>, patience: Duration) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            stream,
            sender: Mutex::default(),
            table: Mutex::default(),
            patience,
        });
        let receiving = Arc::clone(&shared);
        let reader = thread::Builder::new()
            .name("nfc-reader".to_owned())
            .spawn(move || reader::run(&receiving))?;
        Ok(Self {
            shared,
            reader: Mutex::new(Some(reader)),
        })
    }

    /// Sends a request; `done` gets the answer.
    pub(crate) fn call(&self, request: &Request, extra: &[u8], done: Done<Answer>) {
        let pending = Pending::Call {
            kind: request.kind(),
            done,
        };
        self.shared.send(pending, |operation, outgoing| {
            outgoing.message(&request.encode(operation), extra)
        });
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn call_and_wait(&self, request: &Request, extra: &[u8]) -> Result<Answer, Failure> {
        let (done, result) = one_shot();
        self.call(request, extra, done);
        result()
    }

    /// Asks for data; it goes to `target` in parts, as it comes.
    pub(crate) fn read(&self, request: Io, target: Box<dyn Target>) {
        let pending = Pending::Read(Read::new(request.offset, request.total, target));
        self.shared.send(pending, |operation, outgoing| {
            outgoing.message(&Request::Io(request).encode(operation), &[])
        });
    }

    /// Sends data; `done` is called when the host has all of it. It was sent when this returns.
    pub(crate) fn write(&self, write: &Write<'_>, done: Done<()>) {
        let pending = Pending::Write {
            offset: write.offset,
            length: write.length(),
            done,
        };
        let parts = write.compress();
        self.shared.send(pending, |operation, outgoing| {
            for part in &parts {
                outgoing.message(&Request::Io(part.io).encode(operation), part.data())?;
            }
            Ok(())
        });
    }

    /// Why the connection is of no more use, if so.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.shared.table.lock().failure()
    }

    /// Ends the connection at once. What is in flight fails with `failure`.
    pub(crate) fn end(&self, failure: Failure) {
        self.shared.end(failure);
    }

    /// Closes the disk and the session, says goodbye, and waits until the thread that receives has ended. When the
    /// connection is broken nothing is said.
    ///
    /// Once the host has closed the disk everything is safe; it may hang up before the rest is said.
    pub(crate) fn close(&self, handle: u64) -> Result<(), Failure> {
        let close_file = Request::CloseFile(CloseFile {
            handle,
            long: false,
        });
        let closed = self.call_and_wait(&close_file, &[]).map(drop);
        if closed.is_ok()
            && let Err(failure) = self.leave()
        {
            tracing::debug!(%failure, "the host ended the session first");
        }
        self.shared.end(Failure::Closed);
        let reader = self.reader.lock().take();
        if let Some(reader) = reader {
            // It fails only if a callback has panicked, which was reported on that thread.
            let _ = reader.join();
        }
        closed
    }

    fn leave(&self) -> Result<(), Failure> {
        self.call_and_wait(&Request::CloseSession(CloseSession::Short), &[])?;
        handshake::say_goodbye(&*self.shared.stream)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.end(Failure::Closed);
    }
}

impl Shared {
    /// Sends the messages of one request, between which no others are sent. Failures end the connection, and so reach
    /// whoever waits for the answer.
    fn send(
        &self,
        pending: Pending,
        messages: impl FnOnce(u32, &mut send::Outgoing<'_>) -> Result<(), Failure>,
    ) {
        let mut sender = self.sender.lock();
        let operation = sender.next(|operation| self.table.lock().is_known(operation));
        let entered = self.table.lock().enter(operation, pending);
        if let Err((pending, failure)) = entered {
            drop(sender);
            pending.fail(failure);
            return;
        }
        let sent = messages(operation, &mut sender.outgoing(&*self.stream));
        // The host was busy with receiving; only from now on it owes an answer.
        self.table.lock().restart_clock();
        drop(sender);
        if let Err(failure) = sent {
            self.end(failure);
        }
    }

    /// Whether the host owes an answer for too long, or the rest of a message whose last bytes came then.
    fn is_overdue(&self, within: Option<Instant>) -> bool {
        // While a thread is sending, the time-out for sending counts.
        if self.sender.is_locked() {
            return false;
        }
        let owes_rest = within.is_some_and(|last| last.elapsed() >= self.patience);
        owes_rest || self.table.lock().has_waited(self.patience)
    }

    /// Ends the connection, unless that has happened before, and lets everything in flight fail.
    fn end(&self, failure: Failure) {
        let Some(pending) = self.table.lock().end(failure.clone()) else {
            return;
        };
        self.stream.shut_down();
        for pending in pending {
            pending.fail(failure.clone());
        }
    }
}

/// What to hand over as `done`, and how to wait for it.
pub(crate) fn one_shot<T: Send + 'static>() -> (Done<T>, impl FnOnce() -> Result<T, Failure>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    let done = move |result| {
        // Whoever waits has not gone away.
        let _ = sender.send(result);
    };
    let wait = move || receiver.recv().unwrap_or(Err(Failure::Closed));
    (Box::new(done), wait)
}
