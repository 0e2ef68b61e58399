//! Files that replies are sent from: few at a time, since each takes a descriptor, of which a process has few.

use std::sync::Arc;

use super::quota::Quota;
use crate::FileRange;

/// Descriptors that the replies of all connections of a server may hold at one time, of the 1024 that a process has
/// unless somebody gave it more. Half of them are shared out evenly: clients that take no replies keep those of theirs,
/// and as many of the others as they can get.
const MOST: usize = 512;

/// More than this for one connection gain nothing.
const MOST_OF_ONE: usize = 16;

/// How many replies of a connection are sent from files.
#[derive(Debug)]
pub(super) struct SentFiles(Arc<Places>);

#[derive(Debug)]
struct Places {
    own: Quota,
    /// How many of the common ones this connection may have.
    more: Quota,
    common: Arc<Quota>,
}

impl SentFiles {
    /// What the connections of a server have in common.
    pub(super) fn common() -> Arc<Quota> {
        Arc::new(Quota::new(MOST / 2))
    }

    /// For one of so many connections.
    pub(super) fn new(connections: usize, common: &Arc<Quota>) -> Self {
        let own = (MOST / 2 / connections.max(1)).min(MOST_OF_ONE);
        Self(Arc::new(Places {
            own: Quota::new(own),
            more: Quota::new(MOST_OF_ONE - own),
            common: Arc::clone(common),
        }))
    }

    /// The right to hold one more file; none if there are enough, and the bytes are to be read.
    pub(super) fn turn(&self) -> Option<Turn> {
        let Places { own, more, common } = &*self.0;
        let is_own = own.take(1);
        if !is_own {
            if !more.take(1) {
                return None;
            }
            if !common.take(1) {
                more.give_back(1);
                return None;
            }
        }
        Some(Turn {
            places: Arc::clone(&self.0),
            is_own,
        })
    }
}

/// The right to hold a file, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    places: Arc<Places>,
    is_own: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Places { own, more, common } = &*self.places;
        if self.is_own {
            own.give_back(1);
        } else {
            common.give_back(1);
            more.give_back(1);
        }
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

    fn all_turns(files: &SentFiles) -> Vec<Turn> {
        std::iter::from_fn(|| files.turn()).collect()
    }

    #[test]
    fn there_are_never_more_than_that() {
        for connections in [0, 1, 100, 257, 600] {
            let common = SentFiles::common();
            let of_each: Vec<_> = (0..connections.max(1))
                .map(|_| SentFiles::new(connections, &common))
                .collect();
            let turns: Vec<_> = of_each.iter().map(all_turns).collect();
            assert_eq!(turns[0].len(), MOST_OF_ONE);
            assert!(turns.iter().map(Vec::len).sum::<usize>() <= MOST);
            drop(turns);
            assert_eq!(common.left(), MOST / 2);
            assert_eq!(all_turns(&of_each[0]).len(), MOST_OF_ONE);
        }
    }

    #[test]
    fn who_comes_late_has_its_share() {
        let common = SentFiles::common();
        let of = |connections| SentFiles::new(connections, &common);
        let greedy: Vec<_> = (0..99).map(|_| all_turns(&of(100))).collect();
        let held: usize = greedy.iter().map(Vec::len).sum();
        assert_eq!(common.left(), 0);
        let last = of(100);
        assert_eq!(last.turn().into_iter().chain(last.turn()).count(), 2);
        assert!(held <= MOST);
        drop(greedy);
        assert_eq!(all_turns(&last).len(), MOST_OF_ONE);
    }
}
