//! Extents without data: of type `ZERO`, and those that a descriptor gives no access to.

use std::iter;

use disk_units::{Sector, SectorRange};

use super::{Below, Extent, MapRun, ZeroMode};
use crate::error::{Error, Refusal};
use crate::map::Allocation;
use crate::units::is_zero;

/// Zeros that cannot become anything else.
#[derive(Debug)]
pub(crate) struct ZeroExtent;

impl Extent for ZeroExtent {
    fn read(
        &self,
        _start: Sector,
        buf: &mut [u8],
        _holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        buf.fill(0);
        Ok(())
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(iter::once(Ok((range, Allocation::Zero))))
    }

    fn write(&self, _start: Sector, buf: &[u8], _below: &dyn Below) -> Result<(), Error> {
        if is_zero(buf) {
            Ok(())
        } else {
            Err(Refusal::ZeroExtent.into())
        }
    }

    fn write_zeroes(
        &self,
        _range: SectorRange,
        _mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn zeroes_fast(
        &self,
        _range: SectorRange,
        _mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<bool, Error> {
        Ok(true)
    }

    fn trim(&self, _range: SectorRange, _below: &dyn Below) -> Result<(), Error> {
        Ok(())
    }
}

/// Sectors marked `NOACCESS`, whose file is not even opened.
#[derive(Debug)]
pub(crate) struct ForbiddenExtent;

impl Extent for ForbiddenExtent {
    fn read(
        &self,
        _start: Sector,
        _buf: &mut [u8],
        _holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        Err(Refusal::NoAccess.into())
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(iter::once(Ok((range, Allocation::Hole))))
    }

    fn write(&self, _start: Sector, _buf: &[u8], _below: &dyn Below) -> Result<(), Error> {
        Err(Refusal::NoAccess.into())
    }

    fn write_zeroes(
        &self,
        _range: SectorRange,
        _mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<(), Error> {
        Err(Refusal::NoAccess.into())
    }

    fn trim(&self, _range: SectorRange, _below: &dyn Below) -> Result<(), Error> {
        Err(Refusal::NoAccess.into())
    }
}
