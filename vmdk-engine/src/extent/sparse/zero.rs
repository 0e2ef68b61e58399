//! Grains that come to read as zeros: in their place, without one, or hidden from what is below.

use std::ops::Range;

use disk_units::{Sector, SectorCount, SectorRange};

use super::{SparseExtent, Writer, grains_around};
use crate::error::{Error, IoFault};
use crate::extent::Below;
use crate::extent::runs::Place;
use crate::storage::write_zeros;
use crate::units::{byte_range, clamped};

impl SparseExtent {
    /// Makes sectors of the file read as zeros and keeps, or gets, space for them.
    pub(super) fn zero_in_place(&self, place: Sector, count: SectorCount) -> Result<(), Error> {
        let range = byte_range(clamped(place, count));
        match self.storage.zero_range(range.clone()) {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                write_zeros(&*self.storage, range)
            }
            result => result,
        }
        .map_err(|error| IoFault::new("writing zeros", error).into())
    }

    /// Makes sectors of the file read as zeros and gives their space back, where the file system can.
    pub(super) fn free_in_place(&self, place: Sector, count: SectorCount) -> Result<(), Error> {
        match self.storage.punch_hole(byte_range(clamped(place, count))) {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                self.zero_in_place(place, count)
            }
            result => result.map_err(|error| IoFault::new("freeing grains", error).into()),
        }
    }

    /// Frees whole grains, which read as zeros from now on; but where they show what is below, that is only hidden if
    /// it takes no space, or if it `must_hide`.
    pub(super) fn free(
        &self,
        writer: &Writer,
        grains: Range<u64>,
        below: &dyn Below,
        must_hide: bool,
    ) -> Result<(), Error> {
        let range = self.sectors_of(&grains);
        if range.is_empty() {
            return Ok(());
        }
        let has_zeroed_grains = self.tables.shape.has_zeroed_grains;
        let _claim = writer.space.claim(self.grain_size(), range);
        for run in self.tables.runs(range) {
            let run = run?;
            match run.place {
                Place::Zeroed => {}
                Place::At(place) if has_zeroed_grains => {
                    self.free_run(writer, run.range, place, 1)?;
                }
                Place::At(place) => {
                    self.for_each_part(run.range, below, |part, shows_data| {
                        let offset = part.start().checked_since(run.range.start());
                        let place = place.checked_add(offset.unwrap_or_default());
                        let place = place.unwrap_or_default();
                        if shows_data {
                            self.free_in_place(place, part.count())
                        } else {
                            self.free_run(writer, part, place, 0)
                        }
                    })?;
                }
                Place::Unallocated => {
                    self.for_each_part(run.range, below, |part, shows_data| {
                        if !shows_data {
                            Ok(())
                        } else if has_zeroed_grains {
                            let grains = grains_around(self.grain_size(), part);
                            self.tables.set_entries(grains, |_| 1)
                        } else if must_hide {
                            self.allocate(writer, part, None, |_| Ok(()))
                        } else {
                            Ok(())
                        }
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Enters `entry` for grains at `place`, and remembers to give that back.
    pub(super) fn free_run(
        &self,
        writer: &Writer,
        run: SectorRange,
        place: Sector,
        entry: u32,
    ) -> Result<(), Error> {
        let size = self.grain_size();
        let count = size.round_up(run.count().get());
        self.tables
            .set_entries(grains_around(size, run), |_| entry)?;
        writer.note_freed(clamped(place, SectorCount::new(count)));
        Ok(())
    }

    /// Cuts a run of whole grains into those that have data below them and those that have none, in order.
    pub(super) fn for_each_part(
        &self,
        run: SectorRange,
        below: &dyn Below,
        mut each: impl FnMut(SectorRange, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut rest = run;
        while let Some(data) = below.first_data(rest)? {
            let grains = self.sectors_of(&grains_around(self.grain_size(), data));
            let (before, from) = rest.split_at(grains.start());
            let (with_data, behind) = from.split_at(grains.end());
            if !before.is_empty() {
                each(before, false)?;
            }
            each(with_data, true)?;
            rest = behind;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            each(rest, false)
        }
    }

    /// Zeroes a range that is not whole grains, and leaves what reads as zeros already.
    pub(super) fn zero_part(
        &self,
        writer: &Writer,
        range: SectorRange,
        below: &dyn Below,
    ) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        let _claim = writer.space.claim(self.grain_size(), range);
        for run in self.tables.runs(range) {
            let run = run?;
            match run.place {
                Place::At(place) => self.zero_in_place(place, run.range.count())?,
                Place::Unallocated if below.first_data(run.range)?.is_some() => {
                    self.allocate(writer, run.range, Some(below), |_| Ok(()))?;
                }
                Place::Unallocated | Place::Zeroed => {}
            }
        }
        Ok(())
    }

    /// Zeroes `range` and has space for all of it afterwards.
    pub(super) fn allocate_zeros(
        &self,
        writer: &Writer,
        range: SectorRange,
        below: &dyn Below,
    ) -> Result<(), Error> {
        let _claim = writer.space.claim(self.grain_size(), range);
        for run in self.tables.runs(range) {
            let run = run?;
            let fill = |place| self.zero_in_place(place, run.range.count());
            match run.place {
                Place::At(place) => fill(place)?,
                Place::Unallocated => self.allocate(writer, run.range, Some(below), fill)?,
                Place::Zeroed => self.allocate(writer, run.range, None, fill)?,
            }
        }
        Ok(())
    }
}
