//! Which places of the file are taken by grains.

use std::collections::BTreeSet;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::super::header::SparseShape;
use super::GrainFault;
use crate::units::{GrainSize, clamped};

/// Sector numbers in tables end here.
const ADDRESSABLE: u64 = 1 << 32;

/// Files that two programs have written may hold grains aligned in two ways; more than these no program leaves behind.
const MAX_ALIGNMENTS: usize = 4;

/// So many grains with contested places are looked into.
pub(crate) const MAX_CONTESTED: usize = 1 << 16;

/// The grains met so far.
#[derive(Debug)]
pub(crate) struct Places {
    grain: GrainSize,
    file: ByteLen,
    /// How many grains the capacity has.
    grains: u64,
    /// The slot of a grain is its sector divided by the grain size.
    slots: u64,
    /// One for each distance that grains lie off their slots; in most files there is one.
    aligned: Vec<AlignedAlike>,
    /// Where grains begin that overlap others, but for those beyond [`MAX_CONTESTED`].
    contested: BTreeSet<u32>,
    /// Grains that have a place.
    pub(crate) count: u64,
    /// The lowest place of a grain.
    pub(crate) lowest: Option<Sector>,
    /// Behind the last grain, also of those that overlap others.
    pub(crate) end: Sector,
    /// Grains that are not a multiple of their size behind the first one that can be.
    pub(crate) unaligned: u64,
}

/// Grains that lie equally far off their slots: one bit for each slot.
#[derive(Debug)]
struct AlignedAlike {
    offset: u64,
    taken: Vec<u64>,
}

impl AlignedAlike {
    fn bit(slot: u64) -> (usize, u64) {
        let word = usize::try_from(slot / 64).unwrap_or(usize::MAX);
        (word, 1 << (slot % 64))
    }

    fn has(&self, slot: u64) -> bool {
        let (word, bit) = Self::bit(slot);
        self.taken.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether one of these grains overlaps one that lies `offset` off `slot`: any in the same slot does, and of the
    /// neighbours those whose distance is less than a grain.
    fn overlaps(&self, slot: u64, offset: u64) -> bool {
        self.has(slot)
            || (self.offset > offset && slot.checked_sub(1).is_some_and(|slot| self.has(slot)))
            || (self.offset < offset && self.has(slot.saturating_add(1)))
    }
}

impl Places {
    pub(super) fn new(shape: &SparseShape, file: ByteLen) -> Self {
        let reach = SectorCount::new(file.sectors_rounded_up().get().min(ADDRESSABLE));
        Self {
            grain: shape.grain,
            file,
            grains: shape.grain.grains_in(shape.capacity),
            slots: shape.grain.grains_in(reach),
            aligned: Vec::new(),
            contested: BTreeSet::new(),
            count: 0,
            lowest: None,
            end: Sector::ZERO,
            unaligned: 0,
        }
    }

    /// Enters the entry of a grain; `None` if nothing is wrong with it.
    pub(super) fn enter(
        &mut self,
        shape: &SparseShape,
        grain: u64,
        entry: u32,
    ) -> Option<GrainFault> {
        match entry {
            0 => return None,
            _ if grain >= self.grains => return Some(GrainFault::BehindCapacity),
            1 if shape.provides_for_zeros() => return None,
            1 => return Some(GrainFault::UnclaimedZeros),
            _ => {}
        }
        let start = Sector::new(u64::from(entry));
        if let Some(fault) = self.misplaced(shape, start) {
            return Some(fault);
        }
        let is_cut = self.is_cut(start);
        self.end = self.end.max(self.range(start).end());
        let taken = self.take(start);
        if taken.is_none() {
            self.count = self.count.saturating_add(1);
            self.lowest = Some(self.lowest.map_or(start, |lowest| lowest.min(start)));
            let distance = start.checked_since(shape.data_start).unwrap_or_default();
            if self.grain.offset_in(Sector::new(distance.get())) != 0 {
                self.unaligned = self.unaligned.saturating_add(1);
            }
        } else if self.contested.len() <= MAX_CONTESTED {
            self.contested.insert(entry);
        }
        taken.or(is_cut.then_some(GrainFault::Cut))
    }

    /// Whether no grain can be there at all.
    fn misplaced(&self, shape: &SparseShape, start: Sector) -> Option<GrainFault> {
        if shape.is_metadata(start) {
            return Some(GrainFault::InMetadata);
        }
        let is_in_file = start.byte_offset().is_some_and(|start| start < self.file);
        (!is_in_file).then_some(GrainFault::BehindEnd)
    }

    pub(crate) fn is_misplaced(&self, shape: &SparseShape, start: Sector) -> bool {
        self.misplaced(shape, start).is_some()
    }

    /// Whether a grain at `start` is aligned as others are.
    pub(crate) fn is_aligned_alike(&self, start: Sector) -> bool {
        let offset = self.grain.offset_in(start);
        self.aligned.iter().any(|alike| alike.offset == offset)
    }

    /// Whether a grain lies in `range`, in whole or in part.
    pub(crate) fn has_any_in(&self, range: SectorRange) -> bool {
        let first = range.start().get().saturating_sub(self.grain.sectors());
        let near = u32::try_from(first).unwrap_or(u32::MAX)..=u32::MAX;
        let mut contested = self.contested.range(near);
        let next = contested.find_map(|start| {
            let grain = self.range(Sector::new(u64::from(*start)));
            (grain.end() > range.start()).then_some(grain)
        });
        if next.is_some_and(|grain| grain.intersection(range).is_some()) {
            return true;
        }
        let slots = self.grain.grain_of(Sector::new(first))..=self.grain.grain_of(range.end());
        self.aligned.iter().any(|alike| {
            let mut grains = slots.clone().filter(|slot| alike.has(*slot)).map(|slot| {
                let start = self.grain.start_of(slot).get().saturating_add(alike.offset);
                self.range(Sector::new(start))
            });
            grains.any(|grain| grain.intersection(range).is_some())
        })
    }

    /// Whether the end of the file cuts a grain at `start`.
    pub(crate) fn is_cut(&self, start: Sector) -> bool {
        let end = self.range(start).end().byte_offset();
        end.is_none_or(|end| end > self.file)
    }

    fn range(&self, start: Sector) -> SectorRange {
        clamped(start, self.grain.count())
    }

    /// Whether a whole grain can be at `entry`, and nothing else is.
    pub(crate) fn is_free(&self, shape: &SparseShape, entry: u32) -> bool {
        let start = Sector::new(u64::from(entry));
        self.misplaced(shape, start).is_none() && !self.is_cut(start) && !self.overlaps(start)
    }

    fn overlaps(&self, start: Sector) -> bool {
        let (slot, offset) = (self.grain.grain_of(start), self.grain.offset_in(start));
        let overlaps = |alike: &AlignedAlike| alike.overlaps(slot, offset);
        self.aligned.iter().any(overlaps)
    }

    /// Marks the place of a grain as taken.
    pub(crate) fn take(&mut self, start: Sector) -> Option<GrainFault> {
        if self.overlaps(start) {
            return Some(GrainFault::Overlaps);
        }
        let (slot, offset) = (self.grain.grain_of(start), self.grain.offset_in(start));
        let Some(alike) = self.aligned_alike(offset) else {
            return Some(GrainFault::Scattered);
        };
        let (word, bit) = AlignedAlike::bit(slot);
        if let Some(word) = alike.taken.get_mut(word) {
            *word |= bit;
        }
        None
    }

    /// `None` if there would be too many ways of alignment.
    fn aligned_alike(&mut self, offset: u64) -> Option<&mut AlignedAlike> {
        let known = self.aligned.iter().position(|alike| alike.offset == offset);
        let index = known.unwrap_or(self.aligned.len());
        if known.is_none() && index < MAX_ALIGNMENTS {
            let words = usize::try_from(self.slots.div_ceil(64)).unwrap_or(0);
            self.aligned.push(AlignedAlike {
                offset,
                taken: vec![0; words],
            });
        }
        self.aligned.get_mut(index)
    }
}
