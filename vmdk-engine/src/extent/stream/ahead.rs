//! Who reads sequentially, and what such a reader will ask for next.

use std::collections::VecDeque;

use disk_units::{Sector, SectorCount, SectorRange};

use crate::units::{GrainSize, clamped};

/// Readers that are followed at the same time.
const READERS: usize = 8;

/// Where a reader is expected to go on.
#[derive(Clone, Copy, Debug)]
struct Reader {
    next: Sector,
    /// Up to where grains have been asked for; at least `next`.
    fetched: Sector,
    /// Grains to be ahead by.
    ahead: u64,
}

/// What is known of the reader that a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) is_sequential: bool,
    /// What should be inflated for the next requests: whole grains.
    pub(super) fetch: Option<SectorRange>,
}

/// The last few readers. One whose request begins where another ended is sequential; it gets a grain ahead at first,
/// and twice as many at each further request up to the limit.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Oldest first.
    readers: VecDeque<Reader>,
    limit: u64,
}

impl ReadAhead {
    /// Readers get up to `limit` grains ahead.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            readers: VecDeque::new(),
            limit,
        }
    }

    /// Notes a request, and says what is known of its reader.
    pub(super) fn follow(&mut self, request: SectorRange, grain: GrainSize) -> Followed {
        let found = self
            .readers
            .iter()
            .position(|reader| reader.next == request.start());
        let known = found.and_then(|index| self.readers.remove(index));
        while self.readers.len() >= READERS {
            self.readers.pop_front();
        }
        let end = request.end();
        // A grain that a request ends in is inflated for that request.
        let behind = Sector::new(grain.round_up(end.get()));
        let mut reader = known.unwrap_or(Reader {
            next: end,
            fetched: behind,
            ahead: 0,
        });
        reader.next = end;
        reader.fetched = reader.fetched.max(behind);
        let mut fetch = None;
        if known.is_some() {
            reader.ahead = reader.ahead.saturating_mul(2).max(1).min(self.limit);
            let reach = reader.ahead.saturating_mul(grain.sectors());
            let reach = clamped(behind, SectorCount::new(reach)).end();
            fetch = SectorRange::between(reader.fetched, reach).filter(|range| !range.is_empty());
            reader.fetched = reader.fetched.max(reach);
        }
        self.readers.push_back(reader);
        Followed {
            is_sequential: known.is_some(),
            fetch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    fn grain() -> GrainSize {
        GrainSize::new(128).expect("a power of two")
    }

    fn fetch(ahead: &mut ReadAhead, request: SectorRange) -> Option<SectorRange> {
        ahead.follow(request, grain()).fetch
    }

    #[test]
    fn a_sequential_reader_gets_more_and_more_ahead_and_nothing_twice() {
        let mut ahead = ReadAhead::new(4);
        assert_eq!(fetch(&mut ahead, range(0, 8)), None);
        assert_eq!(fetch(&mut ahead, range(8, 16)), Some(range(128, 256)));
        assert_eq!(fetch(&mut ahead, range(16, 24)), Some(range(256, 384)));
        assert_eq!(fetch(&mut ahead, range(24, 32)), Some(range(384, 640)));
        assert_eq!(fetch(&mut ahead, range(32, 128)), None);
        assert_eq!(fetch(&mut ahead, range(128, 136)), Some(range(640, 768)));
        // One that asks for much is followed from where it ends.
        assert_eq!(fetch(&mut ahead, range(136, 1280)), Some(range(1280, 1792)));
    }

    #[test]
    fn several_readers_are_followed_and_random_ones_are_not() {
        let mut ahead = ReadAhead::new(8);
        for round in 0..10 {
            for reader in 0..READERS as u64 {
                let start = reader * 100_000 + round * 128;
                let next = fetch(&mut ahead, range(start, start + 128));
                assert_eq!(next.is_some(), round > 0, "reader {reader}, round {round}");
            }
        }
        let mut ahead = ReadAhead::new(8);
        for request in 0..1000 {
            let start = request * 7919 % 100_000 * 8;
            assert_eq!(fetch(&mut ahead, range(start, start + 4)), None);
        }
        assert!(ahead.readers.len() <= READERS);
    }

    #[test]
    fn without_workers_nothing_is_fetched() {
        let mut ahead = ReadAhead::new(0);
        for (request, is_sequential) in [
            (range(0, 8), false),
            (range(8, 16), true),
            (range(16, 400), true),
            (range(8, 16), false),
        ] {
            let followed = ahead.follow(request, grain());
            let expected = Followed {
                is_sequential,
                fetch: None,
            };
            assert_eq!(followed, expected, "{request:?}");
        }
    }
}
