//! Putting grains in the order of the guest, from the first slot of the file on.
//!
//! Window by window: what lies in the window's slots and does not belong there moves out of the way, to slots behind the
//! window; then the grains that belong there move in. The file grows by one window at most, and is cut in the end.

use disk_units::ByteLen;

use super::relocate::{BATCH, Move};
use super::slots::{Lying, Slots};
use super::{SparseExtent, Writer};
use crate::error::Error;
use crate::progress::Work;

impl SparseExtent {
    pub(super) fn put_in_order(&self, writer: &Writer, work: &mut Work<'_>) -> Result<(), Error> {
        self.write_back(writer)?;
        let slots = self.slots(writer)?;
        let slots = self.settle_strays(writer, slots)?;
        let mut slots = self.settle_tables(writer, slots)?;
        let mut free = FreeSlots::default();
        let mut next_grain = 0;
        let mut next_slot = 0;
        loop {
            let grains = self.grains_from(next_grain, BATCH)?;
            let Some(last) = grains.last() else { break };
            next_grain = last.grain.saturating_add(1);
            let window: Vec<Move> = grains
                .iter()
                .map(|grain| {
                    while slots.is_fixed(next_slot) {
                        next_slot = next_slot.saturating_add(1);
                    }
                    let slot = next_slot;
                    next_slot = next_slot.saturating_add(1);
                    Move {
                        grain: *grain,
                        slot,
                    }
                })
                .collect();
            self.put_in_window(writer, &mut slots, &window, next_slot, &mut free)?;
            let bytes = self.grain_size().bytes().saturating_mul(window.len());
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            work.advance(ByteLen::new(bytes))?;
        }
        writer.space.cut(slots.end())
    }

    /// Brings each grain of the window to its slot; `end` is the slot behind the window.
    fn put_in_window(
        &self,
        writer: &Writer,
        slots: &mut Slots,
        window: &[Move],
        end: usize,
        free: &mut FreeSlots,
    ) -> Result<(), Error> {
        let out_of_the_way: Vec<Move> = window
            .iter()
            .filter_map(|one| {
                let grain = slots.owner(one.slot)?;
                let place = slots.place_of(one.slot);
                (grain != one.grain.grain).then(|| Move {
                    grain: Lying { grain, place },
                    slot: free.take(slots, end),
                })
            })
            .collect();
        self.relocate(writer, slots, &out_of_the_way)?;
        let into_place: Vec<Move> = window
            .iter()
            .map(|one| {
                // It may have been in the way itself.
                let moved = out_of_the_way
                    .iter()
                    .find(|moved| moved.grain.grain == one.grain.grain);
                let place = moved.map_or(one.grain.place, |moved| slots.place_of(moved.slot));
                Move {
                    grain: Lying { place, ..one.grain },
                    slot: one.slot,
                }
            })
            .filter(|one| one.grain.place != slots.place_of(one.slot))
            .collect();
        self.relocate(writer, slots, &into_place)?;
        for one in &into_place {
            free.given_back
                .extend(slots.slot_of(one.grain.place).filter(|slot| *slot >= end));
        }
        Ok(())
    }
}

/// Free slots behind the window, found without looking at any slot twice.
#[derive(Debug, Default)]
struct FreeSlots {
    /// Slots before this one were looked at.
    next: usize,
    /// Those that became free since.
    given_back: Vec<usize>,
}

impl FreeSlots {
    /// A free slot behind the window that ends before `end`; it is not found again.
    fn take(&mut self, slots: &Slots, end: usize) -> usize {
        while let Some(slot) = self.given_back.pop() {
            if slot >= end && slots.is_free(slot) {
                return slot;
            }
        }
        let slot = slots.free_from(self.next.max(end));
        self.next = slot.saturating_add(1);
        slot
    }
}
