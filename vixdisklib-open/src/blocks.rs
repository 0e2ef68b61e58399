//! Allocated blocks: an allocation map in whole chunks, as `QueryAllocatedBlocks` reports it.

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::VixError;
use vmdk_engine::{Allocation, MapExtent};

use crate::error::Failure;

/// The smallest chunk (`VIXDISKLIB_MIN_CHUNK_SIZE`).
const MIN_CHUNK: SectorCount = SectorCount::new(vixdisklib_sys::VIXDISKLIB_MIN_CHUNK_SIZE as u64);

/// The most chunks in one query (`VIXDISKLIB_MAX_CHUNK_NUMBER`), which also bounds the memory of an answer.
const MAX_CHUNKS: u64 = vixdisklib_sys::VIXDISKLIB_MAX_CHUNK_NUMBER as u64;

/// A query that keeps the rules: whole chunks, not too many, all inside the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkQuery {
    range: SectorRange,
    chunk: u64,
}

impl ChunkQuery {
    /// Checks a query against the rules that the Virtual Disk Programming Guide gives for `QueryAllocatedBlocks`.
    ///
    /// The largest chunk that the header names (`VIXDISKLIB_MAX_CHUNK_SIZE`) is not enforced: a larger one does no
    /// harm here.
    pub(crate) fn new(
        start: Sector,
        count: SectorCount,
        chunk: SectorCount,
        capacity: SectorCount,
    ) -> Result<Self, Failure> {
        let refuse = |why: String| Err(Failure::new(VixError::INVALID_ARG, why));
        if chunk < MIN_CHUNK {
            return refuse(format!(
                "a chunk of {chunk} sectors is below the minimum of {MIN_CHUNK}"
            ));
        }
        let chunk = chunk.get();
        if !start.get().is_multiple_of(chunk) || !count.get().is_multiple_of(chunk) {
            return refuse(format!(
                "start {start} and length {count} must be multiples of the chunk of {chunk} sectors"
            ));
        }
        if count.is_zero() {
            return refuse("the length is zero".to_owned());
        }
        if count.get() / chunk > MAX_CHUNKS {
            return refuse(format!(
                "{} chunks are more than the {MAX_CHUNKS} that one call allows",
                count.get() / chunk
            ));
        }
        match SectorRange::new(start, count) {
            Some(range) if range.end().get() <= capacity.get() => Ok(Self { range, chunk }),
            _ => refuse(format!(
                "{count} sectors from sector {start} pass the end of the disk, {capacity} sectors; a last part of a \
                 chunk cannot be queried"
            )),
        }
    }

    /// The sectors asked about.
    pub(crate) fn range(self) -> SectorRange {
        self.range
    }

    /// How long a chunk is.
    pub(crate) fn chunk(self) -> SectorCount {
        SectorCount::new(self.chunk)
    }

    /// The runs of chunks that hold something, sorted, apart from each other.
    ///
    /// `extents` must lie in the query's range, in order. A chunk is listed as soon as one of its sectors is. Zeroes
    /// that a disk stores explicitly count as a hole, since they read like one, unless `single_link`: then they hide
    /// what a parent has there, and a caller that takes a hole for "see the parent" would be wrong.
    pub(crate) fn runs<E>(
        self,
        extents: impl Iterator<Item = Result<MapExtent, E>>,
        single_link: bool,
    ) -> Result<Vec<SectorRange>, E> {
        let mut runs: Vec<SectorRange> = Vec::new();
        for extent in extents {
            let extent = extent?;
            let listed = match extent.state {
                Allocation::Data | Allocation::Unknown => true,
                Allocation::Zero => single_link,
                Allocation::Hole => false,
            };
            if !listed || extent.range.is_empty() {
                continue;
            }
            let chunks = self.chunks_around(extent.range);
            match runs.last_mut() {
                Some(last) if chunks.start() <= last.end() => *last = joined(*last, chunks),
                _ => runs.push(chunks),
            }
        }
        Ok(runs)
    }

    /// The whole chunks that `part`, which lies in the query's range, touches.
    fn chunks_around(self, part: SectorRange) -> SectorRange {
        let start = part.start().get() / self.chunk * self.chunk;
        // Cannot overflow: the query's range ends on a border of a chunk, and the part not behind it.
        let end = part.end().get().div_ceil(self.chunk) * self.chunk;
        SectorRange::between(Sector::new(start), Sector::new(end))
            .expect("rounding outwards keeps the order of the ends")
    }
}

/// The run from the start of `first` to the end of `second`, which lies or ends behind it.
fn joined(first: SectorRange, second: SectorRange) -> SectorRange {
    SectorRange::between(first.start(), second.end().max(first.end()))
        .expect("the end of a run is not before its start")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn query(start: u64, count: u64, chunk: u64, capacity: u64) -> Result<ChunkQuery, VixError> {
        ChunkQuery::new(
            Sector::new(start),
            SectorCount::new(count),
            SectorCount::new(chunk),
            SectorCount::new(capacity),
        )
        .map_err(|failure| failure.code())
    }

    #[test]
    fn the_limits_are_where_the_guide_puts_them() {
        let huge = u64::MAX;
        assert!(query(0, 128, 128, 128).is_ok());
        assert!(query(0, 128, 128, 127).is_err());
        assert!(query(0, 127, 127, huge).is_err());
        assert!(query(0, 129, 129, 129).is_ok());
        assert!(query(0, 524_288 * 128, 128, huge).is_ok());
        assert!(query(0, 524_289 * 128, 128, huge).is_err());
        assert!(query(128, 524_288 * 128, 128, huge).is_ok());
        assert!(query(0, 0, 128, huge).is_err());
        assert!(query(u64::MAX - 127, 128, 128, huge).is_err());
        assert!(query(0, 131_073, 131_073, huge).is_ok());
        assert_eq!(query(1, 128, 128, huge), Err(VixError::INVALID_ARG));
    }

    fn state() -> impl Strategy<Value = Allocation> {
        prop_oneof![
            Just(Allocation::Data),
            Just(Allocation::Zero),
            Just(Allocation::Hole),
            Just(Allocation::Unknown)
        ]
    }

    proptest! {
        #[test]
        fn a_chunk_is_listed_if_and_only_if_something_in_it_is(
            chunk in 128_u64..400,
            chunks in 1_u64..20,
            first in 0_u64..5,
            single_link: bool,
            pieces in proptest::collection::vec((1_u64..700, state()), 1..40),
        ) {
            let start = first * chunk;
            let end = start + chunks * chunk;
            let query = query(start, chunks * chunk, chunk, end).expect("by the rules");
            let mut position = start;
            let mut extents = Vec::new();
            let mut sectors = vec![Allocation::Hole; usize::try_from(end - start).expect("small")];
            for (length, state) in pieces {
                let stop = (position + length).min(end);
                let range = SectorRange::between(Sector::new(position), Sector::new(stop)).expect("ordered");
                extents.push(Ok::<_, Infallible>(MapExtent { range, state, depth: 0 }));
                let (from, to) = (position - start, stop - start);
                sectors[usize::try_from(from).expect("small")..usize::try_from(to).expect("small")].fill(state);
                position = stop;
            }
            let runs = query.runs(extents.into_iter(), single_link).expect("infallible");

            for pair in runs.windows(2) {
                prop_assert!(pair[0].end() < pair[1].start(), "sorted, apart, merged");
            }
            for (number, content) in sectors.chunks(usize::try_from(chunk).expect("small")).enumerate() {
                let sector = Sector::new(start + u64::try_from(number).expect("small") * chunk);
                let expected = content.iter().any(|state| match state {
                    Allocation::Data | Allocation::Unknown => true,
                    Allocation::Zero => single_link,
                    Allocation::Hole => false,
                });
                prop_assert_eq!(runs.iter().any(|run| run.contains(sector)), expected);
            }
            for run in runs {
                prop_assert!(run.start().get().is_multiple_of(chunk));
                prop_assert!(run.count().get().is_multiple_of(chunk));
                prop_assert!(run.start().get() >= start && run.end().get() <= end);
            }
        }
    }
}
