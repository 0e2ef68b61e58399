//! What of a disk is allocated, as its host knows it: in chunks.

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::VixError;
use vmdk_engine::{Allocation, MapExtent};

use super::disk::{Disk, explain, is_unanswerable};
use crate::error::Failure;

/// The smallest chunk that hosts answer for (`VIXDISKLIB_MIN_CHUNK_SIZE`).
const CHUNK: SectorCount = SectorCount::new(128);

/// So many chunks are asked for at a time.
const CHUNKS: u64 = 1 << 16;

impl Disk {
    /// The runs of chunks that hold data, which `range` consists of, sorted and apart from each other.
    pub(crate) fn allocated(
        &self,
        range: SectorRange,
        chunk: SectorCount,
    ) -> Result<Vec<SectorRange>, Failure> {
        let found = self.disk.allocated(range, chunk).map_err(|error| {
            if is_unanswerable(&error) {
                Failure::new(
                    VixError::NOT_SUPPORTED,
                    format!("the host does not know what is allocated: {error}"),
                )
            } else {
                explain(error)
            }
        })?;
        Ok(self.with_written(found, range, chunk))
    }

    /// Adds what was written since the disk was opened.
    fn with_written(
        &self,
        mut found: Vec<SectorRange>,
        range: SectorRange,
        chunk: SectorCount,
    ) -> Vec<SectorRange> {
        let known = found.len();
        let chunk = chunk.get();
        let (first, last) = (range.start().get(), range.end().get());
        for run in self.written.lock().within(range) {
            let start = (run.start().get() / chunk * chunk).max(first);
            let end = run
                .end()
                .get()
                .div_ceil(chunk)
                .saturating_mul(chunk)
                .min(last);
            found.extend(SectorRange::between(Sector::new(start), Sector::new(end)));
        }
        if found.len() > known {
            found.sort_unstable_by_key(|run| run.start());
            found.dedup_by(|next, before| {
                let touches = next.start() <= before.end();
                if touches {
                    let end = before.end().max(next.end());
                    *before = SectorRange::between(before.start(), end)
                        .expect("the end of a run is not before its start");
                }
                touches
            });
        }
        found
    }

    /// The first extents of `range`, contiguous, at most `limit` of them. Where the host cannot tell, all is data; so is
    /// the end of the disk, where there is no whole chunk.
    pub(crate) fn extents(
        &self,
        range: SectorRange,
        limit: usize,
    ) -> Result<Vec<MapExtent>, Failure> {
        let mut extents = Extents {
            found: Vec::new(),
            limit,
        };
        let chunk = CHUNK.get();
        let end = range.end().get();
        let whole = self.capacity().get() / chunk * chunk;
        let mut position = range.start().get();
        while position < end && !extents.is_full() {
            let first = position / chunk * chunk;
            let last = (first + CHUNKS * chunk)
                .min(end.div_ceil(chunk).saturating_mul(chunk))
                .min(whole);
            let window = SectorRange::between(Sector::new(first), Sector::new(last));
            let Some(window) = window.filter(|window| !window.is_empty()) else {
                extents.add(position, end, Allocation::Data);
                break;
            };
            let runs = match self.disk.allocated(window, CHUNK) {
                Ok(found) => self.with_written(found, window, CHUNK),
                Err(error) if is_unanswerable(&error) => vec![window],
                Err(error) => return Err(explain(error)),
            };
            let stop = last.min(end);
            for run in runs {
                let (start, end) = (run.start().get().max(position), run.end().get().min(stop));
                if start < end {
                    extents.add(position, start, Allocation::Hole);
                    extents.add(start, end, Allocation::Data);
                    position = end;
                }
            }
            extents.add(position, stop, Allocation::Hole);
            position = stop;
        }
        Ok(extents.found)
    }
}

/// Extents, one behind the other.
struct Extents {
    found: Vec<MapExtent>,
    limit: usize,
}

impl Extents {
    /// Whether no other extent has a place. The last one may end too early then, which is no harm.
    fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn add(&mut self, start: u64, end: u64, state: Allocation) {
        let Some(mut range) = SectorRange::between(Sector::new(start), Sector::new(end)) else {
            return;
        };
        if range.is_empty() {
            return;
        }
        if let Some(last) = self
            .found
            .pop_if(|last| last.state == state && last.range.end() == range.start())
        {
            range = SectorRange::between(last.range.start(), range.end())
                .expect("one lies behind the other");
        }
        // What comes behind a gap would be taken for its neighbour.
        let continues = self
            .found
            .last()
            .is_none_or(|last| last.range.end() == range.start());
        if !self.is_full() && continues {
            self.found.push(MapExtent {
                range,
                state,
                depth: 0,
            });
        }
    }
}
