//! A virtual disk as an export: bytes on top of sectors, and the map of what is allocated.
//!
//! ```text
//! DiskExport
//!   Bytewise     bytewise.rs     bytes of any alignment, writers of one sector one after the other
//!     Mapped     mapped.rs       notes in the map what changes do
//!       ExtentMap  extent_map.rs   what is allocated, in runs (runs.rs)
//!       Sectors    sectors.rs      the disk itself, and what clients are told of its failures
//!   GroupFlush   group_flush.rs  flushes at once become one
//!   Contexts     context.rs      depth of allocation, changed areas
//! ```

mod bytewise;
mod context;
mod extent_map;
mod group_flush;
mod mapped;
mod range_lock;
mod resident;
mod runs;
mod sectors;

use disk_units::{ByteLen, SectorCount, SectorRange};

use self::bytewise::{Bytewise, SECTOR_BYTES, touched};
use self::context::{Context, Contexts, in_bytes, visit_changed};
use self::extent_map::ExtentMap;
use self::group_flush::GroupFlush;
use self::mapped::Mapped;
use self::resident::is_resident;
use self::sectors::Sectors;
use super::export::{
    BlockState, BlockVisitor, ContextVisitor, ErrorNumber, Export, ExportError, ZeroRequest,
};
use crate::{ChangedAreas, Error, ErrorKind, FileRange, Operation, Result, SharedDisk};

/// The longest name of a bitmap in bytes: the name of its context has at most 4096.
const MAX_BITMAP_NAME: usize = 4000;

/// Serves a [`SharedDisk`].
///
/// Clients may read and write at any byte: a sector that is written in part is read, changed and written back,
/// with other writes to it held off meanwhile. That works among the clients of one `DiskExport`; do not write to
/// the disk in other ways while it is served.
///
/// What is allocated is told by `base:allocation`: sectors that are known to read as zero are `ZERO`, and those that
/// no link of the chain holds are `HOLE` too; all others, and all of which nothing is known, are data. The disk is asked
/// once; the answer is kept in memory, 16 MiB of it at most, and stays true under writes. Where the library tells
/// extents exactly ([`Capabilities::exact_extents`](crate::Capabilities::exact_extents)), there is
/// `qemu:allocation-depth` too, which tells the link of a chain that holds each sector: 0 for none, 1 for the disk itself,
/// 2 for its parent.
///
/// Flushes that are asked for at the same time become one, which begins after all that they mean was written.
#[derive(Debug)]
pub struct DiskExport {
    disk: Bytewise<Mapped<SharedDisk>>,
    size: ByteLen,
    flushes: GroupFlush,
    contexts: Contexts,
    tells_extents: bool,
}

impl DiskExport {
    /// Makes an export of `disk`. Nothing is read yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a disk of 2^63 bytes or more, which NBD cannot describe.
    pub fn new(disk: SharedDisk) -> Result<Self> {
        let capacity = disk.capacity();
        let size = capacity
            .bytes()
            .filter(|size| i64::try_from(size.get()).is_ok())
            .ok_or_else(|| {
                let text = "the disk has 2^63 bytes or more";
                Error::new(ErrorKind::Unsupported, Operation::Serve, text)
            })?;
        let exact = disk.capabilities().exact_extents;
        let block = disk.preferred_io().max(SectorCount::new(1));
        let mut contexts = Contexts::default();
        if exact {
            contexts.add_depth();
        }
        Ok(Self {
            size,
            disk: Bytewise::new(Mapped::new(disk, ExtentMap::new(capacity, block, exact))),
            flushes: GroupFlush::default(),
            contexts,
            tells_extents: true,
        })
    }

    /// Offers the metadata context `qemu:dirty-bitmap:NAME`, by which backup programs learn what changed since an earlier
    /// backup: `areas` are dirty, all else is clean. What clients write meanwhile does not count.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("disk.vmdk");
    /// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
    /// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
    /// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
    /// use vixdisklib::nbd::{DiskExport, Export};
    /// use vixdisklib::{ByteLen, ChangedAreas, Library, OpenFlags};
    ///
    /// let connection = Library::embedded()?.connect_local()?;
    /// let disk = connection.open_disk(&path, OpenFlags::READ_ONLY)?.into_shared()?;
    /// // What change tracking reports, in bytes.
    /// let changed = [(ByteLen::new(4096), ByteLen::new(8192))];
    /// let changed = ChangedAreas::from_bytes(disk.capacity(), changed)?;
    /// let export = DiskExport::new(disk)?.with_bitmap("backup", changed)?;
    /// assert!(export.contexts().contains(&"qemu:dirty-bitmap:backup".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that is empty, longer than 4000 bytes, has control characters, or was
    /// given before; [`ErrorKind::OutOfRange`] for areas of a larger disk.
    pub fn with_bitmap(mut self, name: &str, areas: ChangedAreas) -> Result<Self> {
        let refused = |kind, text: String| Err(Error::new(kind, Operation::Serve, text));
        let capacity = self.disk().capacity();
        let last = areas.as_slice().last().copied();
        if let Some(area) = last.filter(|area| area.end() > SectorRange::whole(capacity).end()) {
            let text = format!("an area of the bitmap ends behind the disk's {capacity} sectors");
            return refused(ErrorKind::OutOfRange, text).map_err(|error| error.with_range(area));
        }
        if name.is_empty() || name.len() > MAX_BITMAP_NAME || name.contains(char::is_control) {
            let text = format!("a bitmap's name has 1 to {MAX_BITMAP_NAME} printable bytes");
            return refused(ErrorKind::InvalidArgument, text);
        }
        if !self.contexts.add_bitmap(name, areas) {
            let text = format!("there are two bitmaps named {name}");
            return refused(ErrorKind::InvalidArgument, text);
        }
        Ok(self)
    }

    /// Tells clients nothing of what is allocated: everything is data, and the disk is never asked. For clients that do
    /// better so, and libraries that take long to answer.
    #[must_use]
    pub fn without_extents(mut self) -> Self {
        self.tells_extents = false;
        self.contexts.remove_depth();
        self
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &SharedDisk {
        self.disk.sectors().disk()
    }
}

impl Export for DiskExport {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.disk().is_read_only()
    }

    fn preferred_block(&self) -> ByteLen {
        let preferred = self.disk().preferred_io().bytes();
        preferred.unwrap_or_default().max(ByteLen::new(4096))
    }

    fn can_trim(&self) -> bool {
        self.disk().capabilities().trim
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        self.disk.read_at(offset, buf)
    }

    fn file_range(&self, offset: ByteLen, length: ByteLen) -> Option<FileRange> {
        let sectors = touched(offset, length);
        let skipped = offset.get() % SECTOR_BYTES;
        let found = self.disk().file_range(sectors)?;
        // Sectors at the ends that the client wants a part of.
        let wanted = found.length.get().checked_sub(skipped)?.min(length.get());
        let wanted = FileRange {
            file: found.file,
            position: found.position.checked_add(ByteLen::new(skipped))?,
            length: ByteLen::new(wanted),
        };
        is_resident(&wanted).then_some(wanted)
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

    /// Gives back the grains that lie wholly inside; the rest keeps its contents. What is given back reads as zeros, also
    /// in a child whose parent has data there: if the format of the child has no other way, zeros are written. Only
    /// flat extents on a file system that knows no holes keep their contents.
    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.disk.trim(offset, length)
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.flushes.run(|| self.disk.sectors().flush())
    }

    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        if !self.tells_extents {
            let _ = visit(length, BlockState::Data);
            return Ok(());
        }
        let mut step = in_bytes(offset, visit);
        let visit = &mut |end, state: runs::State| step(end, state.block);
        self.disk.sectors().visit(touched(offset, length), visit);
        Ok(())
    }

    fn expect_block_status(&self, offset: ByteLen, length: ByteLen) {
        if self.tells_extents {
            self.disk.sectors().expect(touched(offset, length));
        }
    }

    /// From memory, but for the first question about each part of the disk.
    fn knows_zeroes(&self) -> bool {
        self.tells_extents
    }

    fn contexts(&self) -> &[String] {
        self.contexts.names()
    }

    fn context_status(
        &self,
        index: usize,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut ContextVisitor<'_>,
    ) -> Result<(), ExportError> {
        match self.contexts.get(index) {
            Some(Context::Changed(areas)) => visit_changed(areas, offset, length, visit),
            Some(Context::Depth) => {
                let mut step = in_bytes(offset, visit);
                let visit = &mut |end, state: runs::State| step(end, state.depth);
                self.disk.sectors().visit(touched(offset, length), visit);
            }
            None => {
                let text = "there is no such metadata context";
                return Err(ExportError::new(ErrorNumber::Invalid, text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests;
