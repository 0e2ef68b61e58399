//! A virtual disk as an export: bytes on top of sectors, and the map of what is allocated.

mod bytewise;
mod extent_map;
mod range_lock;
mod sectors;

use disk_units::{ByteLen, SectorRange};

use self::bytewise::Bytewise;
use self::extent_map::ExtentMap;
use super::export::{BlockVisitor, Export, ExportError, ZeroRequest};
use crate::{Error, ErrorKind, Operation, Result, SharedDisk};

/// Serves a [`SharedDisk`].
///
/// Clients may read and write at any byte: a sector that is written in part is read, changed and written back,
/// with other writes to it held off meanwhile. That works among the clients of one `DiskExport`; do not write to
/// the disk in other ways while it is served.
///
/// What is allocated is told by `base:allocation`: sectors that are known to read as zero are `ZERO`, and those that
/// no link of the chain holds are `HOLE` too; all others, and all of which nothing is known, are data. For a
/// read-only disk the map is asked for once and kept; for others it is asked for each time.
#[derive(Debug)]
pub struct DiskExport {
    disk: Bytewise<SharedDisk>,
    size: ByteLen,
    map: ExtentMap,
}

impl DiskExport {
    /// Makes an export of `disk`. Nothing is read yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a disk of 2^63 bytes or more, which NBD cannot describe.
    pub fn new(disk: SharedDisk) -> Result<Self> {
        let size = disk
            .capacity()
            .bytes()
            .filter(|size| i64::try_from(size.get()).is_ok())
            .ok_or_else(|| {
                let text = "the disk has 2^63 bytes or more";
                Error::new(ErrorKind::Unsupported, Operation::Serve, text)
            })?;
        Ok(Self {
            size,
            map: ExtentMap::new(SectorRange::whole(disk.capacity()), disk.is_read_only()),
            disk: Bytewise::new(disk),
        })
    }
}

impl Export for DiskExport {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.disk.sectors().is_read_only()
    }

    fn preferred_block(&self) -> ByteLen {
        let preferred = self.disk.sectors().preferred_io().bytes();
        preferred.unwrap_or_default().max(ByteLen::new(4096))
    }

    fn can_trim(&self) -> bool {
        self.disk.sectors().capabilities().trim
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        self.disk.read_at(offset, buf)
    }

    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        self.disk.write_at(offset, buf)
    }

    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        self.disk.write_zeroes(offset, length, request)
    }

    /// Gives back what lies wholly inside; the rest keeps its contents.
    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.disk.trim(offset, length)
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.disk.flush()
    }

    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        self.map.visit(self.disk.sectors(), offset, length, visit);
        Ok(())
    }
}
