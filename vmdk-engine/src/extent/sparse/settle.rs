//! Moving grain tables that were made late, and so lie among the grains, from the end of the file into its holes.
//!
//! Tables move as grains do: a copy where nothing is, a sync, the directory entries, a sync. The redundant directory
//! comes first, as when tables are made.

use disk_units::{Sector, SectorCount};

use super::slots::Slots;
use super::write_back::{LateTable, WriteBack};
use super::{SparseExtent, Writer};
use crate::error::{Error, IoFault};
use crate::units::{buffer_len, byte_position, clamped};

/// A table and where it goes.
struct TableMove {
    table: LateTable,
    to: u32,
}

impl SparseExtent {
    /// Brings tables that lie behind what the file needs into its first free slots, and surveys it again. What is in the
    /// tables in memory must be in the file.
    pub(super) fn settle_tables(&self, writer: &Writer, slots: Slots) -> Result<Slots, Error> {
        let moves = self.planned_tables(&writer.write_back.lock(), &slots)?;
        if moves.is_empty() {
            return Ok(slots);
        }
        writer
            .fuse
            .protect(|| self.move_tables(&mut writer.write_back.lock(), &moves))?;
        self.slots(writer)
    }

    fn planned_tables(&self, state: &WriteBack, slots: &Slots) -> Result<Vec<TableMove>, Error> {
        let late = state.late_tables(&self.tables)?;
        let table_len = self.tables.shape.table_len();
        let count = u64::try_from(late.len()).unwrap_or(u64::MAX);
        let sectors = SectorCount::new(table_len.get().saturating_mul(count));
        let for_tables = usize::try_from(self.grain_size().grains_in(sectors));
        let needed = slots.grains().saturating_add(for_tables.unwrap_or(0));
        let enough = slots.place_of(needed);
        // Several tables fit into a slot, but one that stays where it is may have a slot for itself.
        let room = slots.grains().saturating_add(late.len()).max(needed);
        let mut places = (0..room)
            .filter(|slot| slots.is_free(*slot))
            .flat_map(|slot| self.tables_in(slots.place_of(slot)));
        let place_of = |table: &LateTable| Sector::new(u64::from(table.sector));
        Ok(late
            .into_iter()
            .filter(|table| clamped(place_of(table), table_len).end() > enough)
            .map_while(|table| {
                let to = places.next()?;
                Some(TableMove { table, to })
            })
            .filter(|one| one.to < one.table.sector)
            .collect())
    }

    /// The sectors at which tables fit into a slot.
    fn tables_in(&self, slot: Sector) -> impl Iterator<Item = u32> + use<> {
        let table_len = self.tables.shape.table_len().get().max(1);
        let fit = self.grain_size().sectors().checked_div(table_len);
        (0..fit.unwrap_or(0)).filter_map(move |index| {
            let sector = index.checked_mul(table_len)?.checked_add(slot.get())?;
            u32::try_from(sector).ok()
        })
    }

    fn move_tables(&self, state: &mut WriteBack, moves: &[TableMove]) -> Result<(), Error> {
        self.mark_dirty(state)?;
        let mut bytes = vec![0; buffer_len(self.tables.shape.table_len())];
        for one in moves {
            let from = Sector::new(u64::from(one.table.sector));
            self.storage
                .read_exact_at(&mut bytes, byte_position(from))
                .map_err(|error| IoFault::new("reading grain tables", error))?;
            self.write_metadata(Sector::new(u64::from(one.to)), &bytes)?;
        }
        self.sync()?;
        let (copies, primary): (Vec<_>, Vec<_>) = moves.iter().partition(|one| one.table.is_copy);
        for one in copies {
            self.enter_redundant(state, one.table.table, one.to)?;
        }
        self.sync()?;
        for one in primary {
            self.write_directory_entry(self.tables.shape.directory, one.table.table, one.to)?;
            self.tables.set_sector_of(one.table.table, one.to);
        }
        self.sync()
    }
}
