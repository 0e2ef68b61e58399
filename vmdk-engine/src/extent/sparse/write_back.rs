//! Writing changed tables back, in an order that no crash can make wrong.
//!
//! 1. the dirty byte is set, and everything written so far is synced, so that tables only ever point to durable data;
//! 2. tables go out, the primary copy before the redundant one; tables that are new to the file are synced before
//!    their directory entries are written, and the redundant entry before the primary one;
//! 3. where the header notes the first unused sector, that follows;
//! 4. another sync makes the tables durable. Now the space of freed grains can be given back.
//!
//! Closing clears the dirty byte behind all that.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::super::cache::ChangedTable;
use super::super::table::{Tables, to_bytes};
use super::{SparseExtent, Writer};
use crate::error::{Error, IoFault};
use crate::units::{byte_position, byte_range, clamped};

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

/// A table that lies among the grains.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateTable {
    pub(super) table: u32,
    pub(super) sector: u32,
    /// It is the redundant one.
    pub(super) is_copy: bool,
}

impl WriteBack {
    pub(super) fn new(redundant_directory: Option<Vec<u32>>, is_marked_dirty: bool) -> Self {
        Self {
            redundant_directory,
            is_marked_dirty,
        }
    }

    /// All tables, and copies of tables, that lie among the grains.
    pub(super) fn late_tables(&self, tables: &Tables) -> Result<Vec<LateTable>, Error> {
        let reaches_grains = |late: &LateTable| {
            let start = Sector::new(u64::from(late.sector));
            let range = clamped(start, tables.shape.table_len());
            late.sector != 0 && range.end() > tables.shape.data_start
        };
        let late = |table, sector, is_copy| LateTable {
            table,
            sector,
            is_copy,
        };
        let sectors = (0..).zip(tables.all_sectors()?);
        Ok(sectors
            .flat_map(|(table, sector)| {
                let copy = self.redundant_sector_of(table);
                [late(table, sector, false), late(table, copy, true)]
            })
            .filter(reaches_grains)
            .collect())
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
            self.write_dirty_mark(false)?;
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
        self.mark_dirty(state)?;
        self.sync()?;
        let placed = self.place(writer, state, changed)?;
        self.write_copies(placed.iter().map(|placed| (placed.primary, placed.table)))?;
        if state.redundant_directory.is_some() {
            self.write_copies(placed.iter().map(|placed| (placed.redundant, placed.table)))?;
        }
        let new: Vec<&Placed<'_>> = placed.iter().filter(|placed| placed.is_new).collect();
        if !new.is_empty() {
            self.sync()?;
            self.enter_new_tables(state, &new)?;
        }
        self.write_free_sector(writer)?;
        self.sync()
    }

    /// Sets the dirty byte, which the next sync makes durable.
    pub(super) fn mark_dirty(&self, state: &mut WriteBack) -> Result<(), Error> {
        if !state.is_marked_dirty {
            self.write_dirty_mark(true)?;
            state.is_marked_dirty = true;
        }
        Ok(())
    }

    /// Where each changed table goes; those that are not in the file yet get space at its end.
    fn place<'a>(
        &self,
        writer: &Writer,
        state: &WriteBack,
        changed: &'a [ChangedTable],
    ) -> Result<Vec<Placed<'a>>, Error> {
        let sectors_of = changed
            .iter()
            .map(|table| self.tables.sector_of(table.table));
        let known: Vec<u32> = sectors_of.collect::<Result<_, _>>()?;
        let table_len = self.tables.shape.table_len().get();
        let copies = if state.redundant_directory.is_some() {
            2
        } else {
            1
        };
        let sectors = u64::try_from(known.iter().filter(|sector| **sector == 0).count())
            .unwrap_or(u64::MAX)
            .saturating_mul(table_len)
            .saturating_mul(copies);
        let mut free = match sectors {
            0 => 0,
            _ => {
                let grains = self.grain_size().grains_in(SectorCount::new(sectors));
                writer.space.reserve(grains)?.get()
            }
        };
        let mut take = || {
            let sector = u32::try_from(free).unwrap_or(0);
            free = free.saturating_add(table_len);
            sector
        };
        let mut placed = Vec::with_capacity(changed.len());
        for (table, sector) in changed.iter().zip(known) {
            let is_new = sector == 0;
            placed.push(Placed {
                table,
                primary: if is_new { take() } else { sector },
                redundant: match (is_new, copies) {
                    (true, 2) => take(),
                    _ => state.redundant_sector_of(table.table),
                },
                is_new,
            });
        }
        Ok(placed)
    }

    /// Writes the directory entries of tables that are in the file by now.
    ///
    /// The redundant directory comes first: a crash in between leaves the table in it alone, which is known to be
    /// unfinished, while the primary directory never names a table without a copy.
    fn enter_new_tables(&self, state: &mut WriteBack, new: &[&Placed<'_>]) -> Result<(), Error> {
        let shape = &self.tables.shape;
        if state.redundant_directory.is_some() {
            for placed in new {
                self.enter_redundant(state, placed.table.table, placed.redundant)?;
            }
            self.sync()?;
        }
        for placed in new {
            self.write_directory_entry(shape.directory, placed.table.table, placed.primary)?;
        }
        for placed in new {
            self.tables
                .set_sector_of(placed.table.table, placed.primary);
        }
        Ok(())
    }

    /// Writes where the copy of a table is into the redundant directory.
    pub(super) fn enter_redundant(
        &self,
        state: &mut WriteBack,
        table: u32,
        sector: u32,
    ) -> Result<(), Error> {
        let (Some(start), Some(directory)) = (
            self.tables.shape.redundant_directory,
            &mut state.redundant_directory,
        ) else {
            return Ok(());
        };
        self.write_directory_entry(start, table, sector)?;
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        if let Some(entry) = directory.get_mut(index) {
            *entry = sector;
        }
        Ok(())
    }

    /// Writes tables to the sectors given with them; those that lie together in one go.
    fn write_copies<'a>(
        &self,
        tables: impl Iterator<Item = (u32, &'a ChangedTable)>,
    ) -> Result<(), Error> {
        let mut tables: Vec<_> = tables.collect();
        tables.sort_unstable_by_key(|(sector, _)| *sector);
        let table_len = self.tables.shape.table_len();
        let mut start = Sector::ZERO;
        let mut end = Sector::ZERO;
        let mut bytes: Vec<u8> = Vec::new();
        for (sector, table) in tables {
            let sector = Sector::new(u64::from(sector));
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

    pub(super) fn write_metadata(&self, start: Sector, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.storage
            .write_all_at(bytes, byte_position(start))
            .map_err(|error| IoFault::new("writing grain tables", error).into())
    }

    pub(super) fn write_directory_entry(
        &self,
        directory: Sector,
        table: u32,
        sector: u32,
    ) -> Result<(), Error> {
        let offset = ByteLen::new(u64::from(table).saturating_mul(4));
        let position = byte_position(directory)
            .checked_add(offset)
            .unwrap_or_default();
        self.storage
            .write_all_at(&sector.to_le_bytes(), position)
            .map_err(|error| IoFault::new("writing the grain directory", error).into())
    }

    /// Notes in the header, where it has a field for that, up to where the file is used.
    fn write_free_sector(&self, writer: &Writer) -> Result<(), Error> {
        let Some(free) = self.tables.shape.free_sector else {
            return Ok(());
        };
        let tail = u32::try_from(writer.space.tail().get()).unwrap_or(u32::MAX);
        self.storage
            .write_all_at(&tail.to_le_bytes(), free.position)
            .map_err(|error| IoFault::new("writing the header", error).into())
    }

    fn write_dirty_mark(&self, is_dirty: bool) -> Result<(), Error> {
        let shape = &self.tables.shape;
        self.storage
            .write_all_at(shape.dirty_mark(is_dirty), shape.dirty_byte)
            .map_err(|error| IoFault::new("writing the header", error).into())
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.storage
            .sync_data()
            .map_err(|error| IoFault::new("making the file durable", error).into())
    }
}

/// A changed table and its sectors in the file.
#[derive(Debug)]
struct Placed<'a> {
    table: &'a ChangedTable,
    primary: u32,
    redundant: u32,
    is_new: bool,
}
