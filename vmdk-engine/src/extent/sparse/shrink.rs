//! Giving back space: grains of zeros lose theirs, grains from the end of the file move into the holes, and the rest of
//! the file is cut off.

use std::ops::Range;
use std::thread;

use disk_units::{ByteLen, SectorCount, SectorRange};

use super::super::runs::{Place, Run};
use super::relocate::{BATCH, Move};
use super::slots::{Lying, Slots};
use super::{Below, Extent, SparseExtent, Writer, grains_around};
use crate::error::{Error, IoFault};
use crate::progress::Work;
use crate::units::{buffer_len, byte_position, clamped, is_zero};

/// Grains are looked through in pieces of this size,
const PIECE: SectorCount = SectorCount::new(2048);
/// so many of them at once,
const PIECES: usize = 32;
/// by so many threads at most.
const MAX_THREADS: usize = 4;

/// Changed tables are written back once there are so many.
const MAX_CHANGED_TABLES: usize = 1024;

impl SparseExtent {
    pub(super) fn give_back(
        &self,
        writer: &Writer,
        below: &dyn Below,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        self.write_back(writer)?;
        let allocated = self.free_zeros(writer, below, work)?;
        self.write_back(writer)?;
        self.compact(writer, allocated, work)
    }

    /// Frees the grains that hold zeros; returns how many bytes were looked through.
    fn free_zeros(
        &self,
        writer: &Writer,
        below: &dyn Below,
        work: &mut Work<'_>,
    ) -> Result<u64, Error> {
        let piece = PIECE.max(self.grain_size().count());
        let mut looked_at = 0_u64;
        let mut pieces = Vec::with_capacity(PIECES);
        let whole = SectorRange::whole(self.size);
        for run in self.tables.runs(whole) {
            let mut run = run?;
            while let Place::At(place) = run.place
                && !run.range.is_empty()
            {
                let border = clamped(run.range.start(), piece).end();
                let (front, rest) = run.range.split_at(border);
                pieces.push(Run {
                    range: front,
                    place: run.place,
                });
                run = Run {
                    range: rest,
                    place: Place::At(place.checked_add(front.count()).unwrap_or(place)),
                };
                if pieces.len() >= PIECES {
                    let bytes = self.free_zeros_in(writer, below, &pieces)?;
                    looked_at = looked_at.saturating_add(bytes);
                    work.advance(ByteLen::new(bytes))?;
                    pieces.clear();
                }
            }
        }
        let bytes = self.free_zeros_in(writer, below, &pieces)?;
        work.advance(ByteLen::new(bytes))?;
        Ok(looked_at.saturating_add(bytes))
    }

    fn free_zeros_in(
        &self,
        writer: &Writer,
        below: &dyn Below,
        pieces: &[Run],
    ) -> Result<u64, Error> {
        for zeros in self.zeros_in(pieces)? {
            self.free_zero_run(writer, &zeros, below)?;
        }
        if self.tables.changed_tables() > MAX_CHANGED_TABLES {
            self.write_back(writer)?;
        }
        let sectors = pieces
            .iter()
            .map(|piece| piece.range.count().get())
            .fold(0, u64::saturating_add);
        Ok(sectors.saturating_mul(512))
    }

    /// The grains of zeros in some runs, read by several threads.
    fn zeros_in(&self, pieces: &[Run]) -> Result<Vec<Run>, Error> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = pieces.len().div_ceil(threads.min(MAX_THREADS)).max(1);
        if share >= pieces.len() {
            return self.zeros_in_order(pieces);
        }
        thread::scope(|scope| {
            let shares: Vec<_> = pieces
                .chunks(share)
                .map(|share| scope.spawn(move || self.zeros_in_order(share)))
                .collect();
            let mut zeros = Vec::new();
            for share in shares {
                let found = share.join();
                zeros.extend(found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(zeros)
        })
    }

    fn zeros_in_order(&self, pieces: &[Run]) -> Result<Vec<Run>, Error> {
        let size = self.grain_size();
        let mut zeros: Vec<Run> = Vec::new();
        let mut buffer = Vec::new();
        for piece in pieces {
            let Place::At(place) = piece.place else {
                continue;
            };
            buffer.resize(buffer_len(piece.range.count()), 0);
            self.storage
                .read_exact_at(&mut buffer, byte_position(place))
                .map_err(|error| IoFault::new("reading grains", error))?;
            let mut start = piece.range.start();
            for grain in buffer.chunks(size.bytes()) {
                let range = crate::units::range_of(start, grain);
                if is_zero(grain) {
                    let offset = start.checked_since(piece.range.start());
                    let place = place.checked_add(offset.unwrap_or_default());
                    zeros.push(Run {
                        range,
                        place: Place::At(place.unwrap_or_default()),
                    });
                }
                start = range.end();
            }
        }
        Ok(joined(zeros))
    }

    /// Frees grains that hold zeros, unless that would let something else show.
    fn free_zero_run(&self, writer: &Writer, run: &Run, below: &dyn Below) -> Result<(), Error> {
        let Place::At(first) = run.place else {
            return Ok(());
        };
        let has_zeroed_grains = self.tables.shape.has_zeroed_grains;
        self.for_each_part(run.range, below, |part, shows_data| {
            let offset = part.start().checked_since(run.range.start());
            let place = first.checked_add(offset.unwrap_or_default());
            let place = place.unwrap_or_default();
            match (shows_data, has_zeroed_grains) {
                (false, _) => self.free_run(writer, part, place, 0),
                (true, true) => self.free_run(writer, part, place, 1),
                (true, false) => Ok(()),
            }
        })
    }

    /// Frees all grains, and gives back what space that leaves.
    pub(super) fn forget(&self, writer: &Writer) -> Result<(), Error> {
        for run in self.tables.runs(self.tables.reach()) {
            let run = run?;
            match run.place {
                Place::Unallocated => {}
                Place::Zeroed => {
                    let grains = grains_around(self.grain_size(), run.range);
                    self.tables.set_entries(grains, |_| 0)?;
                }
                Place::At(place) => self.free_run(writer, run.range, place, 0)?,
            }
            if self.tables.changed_tables() > MAX_CHANGED_TABLES {
                self.write_back(writer)?;
            }
        }
        self.write_back(writer)?;
        if self.can_shrink() {
            writer.space.cut(self.slots(writer)?.end())?;
        }
        Ok(())
    }

    /// Moves grains from the end of the file into its holes, and cuts off what is left.
    fn compact(&self, writer: &Writer, allocated: u64, work: &mut Work<'_>) -> Result<(), Error> {
        let slots = self.slots(writer)?;
        let slots = self.settle_strays(writer, slots)?;
        let mut slots = self.settle_tables(writer, slots)?;
        let total = u64::try_from(planned(&slots)).unwrap_or(u64::MAX);
        let mut cursor = 0..slots.len();
        loop {
            let moves = next_moves(&slots, &mut cursor);
            if moves.is_empty() {
                break;
            }
            self.relocate(writer, &mut slots, &moves)?;
            let moved = u64::try_from(moves.len()).unwrap_or(u64::MAX);
            let share = u128::from(allocated)
                .saturating_mul(u128::from(moved))
                .checked_div(u128::from(total))
                .unwrap_or(0);
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            work.advance(ByteLen::new(share))?;
        }
        writer.space.cut(slots.end())
    }
}

/// Joins runs that follow each other, in the guest and in the file.
fn joined(runs: Vec<Run>) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if follows(last, &run) => {
                last.range =
                    SectorRange::between(last.range.start(), run.range.end()).unwrap_or(last.range);
            }
            _ => joined.push(run),
        }
    }
    joined
}

fn follows(one: &Run, next: &Run) -> bool {
    let (Place::At(place), Place::At(behind)) = (one.place, next.place) else {
        return false;
    };
    one.range.end() == next.range.start() && place.checked_add(one.range.count()) == Some(behind)
}

/// How many grains will move.
fn planned(slots: &Slots) -> usize {
    let mut cursor: Range<usize> = 0..slots.len();
    let mut count = 0_usize;
    while next_move(slots, &mut cursor).is_some() {
        count = count.saturating_add(1);
    }
    count
}

/// The next batch: each time the last grain goes to the first hole. `cursor` is what lies between those tried so far.
fn next_moves(slots: &Slots, cursor: &mut Range<usize>) -> Vec<Move> {
    let mut moves: Vec<Move> = std::iter::from_fn(|| next_move(slots, cursor))
        .take(BATCH)
        .collect();
    // What lies together should stay together.
    let mut targets: Vec<usize> = moves.iter().map(|one| one.slot).collect();
    moves.sort_unstable_by_key(|one| one.grain.place);
    targets.sort_unstable();
    for (one, slot) in moves.iter_mut().zip(targets) {
        one.slot = slot;
    }
    moves
}

fn next_move(slots: &Slots, cursor: &mut Range<usize>) -> Option<Move> {
    let slot = cursor.clone().find(|slot| slots.is_free(*slot))?;
    let from = (slot..cursor.end).rev().find_map(|from| {
        let grain = slots.owner(from)?;
        let place = slots.place_of(from);
        Some((from, Lying { grain, place }))
    });
    let (from, grain) = from?;
    *cursor = slot.saturating_add(1)..from;
    Some(Move { grain, slot })
}
