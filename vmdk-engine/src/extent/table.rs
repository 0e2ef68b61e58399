//! Grain directory and grain tables: from a sector of the guest to a place in the file.
//!
//! The directory is in memory whole (4 bytes for 32 MiB of guest space); tables come through the [`TableCache`].
//!
//! Where an extent is only read and has a second directory, that one is asked about what the first one has damaged.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::cache::{ChangedTable, Entries, TableCache, TableKey};
use super::header::{ReadOnlyReason, SparseShape, WholePart};
use super::runs::{Lookup, Place, Runs, TableError};
use crate::error::{Error, IoFault};
use crate::storage::Storage;
use crate::units::{GrainSize, byte_position, clamped, is_zero};

/// The grain directory of one extent, and its way to the tables.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) shape: SparseShape,
    storage: Arc<dyn Storage>,
    cache: Arc<TableCache>,
    extent: u32,
    directory: Box<[AtomicU32]>,
    spare: Option<Spare>,
    /// Tables with changes that are not in the file yet.
    changed: Mutex<BTreeSet<u32>>,
}

/// The second directory, for what the first one has damaged.
#[derive(Debug)]
struct Spare {
    directory: Sector,
    /// Grains that the first tables place behind this are damaged.
    file: SectorCount,
}

impl Tables {
    pub(crate) fn load(
        storage: Arc<dyn Storage>,
        cache: Arc<TableCache>,
        extent: u32,
        mut shape: SparseShape,
    ) -> Result<Self, Error> {
        let read = |start| read_directory(&*storage, start, shape.directory_entries);
        let directory = match (read(shape.directory), shape.redundant_directory) {
            (Err(error), Some(redundant)) => {
                let directory = read(redundant).map_err(|_| error)?;
                tracing::warn!("the grain directory cannot be read; its copy is used");
                shape.directory = redundant;
                shape.redundant_directory = None;
                shape.read_only =
                    Some(ReadOnlyReason::Damage("the grain directory cannot be read"));
                directory
            }
            (directory, _) => directory?,
        };
        Ok(Self {
            shape,
            storage,
            cache,
            extent,
            directory: directory.into_iter().map(AtomicU32::new).collect(),
            spare: None,
            changed: Mutex::default(),
        })
    }

    /// The same tables, read through the second directory where the first one is damaged. That is for extents that are
    /// only read: whoever writes must first find both alike.
    pub(crate) fn with_spare(mut self, file: ByteLen) -> Self {
        self.spare = self.shape.redundant_directory.map(|directory| Spare {
            directory,
            file: file.whole_part(),
        });
        self
    }

    /// The runs that make up `range`.
    pub(crate) fn runs(&self, range: SectorRange) -> Runs<'_, Self> {
        Runs::new(self, range)
    }

    /// All sectors that the tables have entries for, which may be more than the disk has.
    pub(crate) fn reach(&self) -> SectorRange {
        let tables = u64::from(self.shape.directory_entries);
        let grains = tables.saturating_mul(u64::from(self.shape.entries_per_table));
        SectorRange::whole(SectorCount::new(self.shape.grain.start_of(grains).get()))
    }

    /// How many tables have changes that are not in the file yet.
    pub(crate) fn changed_tables(&self) -> usize {
        self.changed.lock().len()
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
        self.read_table(table, sector).or_else(|error| {
            let copy = self.spare_table(table);
            let entries = copy.and_then(|copy| self.read_table(table, copy).ok());
            if entries.is_some() {
                tracing::warn!(table, %error, "the copy of a grain table is used");
            }
            entries.ok_or(error)
        })
    }

    fn read_table(&self, table: u32, sector: u32) -> Result<Entries, Error> {
        let start = Sector::new(u64::from(sector));
        if self.hits_metadata(start) {
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

    /// Whether a table at `start` would lie inside the header, the text or a directory.
    fn hits_metadata(&self, start: Sector) -> bool {
        let range = clamped(start, self.shape.table_len());
        self.shape
            .reserved()
            .any(|reserved| reserved.intersection(range).is_some())
    }

    /// The sector of a table's copy, if there is one.
    fn spare_table(&self, table: u32) -> Option<u32> {
        let spare = self.spare.as_ref()?;
        self.read_entry(spare.directory, u64::from(table))
            .filter(|sector| *sector != 0 && !self.hits_metadata(Sector::new(u64::from(*sector))))
    }

    /// The place of a grain by the copy of its table, if it can be one.
    fn spare_place(&self, grain: u64) -> Option<Place> {
        let (table, index) = self.split(grain);
        let start = Sector::new(u64::from(self.spare_table(table)?));
        let sector = self.read_entry(start, u64::try_from(index).ok()?)?;
        if sector <= 1 || self.is_misplaced(sector) {
            return None;
        }
        tracing::warn!(grain, "the entry of a grain is damaged; its copy is used");
        Some(Place::At(Sector::new(u64::from(sector))))
    }

    /// Whether no grain can be there. The end of the file counts only where there is another entry to turn to.
    fn is_misplaced(&self, sector: u32) -> bool {
        let sector = Sector::new(u64::from(sector));
        let is_behind = |spare: &Spare| sector.get() >= spare.file.get();
        self.shape.is_metadata(sector) || self.spare.as_ref().is_some_and(is_behind)
    }

    /// One entry of the directory or table that begins at `start`.
    fn read_entry(&self, start: Sector, index: u64) -> Option<u32> {
        let offset = ByteLen::new(index.saturating_mul(4));
        let position = byte_position(start).checked_add(offset)?;
        let mut bytes = [0; 4];
        self.storage.read_exact_at(&mut bytes, position).ok()?;
        Some(u32::from_le_bytes(bytes))
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
}

impl Lookup for Tables {
    type Entry = u32;

    fn grain(&self) -> GrainSize {
        self.shape.grain
    }

    fn are_records(&self) -> bool {
        self.shape.is_compressed
    }

    fn copy_entries(&self, grains: Range<u64>, entries: &mut Vec<u32>) -> Result<u64, Error> {
        let end = self.end_of_table(grains.start).min(grains.end);
        let (table, index) = self.split(grains.start);
        let count = usize::try_from(end.saturating_sub(grains.start)).unwrap_or(0);
        self.with_table(table, |found| {
            let found = found.as_deref().unwrap_or_default();
            entries.extend(found.iter().skip(index).take(count));
        })?;
        Ok(end)
    }

    fn place_of(&self, grain: u64, entry: u32) -> Result<Place, TableError> {
        match entry {
            0 => Ok(Place::Unallocated),
            1 => Ok(Place::Zeroed),
            sector if self.is_misplaced(sector) => match self.spare_place(grain) {
                Some(place) => Ok(place),
                None if self.shape.is_metadata(Sector::new(u64::from(sector))) => {
                    Err(TableError::GrainInMetadata { grain, sector })
                }
                // Reading it fails; that it is allocated is known.
                None => Ok(Place::At(Sector::new(u64::from(sector)))),
            },
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
