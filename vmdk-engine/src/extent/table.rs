//! Grain directory and grain tables: from a sector of the guest to a place in the file.
//!
//! The directory is in memory whole (4 bytes for 32 MiB of guest space); tables come through the [`TableCache`].
//! [`Runs`] walks a range of sectors and yields the longest runs that lie together in the file, which is all that
//! reading, writing and mapping need to know.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::Mutex;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::MapRun;
use super::cache::{ChangedTable, Entries, TableCache, TableKey};
use super::header::SparseShape;
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::map::Allocation;
use crate::storage::Storage;
use crate::units::{byte_position, clamped, is_zero};

/// Damage that is met when a place is looked up or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("grain table {table} at sector {sector} lies inside other metadata")]
    TableInMetadata { table: u32, sector: u32 },
    #[error("grain table {table} at sector {sector} lies behind the end of the file")]
    TableBeyondEnd { table: u32, sector: u32 },
    #[error("grain {grain} at sector {sector} lies inside the metadata")]
    GrainInMetadata { grain: u64, sector: u32 },
    #[error("the grains from guest sector {guest} of the extent lie behind the end of the file")]
    GrainBeyondEnd { guest: u64 },
}

impl Cause for TableError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// Where a run of guest sectors is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: zeros, or the parent's content.
    Unallocated,
    /// Nowhere: zeros, whatever a parent has.
    Zeroed,
    /// From this sector of the file on; for compressed grains, the sector of the record.
    At(Sector),
}

/// Guest sectors that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) range: SectorRange,
    pub(crate) place: Place,
}

/// The grain directory of one extent, and its way to the tables.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) shape: SparseShape,
    storage: Arc<dyn Storage>,
    cache: Arc<TableCache>,
    extent: u32,
    directory: Box<[AtomicU32]>,
    /// Tables with changes that are not in the file yet.
    changed: Mutex<BTreeSet<u32>>,
}

impl Tables {
    pub(crate) fn load(
        storage: Arc<dyn Storage>,
        cache: Arc<TableCache>,
        extent: u32,
        shape: SparseShape,
    ) -> Result<Self, Error> {
        let directory = read_directory(&*storage, shape.directory, shape.directory_entries)?;
        Ok(Self {
            shape,
            storage,
            cache,
            extent,
            directory: directory.into_iter().map(AtomicU32::new).collect(),
            changed: Mutex::default(),
        })
    }

    /// The runs that make up `range`.
    pub(crate) fn runs(&self, range: SectorRange) -> Runs<'_> {
        Runs {
            tables: self,
            rest: range,
            chunk: Chunk::default(),
            pending: None,
        }
    }

    /// The same runs, as a map.
    pub(crate) fn map(&self, range: SectorRange) -> impl Iterator<Item = MapRun> + Send + '_ {
        self.runs(range).map(|run| {
            run.map(|run| {
                let state = match run.place {
                    Place::Unallocated => Allocation::Hole,
                    Place::Zeroed => Allocation::Zero,
                    Place::At(_) => Allocation::Data,
                };
                (run.range, state)
            })
        })
    }

    pub(crate) fn key(&self, table: u32) -> TableKey {
        TableKey {
            extent: self.extent,
            table,
        }
    }

    /// The sector of a table; 0 if there is none in the file yet.
    pub(crate) fn sector_of(&self, table: u32) -> u32 {
        usize::try_from(table)
            .ok()
            .and_then(|index| self.directory.get(index))
            .map_or(0, |sector| sector.load(Ordering::Acquire))
    }

    pub(crate) fn set_sector_of(&self, table: u32, sector: u32) {
        let slot = usize::try_from(table)
            .ok()
            .and_then(|index| self.directory.get(index));
        if let Some(slot) = slot {
            slot.store(sector, Ordering::Release);
        }
    }

    /// The entries of a table from a place in the file.
    pub(crate) fn load_table(&self, table: u32, sector: u32) -> Result<Entries, Error> {
        if sector == 0 {
            return Ok(None);
        }
        let start = Sector::new(u64::from(sector));
        let range = clamped(start, self.shape.table_len());
        if self
            .shape
            .reserved()
            .any(|reserved| reserved.intersection(range).is_some())
        {
            return Err(TableError::TableInMetadata { table, sector }.into());
        }
        let entries = usize::try_from(self.shape.entries_per_table).unwrap_or(0);
        let mut bytes = vec![0; entries.saturating_mul(4)];
        self.storage
            .read_exact_at(&mut bytes, byte_position(start))
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    TableError::TableBeyondEnd { table, sector }.into()
                }
                _ => Error::from(IoFault::new(format!("reading grain table {table}"), error)),
            })?;
        Ok(parse_entries(&bytes))
    }

    /// Calls `look` with the entries of a table. A table that is not in the file costs no room in the cache.
    pub(crate) fn with_table<T>(
        &self,
        table: u32,
        mut look: impl FnMut(&Entries) -> T,
    ) -> Result<T, Error> {
        let key = self.key(table);
        if self.sector_of(table) == 0
            && let Some(result) = self.cache.peek(key, &mut look)
        {
            return Ok(result);
        }
        // Asked again: the table may have been written to the file, and left the cache, in between.
        match self.sector_of(table) {
            0 => Ok(look(&None)),
            sector => self
                .cache
                .read(key, || self.load_table(table, sector), look),
        }
    }

    /// Gives the grains `grains` the entries that `entry` makes of their numbers.
    pub(crate) fn set_entries(
        &self,
        grains: Range<u64>,
        entry: impl Fn(u64) -> u32,
    ) -> Result<(), Error> {
        let length = usize::try_from(self.shape.entries_per_table).unwrap_or(0);
        let mut next = grains.start;
        while next < grains.end {
            let (table, index) = self.split(next);
            let in_table = self.end_of_table(next).min(grains.end);
            let count = usize::try_from(in_table.saturating_sub(next)).unwrap_or(0);
            let load = || self.load_table(table, self.sector_of(table));
            self.cache
                .change(self.key(table), length, load, |entries| {
                    let slots = entries.iter_mut().skip(index).take(count);
                    for (slot, grain) in slots.zip(next..) {
                        *slot = entry(grain);
                    }
                })?;
            self.changed.lock().insert(table);
            next = in_table;
        }
        Ok(())
    }

    /// Takes the list of changed tables, with their entries as they are now.
    pub(crate) fn take_changed(&self) -> Vec<ChangedTable> {
        let changed = mem::take(&mut *self.changed.lock());
        changed
            .into_iter()
            .filter_map(|table| self.cache.changed(self.key(table)))
            .collect()
    }

    pub(crate) fn mark_written(&self, table: &ChangedTable) {
        self.cache
            .mark_written(self.key(table.table), table.version);
    }

    /// The table that holds a grain's entry, and where in it.
    fn split(&self, grain: u64) -> (u32, usize) {
        let entries = u64::from(self.shape.entries_per_table).max(1);
        let table = grain.checked_div(entries).unwrap_or(0);
        let index = grain.checked_rem(entries).unwrap_or(0);
        (
            u32::try_from(table).unwrap_or(u32::MAX),
            usize::try_from(index).unwrap_or(0),
        )
    }

    /// The first grain of the table behind the one that holds `grain`.
    fn end_of_table(&self, grain: u64) -> u64 {
        let entries = u64::from(self.shape.entries_per_table).max(1);
        grain
            .saturating_add(1)
            .checked_next_multiple_of(entries)
            .unwrap_or(u64::MAX)
    }

    fn place_of(&self, grain: u64, entry: u32) -> Result<Place, TableError> {
        match entry {
            0 => Ok(Place::Unallocated),
            1 => Ok(Place::Zeroed),
            sector if u64::from(sector) < self.shape.data_start.get() => {
                Err(TableError::GrainInMetadata { grain, sector })
            }
            sector => Ok(Place::At(Sector::new(u64::from(sector)))),
        }
    }
}

/// Reads a grain directory whose place and length have been checked.
pub(crate) fn read_directory(
    storage: &dyn Storage,
    start: Sector,
    entries: u32,
) -> Result<Vec<u32>, Error> {
    let bytes = usize::try_from(entries).unwrap_or(0).saturating_mul(4);
    let mut buffer = vec![0; bytes];
    storage
        .read_exact_at(&mut buffer, byte_position(start))
        .map_err(|error| IoFault::new("reading the grain directory", error))?;
    Ok(little_endian(&buffer))
}

pub(crate) fn little_endian(bytes: &[u8]) -> Vec<u32> {
    let entries = <[U32]>::ref_from_bytes(bytes).unwrap_or_default();
    entries.iter().map(|entry| entry.get()).collect()
}

fn parse_entries(bytes: &[u8]) -> Entries {
    // Most tables of a large, young disk are all zeros.
    (!is_zero(bytes)).then(|| little_endian(bytes).into_boxed_slice())
}

/// A copy of the entries of consecutive grains of one table.
#[derive(Debug, Default)]
struct Chunk {
    grains: Range<u64>,
    /// Empty if all entries are zero.
    entries: Vec<u32>,
}

/// The runs of a range, in order and without a gap; see [`Tables::runs`].
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    tables: &'a Tables,
    rest: SectorRange,
    chunk: Chunk,
    pending: Option<Run>,
}

impl Runs<'_> {
    /// The next run, not yet joined with what follows; `rest` is not empty.
    fn next_piece(&mut self) -> Result<Run, Error> {
        let grain_size = self.tables.shape.grain;
        let start = self.rest.start();
        let grain = grain_size.grain_of(start);
        if !self.chunk.grains.contains(&grain) {
            self.load_chunk(grain)?;
        }
        if self.chunk.entries.is_empty() {
            let range = self.take_up_to(grain_size.start_of(self.chunk.grains.end));
            return Ok(Run {
                range,
                place: Place::Unallocated,
            });
        }
        let index = grain.saturating_sub(self.chunk.grains.start);
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| self.chunk.entries.get(index))
            .copied()
            .unwrap_or(0);
        let place = match self.tables.place_of(grain, entry)? {
            Place::At(sector) if !self.tables.shape.is_compressed => {
                let offset = SectorCount::new(grain_size.offset_in(start));
                Place::At(sector.checked_add(offset).unwrap_or(sector))
            }
            place => place,
        };
        let range = self.take_up_to(grain_size.start_of(grain.saturating_add(1)));
        Ok(Run { range, place })
    }

    fn take_up_to(&mut self, end: Sector) -> SectorRange {
        let (range, rest) = self.rest.split_at(end);
        self.rest = rest;
        range
    }

    /// Copies the entries that the rest of the range needs from one table.
    fn load_chunk(&mut self, grain: u64) -> Result<(), Error> {
        let tables = self.tables;
        let last = tables
            .shape
            .grain
            .grains_in(SectorCount::new(self.rest.end().get()));
        let end = tables.end_of_table(grain).min(last);
        let (table, index) = tables.split(grain);
        let count = usize::try_from(end.saturating_sub(grain)).unwrap_or(0);
        // A table that cannot be read must not leave a chunk behind: an empty one stands for zeros.
        let mut entries = mem::take(&mut self.chunk).entries;
        entries.clear();
        tables.with_table(table, |found| {
            let found = found.as_deref().unwrap_or_default();
            entries.extend(found.iter().skip(index).take(count));
        })?;
        self.chunk = Chunk {
            grains: grain..end,
            entries,
        };
        Ok(())
    }

    fn joined(&self, first: &Run, second: &Run) -> Option<Run> {
        let follows = match (first.place, second.place) {
            (Place::At(start), Place::At(next)) => {
                !self.tables.shape.is_compressed
                    && start.checked_add(first.range.count()) == Some(next)
            }
            (one, other) => one == other,
        };
        follows.then(|| Run {
            range: SectorRange::between(first.range.start(), second.range.end())
                .unwrap_or(first.range),
            place: first.place,
        })
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let piece = match self.next_piece() {
                Ok(piece) => piece,
                Err(error) => {
                    // What came before is good; the error comes up again at the next call.
                    if let Some(run) = self.pending.take() {
                        return Some(Ok(run));
                    }
                    self.rest = SectorRange::default();
                    return Some(Err(error));
                }
            };
            match self.pending.take() {
                None => self.pending = Some(piece),
                Some(run) => match self.joined(&run, &piece) {
                    Some(longer) => self.pending = Some(longer),
                    None => {
                        self.pending = Some(piece);
                        return Some(Ok(run));
                    }
                },
            }
        }
        self.pending.take().map(Ok)
    }
}

/// The bytes of a table as it stands in a file.
pub(crate) fn to_bytes(entries: &Entries, entries_per_table: u32) -> Vec<u8> {
    let length = usize::try_from(entries_per_table)
        .unwrap_or(0)
        .saturating_mul(4);
    let mut bytes: Vec<u8> = entries
        .as_deref()
        .unwrap_or_default()
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    bytes.resize(length, 0);
    bytes
}
