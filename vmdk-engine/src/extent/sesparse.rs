//! Space-efficient sparse extents (SESparse), as ESX writes them for snapshots. Read-only: the checksum of their journal
//! is not public, so that nobody else can write them safely.
//!
//! Facts observed in a file that ESXi wrote, and with qemu-img 10.

mod header;
mod survey;

use std::ops::Range;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use self::header::GRAIN_SECTORS;
use super::cache::{Entries, TableCache, TableCaches, TableKey};
use super::directory::Directory;
use super::runs::{Lookup, Place, Runs, TableError};
use super::{Extent, MapRun};
use crate::error::{Error, IoFault};
use crate::file_range::Located;
use crate::storage::Storage;
use crate::units::{GrainSize, byte_position, is_zero, range_of};

pub(crate) use header::SeSparseShape;
pub(crate) use survey::SeSparseTables;

/// Tables have 64 sectors of 64-bit entries.
pub(crate) const ENTRIES_PER_TABLE: u64 = 4096;
pub(crate) const TABLE_SECTORS: u64 = 64;

/// The top four bits of an entry say what it is.
const KIND_SHIFT: u32 = 60;
const KIND_TABLE: u64 = 1;
const KIND_UNMAPPED: u64 = 1;
const KIND_ZERO: u64 = 2;
const KIND_DATA: u64 = 3;

/// Stands for a directory entry without a table; others are kept as one more than the number of the table.
const NO_TABLE: u32 = 0;
/// Stands for a directory entry that is not valid; no table is numbered so.
const BAD_TABLE: u32 = u32::MAX;

/// Grains of 4 KiB behind tables of 64-bit entries.
#[derive(Debug)]
pub(crate) struct SeSparseExtent {
    storage: Arc<dyn Storage>,
    shape: SeSparseShape,
    cache: Arc<TableCache>,
    extent: u32,
    /// Numbers of tables in the region of tables.
    directory: Directory,
}

impl SeSparseExtent {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        caches: &TableCaches,
        extent: u32,
        shape: SeSparseShape,
    ) -> Self {
        let directories = Arc::clone(&caches.directories);
        let entries = u32::try_from(shape.directory_entries).unwrap_or(u32::MAX);
        Self {
            directory: Directory::new(directories, extent, entries),
            storage,
            shape,
            cache: Arc::clone(&caches.tables),
            extent,
        }
    }

    fn load_directory(&self, entries: &Range<u32>) -> Result<Entries, Error> {
        let mut bytes = vec![0; entries.len().saturating_mul(8)];
        let offset = ByteLen::new(u64::from(entries.start).saturating_mul(8));
        let position = byte_position(self.shape.directory).checked_add(offset);
        self.storage
            .read_exact_at(&mut bytes, position.unwrap_or_default())
            .map_err(|error| IoFault::new("reading the grain directory", error))?;
        if is_zero(&bytes) {
            return Ok(None);
        }
        let entries = <[U64]>::ref_from_bytes(&bytes).unwrap_or_default();
        let tables = entries.iter().map(|entry| self.shape.table_of(entry.get()));
        Ok(Some(tables.collect()))
    }

    fn runs(&self, range: SectorRange) -> Runs<'_, Self> {
        Runs::new(self, range)
    }

    /// Reads a table as pairs of 32 bits, low half first, which is what the cache holds.
    fn load_table(&self, slot: u32, table: u32) -> Result<Entries, Error> {
        let offset = u64::from(table).saturating_mul(TABLE_SECTORS);
        let start = self.shape.tables.checked_add(SectorCount::new(offset));
        let start = start.ok_or(TableError::DirectoryEntry { table: slot })?;
        let mut bytes = vec![
            0;
            usize::try_from(ENTRIES_PER_TABLE)
                .unwrap_or(0)
                .saturating_mul(8)
        ];
        self.storage
            .read_exact_at(&mut bytes, byte_position(start))
            .map_err(|error| IoFault::new(format!("reading grain table {slot}"), error))?;
        Ok((!is_zero(&bytes)).then(|| super::table::little_endian(&bytes).into_boxed_slice()))
    }
}

impl SeSparseShape {
    /// All directory entries as they are kept.
    fn read_directory(&self, storage: &dyn Storage) -> Result<Vec<u32>, Error> {
        let entries = usize::try_from(self.directory_entries).unwrap_or(0);
        let mut bytes = vec![0; entries.saturating_mul(8)];
        storage
            .read_exact_at(&mut bytes, byte_position(self.directory))
            .map_err(|error| IoFault::new("reading the grain directory", error))?;
        let entries = <[U64]>::ref_from_bytes(&bytes).unwrap_or_default();
        Ok(entries
            .iter()
            .map(|entry| self.table_of(entry.get()))
            .collect())
    }

    /// What an entry says of a grain.
    fn place_of(&self, grain: u64, entry: u64) -> Result<Place, TableError> {
        match entry >> KIND_SHIFT {
            0 if entry == 0 => Ok(Place::Unallocated),
            KIND_UNMAPPED | KIND_ZERO => Ok(Place::Zeroed),
            // The low twelve bits of the index stand in front of the others.
            KIND_DATA => Some((entry >> 48 & 0xfff) | (entry & 0xffff_ffff_ffff) << 12)
                .and_then(|index| index.checked_mul(GRAIN_SECTORS))
                .and_then(|offset| self.grains.checked_add(SectorCount::new(offset)))
                .map(Place::At)
                .ok_or(TableError::Entry { grain, entry }),
            _ => Err(TableError::Entry { grain, entry }),
        }
    }

    /// What is kept of a directory entry.
    fn table_of(&self, entry: u64) -> u32 {
        if entry == 0 {
            return NO_TABLE;
        }
        // Between the kind and the number all bits are zero.
        u32::try_from(entry ^ KIND_TABLE << KIND_SHIFT)
            .ok()
            .filter(|table| u64::from(*table) < self.table_count)
            .map_or(BAD_TABLE, |table| table.saturating_add(1))
    }
}

impl Lookup for SeSparseExtent {
    type Entry = u64;

    fn grain(&self) -> GrainSize {
        self.shape.grain
    }

    fn are_records(&self) -> bool {
        false
    }

    fn copy_entries(&self, grains: Range<u64>, entries: &mut Vec<u64>) -> Result<u64, Error> {
        let number = grains.start / ENTRIES_PER_TABLE;
        let first_behind = |number: u64| number.saturating_mul(ENTRIES_PER_TABLE).min(grains.end);
        let end = first_behind(number.saturating_add(1));
        let slot = u32::try_from(number).unwrap_or(u32::MAX);
        let entry = self
            .directory
            .entry(slot, |entries| self.load_directory(&entries))?;
        let table = match entry.value {
            NO_TABLE => return Ok(first_behind(entry.zeros_end.into()).max(end)),
            BAD_TABLE => return Err(TableError::DirectoryEntry { table: slot }.into()),
            kept => kept.saturating_sub(1),
        };
        let key = TableKey {
            extent: self.extent,
            table: slot,
        };
        let index = usize::try_from(grains.start % ENTRIES_PER_TABLE).unwrap_or(0);
        let count = usize::try_from(end.saturating_sub(grains.start)).unwrap_or(0);
        self.cache.read(
            key,
            || self.load_table(slot, table),
            |found| {
                let (pairs, _) = found.as_deref().unwrap_or_default().as_chunks::<2>();
                let pairs = pairs.iter().skip(index).take(count);
                entries.extend(pairs.map(|[low, high]| u64::from(*high) << 32 | u64::from(*low)));
            },
        )?;
        Ok(end)
    }

    fn place_of(&self, grain: u64, entry: u64) -> Result<Place, TableError> {
        self.shape.place_of(grain, entry)
    }
}

impl Extent for SeSparseExtent {
    fn read(
        &self,
        start: Sector,
        buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        let runs = self.runs(range_of(start, buf));
        runs.read(&*self.storage, buf, holes)
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(self.runs(range).map_runs())
    }

    fn locate(&self, range: SectorRange) -> Result<Located<'_>, Error> {
        self.runs(range).locate(&*self.storage)
    }

    fn grain(&self) -> Option<SectorCount> {
        Some(self.shape.grain.count())
    }
}
