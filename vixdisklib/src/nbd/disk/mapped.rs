//! A disk that notes in its map what its changes do.

use std::ops::ControlFlow;

use disk_units::{Sector, SectorRange};

use super::bytewise::length_of;
use super::extent_map::ExtentMap;
use super::runs::State;
use super::sectors::Sectors;
use crate::nbd::ErrorNumber;
use crate::nbd::export::{BlockState, ExportError, ZeroRequest};

/// A disk and the map of it. All changes go through here.
#[derive(Debug)]
pub(super) struct Mapped<D> {
    disk: D,
    map: ExtentMap,
}

impl<D: Sectors> Mapped<D> {
    pub(super) fn new(disk: D, map: ExtentMap) -> Self {
        Self { disk, map }
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// As [`ExtentMap::visit`].
    pub(super) fn visit(
        &self,
        range: SectorRange,
        visit: &mut dyn FnMut(Sector, State) -> ControlFlow<()>,
    ) {
        self.map.visit(&self.disk, range, visit);
    }

    /// As [`ExtentMap::expect`].
    pub(super) fn expect(&self, next: SectorRange) {
        self.map.expect(&self.disk, next);
    }

    /// Zeroes what a parent's data still shows through after trimming: the format may have no other way to hide it, and
    /// clients are to find zeros wherever they trimmed.
    fn hide_parents(&self, range: SectorRange) -> Result<(), ExportError> {
        if !self.disk.has_parents() || range.is_empty() {
            return Ok(());
        }
        let request = ZeroRequest {
            may_free: true,
            fast_only: false,
        };
        let mut rest = range;
        let mut done = Ok(());
        self.visit(range, &mut |end, state| {
            let (piece, behind) = rest.split_at(end);
            rest = behind;
            if state.block == BlockState::Data && state.depth > 1 {
                done = self.write_zeroes(piece, request);
            }
            match done {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        done
    }
}

/// A change that failed may have happened in part, so it is noted all the same; and before it is answered.
impl<D: Sectors> Sectors for Mapped<D> {
    fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<(), ExportError> {
        self.disk.read_at(start, buf)
    }

    fn write_at(&self, start: Sector, buf: &[u8]) -> Result<(), ExportError> {
        let done = self.disk.write_at(start, buf);
        let count = length_of(buf).sectors_rounded_up();
        let range = SectorRange::new(start, count);
        self.map.wrote(range.expect("requests lie inside the disk"));
        done
    }

    fn write_zeroes(&self, range: SectorRange, request: ZeroRequest) -> Result<(), ExportError> {
        let done = self.disk.write_zeroes(range, request);
        let is_refused = |error: &ExportError| error.number() == ErrorNumber::NotSupported;
        if !done.as_ref().is_err_and(is_refused) {
            self.map.zeroed(&self.disk, range, done.is_ok());
        }
        done
    }

    fn trim(&self, range: SectorRange) -> Result<(), ExportError> {
        let done = self.disk.trim(range);
        // What was dropped, the disk tells; it may have dropped nothing.
        self.map.zeroed(&self.disk, range, false);
        done?;
        self.hide_parents(self.map.whole_blocks(range))
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.disk.flush()
    }

    fn has_parents(&self) -> bool {
        self.disk.has_parents()
    }

    fn states(&self, range: SectorRange) -> impl Iterator<Item = (SectorRange, State)> {
        self.disk.states(range)
    }
}
