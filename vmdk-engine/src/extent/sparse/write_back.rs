//! Writing changed tables back, in an order that no crash can make wrong.
//!
//! 1. the dirty byte is set, and everything written so far is synced, so that tables only ever point to durable data;
//! 2. tables go out, the primary copy before the redundant one; tables that are new to the file are synced before
//!    their directory entries are written, and the redundant entry before the primary one;
//! 3. another sync makes the tables durable. Now the space of freed grains can be given back.
//!
//! Closing clears the dirty byte behind all that.

use disk_units::{Sector, SectorCount, SectorRange};

use super::super::cache::ChangedTable;
use super::super::table::to_bytes;
use super::{SparseExtent, Writer};
use crate::error::{Error, IoFault};
use crate::layout::UNCLEAN_SHUTDOWN_AT;
use crate::units::{byte_position, byte_range, clamped};

/// So many tables may be changed in memory only: 4 MiB, which describe 64 GiB of the guest.
const MAX_CHANGED_TABLES: usize = 2048;

/// So many runs of freed grains wait for their hole; further ones keep their space.
const MAX_FREED_RUNS: usize = 65_536;

/// Adjacent tables are written together, up to this length.
const MAX_WRITE: usize = 1 << 20;

/// What writing back has to remember. Its lock lets one thread at a time write tables.
#[derive(Debug)]
pub(super) struct WriteBack {
    redundant_directory: Option<Vec<u32>>,
    is_marked_dirty: bool,
}

impl WriteBack {
    pub(super) fn new(redundant_directory: Option<Vec<u32>>, is_marked_dirty: bool) -> Self {
        Self {
            redundant_directory,
            is_marked_dirty,
        }
    }

    fn redundant_sector_of(&self, table: u32) -> u32 {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        let directory = self.redundant_directory.as_ref();
        directory
            .and_then(|directory| directory.get(index).copied())
            .unwrap_or(0)
    }
}

impl Writer {
    /// Remembers the place of freed grains, to give back once no table in the file points to it.
    pub(super) fn note_freed(&self, place: SectorRange) {
        let mut freed = self.freed.lock();
        if let Some(last) = freed.last_mut().filter(|last| last.end() == place.start()) {
            *last = SectorRange::between(last.start(), place.end()).unwrap_or(*last);
        } else if freed.len() < MAX_FREED_RUNS {
            freed.push(place);
        } else {
            tracing::debug!(%place, "too many freed grains at once: these keep their space");
        }
    }
}

impl SparseExtent {
    /// Makes all that was written before durable.
    pub(super) fn write_back(&self, writer: &Writer) -> Result<(), Error> {
        self.write_back_locked(writer, &mut writer.write_back.lock())
    }

    /// Keeps the number of tables that are changed only in memory bounded.
    pub(super) fn bound_changes(&self, writer: &Writer) -> Result<(), Error> {
        if self.tables.changed_tables() <= MAX_CHANGED_TABLES {
            return Ok(());
        }
        let mut state = writer.write_back.lock();
        if self.tables.changed_tables() <= MAX_CHANGED_TABLES {
            return Ok(());
        }
        self.write_back_locked(writer, &mut state)
    }

    fn write_back_locked(&self, writer: &Writer, state: &mut WriteBack) -> Result<(), Error> {
        // In this order: a grain is noted as freed only after its table has changed.
        let freed = std::mem::take(&mut *writer.freed.lock());
        let changed = self.tables.take_changed();
        writer
            .fuse
            .protect(|| self.write_tables(writer, state, &changed))?;
        for table in &changed {
            self.tables.mark_written(table);
        }
        for place in freed {
            if let Err(error) = self.storage.punch_hole(byte_range(place)) {
                tracing::debug!(%place, %error, "freed grains keep their space");
                break;
            }
        }
        Ok(())
    }

    /// Writes back, and notes that nothing is pending.
    pub(super) fn finish(&self, writer: &Writer) -> Result<(), Error> {
        let mut state = writer.write_back.lock();
        self.write_back_locked(writer, &mut state)?;
        if !state.is_marked_dirty {
            return Ok(());
        }
        writer.fuse.protect(|| {
            self.write_dirty_byte(0)?;
            self.sync()
        })?;
        state.is_marked_dirty = false;
        Ok(())
    }

    fn write_tables(
        &self,
        writer: &Writer,
        state: &mut WriteBack,
        changed: &[ChangedTable],
    ) -> Result<(), Error> {
        if changed.is_empty() {
            return self.sync();
        }
        if !state.is_marked_dirty {
            self.write_dirty_byte(1)?;
            state.is_marked_dirty = true;
        }
        self.sync()?;
        let created = self.place_new_tables(writer, state, changed)?;
        let placed = |created_sector: fn(&NewTable) -> u32, sector_of: &dyn Fn(u32) -> u32| {
            let mut placed: Vec<(u32, &ChangedTable)> = changed
                .iter()
                .map(|table| {
                    let new = created.iter().find(|new| new.table == table.table);
                    (
                        new.map_or_else(|| sector_of(table.table), created_sector),
                        table,
                    )
                })
                .collect();
            placed.sort_unstable_by_key(|(sector, _)| *sector);
            placed
        };
        self.write_copies(&placed(|new| new.primary, &|table| {
            self.tables.sector_of(table)
        }))?;
        if state.redundant_directory.is_some() {
            self.write_copies(&placed(|new| new.redundant, &|table| {
                state.redundant_sector_of(table)
            }))?;
        }
        if !created.is_empty() {
            self.sync()?;
            self.enter_new_tables(state, &created)?;
        }
        self.sync()
    }

    /// Finds space for changed tables that are not in the file yet.
    fn place_new_tables(
        &self,
        writer: &Writer,
        state: &WriteBack,
        changed: &[ChangedTable],
    ) -> Result<Vec<NewTable>, Error> {
        let missing: Vec<u32> = changed
            .iter()
            .map(|table| table.table)
            .filter(|table| self.tables.sector_of(*table) == 0)
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let table_len = self.tables.shape.table_len().get();
        let copies = if state.redundant_directory.is_some() {
            2
        } else {
            1
        };
        let sectors = u64::try_from(missing.len())
            .unwrap_or(u64::MAX)
            .saturating_mul(table_len)
            .saturating_mul(copies);
        let grains = self.grain_size().grains_in(SectorCount::new(sectors));
        let first = writer.space.reserve(grains)?;
        let mut sectors = (first.get()..).step_by(usize::try_from(table_len).unwrap_or(1));
        let mut next = || u32::try_from(sectors.next().unwrap_or(0)).unwrap_or(0);
        Ok(missing
            .into_iter()
            .map(|table| NewTable {
                table,
                primary: next(),
                redundant: if copies == 2 { next() } else { 0 },
            })
            .collect())
    }

    fn enter_new_tables(&self, state: &mut WriteBack, created: &[NewTable]) -> Result<(), Error> {
        let shape = &self.tables.shape;
        // The redundant directory first: a crash in between leaves the table in it alone, which is known to be
        // unfinished, while the primary one never names a table without a copy.
        if let (Some(start), Some(directory)) =
            (shape.redundant_directory, &mut state.redundant_directory)
        {
            for new in created {
                self.write_directory_entry(start, new.table, new.redundant)?;
                let index = usize::try_from(new.table).unwrap_or(usize::MAX);
                if let Some(entry) = directory.get_mut(index) {
                    *entry = new.redundant;
                }
            }
            self.sync()?;
        }
        for new in created {
            self.write_directory_entry(shape.directory, new.table, new.primary)?;
        }
        for new in created {
            self.tables.set_sector_of(new.table, new.primary);
        }
        Ok(())
    }

    /// Writes tables to the sectors given with them, ascending; adjacent ones together.
    fn write_copies(&self, tables: &[(u32, &ChangedTable)]) -> Result<(), Error> {
        let table_len = self.tables.shape.table_len();
        let mut start = Sector::ZERO;
        let mut end = Sector::ZERO;
        let mut bytes: Vec<u8> = Vec::new();
        for (sector, table) in tables {
            let sector = Sector::new(u64::from(*sector));
            if sector != end || bytes.len() >= MAX_WRITE {
                self.write_metadata(start, &bytes)?;
                bytes.clear();
                start = sector;
            }
            bytes.extend(to_bytes(
                &table.entries,
                self.tables.shape.entries_per_table,
            ));
            end = clamped(sector, table_len).end();
        }
        self.write_metadata(start, &bytes)
    }

    fn write_metadata(&self, start: Sector, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.storage
            .write_all_at(bytes, byte_position(start))
            .map_err(|error| IoFault::new("writing grain tables", error).into())
    }

    fn write_directory_entry(
        &self,
        directory: Sector,
        table: u32,
        sector: u32,
    ) -> Result<(), Error> {
        let offset = disk_units::ByteLen::new(u64::from(table).saturating_mul(4));
        let position = byte_position(directory)
            .checked_add(offset)
            .unwrap_or_default();
        self.storage
            .write_all_at(&sector.to_le_bytes(), position)
            .map_err(|error| IoFault::new("writing the grain directory", error).into())
    }

    fn write_dirty_byte(&self, value: u8) -> Result<(), Error> {
        self.storage
            .write_all_at(&[value], disk_units::ByteLen::new(UNCLEAN_SHUTDOWN_AT))
            .map_err(|error| IoFault::new("writing the header", error).into())
    }

    fn sync(&self) -> Result<(), Error> {
        self.storage
            .sync_data()
            .map_err(|error| IoFault::new("making the file durable", error).into())
    }
}

/// Where a table goes that was not in the file before.
#[derive(Debug)]
struct NewTable {
    table: u32,
    primary: u32,
    redundant: u32,
}
