//! A stretch of the disk as runs of one state.

use disk_units::{Sector, SectorRange};

use crate::nbd::export::BlockState;

/// What is known of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) block: BlockState,
    /// 0 for what no link of the chain holds; 1 for the leaf, 2 for its parent and so on.
    pub(super) depth: u32,
}

impl State {
    /// What was written, and what nobody can tell.
    pub(super) const DATA: Self = Self {
        block: BlockState::Data,
        depth: 1,
    };

    /// The same sectors when they are known to be zero.
    pub(super) fn zeroed(self) -> Self {
        match self.block {
            BlockState::Data => Self {
                block: BlockState::Zero,
                ..self
            },
            BlockState::Zero | BlockState::Hole => self,
        }
    }
}

/// Sectors of one state, from the end of the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) end: Sector,
    pub(super) state: State,
}

/// Runs without a gap; neighbours differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    start: Sector,
    list: Vec<Run>,
}

/// Adds a run, which is joined to the last one if they are alike.
fn push(list: &mut Vec<Run>, run: Run) {
    match list.last_mut() {
        Some(last) if last.state == run.state => last.end = run.end,
        _ => list.push(run),
    }
}

impl Runs {
    /// The runs of `range`, at most `most` of them. What `known` leaves out at the end is data, and so is what does not
    /// fit into the list.
    pub(super) fn collect(
        range: SectorRange,
        known: impl Iterator<Item = (SectorRange, State)>,
        most: usize,
    ) -> Self {
        let mut list = Vec::new();
        for (piece, state) in known {
            let end = piece.end();
            push(&mut list, Run { end, state });
            if list.len() > most {
                list.pop();
                tracing::warn!(%range, most, "too many extents: the last ones count as data");
                break;
            }
        }
        let end = list.last().map_or(range.start(), |last: &Run| last.end);
        if end < range.end() {
            let (end, state) = (range.end(), State::DATA);
            push(&mut list, Run { end, state });
        }
        list.shrink_to_fit();
        let start = range.start();
        Self { start, list }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The runs from the one that holds `sector`.
    pub(super) fn from(&self, sector: Sector) -> &[Run] {
        let first = self.list.partition_point(|run| run.end <= sector);
        &self.list[first..]
    }

    /// The runs, cut at both ends of `range`, which lies inside.
    pub(super) fn within(
        &self,
        range: SectorRange,
    ) -> impl Iterator<Item = (SectorRange, State)> + '_ {
        let mut rest = range;
        self.from(range.start()).iter().map_while(move |run| {
            let (piece, behind) = rest.split_at(run.end);
            rest = behind;
            (!piece.is_empty()).then_some((piece, run.state))
        })
    }

    /// Whether all of `range`, which is not empty, has that state.
    pub(super) fn is_all(&self, range: SectorRange, state: State) -> bool {
        let first = self.from(range.start()).first();
        first.is_some_and(|run| run.state == state && run.end >= range.end())
    }

    /// Puts `new` in the place of what was known of the same sectors, of which there is at least one.
    pub(super) fn replace(&mut self, new: &Self) {
        let (start, end) = (new.start, new.end());
        // What is cut at either side, or touches it and may be joined to what is new.
        let first = self.list.partition_point(|run| run.end < start);
        let last = self.list.partition_point(|run| run.end <= end);
        let mut built = Vec::with_capacity(new.list.len() + 2);
        if let Some(before) = self.list.get(first).filter(|_| self.start < start) {
            built.push(Run {
                end: start,
                ..*before
            });
        }
        for run in &new.list {
            push(&mut built, *run);
        }
        if let Some(behind) = self.list.get(last) {
            push(&mut built, *behind);
        }
        let until = self.list.len().min(last + 1);
        self.list.splice(first..until, built);
    }

    fn end(&self) -> Sector {
        self.list.last().map_or(self.start, |run| run.end)
    }
}

/// States of a disk, handed out in several parts.
#[derive(Debug)]
pub(super) struct Pieces<I> {
    states: I,
    /// What lies behind the end of the last part.
    rest: Option<(SectorRange, State)>,
    /// The end of what was handed out.
    end: Sector,
}

impl<I: Iterator<Item = (SectorRange, State)>> Pieces<I> {
    pub(super) fn new(states: I) -> Self {
        Self {
            states,
            rest: None,
            end: Sector::default(),
        }
    }

    /// The next ones, cut at `end`.
    pub(super) fn up_to(&mut self, end: Sector) -> impl Iterator<Item = (SectorRange, State)> {
        std::iter::from_fn(move || {
            if self.end >= end {
                return None;
            }
            let (range, state) = self.rest.take().or_else(|| self.states.next())?;
            let (piece, behind) = range.split_at(end);
            self.rest = (!behind.is_empty()).then_some((behind, state));
            self.end = piece.end();
            Some((piece, state))
        })
    }

    /// Whether all before `sector` was handed out.
    pub(super) fn reached(&self, sector: Sector) -> bool {
        self.end >= sector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(letter: u8) -> State {
        let (block, depth) = match letter % 4 {
            0 => (BlockState::Hole, 0),
            1 => (BlockState::Data, 1),
            2 => (BlockState::Data, 2),
            _ => (BlockState::Zero, 1),
        };
        State { block, depth }
    }

    fn range(start: usize, end: usize) -> SectorRange {
        SectorRange::between(Sector::new(start as u64), Sector::new(end as u64)).unwrap()
    }

    fn sector_by_sector(
        start: usize,
        letters: &[u8],
    ) -> impl Iterator<Item = (SectorRange, State)> {
        let piece = move |(index, letter): (usize, &u8)| {
            let at = start + index;
            (range(at, at + 1), state(*letter))
        };
        letters.iter().enumerate().map(piece)
    }

    fn assert_are(runs: &Runs, start: usize, letters: &[u8]) {
        let mut position = start as u64;
        for run in &runs.list {
            assert!(run.end.get() > position, "no empty run");
            for sector in position..run.end.get() {
                let letter = letters[usize::try_from(sector).unwrap() - start];
                assert_eq!(run.state, state(letter), "sector {sector}");
            }
            position = run.end.get();
        }
        assert_eq!(position, (start + letters.len()) as u64);
        for pair in runs.list.windows(2) {
            assert_ne!(pair[0].state, pair[1].state, "neighbours are joined");
        }
    }

    proptest! {
        /// Against a plain list of sectors.
        #[test]
        fn what_is_replaced_is_what_was_put_there(
            mut letters in prop::collection::vec(0_u8..4, 1..40),
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(0_u8..4, 1..12)), 0..20),
        ) {
            let start = 7;
            let whole = range(start, start + letters.len());
            let mut runs = Runs::collect(whole, sector_by_sector(start, &letters), 100);
            assert_are(&runs, start, &letters);
            for (at, mut new) in changes {
                let at = at.index(letters.len());
                new.truncate(letters.len() - at);
                letters[at..at + new.len()].copy_from_slice(&new);
                let part = range(start + at, start + at + new.len());
                runs.replace(&Runs::collect(part, sector_by_sector(start + at, &new), 100));
                assert_are(&runs, start, &letters);
                let one = new.iter().all(|letter| *letter == new[0]);
                prop_assert_eq!(runs.is_all(part, state(new[0])), one);
                prop_assert_eq!(runs.from(part.start())[0].state, state(new[0]));
                let copy = Runs::collect(part, runs.within(part), 100);
                assert_are(&copy, start + at, &new);
            }
        }
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_is_data() {
        let letters = [0, 3, 0, 3, 0];
        let short = Runs::collect(range(0, 9), sector_by_sector(0, &letters), 100);
        assert_are(&short, 0, &[0, 3, 0, 3, 0, 1, 1, 1, 1]);
        let many = Runs::collect(range(0, 5), sector_by_sector(0, &letters), 3);
        assert_are(&many, 0, &[0, 3, 0, 1, 1]);
        let none = Runs::collect(range(0, 5), std::iter::empty(), 3);
        assert_are(&none, 0, &[1; 5]);
    }
}
