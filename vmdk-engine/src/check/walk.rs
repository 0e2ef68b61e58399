//! The second part of the walk over tables: what becomes of each entry of those that something is wrong with.

use std::collections::BTreeSet;

use disk_units::{Sector, SectorCount, SectorRange};

use super::entries::{EntryNotes, Fate};
use super::finding::{FindingKind, Notes, Repair, Severity, possible};
use super::tables::{Extent, Learned};
use crate::error::{Error, IoFault, Refusal};
use crate::extent::survey::{Directory, Survey, TableState};
use crate::units::{buffer_len, byte_position, clamped};

/// Sector numbers in tables end here.
const ADDRESSABLE: u64 = 1 << 32;

/// The second part of the walk.
pub(super) struct Walk<'a> {
    pub(super) extent: &'a Extent<'a>,
    pub(super) survey: Survey,
    pub(super) learned: Learned,
    /// Places that came up again when they were taken.
    pub(super) contested: BTreeSet<u32>,
    /// Contested places that a grain keeps.
    pub(super) kept: BTreeSet<u32>,
    /// Where the next copy of a grain or new table goes.
    pub(super) tail: u64,
    pub(super) is_mending: bool,
    /// A grain is kept that the end of the file cuts.
    pub(super) is_cut: bool,
}

/// One of the two places of a table.
struct Target {
    directory: Sector,
    sector: u32,
    /// What is there; `None` if the table must get another place.
    old: Option<Vec<u32>>,
}

/// What the other copy of a table says.
#[derive(Clone, Copy)]
struct Others<'a> {
    /// Where it can be trusted.
    copies: Option<&'a [u32]>,
    /// Whether or not.
    spare: Option<&'a [u32]>,
}

impl Walk<'_> {
    pub(super) fn table(&mut self, table: u32, notes: &mut Notes<'_>) -> Result<(), Error> {
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
        // Readers turn to a copy wherever it lies.
        let spare = match (&copies, &self.survey.directories.copy) {
            (None, Some(directory)) if directory.state(table) == TableState::Contested => {
                Some(extent.read_table(directory.entry(table))?)
            }
            _ => None,
        };
        let others = Others {
            copies: copies.as_deref(),
            spare: spare.as_deref().or(copies.as_deref()),
        };
        let (new, mut must_sync) = self.entries(table, &content, others, notes)?;
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
        others: Others<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<(Vec<u32>, bool), Error> {
        let first = u64::from(table).saturating_mul(u64::from(self.extent.shape.entries_per_table));
        let mut entry_notes = EntryNotes::new(self.extent, table);
        let mut new = Vec::with_capacity(old.len());
        let mut has_moved = false;
        for (index, (grain, entry)) in (first..).zip(old).enumerate() {
            let at = |entries: Option<&[u32]>| entries?.get(index).copied();
            let copy = at(others.copies);
            let fate = self.fate(grain, *entry, copy, at(others.spare));
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
                Fate::Rescue(sector) => {
                    has_moved = true;
                    self.move_grain(sector)?
                }
            });
        }
        entry_notes.finish(notes);
        Ok((new, has_moved))
    }

    /// What becomes of one entry.
    fn fate(&mut self, grain: u64, entry: u32, copy: Option<u32>, spare: Option<u32>) -> Fate {
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
            _ if places.is_misplaced(shape, start) => {
                // What readers show there.
                let shown = spare.filter(|sector| {
                    let start = Sector::new(u64::from(*sector));
                    *sector > 1 && !places.is_misplaced(shape, start)
                });
                let rescued = shown.map_or(Fate::Clear, Fate::Rescue);
                other.map_or(rescued, Fate::Replace)
            }
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
            let from = byte_position(Sector::new(u64::from(entry)));
            let mut content = vec![0; buffer_len(extent.shape.grain.count())];
            // What there is of a grain that the file cuts; the rest is zeros, as when the file is completed.
            let there = self.survey.file.get().saturating_sub(from.get());
            let there = usize::try_from(there)
                .unwrap_or(usize::MAX)
                .min(content.len());
            extent
                .storage
                .read_exact_at(content.get_mut(..there).unwrap_or_default(), from)
                .map_err(|error| IoFault::new("reading a grain", error))?;
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
    pub(super) fn complete_last_grain(&self) -> Result<(), Error> {
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
    pub(super) fn note_the_rest(&mut self, notes: &mut Notes<'_>) {
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
