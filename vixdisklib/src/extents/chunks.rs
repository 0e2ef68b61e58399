//! Extents in whole chunks: a chunk with any data in it counts as data.

use std::mem;

use disk_units::{Sector, SectorRange};

use super::{ChunkSize, Extent, Extents, Merge};
use crate::error::Result;

/// The extents of a range in chunks, counted from the start of the disk: a chunk is a hole only if none of it holds
/// data. Neighbours differ; there is no gap or overlap. The last chunk may be short.
#[derive(Debug)]
#[must_use]
pub struct Chunks<'disk> {
    extents: Extents<'disk>,
    widen: Widen,
    merge: Merge,
}

impl<'disk> Chunks<'disk> {
    pub(crate) fn new(extents: Extents<'disk>, range: SectorRange, chunk: ChunkSize) -> Self {
        let widen = Widen {
            chunk,
            position: range.start(),
            end: range.end(),
            tail_zero: true,
        };
        Self {
            extents,
            widen,
            merge: Merge::default(),
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Result<Extent>> {
        let Self {
            extents,
            widen,
            merge,
        } = self;
        merge.next(|| {
            for extent in extents.by_ref() {
                if let Some(piece) = widen.piece(extent?) {
                    return Ok(Some(piece));
                }
            }
            Ok(None)
        })
    }
}

/// Moves the ends of consecutive extents to chunks: those of data outwards, those of holes inwards.
#[derive(Debug)]
struct Widen {
    chunk: ChunkSize,
    /// All before this is described.
    position: Sector,
    end: Sector,
    /// Whether the holes that end inside the current chunk all read as zero.
    tail_zero: bool,
}

impl Widen {
    fn piece(&mut self, extent: Extent) -> Option<Extent> {
        let extent_end = extent.range.end();
        let allocated = extent.holds_data();
        let end = if allocated || extent_end == self.end {
            self.chunk.ceil(extent_end, self.end)
        } else {
            self.chunk.floor(extent_end)
        };
        let range = SectorRange::between(self.position, end).filter(|range| !range.is_empty());
        // A piece takes the whole current chunk along, so what was known of its holes ends with it.
        let tail_zero = range.is_none() || mem::replace(&mut self.tail_zero, true);
        let zero = extent.zero && tail_zero;
        if extent_end > end.max(self.position) {
            self.tail_zero &= extent.zero;
        }
        self.position = self.position.max(end);
        range.map(|range| Extent {
            range,
            allocated,
            zero,
            ..extent
        })
    }
}
