//! How many extents a client is told of at once: few at first, so that it has something to work on while the rest of a
//! long map is found out.

use std::sync::atomic::{AtomicUsize, Ordering};

/// As many take the server about a millisecond, and clients more.
const FIRST: usize = 4096;
const GROWTH: usize = 4;

#[derive(Debug)]
pub(super) struct Patience {
    extents: AtomicUsize,
    most: usize,
}

impl Patience {
    /// Never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            extents: AtomicUsize::new(FIRST.min(most)),
            most,
        }
    }

    /// Extents of an answer.
    pub(super) fn extents(&self) -> usize {
        self.extents.load(Ordering::Relaxed)
    }

    /// The next answer may be longer.
    pub(super) fn grow(&self) {
        // Threads may overwrite each other's, which costs a step.
        let more = self.extents().saturating_mul(GROWTH).min(self.most);
        self.extents.store(more, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_the_limit() {
        for most in [1, FIRST, 100_000, usize::MAX] {
            let patience = Patience::new(most);
            assert_eq!(patience.extents(), most.min(FIRST));
            (0..100).for_each(|_| patience.grow());
            assert_eq!(patience.extents(), most);
        }
    }
}
