//! Files that replies are sent from: few at a time, since each takes a descriptor, of which a process has few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::FileRange;

/// Descriptors that the replies of all connections of a server hold at one time. A process has 1024 of them unless somebody
/// gave it more; clients that take no replies keep those of theirs.
const MOST: usize = 64;

/// How many replies of a server are sent from files.
#[derive(Debug, Default)]
pub(super) struct SentFiles(Arc<AtomicUsize>);

impl SentFiles {
    /// The right to hold one more file; none if there are enough, and the bytes are to be read.
    pub(super) fn turn(&self) -> Option<Turn> {
        let more = |held| (held < MOST).then_some(held + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Turn(Arc::clone(&self.0)))
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
        let files = SentFiles::default();
        let turns: Vec<_> = std::iter::from_fn(|| files.turn()).collect();
        assert_eq!(turns.len(), MOST);
        drop(turns);
        let turn = files.turn();
        assert!(turn.is_some());
        assert_eq!(files.0.load(Ordering::Relaxed), 1);
    }
}
