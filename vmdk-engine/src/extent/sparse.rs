//! Hosted sparse and COWD extents: grains that are allocated when they are first written.
//!
//! Reading looks up runs of grains in the cached tables and reads each run at once; no lock is held meanwhile.
//! Writing to allocated grains does the same. What changes tables works so:
//!
//! * whoever allocates or frees grains first claims them, so that two writers cannot both allocate one grain;
//! * new grains lie behind the end of the file, which is extended first, so that what nobody writes reads as zeros;
//! * a grain appears in its table, in memory, only after its data has been written; readers see what was there before
//!   until then: zeros, or what the parents have;
//! * changed tables are written by [`write_back`], behind a sync of the data that they point to;
//! * the place of a freed grain is never used again while the disk is open, so that a reader or writer that still has
//!   the old entry meets zeros at worst, never another grain. The space itself is given back as a hole.
//!
//! Only [`shrink`] and [`defragment`], which have the disk for themselves, use such places again.

mod allocate;
mod defragment;
mod relocate;
mod scan;
mod settle;
mod shrink;
mod slots;
mod write_back;
mod zero;

use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use self::allocate::Space;
use self::write_back::WriteBack;
use super::runs::Place;
use super::table::Tables;
use super::{Below, Extent, MapRun, ZeroMode};
use crate::error::{Error, IoFault, Refusal};
use crate::file_range::Located;
use crate::fuse::Fuse;
use crate::layout::SPARSE_VERSION_AT;
use crate::progress::Work;
use crate::storage::Storage;
use crate::units::{GrainSize, buffer_len, byte_position, range_of, take_front};

/// Grains in a growing file.
#[derive(Debug)]
pub(crate) struct SparseExtent {
    storage: Arc<dyn Storage>,
    tables: Tables,
    /// What the descriptor gives the extent; the header may have more.
    size: SectorCount,
    writer: Option<Writer>,
}

/// What only a writable extent has.
#[derive(Debug)]
struct Writer {
    fuse: Arc<Fuse>,
    space: Space,
    can_punch_holes: bool,
    /// Places of freed grains that tables in the file may still point to.
    freed: Mutex<Vec<SectorRange>>,
    write_back: Mutex<WriteBack>,
}

impl SparseExtent {
    /// An extent to read.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        tables: Tables,
        size: SectorCount,
    ) -> Result<Self, Error> {
        let file = storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        Ok(Self {
            storage,
            tables: tables.for_reading(file),
            size,
            writer: None,
        })
    }

    /// An extent to write, after its metadata has been found consistent.
    pub(crate) fn open_writable(
        storage: Arc<dyn Storage>,
        tables: Tables,
        size: SectorCount,
        fuse: Arc<Fuse>,
    ) -> Result<Self, Error> {
        tables.shape.check_writable()?;
        let scanned = scan::scan(&*storage, &tables)?;
        let grain = tables.shape.grain;
        let used = scanned.file.get().max(tables.shape.data_start.get());
        let free = tables.shape.free_sector.map_or(0, |free| free.first.get());
        let tail = grain.round_up(used.max(free));
        let writer = Writer {
            fuse,
            // Asked while nobody extends the file: the answer must not cost a new grain its first sectors.
            can_punch_holes: storage.can_punch_holes(),
            space: Space::new(Arc::clone(&storage), grain, tail),
            freed: Mutex::default(),
            write_back: Mutex::new(WriteBack::new(
                scanned.redundant_directory,
                tables.shape.is_dirty,
            )),
        };
        Ok(Self {
            storage,
            tables,
            size,
            writer: Some(writer),
        })
    }

    fn writer(&self) -> Result<&Writer, Error> {
        Ok(self.writer.as_ref().ok_or(Refusal::ReadOnlyExtent)?)
    }

    fn grain_size(&self) -> GrainSize {
        self.tables.shape.grain
    }

    /// The guest sectors of grains, as far as the extent has them.
    fn sectors_of(&self, grains: &std::ops::Range<u64>) -> SectorRange {
        let size = self.grain_size();
        let whole = SectorRange::whole(self.size);
        SectorRange::between(size.start_of(grains.start), size.start_of(grains.end))
            .and_then(|range| range.intersection(whole))
            .unwrap_or_default()
    }

    fn write_data(&self, place: Sector, buf: &[u8]) -> Result<(), Error> {
        self.storage
            .write_all_at(buf, byte_position(place))
            .map_err(|error| IoFault::new("writing grains", error).into())
    }

    /// Writes into grains that had no place when they were looked up.
    fn write_new(
        &self,
        writer: &Writer,
        range: SectorRange,
        mut buf: &[u8],
        below: &dyn Below,
    ) -> Result<(), Error> {
        let _claim = writer.space.claim(self.grain_size(), range);
        for run in self.tables.runs(range) {
            let run = run?;
            let part = take_front(&mut buf, run.range.count());
            let fill = |place| self.write_data(place, part);
            match run.place {
                Place::At(place) => fill(place)?,
                Place::Unallocated => self.allocate(writer, run.range, Some(below), fill)?,
                Place::Zeroed => self.allocate(writer, run.range, None, fill)?,
            }
        }
        Ok(())
    }

    /// Allocates the grains of a run, lets `fill` write at the place of the run's first sector, and enters them. What
    /// the run leaves of its first and last grain gets the content of `below`, or stays zeros.
    fn allocate(
        &self,
        writer: &Writer,
        run: SectorRange,
        below: Option<&dyn Below>,
        fill: impl FnOnce(Sector) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = self.grain_size();
        let grains = grains_around(size, run);
        let count = grains.end.saturating_sub(grains.start);
        let first = writer.space.reserve(count)?;
        let offset = SectorCount::new(size.offset_in(run.start()));
        let copied = below.map_or(Ok(()), |below| self.copy_around(run, first, below));
        let filled = copied.and_then(|()| fill(first.checked_add(offset).unwrap_or(first)));
        if let Err(error) = filled {
            writer.space.give_back(first, count);
            return Err(error);
        }
        let start = grains.start;
        self.tables.set_entries(grains, |grain| {
            let behind = grain.saturating_sub(start).saturating_mul(size.sectors());
            // The space below 2^32 sectors is all that is ever reserved.
            u32::try_from(first.get().saturating_add(behind)).unwrap_or(0)
        })
    }

    /// Copies what lies below the rest of a run's first and last grain; the first grain's new place is `first`.
    fn copy_around(&self, run: SectorRange, first: Sector, below: &dyn Below) -> Result<(), Error> {
        let grains = self.sectors_of(&grains_around(self.grain_size(), run));
        let (head, _) = grains.split_at(run.start());
        let (_, tail) = grains.split_at(run.end());
        for part in [head, tail] {
            if below.first_data(part)?.is_some() {
                let mut content = vec![0; buffer_len(part.count())];
                below.read(part.start(), &mut content)?;
                let offset = part
                    .start()
                    .checked_since(grains.start())
                    .unwrap_or_default();
                self.write_data(first.checked_add(offset).unwrap_or(first), &content)?;
            }
        }
        Ok(())
    }

    /// The parts of `range` before and behind its whole grains, and these.
    fn split(&self, range: SectorRange) -> (SectorRange, std::ops::Range<u64>, SectorRange) {
        let size = self.grain_size();
        let whole = size.whole_grains(range, self.size);
        if whole.is_empty() {
            return (range, whole, SectorRange::default());
        }
        let (head, rest) = range.split_at(size.start_of(whole.start));
        let (_, tail) = rest.split_at(size.start_of(whole.end));
        (head, whole, tail)
    }
}

/// The grains that a run of sectors touches.
fn grains_around(size: GrainSize, run: SectorRange) -> std::ops::Range<u64> {
    size.grain_of(run.start())..size.grains_in(SectorCount::new(run.end().get()))
}

impl Extent for SparseExtent {
    fn read(
        &self,
        start: Sector,
        buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        let runs = self.tables.runs(range_of(start, buf));
        runs.read(&*self.storage, buf, holes)
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(self.tables.runs(range).map_runs())
    }

    fn locate(&self, range: SectorRange) -> Result<Located<'_>, Error> {
        self.tables.runs(range).locate(&*self.storage)
    }

    fn write(&self, start: Sector, mut buf: &[u8], below: &dyn Below) -> Result<(), Error> {
        let writer = self.writer()?;
        for run in self.tables.runs(range_of(start, buf)) {
            let run = run?;
            let part = take_front(&mut buf, run.range.count());
            match run.place {
                Place::At(place) => self.write_data(place, part)?,
                Place::Unallocated | Place::Zeroed => {
                    self.write_new(writer, run.range, part, below)?;
                }
            }
        }
        Ok(())
    }

    fn write_zeroes(
        &self,
        range: SectorRange,
        mode: ZeroMode,
        below: &dyn Below,
    ) -> Result<(), Error> {
        let writer = self.writer()?;
        if mode.may_free() {
            let (head, whole, tail) = self.split(range);
            self.zero_part(writer, head, below)?;
            self.free(writer, whole, below, true)?;
            self.zero_part(writer, tail, below)
        } else {
            self.allocate_zeros(writer, range, below)
        }
    }

    fn zeroes_fast(
        &self,
        range: SectorRange,
        mode: ZeroMode,
        below: &dyn Below,
    ) -> Result<bool, Error> {
        let can_punch_holes = self.writer()?.can_punch_holes;
        if can_punch_holes || !mode.may_free() {
            return Ok(can_punch_holes);
        }
        let (head, whole, tail) = self.split(range);
        if !whole.is_empty() {
            // Without an entry for zeros, data below keeps grains from being freed.
            let frees = self.tables.shape.has_zeroed_grains
                || below.first_data(self.sectors_of(&whole))?.is_none();
            return Ok(frees);
        }
        for run in self.tables.runs(head).chain(self.tables.runs(tail)) {
            let run = run?;
            let is_zero = match run.place {
                Place::At(_) => false,
                Place::Zeroed => true,
                Place::Unallocated => below.first_data(run.range)?.is_none(),
            };
            if !is_zero {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn trim(&self, range: SectorRange, below: &dyn Below) -> Result<(), Error> {
        let writer = self.writer()?;
        let grains = self.grain_size().whole_grains(range, self.size);
        self.free(writer, grains, below, false)
    }

    fn end_tracking(&self) -> Result<(), Error> {
        let Some(version) = self.tables.shape.version_untracked else {
            return Ok(());
        };
        let place = ByteLen::new(SPARSE_VERSION_AT);
        self.storage
            .write_all_at(&version.to_le_bytes(), place)
            .and_then(|()| self.storage.sync_data())
            .map_err(|error| IoFault::new("writing the header", error).into())
    }

    fn can_shrink(&self) -> bool {
        self.writer.is_some() && self.tables.shape.free_sector.is_none()
    }

    fn shrink(&self, below: &dyn Below, work: &mut Work<'_>) -> Result<(), Error> {
        if !self.can_shrink() {
            return Err(Refusal::CannotShrink.into());
        }
        self.give_back(self.writer()?, below, work)
    }

    fn defragment(&self, work: &mut Work<'_>) -> Result<(), Error> {
        if self.tables.shape.free_sector.is_some() {
            return Err(Refusal::CannotDefragment.into());
        }
        self.put_in_order(self.writer()?, work)
    }

    fn empty(&self) -> Result<(), Error> {
        self.forget(self.writer()?)
    }

    fn flush(&self) -> Result<(), Error> {
        match &self.writer {
            Some(writer) => self.write_back(writer),
            None => Ok(()),
        }
    }

    fn close(&self) -> Result<(), Error> {
        match &self.writer {
            Some(writer) => self.finish(writer),
            None => Ok(()),
        }
    }

    fn grain(&self) -> Option<SectorCount> {
        Some(self.grain_size().count())
    }
}
