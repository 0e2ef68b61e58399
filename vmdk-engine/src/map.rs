//! What of a disk is allocated.

use std::fmt;

use disk_units::SectorRange;

use crate::disk::Disk;
use crate::error::{Error, Operation};
use crate::extent::MapRun;

/// Whether sectors hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocation {
    /// There is space for them, and it may hold data.
    Data,
    /// They are recorded as zeros and hide what a parent may have.
    Zero,
    /// There is nothing: they read as zeros unless a parent has data.
    Hole,
}

/// A run of sectors that are alike; see [`Disk::extents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapExtent {
    /// The run, in sectors of the disk.
    pub range: SectorRange,
    /// Whether it holds data.
    pub state: Allocation,
    /// Which link of the chain answers for it: 0 is the one that was opened.
    pub depth: u32,
}

/// The runs of a range of a disk; see [`Disk::extents`].
pub struct Extents<'a> {
    disk: &'a Disk,
    rest: SectorRange,
    /// The runs of the extent that the walk is in.
    runs: Option<Box<dyn Iterator<Item = MapRun> + Send + 'a>>,
    /// A run that may still grow.
    pending: Option<MapExtent>,
    failed: Option<Error>,
}

impl<'a> Extents<'a> {
    /// The walk over `range`; if it does not lie on the disk, `failed` is all that the walk yields.
    pub(crate) fn new(disk: &'a Disk, range: SectorRange, failed: Option<Error>) -> Self {
        let rest = if failed.is_none() {
            range
        } else {
            SectorRange::default()
        };
        Self {
            disk,
            rest,
            runs: None,
            pending: None,
            failed,
        }
    }

    /// The next run as the extents report it.
    fn next_run(&mut self) -> Option<Result<MapExtent, Error>> {
        loop {
            if let Some(run) = self.runs.as_mut().and_then(Iterator::next) {
                return Some(run.map(|(range, state)| MapExtent {
                    range,
                    state,
                    depth: 0,
                }));
            }
            if self.rest.is_empty() {
                return None;
            }
            let (runs, rest) = self.disk.link().map_front(self.rest);
            self.rest = rest;
            self.runs = Some(runs);
        }
    }
}

impl Iterator for Extents<'_> {
    type Item = Result<MapExtent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.failed.is_none() {
            match self.next_run() {
                Some(Ok(run)) => match self.pending.take() {
                    None => self.pending = Some(run),
                    Some(before) if (before.state, before.depth) == (run.state, run.depth) => {
                        let range = SectorRange::between(before.range.start(), run.range.end());
                        self.pending = range.map(|range| MapExtent { range, ..run });
                    }
                    Some(before) => {
                        self.pending = Some(run);
                        return Some(Ok(before));
                    }
                },
                Some(Err(error)) => {
                    self.rest = SectorRange::default();
                    self.runs = None;
                    self.failed = Some(error.during(Operation::Map, None));
                }
                None => break,
            }
        }
        match self.pending.take() {
            Some(run) => Some(Ok(run)),
            None => self.failed.take().map(Err),
        }
    }
}

impl fmt::Debug for Extents<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Extents")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}
