//! Grain directory and grain tables: from a sector of the guest to a place in the file.
//!
//! Both are in memory in part: pieces of the [`Directory`], and tables through the [`TableCache`].
//!
//! Where an extent is only read and has a second directory, that one is asked about what the first one has damaged.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::cache::{ChangedTable, Entries, TableCache, TableCaches, TableKey};
use super::directory::{Directory, DirectoryEntry};
use super::header::{Damage, HeaderError, SparseShape, WholePart};
use super::runs::{Lookup, Place, Runs, TableError};
use crate::error::{Error, IoFault};
use crate::storage::Storage;
use crate::units::{GrainSize, buffer_len, byte_position, clamped, is_zero};

/// Tables that are read together where one without entries was found, and how many at most: 64 KiB of usual ones.
const FIRST_TOGETHER: u32 = 4;
const MOST_TOGETHER: u32 = 32;

/// The grain directory of one extent, and its way to the tables.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) shape: SparseShape,
    storage: Arc<dyn Storage>,
    cache: Arc<TableCache>,
    extent: u32,
    directory: Directory,
    spare: Option<Spare>,
    is_read_only: bool,
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
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        caches: &TableCaches,
        extent: u32,
        shape: SparseShape,
    ) -> Self {
        let directories = Arc::clone(&caches.directories);
        Self {
            directory: Directory::new(directories, extent, shape.directory_entries),
            shape,
            storage,
            cache: Arc::clone(&caches.tables),
            extent,
            spare: None,
            is_read_only: false,
            changed: Mutex::default(),
        }
    }

    /// The sectors of all tables as they are in the file; 0 for those that are not there. Whoever wants them all will
    /// change something, and must find the first directory whole.
    pub(crate) fn all_sectors(&self) -> Result<Vec<u32>, Error> {
        let read = |start| read_directory(&*self.storage, start, self.shape.directory_entries);
        match (read(self.shape.directory), self.shape.redundant_directory) {
            (Err(error), Some(redundant)) if read(redundant).is_ok() => {
                tracing::warn!(%error, "the grain directory cannot be read, but its copy can");
                Err(HeaderError::NeedsRepair(Damage::DirectoryUnreadable).into())
            }
            (directory, _) => directory,
        }
    }

    /// The same tables, read through the second directory where the first one is damaged. That is for extents that are
    /// only read: whoever writes must first find both alike.
    pub(crate) fn for_reading(mut self, file: ByteLen) -> Self {
        self.is_read_only = true;
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
    pub(crate) fn sector_of(&self, table: u32) -> Result<u32, Error> {
        Ok(self.directory_entry(table)?.value)
    }

    fn directory_entry(&self, table: u32) -> Result<DirectoryEntry, Error> {
        self.directory
            .entry(table, |entries| self.load_directory(&entries))
    }

    fn load_directory(&self, entries: &Range<u32>) -> Result<Entries, Error> {
        let read = |directory: Sector| {
            let mut bytes = vec![0; entries.len().saturating_mul(4)];
            let offset = ByteLen::new(u64::from(entries.start).saturating_mul(4));
            let position = byte_position(directory).checked_add(offset);
            self.storage
                .read_exact_at(&mut bytes, position.unwrap_or_default())
                .map_err(|error| IoFault::new("reading the grain directory", error))?;
            Ok(parse_entries(&bytes))
        };
        read(self.shape.directory).or_else(|error: Error| {
            let copy = self.shape.redundant_directory.map(read);
            let Some(Ok(entries)) = copy else {
                return Err(error);
            };
            tracing::warn!(%error, "the copy of the grain directory is used");
            Ok(entries)
        })
    }

    /// Takes note of where a table is, after its entry has been written to the directory in the file.
    pub(crate) fn set_sector_of(&self, table: u32, sector: u32) {
        self.directory.note(table, sector);
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
        if self.hits_metadata(clamped(start, self.shape.table_len())) {
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

    /// Whether tables in `range` would lie inside the header, the text or a directory.
    fn hits_metadata(&self, range: SectorRange) -> bool {
        self.shape
            .reserved()
            .any(|reserved| reserved.intersection(range).is_some())
    }

    /// The sector of a table's copy, if there is one.
    fn spare_table(&self, table: u32) -> Option<u32> {
        let spare = self.spare.as_ref()?;
        self.read_entry(spare.directory, u64::from(table))
            .filter(|sector| {
                let range = clamped(Sector::new(u64::from(*sector)), self.shape.table_len());
                *sector != 0 && !self.hits_metadata(range)
            })
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

    /// Calls `look` with the entries of a table. A table that is not in the file costs no room in the cache. Returns,
    /// too, the table behind this one and those that are known to have no entries either.
    pub(crate) fn with_table<T>(
        &self,
        table: u32,
        mut look: impl FnMut(&Entries) -> T,
    ) -> Result<(T, u32), Error> {
        let key = self.key(table);
        let next = table.saturating_add(1);
        if let Some(result) = self.cache.peek(key, &mut look) {
            return Ok((result, next));
        }
        // Asked in this order: a table leaves the cache only when it is in the file.
        let entry = self.directory_entry(table)?;
        match entry.value {
            // Whoever writes may have the next ones in the cache alone.
            0 if self.is_read_only => Ok((look(&None), entry.zeros_end.max(next))),
            0 => Ok((look(&None), next)),
            sector => {
                let load = || self.load_table(table, sector);
                Ok((self.cache.read(key, load, look)?, next))
            }
        }
    }

    /// The first of `tables` that may have entries, as far as that is quickly known: tables that follow each other in the
    /// file are read together and not kept.
    fn skip_empty(&self, tables: Range<u32>) -> u32 {
        let length = self.shape.table_len();
        let (mut next, mut most) = (tables.start, FIRST_TOGETHER);
        while next < tables.end {
            let together = self.together(next..tables.end.min(next.saturating_add(most)));
            let start = together.start();
            if together.is_empty() || self.hits_metadata(together) {
                break;
            }
            let mut bytes = vec![0; buffer_len(together.count())];
            // What is wrong comes up where each is read by itself.
            if self
                .storage
                .read_exact_at(&mut bytes, byte_position(start))
                .is_err()
            {
                break;
            }
            let each = bytes.chunks(buffer_len(length));
            let count = each.len();
            let empty = each.take_while(|table| is_zero(table)).count();
            next = next.saturating_add(u32::try_from(empty).unwrap_or(0));
            if empty < count {
                break;
            }
            most = most.saturating_mul(2).min(MOST_TOGETHER);
        }
        next
    }

    /// The sectors of the first of `tables` and of those that follow it in the file.
    fn together(&self, tables: Range<u32>) -> SectorRange {
        let length = self.shape.table_len();
        let mut found = SectorRange::default();
        for table in tables {
            let sector = self.sector_of(table).unwrap_or(0);
            let place = clamped(Sector::new(u64::from(sector)), length);
            if sector != 0 && found.is_empty() {
                found = place;
            } else if sector != 0 && place.start() == found.end() {
                found = SectorRange::between(found.start(), place.end()).unwrap_or(found);
            } else {
                break;
            }
        }
        found
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
            let load = || self.load_table(table, self.sector_of(table)?);
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
        let (is_empty, mut next) = self.with_table(table, |found| {
            let entries_of = found.as_deref().unwrap_or_default();
            entries.extend(entries_of.iter().skip(index).take(count));
            found.is_none()
        })?;
        if is_empty && self.is_read_only {
            let (last, _) = self.split(grains.end.saturating_sub(1));
            next = self.skip_empty(next..last.saturating_add(1));
        }
        let entries_per_table = u64::from(self.shape.entries_per_table);
        let next = u64::from(next).saturating_mul(entries_per_table);
        Ok(next.min(grains.end).max(end))
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
