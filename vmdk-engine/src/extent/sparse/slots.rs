//! What lies where in the file of a sparse extent, to move it.
//!
//! The file behind the metadata is divided into slots of one grain each. Nearly all files keep all grains in slots;
//! those that do not are strays, and move into slots first. In memory there are four bytes for each slot.

use disk_units::{Sector, SectorCount};

use super::super::runs::Place;
use super::{SparseExtent, Writer};
use crate::error::{Error, Refusal};
use crate::units::{GrainSize, clamped};

/// The owner of a slot that nothing lies in.
const FREE: u32 = u32::MAX;
/// The owner of a slot that is taken up, in whole or in part, by a table or a stray.
const TAKEN: u32 = u32::MAX - 1;

/// A grain and the place that it lies at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lying {
    pub(super) grain: u32,
    pub(super) place: Sector,
}

/// The slots of a file and who owns them.
#[derive(Debug)]
pub(super) struct Slots {
    size: GrainSize,
    first: Sector,
    owners: Vec<u32>,
    /// Grains that overlap two slots.
    strays: Vec<Lying>,
    /// The end of what never moves.
    fixed_end: Sector,
}

impl SparseExtent {
    /// Surveys the file. What is in the tables in memory must be in the file.
    pub(super) fn slots(&self, writer: &Writer) -> Result<Slots, Error> {
        let tables = writer.write_back.lock().late_tables(&self.tables)?;
        let data_start = self.tables.shape.data_start;
        let mut offsets: Vec<(u64, u64)> = Vec::new();
        let size = self.grain_size();
        self.for_each_grain(|grain| {
            let offset = size.offset_in(grain.place);
            match offsets.iter_mut().find(|(known, _)| *known == offset) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => offsets.push((offset, 1)),
            }
        })?;
        let offset = offsets.iter().max_by_key(|(_, count)| *count);
        let mut slots = Slots::new(size, data_start, offset.map_or(0, |(offset, _)| *offset));
        slots.grow_to(writer.space.tail())?;
        let table_len = self.tables.shape.table_len();
        for table in tables {
            slots.fix(Sector::new(u64::from(table.sector)), table_len);
        }
        for directory in &self.tables.shape.late_directories {
            slots.fix(directory.start(), directory.count());
        }
        self.for_each_grain(|grain| slots.enter(grain))?;
        Ok(slots)
    }

    /// All allocated grains in the order of the guest, also those behind the end of the disk that tables may have.
    fn for_each_grain(&self, mut each: impl FnMut(Lying)) -> Result<(), Error> {
        let size = self.grain_size();
        for run in self.tables.runs(self.tables.reach()) {
            let run = run?;
            let Place::At(mut place) = run.place else {
                continue;
            };
            for grain in super::grains_around(size, run.range) {
                each(Lying {
                    grain: number(grain),
                    place,
                });
                place = place.checked_add(size.count()).unwrap_or(place);
            }
        }
        Ok(())
    }

    /// The first `limit` allocated grains from `first` on.
    pub(super) fn grains_from(&self, first: u32, limit: usize) -> Result<Vec<Lying>, Error> {
        let size = self.grain_size();
        let (_, rest) = self
            .tables
            .reach()
            .split_at(size.start_of(u64::from(first)));
        let mut found = Vec::new();
        for run in self.tables.runs(rest) {
            let run = run?;
            let Place::At(mut place) = run.place else {
                continue;
            };
            for grain in super::grains_around(size, run.range) {
                if found.len() >= limit {
                    return Ok(found);
                }
                found.push(Lying {
                    grain: number(grain),
                    place,
                });
                place = place.checked_add(size.count()).unwrap_or(place);
            }
        }
        Ok(found)
    }
}

/// Grain directories are far too short for more than 32 bits.
fn number(grain: u64) -> u32 {
    u32::try_from(grain).unwrap_or(TAKEN)
}

impl Slots {
    fn new(size: GrainSize, data_start: Sector, offset: u64) -> Self {
        let base = data_start.get().saturating_sub(offset);
        Self {
            size,
            first: Sector::new(size.round_up(base).saturating_add(offset)),
            owners: Vec::new(),
            strays: Vec::new(),
            fixed_end: data_start,
        }
    }

    fn grow_to(&mut self, end: Sector) -> Result<(), Refusal> {
        let sectors = end.checked_since(self.first).unwrap_or_default();
        let count = usize::try_from(self.size.grains_in(sectors));
        self.owners
            .resize(count.map_err(|_| Refusal::FileTooBig)?, FREE);
        Ok(())
    }

    /// Takes all slots that a run of sectors touches.
    fn take(&mut self, place: Sector, count: SectorCount) {
        let range = clamped(place, count);
        let index = |sector: Sector| {
            let behind = sector.checked_since(self.first).unwrap_or_default();
            behind.get()
        };
        let start = self.size.grain_of(Sector::new(index(range.start())));
        let end = self.size.grains_in(SectorCount::new(index(range.end())));
        for slot in start..end {
            if let Ok(slot) = usize::try_from(slot)
                && let Some(owner) = self.owners.get_mut(slot)
            {
                *owner = TAKEN;
            }
        }
    }

    fn fix(&mut self, place: Sector, count: SectorCount) {
        self.take(place, count);
        self.fixed_end = self.fixed_end.max(clamped(place, count).end());
    }

    fn enter(&mut self, grain: Lying) {
        match self.slot_of(grain.place) {
            Some(slot) => self.set(slot, grain.grain),
            None => {
                self.take(grain.place, self.size.count());
                self.strays.push(grain);
            }
        }
    }

    pub(super) fn strays(&self) -> &[Lying] {
        &self.strays
    }

    /// The number of slots.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// The number of grains that lie in slots.
    pub(super) fn grains(&self) -> usize {
        self.owners.iter().filter(|owner| **owner < TAKEN).count()
    }

    /// The slot that a place is the start of.
    pub(super) fn slot_of(&self, place: Sector) -> Option<usize> {
        let behind = place.checked_since(self.first)?.get();
        let is_start = behind.is_multiple_of(self.size.sectors());
        usize::try_from(self.size.grain_of(Sector::new(behind)))
            .ok()
            .filter(|_| is_start)
    }

    pub(super) fn place_of(&self, slot: usize) -> Sector {
        let slot = u64::try_from(slot).unwrap_or(u64::MAX);
        let behind = SectorCount::new(self.size.start_of(slot).get());
        self.first.checked_add(behind).unwrap_or(self.first)
    }

    /// The grain that lies in a slot.
    pub(super) fn owner(&self, slot: usize) -> Option<u32> {
        let owner = self.owners.get(slot).copied();
        owner.filter(|owner| *owner < TAKEN)
    }

    pub(super) fn is_free(&self, slot: usize) -> bool {
        self.owners.get(slot).is_none_or(|owner| *owner == FREE)
    }

    /// Whether grains can never lie there.
    pub(super) fn is_fixed(&self, slot: usize) -> bool {
        self.owners.get(slot) == Some(&TAKEN)
    }

    /// The first free slot from `slot` on; there is always one behind the end.
    pub(super) fn free_from(&self, slot: usize) -> usize {
        let rest = self.owners.get(slot..).unwrap_or_default();
        let found = rest.iter().position(|owner| *owner == FREE);
        found.map_or(self.owners.len().max(slot), |found| {
            slot.saturating_add(found)
        })
    }

    /// Gives a slot, also one behind the end, to a grain.
    pub(super) fn set(&mut self, slot: usize, grain: u32) {
        if slot >= self.owners.len() {
            self.owners.resize(slot.saturating_add(1), FREE);
        }
        if let Some(owner) = self.owners.get_mut(slot) {
            *owner = grain;
        }
    }

    pub(super) fn set_free(&mut self, slot: usize) {
        if let Some(owner) = self.owners.get_mut(slot) {
            *owner = FREE;
        }
    }

    /// The sector behind the last thing that lies in the file.
    pub(super) fn end(&self) -> Sector {
        let last = self.owners.iter().rposition(|owner| *owner < TAKEN);
        let slots = last.map_or(self.first, |last| self.place_of(last.saturating_add(1)));
        let strays = self.strays.iter().map(|stray| stray.place);
        let strays = strays.map(|place| clamped(place, self.size.count()).end());
        let slots = if last.is_none() {
            self.fixed_end
        } else {
            slots
        };
        strays.fold(slots.max(self.fixed_end), Sector::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_begin_behind_the_metadata_at_the_distance_of_the_grains() {
        let size = GrainSize::new(128).expect("power of two");
        for (data_start, offset, first) in [(128, 0, 128), (26, 26, 26), (27, 26, 154), (5, 0, 128)]
        {
            let slots = Slots::new(size, Sector::new(data_start), offset);
            assert_eq!(slots.first, Sector::new(first), "{data_start} {offset}");
        }
    }

    #[test]
    fn whatever_touches_a_slot_takes_it() {
        let size = GrainSize::new(8).expect("power of two");
        let mut slots = Slots::new(size, Sector::new(16), 0);
        slots.grow_to(Sector::new(16 + 80)).expect("is small");
        slots.fix(Sector::new(10), SectorCount::new(7));
        slots.enter(Lying {
            grain: 5,
            place: Sector::new(36),
        });
        slots.enter(Lying {
            grain: 6,
            place: Sector::new(56),
        });
        let free: Vec<usize> = (0..slots.len())
            .filter(|slot| slots.is_free(*slot))
            .collect();
        assert_eq!(free, [1, 4, 6, 7, 8, 9]);
        assert_eq!(slots.owner(5), Some(6));
        assert_eq!(slots.strays().len(), 1);
        assert_eq!(slots.end(), Sector::new(64));
        assert_eq!(slots.free_from(7), 7);
        assert_eq!(slots.free_from(20), 20);
    }
}
