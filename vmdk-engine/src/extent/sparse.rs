//! Hosted sparse extents: grains that are allocated when they are first written.
//!
//! Reading looks up runs of grains in the cached tables and reads each run at once; no lock is held meanwhile.
//! Writing to allocated grains does the same. What changes tables works so:
//!
//! * whoever allocates or frees grains first claims them, so that two writers cannot both allocate one grain;
//! * new grains lie behind the end of the file, which is extended first, so that what nobody writes reads as zeros;
//! * a grain appears in its table, in memory, only after its data has been written; readers see zeros until then;
//! * changed tables are written by [`write_back`], behind a sync of the data that they point to;
//! * the place of a freed grain is never used again while the disk is open, so that a reader or writer that still has
//!   the old entry meets zeros at worst, never another grain. The space itself is given back as a hole.

mod allocate;
mod scan;
mod write_back;

use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use self::allocate::Space;
use self::write_back::WriteBack;
use super::table::{Place, TableError, Tables};
use super::{Extent, MapRun, ZeroMode};
use crate::error::{Error, IoFault, Refusal};
use crate::fuse::Fuse;
use crate::storage::{Storage, write_zeros};
use crate::units::{
    GrainSize, byte_position, byte_range, clamped, range_of, take_front, take_front_mut,
};

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
    pub(crate) fn open(storage: Arc<dyn Storage>, tables: Tables, size: SectorCount) -> Self {
        Self {
            storage,
            tables,
            size,
            writer: None,
        }
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
        let tail = grain.round_up(scanned.file.get().max(tables.shape.data_start.get()));
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

    /// Makes sectors of the file read as zeros and keeps, or gets, space for them.
    fn zero_in_place(&self, place: Sector, count: SectorCount) -> Result<(), Error> {
        let range = byte_range(clamped(place, count));
        match self.storage.zero_range(range.clone()) {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                write_zeros(&*self.storage, range)
            }
            result => result,
        }
        .map_err(|error| IoFault::new("writing zeros", error).into())
    }

    /// Writes into grains that had no place when they were looked up.
    fn write_new(&self, writer: &Writer, range: SectorRange, mut buf: &[u8]) -> Result<(), Error> {
        let _claim = writer.space.claim(self.grain_size(), range);
        for run in self.tables.runs(range) {
            let run = run?;
            let part = take_front(&mut buf, run.range.count());
            match run.place {
                Place::At(place) => self.write_data(place, part)?,
                Place::Unallocated | Place::Zeroed => {
                    self.allocate(writer, run.range, |place| self.write_data(place, part))?;
                }
            }
        }
        Ok(())
    }

    /// Allocates the grains of a run, lets `fill` write at the place of the run's first sector, and enters them.
    fn allocate(
        &self,
        writer: &Writer,
        run: SectorRange,
        fill: impl FnOnce(Sector) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = self.grain_size();
        let grains = grains_around(size, run);
        let count = grains.end.saturating_sub(grains.start);
        let first = writer.space.reserve(count)?;
        let offset = SectorCount::new(size.offset_in(run.start()));
        if let Err(error) = fill(first.checked_add(offset).unwrap_or(first)) {
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

    /// Frees whole grains: they read as zeros from now on.
    fn free(&self, writer: &Writer, grains: std::ops::Range<u64>) -> Result<(), Error> {
        let range = self.sectors_of(&grains);
        if range.is_empty() {
            return Ok(());
        }
        let size = self.grain_size();
        let entry = u32::from(self.tables.shape.has_zeroed_grains);
        let _claim = writer.space.claim(size, range);
        for run in self.tables.runs(range) {
            let run = run?;
            let Place::At(place) = run.place else {
                continue;
            };
            let grains = grains_around(size, run.range);
            let count = size.round_up(run.range.count().get());
            self.tables.set_entries(grains, |_| entry)?;
            writer.note_freed(clamped(place, SectorCount::new(count)));
        }
        Ok(())
    }

    /// Zeroes what is allocated in `range`, and leaves the rest, which reads as zeros already.
    fn zero_allocated(&self, range: SectorRange) -> Result<(), Error> {
        for run in self.tables.runs(range) {
            let run = run?;
            if let Place::At(place) = run.place {
                self.zero_in_place(place, run.range.count())?;
            }
        }
        Ok(())
    }

    /// Zeroes `range` and has space for all of it afterwards.
    fn allocate_zeros(&self, writer: &Writer, range: SectorRange) -> Result<(), Error> {
        let size = self.grain_size();
        let _claim = writer.space.claim(size, range);
        for run in self.tables.runs(range) {
            let run = run?;
            match run.place {
                Place::At(place) => self.zero_in_place(place, run.range.count())?,
                Place::Unallocated | Place::Zeroed => {
                    let grains = self.sectors_of(&grains_around(size, run.range));
                    self.allocate(writer, grains, |place| {
                        self.zero_in_place(place, grains.count())
                    })?;
                }
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
    fn read(&self, start: Sector, mut buf: &mut [u8]) -> Result<(), Error> {
        for run in self.tables.runs(range_of(start, buf)) {
            let run = run?;
            let part = take_front_mut(&mut buf, run.range.count());
            match run.place {
                Place::Unallocated | Place::Zeroed => part.fill(0),
                Place::At(place) => {
                    self.storage
                        .read_exact_at(part, byte_position(place))
                        .map_err(|error| match error.kind() {
                            std::io::ErrorKind::UnexpectedEof => {
                                let guest = run.range.start().get();
                                Error::from(TableError::GrainBeyondEnd { guest })
                            }
                            _ => IoFault::new("reading grains", error).into(),
                        })?;
                }
            }
        }
        Ok(())
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(self.tables.map(range))
    }

    fn write(&self, start: Sector, mut buf: &[u8]) -> Result<(), Error> {
        let writer = self.writer()?;
        for run in self.tables.runs(range_of(start, buf)) {
            let run = run?;
            let part = take_front(&mut buf, run.range.count());
            match run.place {
                Place::At(place) => self.write_data(place, part)?,
                Place::Unallocated | Place::Zeroed => self.write_new(writer, run.range, part)?,
            }
        }
        Ok(())
    }

    fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Error> {
        let writer = self.writer()?;
        if mode.may_free() {
            let (head, whole, tail) = self.split(range);
            self.zero_allocated(head)?;
            self.free(writer, whole)?;
            self.zero_allocated(tail)
        } else {
            self.allocate_zeros(writer, range)
        }
    }

    fn zeroes_fast(&self, range: SectorRange, mode: ZeroMode) -> Result<bool, Error> {
        if mode.may_free() {
            let (head, whole, tail) = self.split(range);
            if !whole.is_empty() {
                return Ok(true);
            }
            let mut is_zero = true;
            for run in self.tables.runs(head).chain(self.tables.runs(tail)) {
                is_zero &= !matches!(run?.place, Place::At(_));
            }
            if is_zero {
                return Ok(true);
            }
        }
        Ok(self.writer()?.can_punch_holes)
    }

    fn trim(&self, range: SectorRange) -> Result<(), Error> {
        let writer = self.writer()?;
        self.free(writer, self.grain_size().whole_grains(range, self.size))
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
