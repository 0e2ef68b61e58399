//! The sending side of a connection: many threads bring replies, one at a time sends all that wait.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;

use parking_lot::{Condvar, Mutex};

use super::ByteStream;
use super::budget::Permit;
use super::buffer::Buffer;

/// Replies that go out in one system call.
const BATCH: usize = 64;

/// Data that may wait to be sent while its threads go on. More would leave the processor's caches before it is sent.
const MAX_WAITING: usize = 1 << 20;

/// One reply, ready to send. It holds its share of the budget until it is sent.
#[derive(Debug)]
pub(super) struct Reply<'b> {
    /// All that is not data: the headers of one chunk or of several.
    pub(super) head: Vec<u8>,
    pub(super) data: Option<Buffer>,
    /// How head and data alternate; empty where all data follows the whole head.
    pub(super) chunks: Vec<Chunk>,
    pub(super) _permit: Permit<'b>,
}

/// One chunk of a reply that has several: where its part of the head ends, and which data follows.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) head_end: usize,
    pub(super) data: Range<usize>,
}

impl Reply<'_> {
    /// What to send, in order.
    fn put_slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        let data = self.data.as_ref().map_or(&[][..], Buffer::as_slice);
        if self.chunks.is_empty() {
            slices.push(IoSlice::new(&self.head));
            slices.push(IoSlice::new(data));
        }
        let mut at = 0;
        for chunk in &self.chunks {
            slices.push(IoSlice::new(&self.head[at..chunk.head_end]));
            slices.push(IoSlice::new(&data[chunk.data.clone()]));
            at = chunk.head_end;
        }
    }

    fn data_length(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.as_slice().len())
    }
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
    pub(super) fn send(&self, replies: impl IntoIterator<Item = Reply<'b>>) {
        let mut queue = self.queue.lock();
        if queue.failure.is_some() {
            return;
        }
        for reply in replies {
            queue.waiting += reply.data_length();
            queue.replies.push_back(reply);
        }
        if queue.sending {
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
            let result = self.send_batch(&batch);
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

    fn send_batch(&self, batch: &[Reply<'_>]) -> io::Result<()> {
        let mut slices = Vec::with_capacity(batch.len() * 2);
        for reply in batch {
            reply.put_slices(&mut slices);
        }
        write_all(self.stream, &mut slices)
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

/// Writes all of `slices`.
pub(super) fn write_all<S: ByteStream>(
    stream: &S,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    // Empty slices at the front would make a write of nothing look like a closed stream.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
