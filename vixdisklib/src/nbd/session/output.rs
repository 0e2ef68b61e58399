//! The sending side of a connection: many threads bring replies, one at a time sends all that wait.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::iter::{once, repeat_n};
use std::ops::Range;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::ByteStream;
use super::budget::Permit;
use super::buffer::Buffer;
use super::sent_file::SentFile;
use super::zeroes::{ZEROES, zero_file};
use crate::FileRange;

/// Replies that go out in one system call.
const BATCH: usize = 64;

/// Data that may wait to be sent while its threads go on. More would leave the processor's caches before it is sent.
const MAX_WAITING: usize = 1 << 20;

/// Pieces of memory in one system call (`IOV_MAX` of Linux).
const MOST_SLICES: usize = 1024;

/// One reply, ready to send. It holds its share of the budget until it is sent.
#[derive(Debug)]
pub(super) struct Reply<'b> {
    /// All that is not data: the headers of one chunk or of several.
    pub(super) head: Vec<u8>,
    pub(super) data: Option<Buffer>,
    /// What is sent between parts of the head, and behind how many bytes of it.
    pub(super) bodies: Vec<(usize, Body)>,
    pub(super) _permit: Permit<'b>,
}

/// Some of the data of a reply.
#[derive(Debug)]
pub(super) enum Body {
    /// This part of the buffer.
    Memory(Range<usize>),
    /// So many bytes.
    Zeroes(usize),
    /// So many bytes of a file, from the start of its range.
    File(SentFile, usize),
}

impl Reply<'_> {
    /// What to send, in order.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let data = self.data.as_ref().map_or(&[][..], Buffer::as_slice);
        let ends = self.bodies.iter().map(|(end, _)| *end);
        let starts = once(0).chain(ends.clone());
        let heads = starts.zip(ends.chain(once(self.head.len())));
        let bodies = self.bodies.iter().map(|(_, body)| match body {
            Body::Memory(range) => Part::Bytes(&data[range.clone()]),
            Body::Zeroes(length) => Part::Zeroes(*length),
            Body::File(file, length) => Part::File(&file.range, *length),
        });
        heads
            .zip(bodies.map(Some).chain(once(None)))
            .flat_map(|((start, end), body)| once(Part::Bytes(&self.head[start..end])).chain(body))
    }

    /// Bytes of memory that the reply keeps until it is sent.
    fn data_length(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.as_slice().len())
    }
}

/// Bytes to send, and where they are.
enum Part<'a> {
    Bytes(&'a [u8]),
    Zeroes(usize),
    File(&'a FileRange, usize),
}

/// The queue of replies of one connection.
#[derive(Debug)]
pub(super) struct Output<'a, 'b, S> {
    stream: &'a S,
    queue: Mutex<Queue<'b>>,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Queue<'b> {
    replies: VecDeque<Reply<'b>>,
    /// Bytes of data in `replies`.
    waiting: usize,
    /// A thread is sending, and will look here again before it stops.
    sending: bool,
    failure: Option<io::Error>,
}

impl<'a, 'b, S: ByteStream> Output<'a, 'b, S> {
    pub(super) fn new(stream: &'a S) -> Self {
        Self {
            stream,
            queue: Mutex::default(),
            drained: Condvar::new(),
        }
    }

    /// Sends `replies`, or leaves them to the thread that is sending already, and waits if that has a lot to do. After a
    /// failure replies are dropped.
    ///
    /// `stalled` is called when the client takes nothing for a moment, perhaps several times.
    pub(super) fn send(
        &self,
        replies: impl IntoIterator<Item = Reply<'b>>,
        stalled: &mut dyn FnMut(),
    ) {
        let mut queue = self.queue.lock();
        if queue.failure.is_some() {
            return;
        }
        for reply in replies {
            queue.waiting += reply.data_length();
            queue.replies.push_back(reply);
        }
        if queue.sending {
            if queue.waiting > MAX_WAITING {
                // The thread that is sending may be waiting for the client, which may be sending something first.
                MutexGuard::unlocked(&mut queue, stalled);
            }
            while queue.waiting > MAX_WAITING {
                self.drained.wait(&mut queue);
            }
            return;
        }
        queue.sending = true;
        while !queue.replies.is_empty() {
            let count = queue.replies.len().min(BATCH);
            let batch: Vec<_> = queue.replies.drain(..count).collect();
            queue.waiting -= batch.iter().map(Reply::data_length).sum::<usize>();
            drop(queue);
            self.drained.notify_all();
            let result = self.send_batch(&batch, stalled);
            drop(batch);
            queue = self.queue.lock();
            if let Err(error) = result {
                // Wakes the thread that waits for a request; what has arrived already is left unread, see `next`.
                self.stream.close();
                queue.failure = Some(error);
                queue.replies.clear();
                queue.waiting = 0;
                self.drained.notify_all();
            }
        }
        queue.sending = false;
    }

    fn send_batch(&self, batch: &[Reply<'_>], stalled: &mut dyn FnMut()) -> io::Result<()> {
        let mut slices = Vec::with_capacity(batch.len() * 2);
        for part in batch.iter().flat_map(Reply::parts) {
            match part {
                Part::Bytes([]) => {}
                Part::Bytes(bytes) => slices.push(IoSlice::new(bytes)),
                Part::Zeroes(length) => match self.zero_file(length) {
                    Some(file) => {
                        write_all(self.stream, &mut slices, stalled)?;
                        slices.clear();
                        self.send_file(file, 0, length, stalled)?;
                    }
                    None => slices.extend(zero_slices(length)),
                },
                Part::File(range, length) => {
                    write_all(self.stream, &mut slices, stalled)?;
                    slices.clear();
                    self.send_file(&range.file, range.position.get(), length, stalled)?;
                }
            }
        }
        write_all(self.stream, &mut slices, stalled)
    }

    /// The file to send so many zeroes from, if that is the best way.
    fn zero_file(&self, length: usize) -> Option<&'static File> {
        let is_worth_it = length >= ZEROES.len() && self.stream.sends_files();
        is_worth_it.then(zero_file)?
    }

    fn send_file(
        &self,
        file: &File,
        mut position: u64,
        length: usize,
        stalled: &mut dyn FnMut(),
    ) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            match self.stream.send_file(file, position, left) {
                // The client has the head already, and can only be told by hanging up.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => {
                    left -= sent;
                    position += u64::try_from(sent).expect("a usize has at most 64 bits");
                }
                Err(error) => pass(error, stalled)?,
            }
        }
        Ok(())
    }

    /// Whether sending has failed: nobody can be answered any more.
    pub(super) fn has_failed(&self) -> bool {
        self.queue.lock().failure.is_some()
    }

    /// The error that ended sending, if one did.
    pub(super) fn into_failure(self) -> Option<io::Error> {
        self.queue.into_inner().failure
    }
}

/// So many zeroes.
fn zero_slices<'a>(length: usize) -> impl Iterator<Item = IoSlice<'a>> {
    let whole = repeat_n(&ZEROES[..], length / ZEROES.len());
    let rest = &ZEROES[..length % ZEROES.len()];
    whole.chain(once(rest)).map(IoSlice::new)
}

/// Writes all of `slices`. `stalled` is called when the client takes nothing for a moment.
pub(super) fn write_all<S: ByteStream>(
    stream: &S,
    mut slices: &mut [IoSlice<'_>],
    stalled: &mut dyn FnMut(),
) -> io::Result<()> {
    // Empty slices at the front would make a write of nothing look like a closed stream.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let most = slices.len().min(MOST_SLICES);
        match stream.write_vectored(&slices[..most]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) => pass(error, stalled)?,
        }
    }
    Ok(())
}

/// Errors after which sending goes on.
fn pass(error: io::Error, stalled: &mut dyn FnMut()) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => {
            stalled();
            Ok(())
        }
        _ => Err(error),
    }
}
