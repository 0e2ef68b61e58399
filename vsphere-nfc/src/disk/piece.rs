//! A caller's request, cut into pieces that are in flight together.

use std::sync::Arc;

use parking_lot::Mutex;

use super::core::{Core, LEAST};
use crate::failure::Failure;
use crate::session::Done;

/// A piece of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where on the disk, in bytes.
    pub(super) offset: u64,
    /// Where in the caller's buffer.
    pub(super) at: usize,
    /// In bytes.
    pub(super) length: u32,
}

impl Piece {
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        self.at..self.at.saturating_add(length)
    }

    /// The same in pieces of at most `most` bytes.
    pub(super) fn cut(&self, most: u32) -> impl Iterator<Item = Piece> + use<> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        cut(self.offset, self.at, length, most)
    }
}

/// Pieces of at most `most` bytes of what begins at `offset` on the disk and at `at` in the buffer.
pub(super) fn cut(offset: u64, at: usize, length: usize, most: u32) -> impl Iterator<Item = Piece> {
    let step = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
    (0..length).step_by(step).map(move |from| {
        let left = length.saturating_sub(from).min(step);
        Piece {
            offset: offset.saturating_add(u64::try_from(from).unwrap_or(u64::MAX)),
            at: at.saturating_add(from),
            length: u32::try_from(left).unwrap_or(most),
        }
    })
}

/// Pieces that failed, and why.
pub(super) type Failed = Vec<(Piece, Failure)>;

/// Counts the pieces of a request, and calls when all are done.
pub(super) struct Tally(Mutex<Count>);

struct Count {
    /// Pieces in flight, and one more until all were sent.
    left: usize,
    failed: Failed,
    done: Option<Box<dyn FnOnce(Failed) + Send>>,
}

impl Tally {
    pub(super) fn new(done: impl FnOnce(Failed) + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Count {
            left: 1,
            failed: Vec::new(),
            done: Some(Box::new(done)),
        })))
    }

    /// Sends pieces. `send` fails if there is no connection, and then there is none for the pieces behind it either: they
    /// fail likewise, so that whatever is done again is done for all of them.
    pub(super) fn send(
        self: &Arc<Self>,
        pieces: impl Iterator<Item = Piece>,
        send: impl Fn(Piece, Done<()>) -> Result<(), Failure>,
    ) {
        let mut unreachable: Option<Failure> = None;
        for piece in pieces {
            self.begin();
            let tally = Arc::clone(self);
            let sent = match &unreachable {
                None => send(piece, Box::new(move |result| tally.end(piece, result))),
                Some(failure) => Err(failure.clone()),
            };
            if let Err(failure) = sent {
                self.end(piece, Err(failure.clone()));
                unreachable = Some(failure);
            }
        }
    }

    fn begin(&self) {
        let mut count = self.0.lock();
        count.left = count.left.saturating_add(1);
    }

    fn end(&self, piece: Piece, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.0.lock().failed.push((piece, failure));
        }
        self.count_down();
    }

    /// All pieces were sent.
    pub(super) fn all_sent(&self) {
        self.count_down();
    }

    fn count_down(&self) {
        let (done, failed) = {
            let mut count = self.0.lock();
            count.left = count.left.saturating_sub(1);
            if count.left > 0 {
                return;
            }
            (count.done.take(), std::mem::take(&mut count.failed))
        };
        if let Some(done) = done {
            done(failed);
        }
    }
}

/// What to do about a piece, again and smaller, for which the host had no memory.
pub(super) fn in_smaller_pieces(
    core: &Core,
    piece: Piece,
    mut attempt: impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut size = piece.length;
    loop {
        let is_last = size <= LEAST;
        // Whole sectors, also of disks whose sectors have 4096 bytes; the smallest size is tried as it is.
        size = if is_last {
            size
        } else {
            ((size >> 1) & !4095).max(LEAST)
        };
        core.shrink_requests(size);
        match piece.cut(size).try_for_each(&mut attempt) {
            Err(failure) if failure.is_out_of_memory() && !is_last => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all() {
        let pieces: Vec<_> = cut(1000, 5, 2500, 1000).collect();
        let piece = |offset, at, length| Piece { offset, at, length };
        assert_eq!(
            pieces,
            [
                piece(1000, 5, 1000),
                piece(2000, 1005, 1000),
                piece(3000, 2005, 500)
            ]
        );
        assert_eq!(pieces[2].range(), 2005..2505);
        assert_eq!(cut(0, 0, 0, 1000).count(), 0);
    }
}
