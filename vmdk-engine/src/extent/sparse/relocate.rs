//! Moving grains within the file, so that a crash at any moment leaves each of them at its old or its new place, whole.
//!
//! A grain moves to a place that no table in the file names. Its data is durable there before a table says so, and the
//! old place is used for nothing else before that table is durable too: so moves go in batches, each of them a copy and
//! then a [write back](super::write_back) of the tables.

use disk_units::Sector;

use super::slots::{Lying, Slots};
use super::{SparseExtent, Writer};
use crate::error::{Error, IoFault};
use crate::units::byte_position;

/// Grains that move at once: as many as the syncs of a batch are worth.
pub(super) const BATCH: usize = 256;

/// Grains that lie together on both sides are copied together, up to so many bytes.
const MAX_COPY: usize = 1 << 20;

/// A grain and the slot that it goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) grain: Lying,
    pub(super) slot: usize,
}

impl SparseExtent {
    /// Moves grains into slots that are free, and that no table in the file names either.
    pub(super) fn relocate(
        &self,
        writer: &Writer,
        slots: &mut Slots,
        moves: &[Move],
    ) -> Result<(), Error> {
        let Some(last) = moves.iter().map(|one| one.slot).max() else {
            return Ok(());
        };
        writer.fuse.check()?;
        writer.space.reach(slots.place_of(last.saturating_add(1)))?;
        let size = self.grain_size();
        let most = MAX_COPY.checked_div(size.bytes()).unwrap_or(1).max(1);
        let follows = |one: &Move, next: &Move| {
            one.slot.checked_add(1) == Some(next.slot)
                && one.grain.place.checked_add(size.count()) == Some(next.grain.place)
        };
        for together in moves
            .chunk_by(follows)
            .flat_map(|together| together.chunks(most))
        {
            if let Some(first) = together.first() {
                let length = together.len().saturating_mul(size.bytes());
                self.copy(first.grain.place, slots.place_of(first.slot), length)?;
            }
        }
        for one in moves {
            let grain = u64::from(one.grain.grain);
            // Slots lie in the space below 2^32 sectors that was reserved.
            let entry = u32::try_from(slots.place_of(one.slot).get()).unwrap_or(0);
            self.tables
                .set_entries(grain..grain.saturating_add(1), |_| entry)?;
        }
        self.write_back(writer)?;
        for one in moves {
            if let Some(slot) = slots.slot_of(one.grain.place) {
                slots.set_free(slot);
            }
            slots.set(one.slot, one.grain.grain);
        }
        Ok(())
    }

    fn copy(&self, from: Sector, to: Sector, length: usize) -> Result<(), Error> {
        let mut buffer = vec![0; length];
        self.storage
            .read_exact_at(&mut buffer, byte_position(from))
            .map_err(|error| IoFault::new("reading grains", error))?;
        self.write_data(to, &buffer)
    }

    /// Moves all grains that lie across slots into slots, and surveys the file again.
    pub(super) fn settle_strays(&self, writer: &Writer, mut slots: Slots) -> Result<Slots, Error> {
        if slots.strays().is_empty() {
            return Ok(slots);
        }
        let strays = slots.strays().to_vec();
        let mut free = 0;
        for batch in strays.chunks(BATCH) {
            let mut moves = Vec::with_capacity(batch.len());
            for grain in batch {
                let slot = slots.free_from(free);
                free = slot.saturating_add(1);
                moves.push(Move {
                    grain: *grain,
                    slot,
                });
            }
            self.relocate(writer, &mut slots, &moves)?;
        }
        self.slots(writer)
    }
}
