//! What byte access needs from a disk that knows whole sectors only.

use disk_units::{Sector, SectorRange};

use super::runs::State;
use crate::nbd::ErrorNumber;
use crate::nbd::export::{BlockState, ExportError, ZeroRequest};
use crate::{Context, Error, ErrorKind, SharedDisk, ZeroMode};

/// A disk of sectors, used by several threads at once.
pub(super) trait Sectors {
    fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<(), ExportError>;
    fn write_at(&self, start: Sector, buf: &[u8]) -> Result<(), ExportError>;
    fn write_zeroes(&self, range: SectorRange, request: ZeroRequest) -> Result<(), ExportError>;
    fn trim(&self, range: SectorRange) -> Result<(), ExportError>;
    fn flush(&self) -> Result<(), ExportError>;

    /// Whether other disks may show through this one.
    fn has_parents(&self) -> bool;

    /// The states of a range in order, without gap; they end early when the disk cannot tell any further.
    fn states(&self, range: SectorRange) -> impl Iterator<Item = (SectorRange, State)>;
}

impl Sectors for SharedDisk {
    fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<(), ExportError> {
        Self::read_at(self, start, buf).map_err(|error| tell(&error, "reading"))
    }

    fn write_at(&self, start: Sector, buf: &[u8]) -> Result<(), ExportError> {
        Self::write_at(self, start, buf).map_err(|error| tell(&error, "writing"))
    }

    fn write_zeroes(&self, range: SectorRange, request: ZeroRequest) -> Result<(), ExportError> {
        let mode = match (request.may_free, request.fast_only) {
            (true, false) => ZeroMode::MayFree,
            (false, false) => ZeroMode::MustAllocate,
            (true, true) => ZeroMode::FastMayFree,
            (false, true) => ZeroMode::FastMustAllocate,
        };
        Self::write_zeroes(self, range, mode).map_err(|error| {
            if request.fast_only && error.kind() == ErrorKind::Unsupported {
                return ExportError::new(
                    ErrorNumber::NotSupported,
                    "zeroing would not be faster than writing",
                );
            }
            tell(&error, "zeroing")
        })
    }

    fn trim(&self, range: SectorRange) -> Result<(), ExportError> {
        Self::trim(self, range).map_err(|error| tell(&error, "trimming"))
    }

    fn flush(&self) -> Result<(), ExportError> {
        Self::flush(self).map_err(|error| tell(&error, "flushing"))
    }

    fn has_parents(&self) -> bool {
        self.info().links > 1
    }

    fn states(&self, range: SectorRange) -> impl Iterator<Item = (SectorRange, State)> {
        let extents = self
            .extents(range)
            .inspect_err(report)
            .into_iter()
            .flatten();
        extents.map_while(|extent| {
            let extent = extent.inspect_err(report).ok()?;
            let block = match (extent.allocated, extent.zero) {
                // Not allocated but not known to be zero means that nobody can tell what a reader gets.
                (_, false) => BlockState::Data,
                (true, true) => BlockState::Zero,
                (false, true) => BlockState::Hole,
            };
            let depth = if extent.allocated {
                extent.depth.saturating_add(1)
            } else {
                0
            };
            Some((extent.range, State { block, depth }))
        })
    }
}

/// Clients give up whole copies over a failed query, so it only costs them the knowledge of holes.
fn report(error: &Error) {
    tracing::warn!(%error, "the allocation is unknown: it counts as data");
}

/// What a client is told: never a path, which belongs to this machine.
fn tell(error: &Error, doing: &str) -> ExportError {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, cause, "the disk failed");
    let number = match error.kind() {
        ErrorKind::ReadOnly | ErrorKind::PermissionDenied => ErrorNumber::Permission,
        ErrorKind::StorageFull => ErrorNumber::NoSpace,
        ErrorKind::OutOfMemory => ErrorNumber::OutOfMemory,
        _ => ErrorNumber::Io,
    };
    let range = error.context().iter().find_map(|context| match context {
        Context::Sectors(range) => Some(format!(" sectors {range}")),
        _ => None,
    });
    let range = range.unwrap_or_default();
    let code = error.code();
    let meaning = code.and_then(|code| code.meaning()).unwrap_or("failed");
    let name = code.and_then(|code| code.name()).unwrap_or("no code");
    ExportError::new(number, format!("{doing}{range}: {meaning} ({name})"))
}
