//! One extent of a disk: a range of its sectors, stored in one format.
//!
//! Positions are relative to the extent. Callers have cut requests at the borders of extents and checked that they
//! lie inside; all calls may run in parallel.
//!
//! An extent says where it has nothing; what shows there is the affair of the chain of links. Only where a change makes
//! it matter, in a grain that is written in part or zeroed, an extent asks what is [`Below`] it.

pub(crate) mod cache;
pub(crate) mod cowd;
pub(crate) mod directory;
pub(crate) mod flat;
pub(crate) mod header;
pub(crate) mod new_stream;
pub(crate) mod runs;
pub(crate) mod sesparse;
pub(crate) mod sparse;
pub(crate) mod stream;
pub(crate) mod survey;
pub(crate) mod table;
pub(crate) mod zero;

use std::fmt;

use disk_units::{Sector, SectorCount, SectorRange};

use crate::error::{Error, Refusal};
use crate::file_range::Located;
use crate::map::Allocation;
use crate::progress::Work;

/// How zeros may be written; see [`Disk::write_zeroes`](crate::Disk::write_zeroes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZeroMode {
    /// Space may be given back.
    MayFree,
    /// Afterwards there is space for every sector.
    MustAllocate,
    /// As [`ZeroMode::MayFree`], but only if that is faster than writing zeros.
    FastMayFree,
    /// As [`ZeroMode::MustAllocate`], but only if that is faster than writing zeros.
    FastMustAllocate,
}

impl ZeroMode {
    pub(crate) fn may_free(self) -> bool {
        matches!(self, Self::MayFree | Self::FastMayFree)
    }

    pub(crate) fn is_fast_only(self) -> bool {
        matches!(self, Self::FastMayFree | Self::FastMustAllocate)
    }
}

/// A run of an extent and whether it holds data.
pub(crate) type MapRun = Result<(SectorRange, Allocation), Error>;

/// What shows through where an extent has nothing, at the extent's own positions. It does not change.
pub(crate) trait Below {
    /// Fills `buf`, whole sectors, from `start`.
    fn read(&self, start: Sector, buf: &mut [u8]) -> Result<(), Error>;

    /// The first run in `range` that may read as anything but zeros.
    fn first_data(&self, range: SectorRange) -> Result<Option<SectorRange>, Error>;
}

/// What every format can do. Formats that are only read keep the defaults.
pub(crate) trait Extent: fmt::Debug + Send + Sync {
    /// Fills `buf`, whole sectors, from `start`. Where the extent has nothing, `buf` is left alone, and the sectors are
    /// added to `holes`, in order.
    fn read(
        &self,
        start: Sector,
        buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error>;

    /// What is allocated in `range`: runs in order, without a gap; neighbours may be alike.
    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a>;

    /// What is at the front of `range`, which is not empty: sectors that lie in a file as they are, or none.
    fn locate(&self, _range: SectorRange) -> Result<Located<'_>, Error> {
        Ok(Located::Elsewhere)
    }

    /// Writes `buf`, whole sectors, at `start`.
    fn write(&self, _start: Sector, _buf: &[u8], _below: &dyn Below) -> Result<(), Error> {
        Err(Refusal::ReadOnlyExtent.into())
    }

    /// Makes `range` read as zeros. Fast-only modes have been asked about by [`Extent::zeroes_fast`].
    fn write_zeroes(
        &self,
        _range: SectorRange,
        _mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<(), Error> {
        Err(Refusal::ReadOnlyExtent.into())
    }

    /// Whether zeroing `range` in this mode is faster than writing zeros.
    fn zeroes_fast(
        &self,
        _range: SectorRange,
        _mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<bool, Error> {
        Ok(false)
    }

    /// Discards `range`, as far as the format can.
    fn trim(&self, _range: SectorRange, _below: &dyn Below) -> Result<(), Error> {
        Err(Refusal::ReadOnlyExtent.into())
    }

    /// Notes durably, where the format has a note of it, that changes are no longer tracked.
    fn end_tracking(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether [`Extent::shrink`] has anything that it could do.
    fn can_shrink(&self) -> bool {
        false
    }

    /// Gives the space of zeros back, as far as that leaves the content alone, and what lies unused in the file.
    ///
    /// Nobody else uses the disk meanwhile. Stopped at any moment, the extent has its content. The work is twice
    /// the bytes that are allocated at first.
    fn shrink(&self, _below: &dyn Below, _work: &mut Work<'_>) -> Result<(), Error> {
        Err(Refusal::CannotShrink.into())
    }

    /// Puts what is allocated in the order of the guest, under the same rules; formats that have nothing to put in
    /// order keep the default. The work is the bytes that are allocated.
    fn defragment(&self, _work: &mut Work<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Forgets everything that takes space, so that what is below shows there, under the same rules.
    fn empty(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Makes durable what was written before.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Flushes, and notes in the file that nothing is pending.
    fn close(&self) -> Result<(), Error> {
        self.flush()
    }

    /// Refuses where the descriptor cannot get another text now.
    fn allow_new_text(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What is left to do when nobody has closed the disk: the same, unless that would call complete what is not.
    fn abandon(&self) -> Result<(), Error> {
        self.close()
    }

    /// The granularity that the extent works best with; `None` if it has none.
    fn grain(&self) -> Option<SectorCount> {
        None
    }
}
