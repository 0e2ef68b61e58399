//! Which parts of a disk were written since it was opened.
//!
//! A host that is asked which blocks are allocated may leave out those that were written through the same open disk
//! (observed by public clients). What was written is therefore remembered here.

use std::collections::BTreeMap;

use disk_units::{Sector, SectorRange};

/// More runs than this are not told apart: everything from the first to the last counts as written then.
const MOST: usize = 1 << 16;

/// Sectors that were written, as runs that do not touch.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Where each ends, by where it begins.
    runs: BTreeMap<u64, u64>,
}

impl Written {
    pub(super) fn add(&mut self, range: SectorRange) {
        let (mut start, mut end) = (range.start().get(), range.end().get());
        if start == end {
            return;
        }
        // The last run that begins before the end, as long as it reaches the start.
        while let Some((&first, &last)) = self.runs.range(..=end).next_back() {
            if last < start {
                break;
            }
            self.runs.remove(&first);
            (start, end) = (start.min(first), end.max(last));
        }
        self.runs.insert(start, end);
        if self.runs.len() > MOST {
            let first = self
                .runs
                .first_key_value()
                .map_or(start, |(first, _)| *first);
            let last = self.runs.last_key_value().map_or(end, |(_, last)| *last);
            self.runs = BTreeMap::from([(first, last)]);
        }
    }

    /// The runs that have sectors of `range`, in order.
    pub(super) fn within(&self, range: SectorRange) -> impl Iterator<Item = SectorRange> + '_ {
        let (start, end) = (range.start().get(), range.end().get());
        let before = self.runs.range(..start).next_back();
        let runs = before.into_iter().chain(self.runs.range(start..end));
        runs.filter(move |(_, last)| **last > start)
            .filter_map(|(first, last)| {
                SectorRange::between(Sector::new(*first), Sector::new(*last))
            })
    }
}

#[cfg(test)]
mod tests {
    use disk_units::SectorCount;
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, count: u64) -> SectorRange {
        SectorRange::new(Sector::new(start), SectorCount::new(count)).expect("small")
    }

    #[test]
    fn too_many_runs_become_one() {
        let mut written = Written::default();
        for number in 0..=MOST as u64 {
            written.add(range(2 * number + 10, 1));
        }
        assert_eq!(written.runs.len(), 1);
        let all: Vec<_> = written.within(range(0, 1 << 20)).collect();
        assert_eq!(all, [range(10, 2 * MOST as u64 + 1)]);
    }

    proptest! {
        #[test]
        fn every_written_sector_is_remembered_and_no_other(
            writes in proptest::collection::vec((0_u64..300, 0_u64..40), 0..30),
            asked in (0_u64..300, 1_u64..300),
        ) {
            let mut written = Written::default();
            let mut model = vec![false; 700];
            for (start, count) in writes {
                written.add(range(start, count));
                let places = usize::try_from(start).expect("small")..usize::try_from(start + count).expect("small");
                model[places].fill(true);
            }
            let runs: Vec<_> = written.within(range(asked.0, asked.1)).collect();
            for pair in runs.windows(2) {
                prop_assert!(pair[0].end() < pair[1].start());
            }
            for sector in asked.0..asked.0 + asked.1 {
                let found = runs.iter().any(|run| run.contains(Sector::new(sector)));
                prop_assert_eq!(found, model[usize::try_from(sector).expect("small")]);
            }
        }
    }
}
