//! The check before a sparse extent is written: every place that the metadata names is where nothing else is.
//!
//! Writing in place trusts the tables, so a wrong one would turn a write into damage elsewhere. The scan reads every
//! table once, a megabyte at a time, and keeps one bit for each grain of the file, times the number of ways in which
//! its grains are aligned.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::super::header::SparseShape;
use super::super::table::{Tables, little_endian, read_directory};
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::storage::Storage;
use crate::units::{byte_position, clamped, is_zero};

/// Tables read at once.
const BATCH_BYTES: u64 = 1 << 20;

/// Sector numbers in tables end here.
const ADDRESSABLE: u64 = 1 << 32;

/// Files that two programs have written may hold grains aligned in two ways; more than these no program leaves behind.
const MAX_ALIGNMENTS: usize = 4;

/// What must be repaired before the extent can be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("grain table {0} is in one grain directory only")]
    DirectoriesDiffer(usize),
    #[error(
        "the grain table at sector {0} lies inside other metadata or behind the end of the file"
    )]
    TableMisplaced(u32),
    #[error("the grain table at sector {0} overlaps another")]
    TablesOverlap(u32),
    #[error("grain table {0} and its redundant copy differ")]
    CopiesDiffer(usize),
    #[error("the grain at sector {0} lies inside the metadata or behind the end of the file")]
    GrainMisplaced(u32),
    #[error("the grain at sector {0} overlaps another")]
    GrainsOverlap(u32),
    #[error("the grains lie at odd distances from each other")]
    Scattered,
}

impl Cause for ScanError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NeedsRepair
    }
}

/// What a writer needs to know of a consistent extent.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The file's length, rounded up to sectors.
    pub(super) file: SectorCount,
    pub(super) redundant_directory: Option<Vec<u32>>,
}

/// Checks the directories and all tables. What an unclean shutdown leaves unfinished is then brought to the state of
/// the primary tables, which is complete at any moment by the order of writing.
pub(super) fn scan(storage: &dyn Storage, tables: &Tables) -> Result<Scanned, Error> {
    let shape = &tables.shape;
    let length = storage
        .len()
        .map_err(|error| IoFault::new("asking for the length of the file", error))?;
    let directory = tables.all_sectors()?;
    let mut redundant_directory = shape
        .redundant_directory
        .map(|start| read_directory(storage, start, shape.directory_entries))
        .transpose()?;
    let mut unfinished = Unfinished::default();
    if let Some(copies) = redundant_directory.as_mut().filter(|_| shape.is_dirty) {
        unfinished.drop_tables_without_primary(&directory, copies);
    }
    let copies = redundant_directory.as_deref().unwrap_or_default();
    let whole = SectorCount::new(length.get() / 512);
    let table_starts = check_directories(tables, &directory, copies, whole)?;
    let mut grains = Grains::new(tables, &table_starts, whole);
    for batch in batches(&directory, copies, shape.table_len().get()) {
        let primary = read_tables(storage, batch.primary, batch.sectors)?;
        if !is_zero(&primary) {
            for entry in little_endian(&primary) {
                grains.enter(entry)?;
            }
        }
        if batch.redundant != 0 && primary != read_tables(storage, batch.redundant, batch.sectors)?
        {
            if !shape.is_dirty {
                return Err(ScanError::CopiesDiffer(batch.first_table).into());
            }
            unfinished.stale.push(batch);
        }
    }
    unfinished.finish(storage, shape)?;
    Ok(Scanned {
        file: length.sectors_rounded_up(),
        redundant_directory,
    })
}

/// What a writer that did not come to its end left behind in the redundant metadata.
#[derive(Debug, Default)]
struct Unfinished {
    /// Tables that only the redundant directory names.
    without_primary: Vec<usize>,
    /// Redundant tables that differ from their primary ones.
    stale: Vec<Batch>,
}

impl Unfinished {
    fn drop_tables_without_primary(&mut self, directory: &[u32], copies: &mut [u32]) {
        for (index, (primary, copy)) in directory.iter().zip(copies).enumerate() {
            if *primary == 0 && *copy != 0 {
                *copy = 0;
                self.without_primary.push(index);
            }
        }
    }

    fn finish(&self, storage: &dyn Storage, shape: &SparseShape) -> Result<(), Error> {
        let fault = |error| IoFault::new("mending redundant grain tables", error);
        for batch in &self.stale {
            tracing::warn!(
                table = batch.first_table,
                "redundant grain tables are brought up to date"
            );
            let primary = read_tables(storage, batch.primary, batch.sectors)?;
            let position = byte_position(Sector::new(u64::from(batch.redundant)));
            storage.write_all_at(&primary, position).map_err(fault)?;
        }
        let start = byte_position(shape.redundant_directory.unwrap_or_default()).get();
        for table in &self.without_primary {
            tracing::warn!(table, "an unfinished redundant grain table is dropped");
            let offset = u64::try_from(*table).unwrap_or(u64::MAX).saturating_mul(4);
            let position = ByteLen::new(start.saturating_add(offset));
            storage.write_all_at(&[0; 4], position).map_err(fault)?;
        }
        Ok(())
    }
}

/// Checks where tables are; returns the starts of all of them, ascending.
fn check_directories(
    tables: &Tables,
    directory: &[u32],
    copies: &[u32],
    file: SectorCount,
) -> Result<Vec<u32>, Error> {
    let length = tables.shape.table_len();
    for (index, (primary, copy)) in directory.iter().zip(copies).enumerate() {
        if (*primary == 0) != (*copy == 0) {
            return Err(ScanError::DirectoriesDiffer(index).into());
        }
    }
    let mut starts: Vec<u32> = directory
        .iter()
        .chain(copies)
        .copied()
        .filter(|start| *start != 0)
        .collect();
    starts.sort_unstable();
    let mut free_from = 0;
    for start in &starts {
        let range = clamped(Sector::new(u64::from(*start)), length);
        let in_file = range.end().get() <= file.get();
        if !in_file
            || tables
                .shape
                .reserved()
                .any(|reserved| reserved.intersection(range).is_some())
        {
            return Err(ScanError::TableMisplaced(*start).into());
        }
        if range.start().get() < free_from {
            return Err(ScanError::TablesOverlap(*start).into());
        }
        free_from = range.end().get();
    }
    Ok(starts)
}

/// Consecutive tables that lie together in the file, as do their copies.
#[derive(Debug)]
struct Batch {
    first_table: usize,
    primary: u32,
    /// 0 if there are no copies.
    redundant: u32,
    sectors: u64,
}

fn batches(directory: &[u32], copies: &[u32], table_len: u64) -> Vec<Batch> {
    let limit = BATCH_BYTES / 512;
    let mut batches: Vec<Batch> = Vec::new();
    let copies = copies.iter().copied().chain(std::iter::repeat(0));
    for (first_table, (primary, redundant)) in directory.iter().copied().zip(copies).enumerate() {
        if primary == 0 {
            continue;
        }
        let follows = |start: u32, sectors: u64, next: u32| {
            u64::from(start).checked_add(sectors) == Some(u64::from(next))
        };
        match batches.last_mut() {
            Some(batch)
                if batch.sectors < limit
                    && follows(batch.primary, batch.sectors, primary)
                    && (redundant == 0 || follows(batch.redundant, batch.sectors, redundant)) =>
            {
                batch.sectors = batch.sectors.saturating_add(table_len);
            }
            _ => batches.push(Batch {
                first_table,
                primary,
                redundant,
                sectors: table_len,
            }),
        }
    }
    batches
}

fn read_tables(storage: &dyn Storage, start: u32, sectors: u64) -> Result<Vec<u8>, Error> {
    let bytes = usize::try_from(sectors.saturating_mul(512)).unwrap_or(0);
    let mut buffer = vec![0; bytes];
    storage
        .read_exact_at(&mut buffer, byte_position(Sector::new(u64::from(start))))
        .map_err(|error| IoFault::new("reading grain tables", error))?;
    Ok(buffer)
}

/// The grains met so far.
struct Grains<'a> {
    tables: &'a Tables,
    /// Starts of the tables that reach into the grains, ascending.
    late_tables: &'a [u32],
    file: SectorCount,
    /// The slot of a grain is its sector divided by the grain size.
    slots: u64,
    /// One for each distance that grains lie off their slots; in most files there is one.
    aligned: Vec<AlignedAlike>,
}

/// Grains that lie equally far off their slots: one bit for each slot.
struct AlignedAlike {
    offset: u64,
    taken: Vec<u64>,
}

impl AlignedAlike {
    fn bit(slot: u64) -> (usize, u64) {
        let word = usize::try_from(slot / 64).unwrap_or(usize::MAX);
        (word, 1 << (slot % 64))
    }

    fn has(&self, slot: u64) -> bool {
        let (word, bit) = Self::bit(slot);
        self.taken.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether one of these grains overlaps one that lies `offset` off `slot`: any in the same slot does, and of the
    /// neighbours those whose distance is less than a grain.
    fn overlaps(&self, slot: u64, offset: u64) -> bool {
        self.has(slot)
            || (self.offset > offset && slot.checked_sub(1).is_some_and(|slot| self.has(slot)))
            || (self.offset < offset && self.has(slot.saturating_add(1)))
    }
}

impl<'a> Grains<'a> {
    fn new(tables: &'a Tables, table_starts: &'a [u32], file: SectorCount) -> Self {
        let length = tables.shape.table_len();
        let first_late = table_starts.partition_point(|start| {
            clamped(Sector::new(u64::from(*start)), length).end() <= tables.shape.data_start
        });
        let reach = SectorCount::new(file.get().min(ADDRESSABLE));
        Self {
            tables,
            late_tables: table_starts.get(first_late..).unwrap_or_default(),
            file,
            slots: tables.shape.grain.grains_in(reach),
            aligned: Vec::new(),
        }
    }

    fn enter(&mut self, entry: u32) -> Result<(), Error> {
        if entry <= 1 {
            return Ok(());
        }
        let size = self.tables.shape.grain;
        let start = Sector::new(u64::from(entry));
        let range = clamped(start, size.count());
        let is_placed =
            !self.tables.shape.is_metadata(start) && range.end().get() <= self.file.get();
        if !is_placed || self.hits_table(range) {
            return Err(ScanError::GrainMisplaced(entry).into());
        }
        let (slot, offset) = (size.grain_of(start), size.offset_in(start));
        if self
            .aligned
            .iter()
            .any(|alike| alike.overlaps(slot, offset))
        {
            return Err(ScanError::GrainsOverlap(entry).into());
        }
        let (word, bit) = AlignedAlike::bit(slot);
        if let Some(word) = self.aligned_alike(offset)?.taken.get_mut(word) {
            *word |= bit;
        }
        Ok(())
    }

    fn aligned_alike(&mut self, offset: u64) -> Result<&mut AlignedAlike, ScanError> {
        let known = self.aligned.iter().position(|alike| alike.offset == offset);
        let index = known.unwrap_or(self.aligned.len());
        if known.is_none() {
            if index >= MAX_ALIGNMENTS {
                return Err(ScanError::Scattered);
            }
            let words = usize::try_from(self.slots.div_ceil(64)).unwrap_or(0);
            self.aligned.push(AlignedAlike {
                offset,
                taken: vec![0; words],
            });
        }
        self.aligned.get_mut(index).ok_or(ScanError::Scattered)
    }

    fn hits_table(&self, range: SectorRange) -> bool {
        let length = self.tables.shape.table_len();
        let reach = Sector::new(range.start().get().saturating_sub(length.get()));
        let first = self
            .late_tables
            .partition_point(|start| u64::from(*start) <= reach.get());
        self.late_tables
            .get(first)
            .is_some_and(|start| u64::from(*start) < range.end().get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_lie_together_are_read_together() {
        let batches = batches(&[100, 104, 0, 108, 300], &[200, 204, 0, 208, 400], 4);
        let starts: Vec<_> = batches
            .iter()
            .map(|batch| (batch.primary, batch.redundant, batch.sectors))
            .collect();
        assert_eq!(starts, [(100, 200, 12), (300, 400, 4)]);
        assert_eq!(super::batches(&[100, 104], &[], 4).len(), 1);
        let long: Vec<u32> = (0..2000).map(|table| 100 + table * 4).collect();
        assert_eq!(super::batches(&long, &[], 4).len(), 4);
    }
}
