//! What is allocated: asked for once, kept in memory, and true whatever clients write.
//!
//! The disk is cut into windows, each of which is known as a whole or not at all. Who asks about an unknown window asks the
//! disk with the window locked; where there is little to tell, with several of them locked. A change takes the same lock
//! once it is done and before it is answered: if it finds the window unknown, the disk is asked later and knows of the
//! change; else it corrects what may be older.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use super::runs::{Pieces, Run, Runs, State};
use super::sectors::Sectors;

/// The most runs that are kept, 16 MiB of them. Above that, windows are forgotten and asked for again.
const MAX_RUNS: usize = 1 << 20;

/// The most windows, so that the windows of a large disk take no more than 1 MiB themselves.
const MAX_WINDOWS: u64 = 1 << 14;

/// Sectors of a window where the disk tells a little as quickly as it tells all: 64 MiB.
const LEAST_WINDOW: u64 = 1 << 17;

/// Sectors of a window where each question is slow and holds up reads: as many as `VixDiskLib_QueryAllocatedBlocks`
/// answers at once, 524,288 chunks of 128 (Virtual Disk Programming Guide).
const LEAST_SLOW_WINDOW: u64 = 1 << 26;

/// Windows that are asked for together, 4 GiB of a small disk, while these have few runs. An empty window has one.
const GROUP: usize = 64;
const FEW_RUNS: usize = 2 * GROUP;

/// About as many runs are asked for ahead, which takes some milliseconds.
const RUNS_AHEAD: usize = 1 << 16;

/// Where there is little to tell, so many times what will be asked is asked for ahead, and at most 64 GiB.
const FAR: u64 = 16;
const MOST_AHEAD: u64 = FAR * GROUP as u64 * LEAST_WINDOW;

/// Runs that are taken out of a window at once, to be shown while it is not locked.
const PORTION: usize = 64;

/// The allocation of a disk.
#[derive(Debug)]
pub(super) struct ExtentMap {
    disk: SectorRange,
    window: SectorCount,
    /// What is allocated together: a change of one sector may move all of such a block to the leaf.
    block: SectorCount,
    /// Whether small questions are quickly answered.
    quick: bool,
    max_runs: usize,
    windows: Box<[RwLock<Option<Runs>>]>,
    /// Runs in all windows.
    kept: AtomicUsize,
    /// The window that is forgotten next.
    oldest: AtomicUsize,
    /// What was asked for ahead the last time.
    expected: Mutex<SectorRange>,
}

/// A window that nobody else reads or changes.
type Locked<'m> = RwLockWriteGuard<'m, Option<Runs>>;

/// What the disk answered.
struct Answer {
    runs: usize,
    /// Whether it told all of what it was asked for.
    is_whole: bool,
}

impl ExtentMap {
    /// A map of which nothing is known yet. `quick` says that small questions are quickly answered; `block` is not zero.
    pub(super) fn new(capacity: SectorCount, block: SectorCount, quick: bool) -> Self {
        let least = if quick {
            LEAST_WINDOW
        } else {
            LEAST_SLOW_WINDOW
        };
        let fair = capacity.get().div_ceil(MAX_WINDOWS);
        let window = fair.max(least).next_multiple_of(LEAST_WINDOW);
        let disk = SectorRange::whole(capacity);
        let window = SectorCount::new(window);
        Self {
            disk,
            window,
            block,
            quick,
            max_runs: MAX_RUNS,
            windows: disk.pieces(window).map(|_| RwLock::default()).collect(),
            kept: AtomicUsize::new(0),
            oldest: AtomicUsize::new(0),
            expected: Mutex::default(),
        }
    }

    /// Tells `visit` the runs of a range inside the disk, in order and without a gap: where each ends, and its state. The
    /// last may reach beyond the range.
    pub(super) fn visit(
        &self,
        disk: &impl Sectors,
        range: SectorRange,
        visit: &mut dyn FnMut(Sector, State) -> ControlFlow<()>,
    ) {
        let mut position = range.start();
        let mut together = 1;
        while position < range.end() {
            let index = self.index_of(position);
            let mut portion = [None; PORTION];
            if let Some(runs) = &*self.windows[index].read() {
                let taken = portion.iter_mut().zip(runs.from(position));
                taken.for_each(|(place, run)| *place = Some(*run));
            }
            if portion[0].is_none() {
                let window = (index, self.windows[index].write());
                let told = self.ask(disk, window, range.end(), together, true);
                together = self.windows_after(told.runs);
                continue;
            }
            for Run { end, state } in portion.into_iter().flatten() {
                if position >= range.end() || visit(end, state).is_break() {
                    return;
                }
                position = end;
            }
        }
    }

    /// Makes known what somebody may ask for next, `next` inside the disk, and what lies behind it as long as there is
    /// little to tell; only if the disk answers quickly, there is room, and nobody else is doing so.
    pub(super) fn expect(&self, disk: &impl Sectors, next: SectorRange) {
        let Some(mut expected) = self.expected.try_lock().filter(|_| self.quick) else {
            return;
        };
        if expected.intersection(next) == Some(next) {
            return;
        }
        let (_, behind) = self.disk.split_at(next.start());
        let far = next.count().get().saturating_mul(FAR).min(MOST_AHEAD);
        let end = next.start().get().saturating_add(far);
        let (ahead, _) = behind.split_at(Sector::new(end));
        let (mut runs, mut last, mut together) = (0, 0, 1);
        let mut known = next.start();
        for (index, part) in self.parts(ahead) {
            let is_enough = part.start() >= next.end() && last > FEW_RUNS;
            let is_full = self.kept.load(Ordering::Relaxed) > self.max_runs / 2;
            if is_enough || is_full || runs > RUNS_AHEAD {
                break;
            }
            // Who has it locked is asking, or being told.
            if let Some(window) = self.windows[index].try_write()
                && window.is_none()
            {
                let answer = self.ask(disk, (index, window), ahead.end(), together, false);
                if !answer.is_whole {
                    break;
                }
                last = answer.runs;
                together = self.windows_after(last);
                runs += last;
            }
            known = part.end();
        }
        *expected = SectorRange::between(next.start(), known).unwrap_or_default();
    }

    /// Some or all of `range` was written, or may have been.
    pub(super) fn wrote(&self, range: SectorRange) {
        for (index, part) in self.parts(self.blocks_of(range)) {
            let window = &self.windows[index];
            let is_right = |runs: &Runs| runs.is_all(part, State::DATA);
            if window.read().as_ref().is_none_or(is_right) {
                continue;
            }
            let mut window = window.write();
            if let Some(runs) = &mut *window {
                let data = Runs::collect(part, std::iter::once((part, State::DATA)), 1);
                self.put(runs, &data);
            }
            drop(window);
            self.forget_some(index);
        }
    }

    /// `range` was zeroed or trimmed, or may have been: the disk is asked what that made of it. If it surely `is_zero`, what
    /// the disk counts as data is known to be zero all the same. The caller lets nobody else change the range meanwhile.
    pub(super) fn zeroed(&self, disk: &impl Sectors, range: SectorRange, is_zero: bool) {
        if !self.quick {
            // Such a disk zeroes by writing, which allocates.
            self.wrote(range);
            if !is_zero {
                return;
            }
        }
        for (index, part) in self.parts(self.blocks_of(range)) {
            let mut window = self.windows[index].write();
            if self.quick && part == self.range_of(index) {
                self.forget(&mut window);
            } else if let Some(runs) = &mut *window {
                if self.quick {
                    let now = Runs::collect(part, disk.states(part), self.max_runs);
                    self.put(runs, &now);
                }
                if let Some(zero) = part.intersection(range).filter(|_| is_zero) {
                    let known = runs
                        .within(zero)
                        .map(|(piece, state)| (piece, state.zeroed()));
                    let known = Runs::collect(zero, known, self.max_runs);
                    self.put(runs, &known);
                }
            }
            drop(window);
            self.forget_some(index);
        }
    }

    /// Makes a window known that the caller has locked, unless it became known meanwhile, and with it the unknown ones
    /// right behind it that begin before `end`: at most so many `together`. What the disk fails to tell becomes known as
    /// data if it `must`, since somebody waits.
    fn ask(
        &self,
        disk: &impl Sectors,
        (first, window): (usize, Locked<'_>),
        end: Sector,
        together: usize,
        must: bool,
    ) -> Answer {
        let mut answer = Answer {
            runs: 0,
            is_whole: true,
        };
        if window.is_some() {
            return answer;
        }
        let behind = (first + 1..self.windows.len())
            .take(together - 1)
            .take_while(|index| self.range_of(*index).start() < end);
        // Never waiting for one while holding another.
        let behind = behind
            .map_while(|index| self.windows[index].try_write())
            .take_while(|window| window.is_none());
        let windows: Vec<_> = std::iter::once(window).chain(behind).collect();
        let start = self.range_of(first).start();
        let end = self.range_of(first + windows.len() - 1).end();
        let all = SectorRange::between(start, end).expect("windows are in order");
        let mut pieces = Pieces::new(disk.states(all));
        for (index, mut window) in (first..).zip(windows) {
            let range = self.range_of(index);
            let runs = Runs::collect(range, pieces.up_to(range.end()), self.max_runs);
            answer.is_whole = pieces.reached(range.end());
            if must || answer.is_whole {
                answer.runs += runs.len();
                self.kept.fetch_add(runs.len(), Ordering::Relaxed);
                *window = Some(runs);
            }
            drop(window);
            // The others wait until there is less to tell; what lies behind an answer that ended early is asked for again.
            let is_full = self.kept.load(Ordering::Relaxed) > self.max_runs;
            if answer.runs > FEW_RUNS || is_full || !answer.is_whole {
                break;
            }
        }
        self.forget_some(first);
        answer
    }

    /// How many windows to ask for together, by the runs of what was asked for before.
    fn windows_after(&self, runs: usize) -> usize {
        if !self.quick || runs > FEW_RUNS {
            return 1;
        }
        let small = GROUP as u64 * LEAST_WINDOW / self.window.get();
        usize::try_from(small).map_or(GROUP, |small| small.clamp(1, GROUP))
    }

    fn put(&self, runs: &mut Runs, new: &Runs) {
        let before = runs.len();
        runs.replace(new);
        self.kept.fetch_add(runs.len(), Ordering::Relaxed);
        self.kept.fetch_sub(before, Ordering::Relaxed);
    }

    fn forget(&self, window: &mut Option<Runs>) {
        let runs = window.take().map_or(0, |runs| runs.len());
        self.kept.fetch_sub(runs, Ordering::Relaxed);
    }

    /// Forgets windows in turn until the others fit, but for the one that is in use.
    fn forget_some(&self, in_use: usize) {
        for _ in 0..self.windows.len() {
            if self.kept.load(Ordering::Relaxed) <= self.max_runs {
                return;
            }
            let index = self.oldest.fetch_add(1, Ordering::Relaxed) % self.windows.len();
            if index == in_use {
                continue;
            }
            if let Some(mut window) = self.windows[index].try_write() {
                self.forget(&mut window);
            }
        }
    }

    /// The blocks that lie in `range` as a whole; the last one of the disk may be short.
    pub(super) fn whole_blocks(&self, range: SectorRange) -> SectorRange {
        let block = self.block.get();
        let start = range.start().get().div_ceil(block).saturating_mul(block);
        let end = if range.end() == self.disk.end() {
            range.end()
        } else {
            Sector::new(range.end().get() / block * block)
        };
        SectorRange::between(Sector::new(start), end).unwrap_or_default()
    }

    /// The blocks that `range` touches.
    fn blocks_of(&self, range: SectorRange) -> SectorRange {
        let block = self.block.get();
        let start = range.start().get() / block * block;
        let end = range.end().get().div_ceil(block).saturating_mul(block);
        SectorRange::between(Sector::new(start), Sector::new(end))
            .and_then(|blocks| blocks.intersection(self.disk))
            .unwrap_or_default()
    }

    /// The windows that `range`, which lies inside the disk, touches, and its part in each.
    fn parts(&self, range: SectorRange) -> impl Iterator<Item = (usize, SectorRange)> {
        let mut rest = range;
        std::iter::from_fn(move || {
            let index = (!rest.is_empty()).then(|| self.index_of(rest.start()))?;
            let (part, behind) = rest.split_at(self.range_of(index).end());
            rest = behind;
            Some((index, part))
        })
    }

    fn index_of(&self, sector: Sector) -> usize {
        usize::try_from(sector.get() / self.window.get()).expect("there are few windows")
    }

    fn range_of(&self, index: usize) -> SectorRange {
        let start = self.window.get() * index as u64;
        let (_, behind) = self.disk.split_at(Sector::new(start));
        let end = start.saturating_add(self.window.get());
        behind.split_at(Sector::new(end)).0
    }
}

#[cfg(test)]
mod tests;
