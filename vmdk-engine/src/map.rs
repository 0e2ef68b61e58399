//! What of a disk is allocated.

use std::fmt;

use disk_units::SectorRange;

use crate::chain::Layers;
use crate::error::{Error, Operation};

/// Whether sectors hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocation {
    /// There is space for them, and it may hold data.
    Data,
    /// They are recorded as zeros and hide what a parent may have.
    Zero,
    /// No link that is open has anything for them: they read as zeros.
    Hole,
    /// They would come from a parent that is missing; reading them fails. Only disks opened with
    /// [`OpenOptions::tolerate_missing_parent`](crate::OpenOptions::tolerate_missing_parent) have such sectors.
    Unknown,
}

/// A run of sectors that are alike; see [`Disk::extents`](crate::Disk::extents).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapExtent {
    /// The run, in sectors of the disk.
    pub range: SectorRange,
    /// Whether it holds data.
    pub state: Allocation,
    /// Which link of the chain answers for it: 0 is the one that was opened, 1 its parent. For a hole it is the last
    /// link that is open, for unknown sectors the missing one behind that.
    pub depth: u32,
}

/// The runs of a range of a disk; see [`Disk::extents`](crate::Disk::extents).
pub struct Extents<'a> {
    /// The runs as the links report them.
    runs: Layers<'a>,
    /// A run that may still grow.
    pending: Option<MapExtent>,
    failed: Option<Error>,
}

impl<'a> Extents<'a> {
    /// The walk over `runs`; if `failed`, that is all that it yields.
    pub(crate) fn new(runs: Layers<'a>, failed: Option<Error>) -> Self {
        Self {
            runs,
            pending: None,
            failed,
        }
    }
}

impl Iterator for Extents<'_> {
    type Item = Result<MapExtent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.failed.is_none() {
            match self.runs.next() {
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
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
