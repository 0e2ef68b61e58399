//! Files that replies are sent from: few at a time, since each takes a descriptor, of which a process has few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::FileRange;

/// Descriptors that the replies of all connections of a server may hold at one time, of the 1024 that a process has
/// unless somebody gave it more. Shared out evenly: clients that take no replies keep those of theirs.
const MOST: usize = 512;

/// More than this for one connection gain nothing.
const MOST_OF_ONE: usize = 16;

/// How many replies of a connection are sent from files.
#[derive(Debug)]
pub(super) struct SentFiles {
    held: Arc<AtomicUsize>,
    most: usize,
}

impl SentFiles {
    /// For one of so many connections.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            held: Arc::default(),
            most: (MOST / connections.max(1)).clamp(1, MOST_OF_ONE),
        }
    }

    /// The right to hold one more file; none if there are enough, and the bytes are to be read.
    pub(super) fn turn(&self) -> Option<Turn> {
        let more = |held| (held < self.most).then_some(held + 1);
        let taken = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Turn(Arc::clone(&self.held)))
    }
}

/// The right to hold a file, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that a reply is sent from.
#[derive(Debug)]
pub(super) struct SentFile {
    pub(super) range: FileRange,
    pub(super) _turn: Turn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_that() {
        for (connections, most) in [(0, 16), (1, 16), (100, 5), (100_000, 1)] {
            let files = SentFiles::new(connections);
            let turns: Vec<_> = std::iter::from_fn(|| files.turn()).collect();
            assert_eq!(turns.len(), most);
            drop(turns);
            let turn = files.turn();
            assert!(turn.is_some());
            assert_eq!(files.held.load(Ordering::Relaxed), 1);
        }
    }
}
