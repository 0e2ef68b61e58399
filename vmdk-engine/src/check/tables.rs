//! The directories and tables of hosted sparse and COWD extents: what is wrong with them, and how it is mended.
//!
//! Both is one walk, so that a repair does what a check has said. First the survey finds the tables that something is
//! wrong with, and which places are taken; then each such table is decided entry by entry:
//!
//! * what can be read stays as it reads, from the primary tables;
//! * an entry that cannot be right gives way to that of the redundant table, and is zeroed if that is wrong too;
//! * where the disk was closed properly, an entry or table that only the redundant metadata has is taken from there:
//!   nobody frees grains without a trace of it, so that the primary one was damaged;
//! * of grains that have one place, each that has no other by the redundant table is copied to a place of its own.
//!
//! Mending never changes a place that a table in the file points to. New tables and copies of grains go behind the end
//! of the file and are synced before anything points to them; entries change after that, each in one sector. So it can
//! be interrupted at any write, and be run again.

use std::collections::BTreeSet;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::entries::{EntryNotes, Fate};
use super::finding::{FindingKind, Notes, Repair, Severity, impossible, possible};
use crate::error::{Error, ErrorKind, IoFault, Refusal};
use crate::extent::header::SparseShape;
use crate::extent::survey::{Directory, GrainFault, Problem, Survey, TableState, read_sectors};
use crate::extent::table::little_endian;
use crate::storage::Storage;
use crate::units::{buffer_len, byte_position, clamped, shifted};

/// So many grains with contested places are looked into.
const MAX_CONTESTED: usize = 1 << 16;

/// Tables that lose their trust may take that of others with them.
const MAX_SURVEYS: usize = 4;

/// Sector numbers in tables end here.
const ADDRESSABLE: u64 = 1 << 32;

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

    fn read_table(&self, sector: u32) -> Result<Vec<u32>, Error> {
        let bytes = read_sectors(self.storage, sector, self.shape.table_len().get())?;
        let mut entries = little_endian(&bytes);
        entries.truncate(usize::try_from(self.shape.entries_per_table).unwrap_or(0));
        Ok(entries)
    }

    fn write_at(&self, bytes: &[u8], position: ByteLen) -> Result<(), Error> {
        self.storage
            .write_all_at(bytes, position)
            .map_err(|error| IoFault::new("mending grain tables", error).into())
    }

    fn write_table(&self, sector: u32, entries: &[u32]) -> Result<(), Error> {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect();
        self.write_at(&bytes, byte_position(Sector::new(u64::from(sector))))
    }

    fn write_directory_entry(
        &self,
        directory: Sector,
        table: u32,
        sector: u32,
    ) -> Result<(), Error> {
        let offset = ByteLen::new(u64::from(table).saturating_mul(4));
        let position = byte_position(directory).checked_add(offset);
        self.write_at(&sector.to_le_bytes(), position.unwrap_or_default())
    }

    fn sync(&self) -> Result<(), Error> {
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

/// The second part of the walk.
struct Walk<'a> {
    extent: &'a Extent<'a>,
    survey: Survey,
    learned: Learned,
    /// Places that came up again when they were taken.
    contested: BTreeSet<u32>,
    /// Contested places that a grain keeps.
    kept: BTreeSet<u32>,
    /// Where the next copy of a grain or new table goes.
    tail: u64,
    is_mending: bool,
    /// A grain is kept that the end of the file cuts.
    is_cut: bool,
}

/// One of the two places of a table.
struct Target {
    directory: Sector,
    sector: u32,
    /// What is there; `None` if the table must get another place.
    old: Option<Vec<u32>>,
}

impl Walk<'_> {
    fn table(&mut self, table: u32, notes: &mut Notes<'_>) -> Result<(), Error> {
        let Some((source, copy)) = self.survey.directories.content_of(table) else {
            return self.without_content(table, notes);
        };
        let extent = self.extent;
        let content = extent.read_table(source)?;
        let copies = match copy {
            0 => None,
            copy => Some(extent.read_table(copy)?),
        };
        self.note_places(table, notes);
        let (new, mut must_sync) = self.entries(table, &content, copies.as_deref(), notes)?;
        let mut targets = self.targets(table, source, content, copies);
        let is_alike = |target: &Target| target.old.as_ref() == Some(&new);
        if targets.iter().all(is_alike) {
            return Ok(());
        }
        self.learned.must_mend = true;
        for target in targets.iter_mut().filter(|target| target.old.is_none()) {
            target.sector = self.take_tail(extent.shape.table_len())?;
            must_sync = true;
            if self.is_mending {
                extent.write_table(target.sector, &new)?;
            }
        }
        if !self.is_mending {
            return Ok(());
        }
        if must_sync {
            extent.sync()?;
        }
        for target in targets.iter().filter(|target| !is_alike(target)) {
            if target.old.is_some() {
                extent.write_table(target.sector, &new)?;
            } else {
                extent.write_directory_entry(target.directory, table, target.sector)?;
            }
        }
        Ok(())
    }

    /// Where a table and its copy are, or are to be. The primary one is first, so that it is written first.
    fn targets(
        &self,
        table: u32,
        source: u32,
        content: Vec<u32>,
        copies: Option<Vec<u32>>,
    ) -> Vec<Target> {
        let directories = &self.survey.directories;
        let shape = self.extent.shape;
        let target = |directory: &Directory, start, state, old: Option<Vec<u32>>| Target {
            directory: start,
            sector: directory.entry(table),
            old: old.filter(|_| state == TableState::Good),
        };
        let primary = &directories.primary;
        let mut targets = Vec::new();
        let copy_content = copies.or_else(|| Some(content.clone()));
        targets.push(target(
            primary,
            shape.directory,
            primary.state(table),
            Some(content).filter(|_| primary.entry(table) == source),
        ));
        if let (Some(copy), Some(start)) = (&directories.copy, shape.redundant_directory) {
            let state = directories.copy_state(table);
            targets.push(target(copy, start, state, copy_content));
        }
        targets
    }

    /// Neither directory has a usable table.
    fn without_content(&mut self, table: u32, notes: &mut Notes<'_>) -> Result<(), Error> {
        let extent = self.extent;
        let directories = &self.survey.directories;
        let primary = directories.primary.entry(table);
        let copy = directories
            .copy
            .as_ref()
            .map_or(0, |copy| copy.entry(table));
        let sectors = self.sectors_of_table(table);
        if primary != 0 {
            notes.add(
                Severity::Error,
                FindingKind::DirectoryEntry,
                sectors,
                format!("grain table {table} at sector {primary} cannot be there, and there is no copy of it"),
                notes.with_permission(format!(
                    "grain table {table} is given up, so that all of its grains count as never written"
                )),
            );
            if !notes.allows_loss() {
                return Ok(());
            }
        } else if extent.shape.is_dirty {
            notes.add(
                Severity::Info,
                FindingKind::DirectoryEntry,
                sectors,
                format!("grain table {table} was about to be made when the last writer stopped"),
                possible("the unfinished table is dropped"),
            );
        } else {
            notes.add(
                Severity::Error,
                FindingKind::DirectoryEntry,
                sectors,
                format!("the redundant grain directory has a grain table {table} at sector {copy}, where none can be, and the grain directory has none"),
                possible("its entry is cleared"),
            );
        }
        self.learned.must_mend = true;
        if self.is_mending {
            if let Some(directory) = extent.shape.redundant_directory.filter(|_| copy != 0) {
                extent.write_directory_entry(directory, table, 0)?;
            }
            if primary != 0 {
                extent.write_directory_entry(extent.shape.directory, table, 0)?;
            }
        }
        Ok(())
    }

    /// What is wrong with the places of a table that has a content.
    fn note_places(&self, table: u32, notes: &mut Notes<'_>) {
        let directories = &self.survey.directories;
        let primary = &directories.primary;
        let mut note = |side: &str, entry: u32, state, from: &str| {
            let what = match state {
                TableState::Good => return,
                TableState::Absent => "is missing".to_owned(),
                TableState::Contested => {
                    format!("at sector {entry} is where another table or a grain is")
                }
                TableState::Misplaced => format!("at sector {entry} cannot be there"),
            };
            notes.add(
                Severity::Error,
                FindingKind::DirectoryEntry,
                self.sectors_of_table(table),
                format!("{side} {table} {what}"),
                possible(format!("a new one is made of {from}")),
            );
        };
        let from = match directories.content_of(table) {
            Some((source, _)) if source == primary.entry(table) => "its content",
            _ => "the redundant one",
        };
        note(
            "grain table",
            primary.entry(table),
            primary.state(table),
            from,
        );
        if let Some(copy) = &directories.copy {
            let state = directories.copy_state(table);
            note(
                "redundant grain table",
                copy.entry(table),
                state,
                "the other one",
            );
        }
    }

    /// The entries that a table should have, and whether they point to data that is not durable yet.
    fn entries(
        &mut self,
        table: u32,
        old: &[u32],
        copies: Option<&[u32]>,
        notes: &mut Notes<'_>,
    ) -> Result<(Vec<u32>, bool), Error> {
        let first = u64::from(table).saturating_mul(u64::from(self.extent.shape.entries_per_table));
        let mut entry_notes = EntryNotes::new(self.extent, table);
        let mut new = Vec::with_capacity(old.len());
        let mut has_moved = false;
        for (index, (grain, entry)) in (first..).zip(old).enumerate() {
            let copy = copies.and_then(|copies| copies.get(index).copied());
            let fate = self.fate(grain, *entry, copy);
            entry_notes.add(grain, *entry, copy, fate);
            new.push(match fate {
                Fate::Keep => *entry,
                Fate::Complete => {
                    self.is_cut = true;
                    *entry
                }
                Fate::Replace(sector) | Fate::Restore(sector) => {
                    let start = Sector::new(u64::from(sector));
                    self.survey.places.take(start);
                    let end = clamped(start, self.extent.shape.grain.count()).end();
                    self.learned.used_end = self.learned.used_end.max(end);
                    sector
                }
                Fate::Claim => {
                    self.learned.needs_zeros = true;
                    *entry
                }
                Fate::Clear | Fate::ClearZeros | Fate::Cut => 0,
                Fate::Move => {
                    has_moved = true;
                    self.move_grain(*entry)?
                }
            });
        }
        entry_notes.finish(notes);
        Ok((new, has_moved))
    }

    /// What becomes of one entry.
    fn fate(&mut self, grain: u64, entry: u32, copy: Option<u32>) -> Fate {
        let shape = self.extent.shape;
        if grain >= shape.grain.grains_in(shape.capacity) {
            return match (entry, copy) {
                (0, None | Some(0)) => Fate::Keep,
                _ => Fate::Cut,
            };
        }
        let start = Sector::new(u64::from(entry));
        let places = &self.survey.places;
        let other = copy.filter(|copy| *copy > 1 && *copy != entry && places.is_free(shape, *copy));
        match entry {
            0 => other
                .filter(|_| !shape.is_dirty)
                .map_or(Fate::Keep, Fate::Restore),
            1 if shape.provides_for_zeros() => Fate::Keep,
            1 if self.extent.has_parent => Fate::Claim,
            1 => Fate::ClearZeros,
            _ if places.is_misplaced(shape, start) => other.map_or(Fate::Clear, Fate::Replace),
            _ if self.is_contested(entry) => {
                if let Some(other) = other {
                    Fate::Replace(other)
                } else if self.may_keep(entry) {
                    self.kept.insert(entry);
                    if self.survey.places.is_cut(start) {
                        Fate::Complete
                    } else {
                        Fate::Keep
                    }
                } else {
                    Fate::Move
                }
            }
            _ if places.is_cut(start) => other.map_or(Fate::Complete, Fate::Replace),
            _ => Fate::Keep,
        }
    }

    /// Places that overlap `entry`, of those that are contested or kept.
    fn has_near(&self, places: &BTreeSet<u32>, entry: u32) -> bool {
        let reach = u32::try_from(self.extent.shape.grain.sectors().saturating_sub(1));
        let reach = reach.unwrap_or(0);
        let range = entry.saturating_sub(reach)..=entry.saturating_add(reach);
        places.range(range).next().is_some()
    }

    fn is_contested(&self, entry: u32) -> bool {
        self.has_near(&self.contested, entry)
    }

    fn may_keep(&self, entry: u32) -> bool {
        let start = Sector::new(u64::from(entry));
        !self.has_near(&self.kept, entry) && self.survey.places.is_aligned_alike(start)
    }

    /// Copies a grain to a place of its own, and says where that is.
    fn move_grain(&mut self, entry: u32) -> Result<u32, Error> {
        let extent = self.extent;
        let to = self.take_tail(extent.shape.grain.count())?;
        if self.is_mending {
            let from = Sector::new(u64::from(entry));
            let mut content = vec![0; buffer_len(extent.shape.grain.count())];
            match extent
                .storage
                .read_exact_at(&mut content, byte_position(from))
            {
                // What there is of a grain that the file cuts; the rest is zeros, as when the file is completed.
                Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    return Err(IoFault::new("reading a grain", error).into());
                }
                _ => {}
            }
            extent.write_at(&content, byte_position(Sector::new(u64::from(to))))?;
        }
        Ok(to)
    }

    /// Space behind the end of the file.
    fn take_tail(&mut self, count: SectorCount) -> Result<u32, Error> {
        let start = self.tail;
        let end = start.saturating_add(self.extent.shape.grain.round_up(count.get()));
        if end > ADDRESSABLE {
            return Err(Refusal::FileTooBig.into());
        }
        if self.is_mending {
            self.extent
                .storage
                .set_len(byte_position(Sector::new(end)))
                .map_err(|error| IoFault::new("extending the file", error))?;
        }
        self.tail = end;
        self.learned.used_end = self.learned.used_end.max(Sector::new(end));
        Ok(u32::try_from(start).unwrap_or(0))
    }

    /// Extends the file to the end of a grain that is cut; what it had stays.
    fn complete_last_grain(&self) -> Result<(), Error> {
        let end = byte_position(self.survey.places.end);
        if end <= self.survey.file {
            return Ok(());
        }
        self.extent
            .storage
            .set_len(end)
            .map_err(|error| IoFault::new("extending the file", error).into())
    }

    fn sectors_of_table(&self, table: u32) -> Option<SectorRange> {
        let length = u64::from(self.extent.shape.entries_per_table);
        let first = u64::from(table).saturating_mul(length);
        let last = first.saturating_add(length).saturating_sub(1);
        self.extent.sectors(first, last)
    }

    /// What concerns the extent as a whole.
    fn note_the_rest(&mut self, notes: &mut Notes<'_>) {
        self.learned.must_mend |= self.is_cut;
        let places = &self.survey.places;
        if places.unaligned > 0 {
            notes.add(
                Severity::Info,
                FindingKind::Alignment,
                None,
                format!(
                    "{} grains do not lie at multiples of their size",
                    places.unaligned
                ),
                Repair::NotNeeded,
            );
        }
        let shape = self.extent.shape;
        let area = self
            .survey
            .file
            .sectors_rounded_up()
            .get()
            .saturating_sub(shape.data_start.get());
        let used = places
            .count
            .saturating_mul(shape.grain.sectors())
            .saturating_add(self.survey.late_tables.0)
            .saturating_add(shape.late_directory_sectors());
        let unused = area.saturating_sub(used);
        if unused >= shape.grain.sectors() {
            notes.add(
                Severity::Info,
                FindingKind::UnusedSpace,
                None,
                format!(
                    "{unused} sectors of the file hold nothing; shrinking the disk gives them back"
                ),
                Repair::NotNeeded,
            );
        }
    }
}
