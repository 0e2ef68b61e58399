//! What is known of an open disk, and which requests fit it.

use std::path::PathBuf;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use crate::capability::Capabilities;
use crate::connection::OpenFlags;
use crate::error::{Context, Error, ErrorKind, Location, Operation, Result};
use crate::info::DiskInfo;
use crate::process::Birth;
use crate::transport::Transport;

/// What is known of a disk from opening it; it does not change, but when the disk is attached to a parent.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: PathBuf,
    pub(crate) info: DiskInfo,
    pub(crate) flags: OpenFlags,
    pub(crate) transport_mode: Transport,
    pub(crate) capabilities: Capabilities,
    pub(crate) preferred_io: SectorCount,
    pub(crate) location: Location,
    pub(crate) birth: Birth,
}

impl Facts {
    /// Names the disk in an error, with its server, snapshot and transport.
    pub(crate) fn locate(&self, error: Error) -> Error {
        let transport = Context::Transport(self.transport_mode.clone());
        self.location
            .locate(error.with_path(&self.name))
            .with_context(transport)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.flags.contains(OpenFlags::READ_ONLY)
    }

    /// Refuses calls in a forked child.
    #[inline]
    pub(crate) fn check_here(&self, operation: Operation) -> Result<()> {
        self.birth
            .check(operation)
            .map_err(|error| self.locate(error))
    }

    /// The same for what would block there for ever, see [`Birth::check_surely`].
    pub(crate) fn check_surely_here(&self, operation: Operation) -> Result<()> {
        self.birth
            .check_surely(operation)
            .map_err(|error| self.locate(error))
    }

    /// `range`, if this process may ask for it, and if it is neither empty nor past the end.
    pub(super) fn check(
        &self,
        operation: Operation,
        range: Option<SectorRange>,
    ) -> Result<SectorRange> {
        self.check_here(operation)?;
        let capacity = self.info.capacity;
        match range {
            Some(range) if range.is_empty() => Err(self.locate(Error::new(
                ErrorKind::InvalidArgument,
                operation,
                "the request is empty",
            ))),
            Some(range) if range.end() <= SectorRange::whole(capacity).end() => Ok(range),
            Some(range) => Err(self.outside(operation).with_range(range)),
            None => Err(self.outside(operation)),
        }
    }

    #[cold]
    fn outside(&self, operation: Operation) -> Error {
        let text = format!("the disk has {} sectors", self.info.capacity);
        self.locate(Error::new(ErrorKind::OutOfRange, operation, text))
    }

    /// The sectors of a buffer of `length` bytes at `start`.
    pub(crate) fn request(
        &self,
        operation: Operation,
        start: Sector,
        length: usize,
    ) -> Result<SectorRange> {
        let Some(count) = ByteLen::new(length as u64).whole_sectors() else {
            let text = format!("{length} bytes are no whole number of sectors");
            let error = Error::new(ErrorKind::InvalidArgument, operation, text);
            return Err(self.locate(error));
        };
        let range = self.check(operation, SectorRange::new(start, count))?;
        if operation == Operation::Write {
            self.check_writable(operation, range)?
        }
        Ok(range)
    }

    pub(super) fn check_writable(&self, operation: Operation, range: SectorRange) -> Result<()> {
        if !self.is_read_only() {
            return Ok(());
        }
        let text = "the disk is open for reading only";
        let error = Error::new(ErrorKind::ReadOnly, operation, text);
        Err(self.locate(error.with_range(range)))
    }

    /// Extents may be asked of an empty range too: there are none.
    pub(crate) fn check_extents(&self, range: SectorRange) -> Result<()> {
        if range.is_empty() {
            Ok(())
        } else {
            self.check(Operation::Extents, Some(range)).map(drop)
        }
    }
}
