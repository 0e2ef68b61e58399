//! The rules that the directories and tables of a hosted sparse or COWD extent must keep: every place that they name is
//! in the file and where nothing else is, and the two copies are alike.
//!
//! Whoever writes in place trusts the tables, so that an open for writing goes by these rules, and so does a check. The
//! survey reads every table once, a megabyte at a time.
//!
//! In memory it holds at most 160 bytes for each table that the capacity needs (10 MiB for 2 TiB in usual grains; no
//! header is accepted that needs more than 4 Mi tables), and one bit for each grain that the file has room for, times
//! the ways in which its grains are aligned, of which there are at most four. That is 4 MiB each for a file of 2 TiB with
//! usual grains; with the smallest grains, of one to four sectors, it is 512 MiB in all, of which the system provides
//! what is written to: the parts for places where grains are.

mod directory;
mod places;
mod problem;

use disk_units::{ByteLen, Sector, SectorCount};

use super::header::SparseShape;
use super::table::little_endian;
use crate::error::{Error, IoFault};
use crate::storage::Storage;
use crate::units::{buffer_len, byte_position, clamped, is_zero};

use self::places::Places;

pub(crate) use self::directory::{Directories, Directory, TableState};
pub(crate) use self::places::MAX_CONTESTED;
pub(crate) use self::problem::{GrainFault, Problem, Side};

/// Tables read at once.
const BATCH_BYTES: u64 = 1 << 20;

/// What is told of each problem; an error ends the survey.
pub(crate) type Found<'a> = &'a mut dyn FnMut(Problem) -> Result<(), Error>;

/// What a survey has learned.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The length of the file.
    pub(crate) file: ByteLen,
    pub(crate) directories: Directories,
    /// Where grains are.
    pub(crate) places: Places,
    /// Where the tables are that lie among the grains, in sectors in all and up to where.
    pub(crate) late_tables: (u64, Sector),
    /// Tables have lost the trust that entries were taken from them with.
    is_unsettled: bool,
}

impl Survey {
    /// Looks at the directories and all tables.
    pub(crate) fn run(
        storage: &dyn Storage,
        shape: &SparseShape,
        found: Found<'_>,
    ) -> Result<Self, Error> {
        let file = storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        let directories = Directories::read(storage, shape, file)?;
        directories.report(found)?;
        let mut survey = Self {
            file,
            directories,
            places: Places::new(shape, file),
            late_tables: (0, Sector::ZERO),
            is_unsettled: false,
        };
        survey.look_at_tables(storage, shape, found)?;
        Ok(survey)
    }

    /// Whether a grain was found in the place of a table, so that the table cannot be trusted: it is `Contested` now,
    /// and [`Survey::again`] may find something else.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// Looks at all tables once more.
    pub(crate) fn again(
        &mut self,
        storage: &dyn Storage,
        shape: &SparseShape,
        found: Found<'_>,
    ) -> Result<(), Error> {
        self.places = Places::new(shape, self.file);
        self.is_unsettled = false;
        self.directories.report(found)?;
        self.look_at_tables(storage, shape, found)
    }

    fn look_at_tables(
        &mut self,
        storage: &dyn Storage,
        shape: &SparseShape,
        found: Found<'_>,
    ) -> Result<(), Error> {
        self.read_tables(storage, shape, found)?;
        let late: Vec<_> = self
            .directories
            .late(shape.data_start, shape.table_len())
            .collect();
        let sectors = late.iter().map(|(range, ..)| range.count().get());
        let end = late.last().map_or(Sector::ZERO, |(range, ..)| range.end());
        self.late_tables = (sectors.fold(0, u64::saturating_add), end);
        for (range, table, side) in late {
            if self.places.has_any_in(range) {
                self.contest(table, side, found)?;
            }
        }
        Ok(())
    }

    fn contest(&mut self, table: u32, side: Side, found: Found<'_>) -> Result<(), Error> {
        let directory = match (side, &self.directories.copy) {
            (Side::Copy, Some(copy)) => copy,
            _ => &self.directories.primary,
        };
        let sector = directory.entry(table);
        if self.directories.contest(table, side) {
            self.is_unsettled = true;
            found(Problem::TableContested {
                table,
                sector,
                side,
            })?;
        }
        Ok(())
    }

    /// Whether the copy of a table has a grain in the place of the table itself.
    fn is_denied(&self, shape: &SparseShape, table: u32, copy: &[u8]) -> bool {
        let start = Sector::new(u64::from(self.directories.primary.entry(table)));
        let place = clamped(start, shape.table_len());
        let has = |entry: u32| {
            let grain = clamped(Sector::new(u64::from(entry)), shape.grain.count());
            entry > 1 && grain.intersection(place).is_some()
        };
        place.end() > shape.data_start && little_endian(copy).into_iter().any(has)
    }

    fn read_tables(
        &mut self,
        storage: &dyn Storage,
        shape: &SparseShape,
        found: Found<'_>,
    ) -> Result<(), Error> {
        let entries_per_table = usize::try_from(shape.entries_per_table).unwrap_or(0).max(1);
        for batch in batches(&self.directories, shape.table_len().get()) {
            let bytes = read_sectors(storage, batch.start, batch.sectors)?;
            let copies = match batch.copy {
                0 => None,
                copy => Some(read_sectors(storage, copy, batch.sectors)?),
            };
            let copies = copies.filter(|copies| *copies != bytes);
            if is_zero(&bytes) && copies.is_none() {
                continue;
            }
            let table_bytes = buffer_len(shape.table_len());
            let tables = bytes.chunks(table_bytes);
            for (table, content) in (batch.first_table..).zip(tables) {
                let first = u64::from(table).saturating_mul(u64::from(shape.entries_per_table));
                if !is_zero(content) {
                    let entries = little_endian(content);
                    for (grain, entry) in (first..).zip(entries.into_iter().take(entries_per_table))
                    {
                        if let Some(fault) = self.places.enter(shape, grain, entry) {
                            found(Problem::Grain {
                                grain,
                                sector: entry,
                                fault,
                            })?;
                        }
                    }
                }
                let offset = usize::try_from(table.saturating_sub(batch.first_table))
                    .unwrap_or(0)
                    .saturating_mul(table_bytes);
                let copy = copies
                    .as_deref()
                    .and_then(|copies| copies.get(offset..offset.saturating_add(content.len())));
                if let Some(copy) = copy.filter(|copy| *copy != content) {
                    found(Problem::CopiesDiffer { table })?;
                    if self.is_denied(shape, table, copy) {
                        self.contest(table, Side::Primary, found)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Consecutive tables that lie together in the file, as do their copies.
#[derive(Debug)]
struct Batch {
    first_table: u32,
    start: u32,
    /// 0 if there are no copies to compare with.
    copy: u32,
    sectors: u64,
}

fn batches(directories: &Directories, table_len: u64) -> Vec<Batch> {
    let limit = BATCH_BYTES / 512;
    let mut batches: Vec<Batch> = Vec::new();
    for table in 0..directories.tables() {
        let Some((start, copy)) = directories.content_of(table) else {
            continue;
        };
        let follows = |first: u32, sectors: u64, next: u32| {
            u64::from(first).checked_add(sectors) == Some(u64::from(next))
        };
        match batches.last_mut() {
            Some(batch)
                if batch.sectors < limit
                    && follows(batch.start, batch.sectors, start)
                    && (batch.copy == 0) == (copy == 0)
                    && (copy == 0 || follows(batch.copy, batch.sectors, copy))
                    && u64::from(table.saturating_sub(batch.first_table))
                        .checked_mul(table_len)
                        == Some(batch.sectors) =>
            {
                batch.sectors = batch.sectors.saturating_add(table_len);
            }
            _ => batches.push(Batch {
                first_table: table,
                start,
                copy,
                sectors: table_len,
            }),
        }
    }
    batches
}

/// Reads sectors that hold tables.
pub(crate) fn read_sectors(
    storage: &dyn Storage,
    start: u32,
    sectors: u64,
) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; buffer_len(SectorCount::new(sectors))];
    storage
        .read_exact_at(&mut buffer, byte_position(Sector::new(u64::from(start))))
        .map_err(|error| IoFault::new("reading grain tables", error))?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(primary: &[u32], copies: &[u32]) -> Vec<(u32, u32, u32, u64)> {
        let directories = Directories::all_good(primary, copies);
        batches(&directories, 4)
            .iter()
            .map(|batch| (batch.first_table, batch.start, batch.copy, batch.sectors))
            .collect()
    }

    #[test]
    fn tables_that_lie_together_are_read_together() {
        assert_eq!(
            spans(&[100, 104, 0, 108, 300], &[200, 204, 0, 208, 400]),
            [(0, 100, 200, 8), (3, 108, 208, 4), (4, 300, 400, 4)]
        );
        assert_eq!(spans(&[100, 104], &[]).len(), 1);
        let long: Vec<u32> = (0..2000).map(|table| 100 + table * 4).collect();
        assert_eq!(spans(&long, &[]).len(), 4);
    }
}
