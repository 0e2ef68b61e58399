use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;

use parking_lot::Mutex;

use super::*;
use crate::nbd::export::{BlockState, ExportError, ZeroRequest};

/// A disk that is nothing but its states, by sector, and may stop telling them. Two sectors are allocated together.
struct Disk {
    states: Mutex<Vec<State>>,
    known: usize,
    asked: Mutex<Vec<SectorRange>>,
}

const HOLE: State = State {
    block: BlockState::Hole,
    depth: 0,
};
const ZERO: State = State {
    block: BlockState::Zero,
    depth: 1,
};
const PARENT: State = State {
    block: BlockState::Data,
    depth: 2,
};

const BLOCK: u64 = 2;
const WINDOW: u64 = 4;

fn range(start: u64, end: u64) -> SectorRange {
    SectorRange::between(Sector::new(start), Sector::new(end)).unwrap()
}

fn sectors(range: SectorRange) -> std::ops::Range<usize> {
    let at = |sector: Sector| usize::try_from(sector.get()).unwrap();
    at(range.start())..at(range.end())
}

impl Disk {
    fn new(pattern: &str) -> Self {
        let state = |letter| match letter {
            'd' => State::DATA,
            'p' => PARENT,
            'z' => ZERO,
            _ => HOLE,
        };
        Self {
            states: Mutex::new(pattern.chars().map(state).collect()),
            known: pattern.len(),
            asked: Mutex::default(),
        }
    }

    fn map(&self, quick: bool) -> ExtentMap {
        self.map_in(WINDOW, quick)
    }

    fn map_in(&self, window: u64, quick: bool) -> ExtentMap {
        let capacity = SectorCount::new(self.states.lock().len() as u64);
        let block = SectorCount::new(BLOCK);
        let map = ExtentMap::new(capacity, block, quick);
        let window = SectorCount::new(window);
        let windows = map.disk.pieces(window).map(|_| RwLock::default()).collect();
        ExtentMap {
            window,
            windows,
            ..map
        }
    }

    fn set(&self, range: SectorRange, state: State) {
        self.states.lock()[sectors(range)].fill(state);
    }

    /// As an engine does it: in whole blocks.
    fn write(&self, range: SectorRange) {
        let start = range.start().get() / BLOCK * BLOCK;
        let end = range.end().get().next_multiple_of(BLOCK);
        self.set(
            SectorRange::between(Sector::new(start), Sector::new(end)).unwrap(),
            State::DATA,
        );
    }
}

impl Sectors for Disk {
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
    fn has_parents(&self) -> bool {
        false
    }
    fn states(&self, range: SectorRange) -> impl Iterator<Item = (SectorRange, State)> {
        self.asked.lock().push(range);
        (range.start().get()..range.end().get())
            .take_while(|sector| *sector < self.known as u64)
            .map(|sector| {
                let one = SectorRange::new(Sector::new(sector), SectorCount::new(1)).unwrap();
                let index = usize::try_from(sector).unwrap();
                (one, self.states.lock()[index])
            })
    }
}

/// The states of each sector of a range as the map tells them.
fn told(map: &ExtentMap, disk: &Disk, range: SectorRange) -> Vec<State> {
    let mut states = Vec::new();
    let mut position = range.start();
    map.visit(disk, range, &mut |end, state| {
        assert!(position < end && position < range.end(), "no empty run");
        let until = end.min(range.end());
        states.resize(
            sectors(SectorRange::between(range.start(), until).unwrap()).len(),
            state,
        );
        position = end;
        ControlFlow::Continue(())
    });
    assert!(position >= range.end(), "all of it");
    states
}

const PATTERN: &str = "ddhhhzdhddddpphh";

#[test]
fn each_part_is_asked_for_once_and_told_as_it_is() {
    let disk = Disk::new(PATTERN);
    let map = disk.map(true);
    for _ in 0..2 {
        for start in 0..16 {
            for end in start + 1..=16 {
                let part = range(start, end);
                assert_eq!(told(&map, &disk, part), disk.states.lock()[sectors(part)]);
            }
        }
    }
    let once = [range(0, 4), range(4, 8), range(8, 12), range(12, 16)];
    assert_eq!(*disk.asked.lock(), once);
}

#[test]
fn what_the_disk_does_not_tell_is_data() {
    let disk = Disk {
        known: 3,
        ..Disk::new(PATTERN)
    };
    let map = disk.map(true);
    let states = told(&map, &disk, range(1, 9));
    assert_eq!(states[..2], [State::DATA, HOLE]);
    assert_eq!(states[2..], [State::DATA; 6]);
}

#[test]
fn a_visitor_may_break_off_and_costs_one_window() {
    let disk = Disk::new(PATTERN);
    let map = disk.map(true);
    let mut count = 0;
    map.visit(&disk, range(0, 16), &mut |_, _| {
        count += 1;
        ControlFlow::Break(())
    });
    assert_eq!(count, 1);
    assert_eq!(*disk.asked.lock(), [range(0, 4)]);
}

#[test]
fn a_write_is_data_and_asks_nothing() {
    let disk = Disk::new(PATTERN);
    let map = disk.map(true);
    told(&map, &disk, range(0, 16));
    let asked = disk.asked.lock().len();
    for part in [range(3, 5), range(7, 8), range(13, 14), range(0, 2)] {
        disk.write(part);
        map.wrote(part);
        assert_eq!(told(&map, &disk, range(0, 16)), *disk.states.lock());
    }
    assert_eq!(disk.asked.lock().len(), asked);
}

#[test]
fn zeroing_asks_for_what_it_covers_and_no_more() {
    let disk = Disk::new(PATTERN);
    let map = disk.map(true);
    told(&map, &disk, range(0, 16));
    disk.asked.lock().clear();
    disk.set(range(0, 2), HOLE);
    map.zeroed(&disk, range(0, 2), false);
    disk.set(range(10, 14), HOLE);
    map.zeroed(&disk, range(10, 14), false);
    let asked = [range(0, 2), range(10, 12), range(12, 14)];
    assert_eq!(*disk.asked.lock(), asked);
    assert_eq!(told(&map, &disk, range(0, 16)), *disk.states.lock());
    assert_eq!(disk.asked.lock().len(), 3);
    // A whole window is forgotten, and asked for when somebody wants to know.
    disk.set(range(3, 9), HOLE);
    map.zeroed(&disk, range(3, 9), false);
    assert_eq!(disk.asked.lock()[3..], [range(2, 4), range(8, 10)]);
    assert_eq!(told(&map, &disk, range(0, 16)), *disk.states.lock());
    assert_eq!(disk.asked.lock()[5..], [range(4, 8)]);
}

/// Where a question is slow, the library has written the zeros.
#[test]
fn zeros_through_a_slow_library_are_data() {
    let disk = Disk::new(PATTERN);
    let map = disk.map(false);
    told(&map, &disk, range(0, 16));
    let asked = disk.asked.lock().len();
    map.zeroed(&disk, range(2, 4), false);
    assert_eq!(told(&map, &disk, range(2, 4)), [State::DATA; 2]);
    assert_eq!(disk.asked.lock().len(), asked);
}

#[test]
fn memory_is_bounded_and_the_answers_stay_right() {
    let disk = Disk::new(&"dhpz".repeat(100));
    let map = ExtentMap {
        max_runs: 20,
        ..disk.map(true)
    };
    let mut asked = Vec::new();
    for _ in 0..2 {
        assert_eq!(told(&map, &disk, range(0, 400)), *disk.states.lock());
        asked.push(disk.asked.lock().len());
        let kept = map.kept.load(Ordering::Relaxed);
        let counted: usize = map
            .windows
            .iter()
            .filter_map(|window| Some(window.read().as_ref()?.len()))
            .sum();
        assert_eq!(kept, counted);
        assert!(kept <= 24, "{kept}");
    }
    assert!(
        asked[1] >= 2 * asked[0],
        "nothing was left of the first round: {asked:?}"
    );
}

#[test]
fn windows_without_much_in_them_are_asked_for_together() {
    let pattern = ["d", &"h".repeat(1023), &"dh".repeat(200)].concat();
    let disk = Disk::new(&pattern);
    let map = disk.map(true);
    let whole = range(0, pattern.len() as u64);
    assert_eq!(told(&map, &disk, whole), *disk.states.lock());
    let group = GROUP as u64 * WINDOW;
    let asked = disk.asked.lock().split_off(0);
    assert_eq!(asked[..2], [range(0, 4), range(4, 4 + group)]);
    assert!(asked.len() < 20, "{asked:?}");
    // Nothing behind what somebody wants to know, and nothing again.
    let map = disk.map(true);
    told(&map, &disk, range(0, 42));
    told(&map, &disk, range(0, 44));
    assert_eq!(disk.asked.lock()[..], [range(0, 4), range(4, 44)]);
    // One at a time where a question is slow.
    let map = disk.map(false);
    told(&map, &disk, range(0, 44));
    assert_eq!(disk.asked.lock()[2..].len(), 11);
}

#[test]
fn where_an_answer_of_many_windows_ends_the_next_are_asked_for() {
    let disk = Disk {
        known: 21,
        ..Disk::new(&"h".repeat(40))
    };
    let map = disk.map(true);
    let states = told(&map, &disk, range(0, 40));
    assert_eq!(states[..21], [HOLE; 21]);
    assert_eq!(states[21..], [State::DATA; 19]);
    let asked = disk.asked.lock();
    assert_eq!(asked[..3], [range(0, 4), range(4, 40), range(24, 40)]);
}

#[test]
fn what_comes_next_is_asked_for_ahead() {
    let disk = Disk::new(&"dh".repeat(50));
    let map = disk.map(true);
    told(&map, &disk, range(0, 11));
    disk.asked.lock().clear();
    map.expect(&disk, range(11, 12));
    // Sixteen times as much, for these are few runs.
    assert_eq!(*disk.asked.lock(), [range(12, 16), range(16, 28)]);
    assert_eq!(told(&map, &disk, range(12, 28)).len(), 16);
    map.expect(&disk, range(90, 98));
    assert_eq!(disk.asked.lock()[2..], [range(88, 92), range(92, 100)]);
    map.expect(&disk, range(0, 28));
    map.expect(&disk, range(100, 100));
    assert_eq!(disk.asked.lock()[4..], [range(28, 32), range(32, 88)]);
    map.expect(&disk, range(0, 100));
    assert_eq!(disk.asked.lock().len(), 6, "all is known");
    let slow = disk.map(false);
    slow.expect(&disk, range(0, 11));
    let full = ExtentMap {
        max_runs: 3,
        ..disk.map(true)
    };
    told(&full, &disk, range(0, 1));
    full.expect(&disk, range(4, 11));
    assert_eq!(disk.asked.lock().len(), 7, "only what was wanted");
}

#[test]
fn where_there_is_much_to_tell_no_more_is_asked_for_ahead_than_is_expected() {
    let disk = Disk::new(&"dh".repeat(1024));
    let map = disk.map_in(256, true);
    map.expect(&disk, range(0, 300));
    assert_eq!(*disk.asked.lock(), [range(0, 256), range(256, 512)]);
    map.expect(&disk, range(0, 300));
    assert_eq!(disk.asked.lock().len(), 2, "nothing is looked for twice");
}

#[test]
fn a_disk_that_does_not_answer_is_not_asked_ahead() {
    let disk = Disk {
        known: 6,
        ..Disk::new(&"h".repeat(40))
    };
    let map = disk.map(true);
    map.expect(&disk, range(0, 4));
    assert_eq!(*disk.asked.lock(), [range(0, 4), range(4, 40)]);
    assert_eq!(told(&map, &disk, range(0, 4)), [HOLE; 4]);
    let known = map.windows.iter().filter(|window| window.read().is_some());
    assert_eq!(known.count(), 1);
}

#[test]
fn windows_suit_the_disk() {
    let windows = |capacity, quick| {
        let map = ExtentMap::new(SectorCount::new(capacity), SectorCount::new(128), quick);
        (map.windows.len(), map.window.get())
    };
    assert_eq!(windows(0, true), (0, 1 << 17));
    assert_eq!(windows(1, true), (1, 1 << 17));
    assert_eq!(windows((1 << 17) + 1, true), (2, 1 << 17));
    assert_eq!(windows(1 << 37, true), (1 << 14, 1 << 23));
    assert_eq!(windows((1 << 37) + 1, true).1, (1 << 23) + (1 << 17));
    assert_eq!(windows(1 << 37, false), (1 << 11, 1 << 26));
    let (count, _) = windows(u64::MAX / 512, false);
    assert!(count <= 1 << 14);
}

/// A writer goes over the disk again and again while readers ask and others trim and make the map forget: what was
/// written before a question began is never told as zero.
#[test]
fn a_question_never_tells_zero_of_what_was_written_before() {
    let disk = Disk::new(&"h".repeat(64));
    let map = ExtentMap {
        max_runs: 12,
        ..disk.map(true)
    };
    let written = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200 {
                for sector in (0..32).step_by(2) {
                    let part = range(sector, sector + 1);
                    disk.write(part);
                    map.wrote(part);
                    written.store(round * 64 + sector + 1, Ordering::SeqCst);
                }
                written.store((round + 1) * 64, Ordering::SeqCst);
                // Nobody counts on these sectors any more, so they may go.
                disk.set(range(0, 32), HOLE);
                map.zeroed(&disk, range(0, 32), false);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let mut sector = 32;
            while !done.load(Ordering::SeqCst) {
                let part = range(sector, sector + 3);
                disk.write(part);
                map.wrote(part);
                disk.set(part, HOLE);
                map.zeroed(&disk, part, false);
                sector = 32 + (sector + 5) % 29;
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let before = written.load(Ordering::SeqCst);
                    let states = told(&map, &disk, range(0, 64));
                    let after = written.load(Ordering::SeqCst);
                    if !before.is_multiple_of(64) && before / 64 == after / 64 {
                        let last = usize::try_from(before % 64 - 1).unwrap();
                        assert_eq!(states[last].block, BlockState::Data, "sector {last}");
                    }
                }
            });
        }
    });
    assert_eq!(told(&map, &disk, range(0, 64)), *disk.states.lock());
}

/// What sectors 3 and 9, of which 3 was a hole and 9 data, are told to be once they were zeroed; all sectors.
fn with_two_zeroed(quick: bool) -> (Disk, Vec<State>) {
    let disk = Disk::new(PATTERN);
    let map = disk.map(quick);
    told(&map, &disk, range(0, 16));
    map.zeroed(&disk, range(9, 10), true);
    map.zeroed(&disk, range(3, 4), true);
    let states = told(&map, &disk, range(0, 16));
    (disk, states)
}

#[test]
fn what_was_surely_zeroed_is_zero_whatever_the_disk_counts() {
    let (disk, states) = with_two_zeroed(true);
    assert_eq!(states[9], ZERO);
    assert_eq!(states[3], HOLE, "it was known better");
    // All others are as they were, also those in the same block.
    let others = (0..16).filter(|sector| *sector != 9);
    others.for_each(|sector| assert_eq!(states[sector], disk.states.lock()[sector]));
}

#[test]
fn zeros_that_were_written_take_space() {
    let (disk, states) = with_two_zeroed(false);
    assert_eq!([states[3], states[9]], [ZERO; 2]);
    assert_eq!([states[2], states[8]], [State::DATA; 2], "the same blocks");
    let others = (0..16).filter(|sector| ![2, 3, 8, 9].contains(sector));
    others.for_each(|sector| assert_eq!(states[sector], disk.states.lock()[sector]));
}

#[test]
fn whole_blocks_lie_inside() {
    let map = Disk::new("ddddd").map(true);
    assert_eq!(map.whole_blocks(range(0, 4)), range(0, 4));
    assert_eq!(map.whole_blocks(range(1, 4)), range(2, 4));
    assert_eq!(map.whole_blocks(range(2, 5)), range(2, 5));
    assert!(map.whole_blocks(range(1, 3)).is_empty());
    assert!(map.whole_blocks(range(3, 4)).is_empty());
}
