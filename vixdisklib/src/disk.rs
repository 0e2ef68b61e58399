//! An open disk.

mod attach;
mod child;
mod compact;
mod open;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};

use crate::aio::{IoFuture, IoLimits, Request};
use crate::buffer::AlignedBuf;
use crate::capability::Capabilities;
use crate::connection::{Connection, OpenFlags};
use crate::database::Database;
use crate::error::Result;
use crate::extents::{ChunkSize, Chunks, Extent, ExtentDetail, ExtentSource as _, Extents};
use crate::file_range::FileRange;
use crate::info::DiskInfo;
use crate::shared::SharedDisk;
use crate::transport::Transport;

pub(crate) use open::{Facts, Handle, OpenDisk};

/// An open disk (`VixDiskLib_Open`). Positions and lengths are in sectors of 512 bytes.
///
/// A disk may move between threads but is used by one at a time: VDDK allows one call per handle. For several
/// threads see [`into_shared`](Self::into_shared). It keeps its connection and its library alive. Dropping it waits
/// for what is in flight and closes it on the control thread; [`close`](Self::close) does the same and returns the
/// error.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use vixdisklib::{Library, OpenFlags, Sector};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let disk = connection.open_disk(&path, OpenFlags::READ_ONLY)?;
/// let mut sectors = [0; 2 * 512];
/// disk.read_at(Sector::new(62), &mut sectors)?;
/// assert_eq!(sectors, [7; 1024]);
/// assert!(disk.read_at(Sector::new(63), &mut sectors).is_err());
/// disk.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Disk {
    /// Not `Sync`, as the handle in it is not: one call at a time.
    open: OpenDisk,
}

/// How sectors are zeroed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ZeroMode {
    /// They read as zero afterwards; space may be given back.
    MayFree,
    /// They read as zero afterwards and hold space.
    MustAllocate,
    /// As [`MayFree`](Self::MayFree), but fails at once, nothing changed, if that is no faster than writing zeroes.
    FastMayFree,
    /// As [`MustAllocate`](Self::MustAllocate), but fails at once if that is no faster than writing zeroes.
    FastMustAllocate,
}

impl Disk {
    pub(crate) fn open(
        connection: Connection,
        name: PathBuf,
        c_name: CString,
        flags: OpenFlags,
    ) -> Result<Self> {
        OpenDisk::open(connection, name, c_name, flags).map(Self::from_open)
    }

    pub(crate) fn from_open(open: OpenDisk) -> Self {
        Self { open }
    }

    /// The name that the disk was opened with; a local one is absolute.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.facts().name
    }

    /// The capacity in sectors.
    #[must_use]
    pub fn capacity(&self) -> SectorCount {
        self.facts().info.capacity
    }

    /// What the disk says of itself, as of opening (`VixDiskLib_GetInfo`).
    #[doc(alias = "VixDiskLib_GetInfo")]
    #[must_use]
    pub fn info(&self) -> &DiskInfo {
        &self.facts().info
    }

    /// Whether the disk is open for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.facts().is_read_only()
    }

    /// The transport that the library chose when it opened the disk (`VixDiskLib_GetTransportMode`, VDDK 1.1).
    #[doc(alias = "VixDiskLib_GetTransportMode")]
    #[must_use]
    pub fn transport_mode(&self) -> &Transport {
        &self.facts().transport_mode
    }

    /// What can be done with this disk.
    #[doc(alias = "VixDiskLibExt_GetProperty")]
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.facts().capabilities
    }

    /// The request size in sectors that suits the disk: a grain of a sparse disk, for example.
    #[doc(alias = "VixDiskLibExt_GetProperty")]
    #[must_use]
    pub fn preferred_io(&self) -> SectorCount {
        self.facts().preferred_io
    }

    /// How much is asked of the library at once.
    #[must_use]
    pub fn io_limits(&self) -> IoLimits {
        self.open.limits()
    }

    /// Sets how much is asked of the library at once, from the next request on.
    pub fn set_io_limits(&mut self, limits: IoLimits) {
        self.open.set_limits(limits);
    }

    /// Reads whole sectors from `start` into `buf`, in requests of at most [`IoLimits::request`]. Blocks.
    ///
    /// VDDK's HotAdd and SAN transports are faster with an [`AlignedBuf`], and with [`OpenFlags::UNBUFFERED`] HotAdd needs
    /// memory on the sectors of the disk (Virtual Disk Programming Guide): a `buf` that does not lie so is copied then,
    /// through at most [`IoLimits::request`] of aligned memory, which the disk keeps.
    ///
    /// What was submitted by [`write_async`](Self::write_async) is waited for first, but not on the embedded engine, which
    /// may read what was there before: [`settle`](Self::settle) first, or wait for the future.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if `buf` is empty or no multiple of 512
    /// bytes; [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) past the end; or what the library reports, and
    /// then the contents of `buf` are undefined.
    #[doc(alias = "VixDiskLib_Read")]
    pub fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<()> {
        self.open.read_at(start, buf)
    }

    /// Writes whole sectors from `buf` at `start`, in requests of at most [`IoLimits::request`]. Blocks.
    /// [`flush`](Self::flush) makes them durable. For the memory of `buf`, and for requests in flight, see
    /// [`read_at`](Self::read_at).
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly). After what the library
    /// reports, part of the sectors may have been written.
    #[doc(alias = "VixDiskLib_Write")]
    pub fn write_at(&self, start: Sector, buf: &[u8]) -> Result<()> {
        self.open.write_at(start, buf)
    }

    /// Starts reading `buf.sectors()` sectors from `start` (VDDK 6.0); the future gives the buffer back.
    ///
    /// The request is submitted at once, not at the first poll, in parts of at most [`IoLimits::request`]. Where
    /// [`IoLimits::depth`] parts are in flight it waits for its turn, in order and without blocking anybody. On transports
    /// without real asynchrony, local files among them, the library does the work before this returns.
    ///
    /// What is wrong with the request, as for [`read_at`](Self::read_at), and what the library reports of it, is in the
    /// output of the future. No order is kept between requests in flight. Calls that block wait for them first, since VDDK
    /// allows no mix on one disk. On the embedded engine, which does, only [`settle`](Self::settle),
    /// [`flush`](Self::flush), closing and calls on the disk as a whole wait.
    #[doc(alias = "VixDiskLib_ReadAsync")]
    pub fn read_async(&self, start: Sector, buf: AlignedBuf) -> IoFuture {
        self.open.read_async(start, buf)
    }

    /// Starts writing `buf` at `start` (VDDK 6.0); else as [`read_async`](Self::read_async).
    #[doc(alias = "VixDiskLib_WriteAsync")]
    pub fn write_async(&self, start: Sector, buf: AlignedBuf) -> IoFuture {
        self.open.write_async(start, buf)
    }

    /// Waits until every request is done, what the library has of dropped futures included (`VixDiskLib_Wait`, VDDK 6.5).
    ///
    /// # Errors
    /// What the library reports of the wait; a request's own failure is in its future.
    /// [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock) inside a waker, as every call here that blocks: see
    /// [`IoFuture`].
    #[doc(alias = "VixDiskLib_Wait")]
    pub fn settle(&self) -> Result<()> {
        self.open.settle()
    }

    /// Makes everything written durable, what was submitted before included (`VixDiskLib_Wait`, then
    /// `VixDiskLib_Flush`; VDDK 6.5).
    ///
    /// # Errors
    /// What the library reports. A write may then be lost.
    #[doc(alias = "VixDiskLib_Flush")]
    pub fn flush(&self) -> Result<()> {
        self.open.flush()
    }

    /// Makes sectors read as zero. Where the library has no call for it, zeroes are written.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) past the end,
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly), for the fast modes
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), or what the library reports.
    #[doc(alias = "VixDiskLibExt_WriteZeroes")]
    pub fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<()> {
        self.open.write_zeroes(range, mode)
    }

    /// Gives the space of sectors back where that can be done; what was given back reads as zero.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::trim`]; else as
    /// [`write_zeroes`](Self::write_zeroes).
    #[doc(alias = "VixDiskLibExt_Trim")]
    pub fn trim(&self, range: SectorRange) -> Result<()> {
        self.open.trim(range)
    }

    /// Where the sectors at the front of `range` lie in a file as they are, as many as lie there together, so that they can
    /// be sent without reading them (`sendfile` of Linux).
    ///
    /// `None` where they have to be read: holes, zeros, compressed data, disks that are open for writing, remote disks,
    /// libraries without [`Capabilities::file_ranges`]; also where reading fails, which then tells why. The file
    /// stays open, and locked as it was, until it is dropped, also when the disk is closed before.
    #[doc(alias = "VixDiskLibExt_GetFileRange")]
    #[must_use]
    pub fn file_range(&self, range: SectorRange) -> Option<FileRange> {
        self.open.file_range(range)
    }

    /// The extents of a range as fine as the library can tell: to the sector with
    /// [`Capabilities::exact_extents`], else in chunks of 128 sectors, the tail of the disk counting as data. Where the
    /// library's call does not work on this disk, all of it counts as data; [`extent_detail`](Self::extent_detail) says so.
    ///
    /// VDDK describes what is allocated, which may be zero all the same: on NFS it is the whole disk. Through a handle that
    /// writes, what was written since it was opened may be missing, so ask one that was opened afterwards (release notes of
    /// VDDK 6.7); the embedded engine is always current. Of local disks VDDK's answers are not reliable (manual of
    /// nbdkit's VDDK plugin). Blocks while it asks, in large parts, as each answer of a server takes long.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) past the end.
    #[doc(alias = "VixDiskLib_QueryAllocatedBlocks")]
    #[doc(alias = "VixDiskLibExt_QueryExtents")]
    pub fn extents(&self, range: SectorRange) -> Result<Extents<'_>> {
        self.facts().check_extents(range)?;
        Ok(Extents::new(&self.open, range, ChunkSize::MIN))
    }

    /// How well the library knows the extents of this disk. May ask it, once, and then blocks.
    #[must_use]
    pub fn extent_detail(&self) -> ExtentDetail {
        self.open.extent_detail()
    }

    /// The extents of a range in chunks: one that holds any data counts as data.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) past the end.
    #[doc(alias = "VixDiskLib_QueryAllocatedBlocks")]
    pub fn chunks(&self, range: SectorRange, chunk: ChunkSize) -> Result<Chunks<'_>> {
        self.facts().check_extents(range)?;
        Ok(Chunks::new(
            Extents::new(&self.open, range, chunk),
            range,
            chunk,
        ))
    }

    /// The value of a metadata key of the disk's database, without the prefix `ddb.`; `None` if it has none.
    ///
    /// Any key can be asked for; [`MetadataKey`](crate::MetadataKey) has the known ones, and
    /// [`database`](Self::database) gives their values as types.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a key with a NUL character,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_ReadMetadata")]
    pub fn metadata(&self, key: impl AsRef<str>) -> Result<Option<String>> {
        self.open.metadata(key.as_ref())
    }

    /// The metadata keys of the disk, in no particular order.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    #[doc(alias = "VixDiskLib_GetMetadataKeys")]
    pub fn metadata_keys(&self) -> Result<Vec<String>> {
        self.open.metadata_keys()
    }

    /// Adds a metadata key, or replaces its value (`VixDiskLib_WriteMetadata`). A key cannot be removed, only emptied.
    ///
    /// Any key can be written; what a product makes of a wrong value of a known one is up to it.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly),
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty key and for control characters in
    /// key or value, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what
    /// it reports.
    #[doc(alias = "VixDiskLib_WriteMetadata")]
    pub fn set_metadata(&self, key: impl AsRef<str>, value: &str) -> Result<()> {
        self.open.set_metadata(key.as_ref(), value)
    }

    /// The known metadata of the disk as types.
    #[must_use]
    pub fn database(&self) -> Database<'_> {
        Database::new(self)
    }

    /// Makes the disk usable by several threads at once.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if the thread that VDDK's rules need cannot be
    /// started; the disk is then closed.
    pub fn into_shared(self) -> Result<SharedDisk> {
        SharedDisk::new(self)
    }

    /// Waits for what is in flight, closes the disk (`VixDiskLib_Close`), and returns the error that
    /// dropping would only log.
    ///
    /// # Errors
    /// What the library reports. The disk is closed all the same; after
    /// [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock), inside a waker, by another thread.
    #[doc(alias = "VixDiskLib_Close")]
    pub fn close(self) -> Result<()> {
        self.open.close()
    }

    #[cfg(feature = "nbd")]
    pub(crate) fn library(&self) -> &crate::Library {
        self.open.library()
    }

    pub(crate) fn facts(&self) -> &Facts {
        self.open.facts()
    }

    pub(crate) fn enqueue(&self, request: Arc<Request>) {
        self.open.enqueue(request);
    }

    pub(crate) fn page(&self, range: SectorRange, chunk: ChunkSize) -> Result<Vec<Extent>> {
        self.open.page(range, chunk)
    }

    pub(crate) fn into_open(self) -> OpenDisk {
        self.open
    }
}
