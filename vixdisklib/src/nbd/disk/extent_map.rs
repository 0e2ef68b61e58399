//! What is allocated: kept in memory where it cannot change, asked for where it can.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use disk_units::{ByteLen, Sector, SectorRange};

use super::bytewise::touched;
use super::sectors::Sectors;
use crate::nbd::export::{BlockState, BlockVisitor};

/// The longest list that is kept, 16 MiB of it. A disk in more pieces is asked each time.
const MAX_RUNS: usize = 1 << 20;

/// Sectors that are asked about first, 8 MiB of them.
const FIRST_WINDOW: u64 = 1 << 14;

/// The allocation of a disk.
#[derive(Debug)]
pub(super) struct ExtentMap {
    disk: SectorRange,
    /// Contents and allocation never change, so the list, once made, stays true.
    fixed: bool,
    max_runs: usize,
    /// All runs in order, or nothing if there are too many or the disk could not tell.
    runs: OnceLock<Option<Vec<Run>>>,
}

/// Sectors of one state, from the end of the run before.
#[derive(Clone, Copy, Debug)]
struct Run {
    end: Sector,
    state: BlockState,
}

impl ExtentMap {
    pub(super) fn new(disk: SectorRange, fixed: bool) -> Self {
        Self {
            disk,
            fixed,
            max_runs: MAX_RUNS,
            runs: OnceLock::new(),
        }
    }

    /// Visits the states of a range of bytes inside the disk, as [`Export::block_status`] asks.
    ///
    /// [`Export::block_status`]: crate::nbd::Export::block_status
    pub(super) fn visit(
        &self,
        disk: &impl Sectors,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) {
        let range = touched(offset, length);
        let mut position = offset.get();
        let mut step = |end: Sector, state| {
            let end = end
                .byte_offset()
                .expect("the size in bytes was checked when the disk was exported")
                .get();
            if end <= position {
                return ControlFlow::Continue(());
            }
            let piece = ByteLen::new(end - position);
            position = end;
            visit(piece, state)
        };
        let flow = match self.runs(disk) {
            Some(runs) => {
                let first = runs.partition_point(|run| run.end <= range.start());
                runs[first..]
                    .iter()
                    .take_while(|run| run.end < range.end())
                    .try_for_each(|run| step(run.end, run.state))
                    .map_continue(|()| state_at(runs, range))
            }
            None => windows(range)
                .try_for_each(|window| {
                    disk.states(window)
                        .try_for_each(|(piece, state)| step(piece.end(), state))?;
                    // What the disk did not tell is unknown.
                    step(window.end(), BlockState::Data)
                })
                .map_continue(|()| BlockState::Data),
        };
        if let ControlFlow::Continue(last) = flow {
            let _ = step(range.end(), last);
        }
    }

    fn runs(&self, disk: &impl Sectors) -> Option<&[Run]> {
        if !self.fixed {
            return None;
        }
        self.runs.get_or_init(|| self.collect(disk)).as_deref()
    }

    fn collect(&self, disk: &impl Sectors) -> Option<Vec<Run>> {
        let mut runs: Vec<Run> = Vec::new();
        for (range, state) in disk.states(self.disk) {
            let end = range.end();
            let full = runs.len() >= self.max_runs;
            match runs.last_mut() {
                Some(last) if last.state == state => last.end = end,
                _ if full => {
                    tracing::info!(
                        limit = self.max_runs,
                        "too many extents to keep: they are asked for each time"
                    );
                    return None;
                }
                _ => runs.push(Run { end, state }),
            }
        }
        let complete = runs.last().map_or(self.disk.start(), |run| run.end) == self.disk.end();
        runs.shrink_to_fit();
        complete.then_some(runs)
    }
}

/// Cuts a range into pieces that grow: a client that wants to know the first extent only, as qemu does, is not to
/// wait until the disk has found all others.
fn windows(range: SectorRange) -> impl Iterator<Item = SectorRange> {
    let mut rest = range;
    let mut size = FIRST_WINDOW;
    std::iter::from_fn(move || {
        let end = rest.start().get().saturating_add(size);
        let (window, behind) = rest.split_at(Sector::new(end));
        rest = behind;
        size = size.saturating_mul(8);
        (!window.is_empty()).then_some(window)
    })
}

/// The state of the last sector of `range`.
fn state_at(runs: &[Run], range: SectorRange) -> BlockState {
    let index = runs.partition_point(|run| run.end < range.end());
    runs.get(index).map_or(BlockState::Data, |run| run.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::export::{ExportError, ZeroRequest};
    use disk_units::SectorCount;
    use std::cell::Cell;

    /// A disk that is nothing but its states, by sector, and may stop telling them.
    struct Map {
        states: Vec<BlockState>,
        known: usize,
        asked: Cell<usize>,
    }

    impl Sectors for Map {
        fn read_at(&self, _: Sector, _: &mut [u8]) -> Result<(), ExportError> {
            unreachable!("no contents")
        }
        fn write_at(&self, _: Sector, _: &[u8]) -> Result<(), ExportError> {
            unreachable!("no contents")
        }
        fn write_zeroes(&self, _: SectorRange, _: ZeroRequest) -> Result<(), ExportError> {
            unreachable!("no contents")
        }
        fn trim(&self, _: SectorRange) -> Result<(), ExportError> {
            unreachable!("no contents")
        }
        fn flush(&self) -> Result<(), ExportError> {
            Ok(())
        }
        fn states(&self, range: SectorRange) -> impl Iterator<Item = (SectorRange, BlockState)> {
            self.asked.set(self.asked.get() + 1);
            (range.start().get()..range.end().get())
                .take_while(|sector| *sector < self.known as u64)
                .map(|sector| {
                    let one = SectorRange::new(Sector::new(sector), SectorCount::new(1)).unwrap();
                    (one, self.states[usize::try_from(sector).unwrap()])
                })
        }
    }

    const PATTERN: &[u8] = b"ddhhhzdhdddd";

    fn disk(known: usize) -> Map {
        let state = |byte: &u8| match byte {
            b'd' => BlockState::Data,
            b'z' => BlockState::Zero,
            _ => BlockState::Hole,
        };
        Map {
            states: PATTERN.iter().map(state).collect(),
            known,
            asked: Cell::new(0),
        }
    }

    /// The states of each byte of a range as the map tells them.
    fn told(map: &ExtentMap, disk: &Map, offset: u64, length: u64) -> Vec<BlockState> {
        let mut states = Vec::new();
        map.visit(
            disk,
            ByteLen::new(offset),
            ByteLen::new(length),
            &mut |piece, state| {
                assert!(!piece.is_zero());
                states.resize(states.len() + usize::try_from(piece.get()).unwrap(), state);
                ControlFlow::Continue(())
            },
        );
        states
    }

    fn whole() -> SectorRange {
        SectorRange::whole(SectorCount::new(PATTERN.len() as u64))
    }

    #[test]
    fn kept_and_asked_maps_tell_the_same_and_the_truth() {
        let disk = disk(PATTERN.len());
        for map in [
            ExtentMap::new(whole(), true),
            ExtentMap::new(whole(), false),
        ] {
            for offset in (0..6144_u64).step_by(100) {
                for length in [1, 511, 512, 700, 3000, 6144] {
                    let length = u64::min(length, 6144 - offset);
                    let states = told(&map, &disk, offset, length);
                    assert!(states.len() as u64 >= length);
                    for (byte, state) in states.iter().enumerate() {
                        let sector = (usize::try_from(offset).unwrap() + byte) / 512;
                        assert_eq!(*state, disk.states[sector]);
                    }
                }
            }
        }
    }

    #[test]
    fn windows_grow_and_cover_the_range() {
        let range = SectorRange::new(Sector::new(5), SectorCount::new(1 << 20)).unwrap();
        let all: Vec<_> = windows(range).collect();
        assert_eq!(all[0].count().get(), FIRST_WINDOW);
        assert_eq!(all[1].count().get(), FIRST_WINDOW * 8);
        assert_eq!(all.len(), 3);
        let mut end = range.start();
        for window in all {
            assert_eq!(window.start(), end);
            end = window.end();
        }
        assert_eq!(end, range.end());
    }

    #[test]
    fn a_fixed_map_is_asked_for_once() {
        let disk = disk(PATTERN.len());
        let map = ExtentMap::new(whole(), true);
        told(&map, &disk, 0, 6144);
        told(&map, &disk, 512, 1);
        assert_eq!(disk.asked.get(), 1);
    }

    #[test]
    fn too_many_runs_are_not_kept() {
        let disk = disk(PATTERN.len());
        let mut map = ExtentMap::new(whole(), true);
        map.max_runs = 5;
        let states = told(&map, &disk, 0, 6144);
        assert_eq!(states[512 * 7], BlockState::Hole);
        assert!(map.runs.get().unwrap().is_none());
    }

    #[test]
    fn what_the_disk_does_not_tell_is_data() {
        let disk = disk(4);
        for map in [
            ExtentMap::new(whole(), true),
            ExtentMap::new(whole(), false),
        ] {
            let states = told(&map, &disk, 1024, 2048);
            assert_eq!(states[..1024], [BlockState::Hole; 1024]);
            assert_eq!(states[1024..], [BlockState::Data; 1024]);
        }
    }

    #[test]
    fn a_visitor_may_break_off() {
        let disk = disk(PATTERN.len());
        for fixed in [true, false] {
            let map = ExtentMap::new(whole(), fixed);
            let mut count = 0;
            map.visit(&disk, ByteLen::ZERO, ByteLen::new(6144), &mut |_, _| {
                count += 1;
                ControlFlow::Break(())
            });
            assert_eq!(count, 1);
        }
    }
}
