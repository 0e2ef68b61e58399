//! Which parts of a read need not be read, because they are known to be zeroes.

use std::ops::{ControlFlow, Range};

use disk_units::ByteLen;

use crate::nbd::export::{BlockState, Export};

/// Shorter runs of zeroes are sent: the headers of two more chunks and the pieces of memory that the kernel gathers
/// cost more.
const WORTHWHILE: u64 = 4096;

/// Holes in one reply; what comes behind them is sent as data.
const MOST: usize = 64;

/// Clients get pieces that begin and end at multiples of this, but for the ends of the read itself.
const ALIGNMENT: u64 = 512;

/// The holes worth leaving out of a read of `length` bytes from `offset`: in order, apart from each other, in bytes of
/// the export. Where the export does not know there are none.
pub(super) fn holes(export: &dyn Export, offset: ByteLen, length: ByteLen) -> Vec<Range<u64>> {
    let whole = offset.get()..offset.get().saturating_add(length.get());
    let mut search = Search {
        at: whole.start,
        run: whole.start..whole.start,
        found: Vec::new(),
        whole,
    };
    let asked = export.block_status(offset, length, &mut |length, state| {
        search.add(length.get(), state)
    });
    search.finish();
    if let Err(error) = asked {
        // Reading tells what is wrong, if something is.
        tracing::debug!(%error, "block status for a read");
    }
    search.found
}

struct Search {
    whole: Range<u64>,
    at: u64,
    /// The run of zeroes that ends at `at`; empty behind data.
    run: Range<u64>,
    found: Vec<Range<u64>>,
}

impl Search {
    fn add(&mut self, length: u64, state: BlockState) -> ControlFlow<()> {
        self.at = self.at.saturating_add(length).min(self.whole.end);
        if state == BlockState::Data {
            self.finish();
            self.run = self.at..self.at;
        } else {
            self.run.end = self.at;
        }
        if self.at == self.whole.end || self.found.len() == MOST {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Keeps the run if it is worth it.
    fn finish(&mut self) {
        let run = std::mem::take(&mut self.run);
        let start = match run.start {
            start if start == self.whole.start => start,
            start => start.next_multiple_of(ALIGNMENT),
        };
        let end = match run.end {
            end if end == self.whole.end => end,
            end => end - end % ALIGNMENT,
        };
        let hole = start..end;
        let long = !hole.is_empty() && hole.end - hole.start >= WORTHWHILE;
        if (long || hole == self.whole) && self.found.len() < MOST {
            self.found.push(hole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::session::testing::Map;
    use BlockState::{Data, Hole, Zero};

    fn find(pieces: Vec<(u64, BlockState)>, offset: u64, length: u64) -> Vec<(u64, u64)> {
        holes(&Map(pieces), ByteLen::new(offset), ByteLen::new(length))
            .into_iter()
            .map(|hole| (hole.start, hole.end))
            .collect()
    }

    #[test]
    fn zeroes_are_left_out_whatever_space_they_take() {
        let pieces = vec![(4096, Data), (4096, Hole), (4096, Zero), (4096, Data)];
        assert_eq!(find(pieces, 0, 16384), [(4096, 12288)]);
    }

    #[test]
    fn pieces_are_cut_at_sectors_but_at_the_ends() {
        let pieces = vec![(100, Data), (10_000, Hole), (100, Data)];
        assert_eq!(find(pieces, 0, 10_200), [(512, 9728)]);
        let ends = vec![(5000, Hole), (100, Data), (5000, Hole)];
        assert_eq!(find(ends, 7, 10_100), [(7, 4608), (5120, 10_107)]);
    }

    #[test]
    fn short_holes_are_sent_unless_there_is_nothing_else() {
        assert_eq!(find(vec![(4095, Hole), (10, Data)], 0, 4105), []);
        assert_eq!(find(vec![(10, Hole)], 3, 10), [(3, 13)]);
        assert_eq!(find(vec![(10, Data)], 3, 10), []);
        // The last piece may run past the read.
        assert_eq!(find(vec![(1 << 40, Hole)], 0, 512), [(0, 512)]);
        assert_eq!(
            find(vec![(4095, Data), (1 << 40, Hole)], 0, 8704),
            [(4096, 8704)]
        );
    }

    #[test]
    fn their_number_is_bounded_and_errors_are_no_holes() {
        let pieces: Vec<_> = (0..1000).map(|n| (4096, [Hole, Data][n % 2])).collect();
        let found = find(pieces, 0, 4_096_000);
        assert_eq!(found.len(), MOST);
        assert_eq!(found[MOST - 1], (126 * 4096, 127 * 4096));
        assert_eq!(find(vec![(4096, Hole)], 0, 1 << 20), [(0, 4096)]);
        assert_eq!(find(Vec::new(), 0, 512), []);
    }
}
