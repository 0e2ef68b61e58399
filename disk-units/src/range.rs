//! A run of sectors whose end is known to exist.

use core::fmt;

use crate::{ByteLen, Sector, SectorCount};

/// A run of sectors `start..end`. It may be empty; `end` never overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SectorRange {
    start: Sector,
    count: SectorCount,
}

impl SectorRange {
    /// The run of `count` sectors from `start`, or `None` if its end lies past 2^64 − 1.
    #[must_use]
    pub const fn new(start: Sector, count: SectorCount) -> Option<Self> {
        match start.checked_add(count) {
            Some(_) => Some(Self { start, count }),
            None => None,
        }
    }

    /// The run `start..end`, or `None` if `end` lies before `start`.
    #[must_use]
    pub const fn between(start: Sector, end: Sector) -> Option<Self> {
        match end.checked_since(start) {
            Some(count) => Some(Self { start, count }),
            None => None,
        }
    }

    /// The first `count` sectors of a disk: `0..count`.
    #[must_use]
    pub const fn whole(count: SectorCount) -> Self {
        Self {
            start: Sector::ZERO,
            count,
        }
    }

    /// The first sector of the run.
    #[must_use]
    pub const fn start(self) -> Sector {
        self.start
    }

    /// The length of the run.
    #[must_use]
    pub const fn count(self) -> SectorCount {
        self.count
    }

    /// The position behind the last sector.
    #[must_use]
    pub const fn end(self) -> Sector {
        // Cannot overflow: every constructor has checked the sum.
        Sector::new(self.start.get() + self.count.get())
    }

    /// Whether the run has no sectors.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count.is_zero()
    }

    /// The length in bytes, or `None` past 2^64 − 1 bytes.
    #[must_use]
    pub const fn bytes(self) -> Option<ByteLen> {
        self.count.bytes()
    }

    /// Whether `sector` lies in the run.
    #[must_use]
    pub const fn contains(self, sector: Sector) -> bool {
        self.start.get() <= sector.get() && sector.get() < self.end().get()
    }

    /// The sectors that both runs share; `None` if they share none.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end().min(other.end());
        Self::between(start, end).filter(|shared| !shared.is_empty())
    }

    /// Cuts the run at `sector` into what lies before and what lies behind; each part may be empty.
    #[must_use]
    pub fn split_at(self, sector: Sector) -> (Self, Self) {
        let cut = sector.clamp(self.start, self.end());
        let before = SectorCount::new(cut.get() - self.start.get());
        let behind = SectorCount::new(self.end().get() - cut.get());
        (
            Self {
                start: self.start,
                count: before,
            },
            Self {
                start: cut,
                count: behind,
            },
        )
    }

    /// The run in consecutive pieces of at most `step` sectors, without a gap; the last may be shorter.
    ///
    /// A `step` of zero gives the whole run as one piece.
    #[must_use]
    pub const fn pieces(self, step: SectorCount) -> Pieces {
        Pieces { rest: self, step }
    }
}

impl fmt::Display for SectorRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}..{}", self.start, self.end())
    }
}

/// Consecutive pieces of a [`SectorRange`]; see [`SectorRange::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces {
    rest: SectorRange,
    step: SectorCount,
}

impl Iterator for Pieces {
    type Item = SectorRange;

    fn next(&mut self) -> Option<SectorRange> {
        if self.rest.is_empty() {
            return None;
        }
        let length = if self.step.is_zero() {
            self.rest.count
        } else {
            self.step.min(self.rest.count)
        };
        let (piece, rest) = self
            .rest
            .split_at(Sector::new(self.rest.start.get() + length.get()));
        self.rest = rest;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn the_end_always_exists() {
        assert_eq!(
            SectorRange::new(Sector::new(u64::MAX), SectorCount::new(1)),
            None
        );
        let widest = SectorRange::whole(SectorCount::new(u64::MAX));
        assert_eq!(widest.end(), Sector::new(u64::MAX));
        assert_eq!(SectorRange::between(Sector::new(2), Sector::new(1)), None);
    }

    #[test]
    fn intersection_is_never_empty() {
        assert_eq!(range(0, 10).intersection(range(5, 20)), Some(range(5, 10)));
        assert_eq!(range(0, 10).intersection(range(10, 20)), None);
        assert_eq!(range(3, 3).intersection(range(0, 10)), None);
    }

    #[test]
    fn split_clamps_to_the_run() {
        assert_eq!(
            range(4, 8).split_at(Sector::new(6)),
            (range(4, 6), range(6, 8))
        );
        assert_eq!(
            range(4, 8).split_at(Sector::new(0)),
            (range(4, 4), range(4, 8))
        );
        assert_eq!(
            range(4, 8).split_at(Sector::new(9)),
            (range(4, 8), range(8, 8))
        );
    }

    #[test]
    fn pieces_cover_the_run_without_a_gap() {
        let pieces: Vec<_> = range(5, 15).pieces(SectorCount::new(4)).collect();
        assert_eq!(pieces, [range(5, 9), range(9, 13), range(13, 15)]);
        let one: Vec<_> = range(5, 15).pieces(SectorCount::ZERO).collect();
        assert_eq!(one, [range(5, 15)]);
        assert_eq!(range(5, 5).pieces(SectorCount::new(4)).count(), 0);
        let top = SectorRange::between(Sector::new(u64::MAX - 1), Sector::new(u64::MAX))
            .expect("ordered");
        assert_eq!(top.pieces(SectorCount::new(9)).count(), 1);
    }
}
