//! The directories and tables of hosted sparse and COWD extents: what is wrong with them, and how it is mended.
//!
//! Both is one walk, so that a repair does what a check has said. First the survey finds the tables that something is
//! wrong with, and which places are taken; then each such table is decided entry by entry:
//!
//! * what can be read stays as it reads, from the primary tables;
//! * an entry that cannot be right gives way to that of the redundant table, and is zeroed if that is wrong too; if
//!   something else has that place, the grain is copied from there, as readers show it;
//! * where the disk was closed properly, an entry or table that only the redundant metadata has is taken from there:
//!   nobody frees grains without a trace of it, so that the primary one was damaged;
//! * of grains that have one place, each that has no other by the redundant table is copied to a place of its own.
//!
//! Mending never changes a place that a table in the file points to. New tables and copies of grains go behind the end
//! of the file and are synced before anything points to them; entries change after that, each in one sector. So it can
//! be interrupted at any write, and be run again.

use std::collections::BTreeSet;

use disk_units::{ByteLen, Sector, SectorRange};

use super::finding::{FindingKind, Notes, Severity, impossible};
use super::walk::Walk;
use crate::error::{Error, ErrorKind, IoFault};
use crate::extent::header::SparseShape;
use crate::extent::survey::{GrainFault, MAX_CONTESTED, Problem, Survey, read_sectors};
use crate::extent::table::little_endian;
use crate::storage::Storage;
use crate::units::{byte_position, shifted};

/// Tables that lose their trust may take that of others with them.
const MAX_SURVEYS: usize = 4;

/// An extent whose tables are looked at.
#[derive(Debug)]
pub(super) struct Extent<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) shape: &'a SparseShape,
    /// The sectors of the disk that it stores.
    pub(super) range: SectorRange,
    pub(super) has_parent: bool,
}

/// What a walk has learned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learned {
    /// Whether there is something to mend.
    pub(super) must_mend: bool,
    /// Whether the header must provide for entries for zeros.
    pub(super) needs_zeros: bool,
    /// The lowest place of a grain.
    pub(super) lowest: Option<Sector>,
    /// Behind the last place that the tables name, in the file as it is.
    pub(super) found_end: Sector,
    /// The same in the file as it should be.
    pub(super) used_end: Sector,
}

impl Extent<'_> {
    /// Notes all that is wrong.
    pub(super) fn check(&self, notes: &mut Notes<'_>) -> Result<Learned, Error> {
        self.walk(notes, false)
    }

    /// Mends what [`Extent::check`] has noted. Notes of this walk say nothing new.
    pub(super) fn mend(&self, notes: &mut Notes<'_>) -> Result<Learned, Error> {
        self.walk(notes, true)
    }

    fn walk(&self, notes: &mut Notes<'_>, is_mending: bool) -> Result<Learned, Error> {
        let tables = usize::try_from(self.shape.directory_entries).unwrap_or(0);
        let mut troubled = vec![false; tables];
        let mut contested = BTreeSet::new();
        let mut survey = Survey::run(self.storage, self.shape, &mut |problem| {
            self.mark(problem, &mut troubled, &mut contested);
            Ok(())
        })?;
        for _ in 0..MAX_SURVEYS {
            if !survey.is_unsettled() {
                break;
            }
            contested.clear();
            survey.again(self.storage, self.shape, &mut |problem| {
                self.mark(problem, &mut troubled, &mut contested);
                Ok(())
            })?;
        }
        if contested.len() > MAX_CONTESTED {
            notes.add(
                Severity::Error,
                FindingKind::Overlap,
                Some(self.range),
                format!("more than {MAX_CONTESTED} grains have the place of another grain"),
                impossible("there are too many to tell them apart"),
            );
            return Ok(Learned::default());
        }
        let found_end = survey.places.end.max(survey.late_tables.1);
        let tail = [
            survey.file.sectors_rounded_up().get(),
            self.shape.data_start.get(),
            found_end.get(),
        ];
        let tail = self
            .shape
            .grain
            .round_up(tail.into_iter().fold(0, u64::max));
        let mut walk = Walk {
            extent: self,
            learned: Learned {
                lowest: survey.places.lowest,
                found_end,
                used_end: found_end,
                ..Learned::default()
            },
            survey,
            contested,
            kept: BTreeSet::new(),
            tail,
            is_mending,
            is_cut: false,
        };
        if is_mending {
            walk.complete_last_grain()?;
        }
        for (table, is_troubled) in (0..).zip(troubled) {
            if is_troubled || !walk.contested.is_empty() {
                match walk.table(table, notes) {
                    Err(error) if !is_mending && error.kind() == ErrorKind::FileTooBig => {
                        notes.add(
                            Severity::Error,
                            FindingKind::Overlap,
                            Some(self.range),
                            "there are grains or tables that need places of their own",
                            impossible(error.reason().to_string()),
                        );
                        return Ok(Learned::default());
                    }
                    result => result?,
                }
            }
        }
        if is_mending {
            self.sync()?;
        }
        walk.note_the_rest(notes);
        Ok(walk.learned)
    }

    /// Remembers what must be decided.
    fn mark(&self, problem: Problem, troubled: &mut [bool], contested: &mut BTreeSet<u32>) {
        let table = match problem {
            Problem::TableMissing { table, .. }
            | Problem::TableMisplaced { table, .. }
            | Problem::TableContested { table, .. }
            | Problem::CopiesDiffer { table } => u64::from(table),
            Problem::Grain {
                grain,
                sector,
                fault,
            } => {
                let is_contested = matches!(fault, GrainFault::Overlaps | GrainFault::Scattered);
                if is_contested && contested.len() <= MAX_CONTESTED {
                    contested.insert(sector);
                }
                let length = u64::from(self.shape.entries_per_table);
                grain.checked_div(length).unwrap_or(0)
            }
        };
        let table = usize::try_from(table).unwrap_or(usize::MAX);
        if let Some(troubled) = troubled.get_mut(table) {
            *troubled = true;
        }
    }

    pub(super) fn read_table(&self, sector: u32) -> Result<Vec<u32>, Error> {
        let bytes = read_sectors(self.storage, sector, self.shape.table_len().get())?;
        let mut entries = little_endian(&bytes);
        entries.truncate(usize::try_from(self.shape.entries_per_table).unwrap_or(0));
        Ok(entries)
    }

    pub(super) fn write_at(&self, bytes: &[u8], position: ByteLen) -> Result<(), Error> {
        self.storage
            .write_all_at(bytes, position)
            .map_err(|error| IoFault::new("mending grain tables", error).into())
    }

    pub(super) fn write_table(&self, sector: u32, entries: &[u32]) -> Result<(), Error> {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect();
        self.write_at(&bytes, byte_position(Sector::new(u64::from(sector))))
    }

    pub(super) fn write_directory_entry(
        &self,
        directory: Sector,
        table: u32,
        sector: u32,
    ) -> Result<(), Error> {
        let offset = ByteLen::new(u64::from(table).saturating_mul(4));
        let position = byte_position(directory).checked_add(offset);
        self.write_at(&sector.to_le_bytes(), position.unwrap_or_default())
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.storage
            .sync_data()
            .map_err(|error| IoFault::new("making the file durable", error).into())
    }

    /// The sectors of the disk that grains `first..=last` store.
    pub(super) fn sectors(&self, first: u64, last: u64) -> Option<SectorRange> {
        let size = self.shape.grain;
        let range =
            SectorRange::between(size.start_of(first), size.start_of(last.saturating_add(1)))?;
        shifted(range, self.range.start()).intersection(self.range)
    }
}
