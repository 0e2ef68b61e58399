//! Both grain directories, and what each of their entries is worth.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::super::header::SparseShape;
use super::super::table::read_directory;
use super::{Found, Problem, Side};
use crate::error::Error;
use crate::storage::Storage;
use crate::units::clamped;

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableState {
    /// Zero: there is no table.
    Absent,
    /// A table can be there, and nothing else is known to be.
    Good,
    /// Another table overlaps it.
    Contested,
    /// No table can be there.
    Misplaced,
}

/// The two directories.
#[derive(Debug)]
pub(crate) struct Directories {
    pub(crate) primary: Directory,
    /// What there is instead of it, without a second directory: nothing.
    pub(crate) copy: Option<Directory>,
    is_dirty: bool,
}

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) entries: Vec<u32>,
    states: Vec<TableState>,
}

impl Directory {
    fn read(
        storage: &dyn Storage,
        shape: &SparseShape,
        start: Sector,
        file: ByteLen,
    ) -> Result<Self, Error> {
        let entries = read_directory(storage, start, shape.directory_entries)?;
        let states = entries
            .iter()
            .map(|entry| state_of(shape, file, *entry))
            .collect();
        Ok(Self { entries, states })
    }

    pub(crate) fn entry(&self, table: u32) -> u32 {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        self.entries.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn state(&self, table: u32) -> TableState {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        self.states
            .get(index)
            .copied()
            .unwrap_or(TableState::Absent)
    }

    fn contest(&mut self, table: u32) {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        if let Some(state) = self.states.get_mut(index) {
            *state = TableState::Contested;
        }
    }
}

fn state_of(shape: &SparseShape, file: ByteLen, entry: u32) -> TableState {
    if entry == 0 {
        return TableState::Absent;
    }
    let range = clamped(Sector::new(u64::from(entry)), shape.table_len());
    let is_in_file = range.end().byte_offset().is_some_and(|end| end <= file);
    let is_taken = |reserved: SectorRange| reserved.intersection(range).is_some();
    if is_in_file && !shape.reserved().any(is_taken) {
        TableState::Good
    } else {
        TableState::Misplaced
    }
}

/// A place that a directory names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    start: u32,
    table: u32,
    is_copy: bool,
}

impl Directories {
    pub(super) fn read(
        storage: &dyn Storage,
        shape: &SparseShape,
        file: ByteLen,
    ) -> Result<Self, Error> {
        let primary = Directory::read(storage, shape, shape.directory, file)?;
        let copy = shape
            .redundant_directory
            .map(|start| Directory::read(storage, shape, start, file))
            .transpose()?;
        let mut directories = Self {
            primary,
            copy,
            is_dirty: shape.is_dirty,
        };
        directories.find_contested(shape.table_len().get());
        Ok(directories)
    }

    #[cfg(test)]
    pub(super) fn all_good(primary: &[u32], copy: &[u32]) -> Self {
        let directory = |entries: &[u32]| Directory {
            entries: entries.to_vec(),
            states: entries
                .iter()
                .map(|entry| match entry {
                    0 => TableState::Absent,
                    _ => TableState::Good,
                })
                .collect(),
        };
        Self {
            primary: directory(primary),
            copy: (!copy.is_empty()).then(|| directory(copy)),
            is_dirty: false,
        }
    }

    /// How many tables the capacity needs.
    pub(crate) fn tables(&self) -> u32 {
        u32::try_from(self.primary.entries.len()).unwrap_or(u32::MAX)
    }

    /// Whether the redundant directory alone names the table because a writer came that far and no further.
    fn is_unfinished(&self, table: u32) -> bool {
        self.is_dirty && self.primary.state(table) == TableState::Absent
    }

    pub(crate) fn copy_state(&self, table: u32) -> TableState {
        match &self.copy {
            Some(copy) if !self.is_unfinished(table) => copy.state(table),
            _ => TableState::Absent,
        }
    }

    fn copy_entry(&self, table: u32) -> u32 {
        self.copy.as_ref().map_or(0, |copy| copy.entry(table))
    }

    /// Where the content of a table is to be taken from, and where the copy is that must be the same, or 0; `None` if
    /// there is no table.
    pub(crate) fn content_of(&self, table: u32) -> Option<(u32, u32)> {
        use TableState::{Absent, Contested, Good, Misplaced};
        let (primary, copy) = (self.primary.entry(table), self.copy_entry(table));
        match (self.primary.state(table), self.copy_state(table)) {
            (Good, Good) => Some((primary, copy)),
            (Good, _) | (Contested, Absent | Contested | Misplaced) => Some((primary, 0)),
            (Contested | Misplaced | Absent, Good) | (Misplaced | Absent, Contested) => {
                Some((copy, 0))
            }
            (Absent | Misplaced, Absent | Misplaced) => None,
        }
    }

    /// All places that the directories name, ascending.
    fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for table in 0..self.tables() {
            let mut claim = |start, state, is_copy| {
                if matches!(state, TableState::Good | TableState::Contested) {
                    claims.push(Claim {
                        start,
                        table,
                        is_copy,
                    });
                }
            };
            claim(self.primary.entry(table), self.primary.state(table), false);
            claim(self.copy_entry(table), self.copy_state(table), true);
        }
        claims.sort_unstable();
        claims
    }

    /// The places of all tables that reach behind `data_start`, ascending, each with its number and side.
    pub(super) fn late(
        &self,
        data_start: Sector,
        length: SectorCount,
    ) -> impl Iterator<Item = (SectorRange, u32, Side)> {
        self.claims().into_iter().filter_map(move |claim| {
            let range = clamped(Sector::new(u64::from(claim.start)), length);
            let side = if claim.is_copy {
                Side::Copy
            } else {
                Side::Primary
            };
            (range.end() > data_start).then_some((range, claim.table, side))
        })
    }

    /// Notes that something else has the place of a table; `false` if that is known.
    pub(super) fn contest(&mut self, table: u32, side: Side) -> bool {
        let directory = match (side, &mut self.copy) {
            (Side::Primary, _) => &mut self.primary,
            (Side::Copy, Some(copy)) => copy,
            (Side::Copy, None) => return false,
        };
        let is_new = directory.state(table) == TableState::Good;
        if is_new {
            directory.contest(table);
        }
        is_new
    }

    /// All tables have one length, so that whichever overlaps any other also overlaps a neighbour.
    fn find_contested(&mut self, length: u64) {
        let claims = self.claims();
        for (index, claim) in claims.iter().enumerate() {
            // A table and its own copy at one place leave the table where it is; then the next but one counts too.
            for next in claims.iter().skip(index.saturating_add(1)).take(2) {
                if u64::from(next.start.saturating_sub(claim.start)) >= length {
                    break;
                }
                let is_own_copy = next.table == claim.table;
                for side in [claim, next] {
                    if side.is_copy {
                        if let Some(copy) = &mut self.copy {
                            copy.contest(side.table);
                        }
                    } else if !is_own_copy {
                        self.primary.contest(side.table);
                    }
                }
            }
        }
    }

    pub(super) fn report(&self, found: Found<'_>) -> Result<(), Error> {
        for table in 0..self.tables() {
            let (primary, copy) = (self.primary.entry(table), self.copy_entry(table));
            self.report_entry(
                table,
                primary,
                self.primary.state(table),
                Side::Primary,
                found,
            )?;
            if self.copy.is_some() {
                self.report_entry(table, copy, self.copy_state(table), Side::Copy, found)?;
                match (primary, copy) {
                    (0, 1..) => found(Problem::TableMissing {
                        table,
                        side: Side::Primary,
                    })?,
                    (1.., 0) => found(Problem::TableMissing {
                        table,
                        side: Side::Copy,
                    })?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn report_entry(
        &self,
        table: u32,
        sector: u32,
        state: TableState,
        side: Side,
        found: Found<'_>,
    ) -> Result<(), Error> {
        match state {
            TableState::Absent | TableState::Good => Ok(()),
            TableState::Contested => found(Problem::TableContested {
                table,
                sector,
                side,
            }),
            TableState::Misplaced => found(Problem::TableMisplaced {
                table,
                sector,
                side,
            }),
        }
    }
}
