//! An open disk: the public face of the engine.

mod attach;
mod options;
mod space;

use std::fmt;
use std::path::Path;

use disk_units::{SECTOR_SIZE, Sector, SectorCount, SectorRange};

use crate::chain::Chain;
use crate::error::{Error, Operation, Refusal};
use crate::extent::ZeroMode;
use crate::file_range::FileRange;
use crate::info::DiskInfo;
use crate::link::Link;
use crate::map::Extents;
use crate::units::range_of;

pub use attach::AttachError;
pub use options::OpenOptions;

/// An open virtual disk.
///
/// Positions and lengths are sectors of 512 bytes. All calls block on file access only, may run in parallel from any
/// number of threads, and never keep each other waiting but where they change the same grains. Of two overlapping
/// writes at the same time either may win, sector by sector.
///
/// Written data is durable after [`Disk::flush`] or [`Disk::close`]. A crash before that loses at most what was written
/// since; it never shows one sector's data in another.
pub struct Disk {
    chain: Chain,
    is_writable: bool,
    is_finished: bool,
}

/// Short, for logs, and without anything that the disk holds.
impl fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Disk")
            .field("path", &self.chain.path())
            .field("capacity", &self.chain.capacity().get())
            .field("is_writable", &self.is_writable)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Disk>();
};

impl Disk {
    /// Opens the disk whose descriptor is the file `path`, or is embedded in it, and for reading the parents that it
    /// has, at most 64.
    ///
    /// # Errors
    /// By [`kind`](Error::kind): [`NotFound`], [`PermissionDenied`] and [`AccessRefused`] for the file itself;
    /// [`ExtentNotFound`], [`PermissionDenied`] and [`AccessRefused`] for one that the descriptor names;
    /// [`InvalidDisk`], [`UnsupportedVersion`], [`Unsupported`], [`Encoding`], [`Encrypted`] and [`InvalidChain`] for
    /// what is in them; [`ParentNotFound`], [`CidMismatch`], [`CapacityMismatch`] and [`TooManyLinks`] for parents, and
    /// all of the former for what is in those; [`AlreadyLocked`] if somebody else writes to one of the files. Opening
    /// for writing adds [`NeedsRepair`], and [`AlreadyLocked`] if somebody else has one of the files open at all.
    ///
    /// [`NotFound`]: crate::ErrorKind::NotFound
    /// [`PermissionDenied`]: crate::ErrorKind::PermissionDenied
    /// [`AccessRefused`]: crate::ErrorKind::AccessRefused
    /// [`ExtentNotFound`]: crate::ErrorKind::ExtentNotFound
    /// [`InvalidDisk`]: crate::ErrorKind::InvalidDisk
    /// [`UnsupportedVersion`]: crate::ErrorKind::UnsupportedVersion
    /// [`Unsupported`]: crate::ErrorKind::Unsupported
    /// [`Encoding`]: crate::ErrorKind::Encoding
    /// [`Encrypted`]: crate::ErrorKind::Encrypted
    /// [`InvalidChain`]: crate::ErrorKind::InvalidChain
    /// [`ParentNotFound`]: crate::ErrorKind::ParentNotFound
    /// [`CidMismatch`]: crate::ErrorKind::CidMismatch
    /// [`CapacityMismatch`]: crate::ErrorKind::CapacityMismatch
    /// [`TooManyLinks`]: crate::ErrorKind::TooManyLinks
    /// [`NeedsRepair`]: crate::ErrorKind::NeedsRepair
    /// [`AlreadyLocked`]: crate::ErrorKind::AlreadyLocked
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, Error> {
        let chain = Chain::open(path.as_ref(), options)
            .map_err(|error| error.during(Operation::Open, None))?;
        Ok(Self {
            chain,
            is_writable: options.is_writable(),
            is_finished: false,
        })
    }

    /// A disk without parents, open for writing.
    pub(crate) fn of_one_link(link: Link) -> Self {
        Self {
            chain: link.into(),
            is_writable: true,
            is_finished: false,
        }
    }

    /// The size of the disk.
    #[must_use]
    pub fn capacity(&self) -> SectorCount {
        self.chain.capacity()
    }

    /// Where the disk is, as its [gate](crate::OpenGate) resolved the path that it was opened by.
    ///
    /// With [`FolderGate`](crate::FolderGate), which is the usual one, the path is absolute and no part of it a link.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.chain.path()
    }

    /// Whether the disk was opened for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// What the disk says of itself.
    #[must_use]
    pub fn info(&self) -> DiskInfo {
        self.chain.info()
    }

    /// Fills `buf`, whose length is a multiple of 512 bytes, with the sectors from `start` on.
    ///
    /// Of a compressed grain only as much may be inflated as the sectors need. Its checksum covers all of it: it is always
    /// checked when the whole grain or its end is read, not always for other parts, and for every grain by
    /// [`check()`](crate::check()).
    ///
    /// # Errors
    /// [`OutOfRange`](crate::ErrorKind::OutOfRange) and [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for the
    /// request, [`Corrupt`](crate::ErrorKind::Corrupt) and [`Io`](crate::ErrorKind::Io) for the place, and
    /// [`ParentNotFound`](crate::ErrorKind::ParentNotFound) for what a missing parent has. The content of
    /// `buf` is then unspecified.
    pub fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<(), Error> {
        let request = self.check_buffer(start, buf);
        let range = range_of(start, buf);
        request
            .and_then(|()| self.chain.read(start, buf))
            .map_err(|error| self.described(error, Operation::Read, range))
    }

    /// The sectors at the front of `range`, as many as lie together in one file as plain bytes, so that they can be
    /// passed on without reading them here (`sendfile` of Linux).
    ///
    /// `None` for holes, zeros and compressed grains, for storage that is no file, for an empty range, and for a disk that
    /// is open for writing, whose files may change before the bytes are sent. The file stays open when the disk is
    /// closed, and so does its lock.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn file_range(&self, range: SectorRange) -> Result<Option<FileRange>, Error> {
        self.check_range(range)
            .and_then(|()| {
                if range.is_empty() || self.is_writable {
                    return Ok(None);
                }
                self.chain.file_range(range)
            })
            .map_err(|error| self.described(error, Operation::Read, range))
    }

    /// Writes `buf`, whose length is a multiple of 512 bytes, to the sectors from `start` on.
    ///
    /// # Errors
    /// As [`Disk::read_at`], and [`ReadOnly`](crate::ErrorKind::ReadOnly), [`DiskFull`](crate::ErrorKind::DiskFull),
    /// [`FileTooBig`](crate::ErrorKind::FileTooBig), [`WritesSuspended`](crate::ErrorKind::WritesSuspended). Each sector
    /// of the range then holds its old or its new content; sectors outside are as they were.
    pub fn write_at(&self, start: Sector, buf: &[u8]) -> Result<(), Error> {
        let range = range_of(start, buf);
        self.check_buffer(start, buf)
            .and_then(|()| self.check_writable())
            .and_then(|()| {
                if buf.is_empty() {
                    Ok(())
                } else {
                    self.chain.write(start, buf)
                }
            })
            .map_err(|error| self.described(error, Operation::Write, range))
    }

    /// Makes `range` read as zeros.
    ///
    /// Zeros in a child hide what its parents have. With [`ZeroMode::MayFree`], whole grains of sparse extents are freed and thin flat files get holes; with
    /// [`ZeroMode::MustAllocate`], every sector has its own space afterwards, so that a later write cannot run out of
    /// it. The `Fast` modes do the same, or fail at once without a change where it would take as long as writing.
    ///
    /// # Errors
    /// As [`Disk::write_at`], and [`NotFast`](crate::ErrorKind::NotFast) for the `Fast` modes.
    pub fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Error> {
        self.check_range(range)
            .and_then(|()| self.check_writable())
            .and_then(|()| {
                if range.is_empty() {
                    Ok(())
                } else {
                    self.chain.write_zeroes(range, mode)
                }
            })
            .map_err(|error| self.described(error, Operation::WriteZeroes, range))
    }

    /// Discards `range`: its content is no longer needed.
    ///
    /// Whole grains of sparse extents are freed and read as zeros; only where a child shows its parent's data and its
    /// format has no entry for zeros, that data stays. What a child had itself never gives way to its parent's data; sectors of grains that are covered in part keep
    /// their content. Flat extents read as zeros afterwards: thin files get holes, fully allocated ones keep their
    /// space. Where the file system can do neither, their content stays.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn trim(&self, range: SectorRange) -> Result<(), Error> {
        self.check_range(range)
            .and_then(|()| self.check_writable())
            .and_then(|()| {
                if range.is_empty() {
                    Ok(())
                } else {
                    self.chain.trim(range)
                }
            })
            .map_err(|error| self.described(error, Operation::Trim, range))
    }

    /// Makes everything durable that was written before this call.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) or [`DiskFull`](crate::ErrorKind::DiskFull); then the disk takes no more writes.
    pub fn flush(&self) -> Result<(), Error> {
        if !self.is_writable {
            return Ok(());
        }
        self.chain
            .flush()
            .map_err(|error| error.at(self.chain.path()).during(Operation::Flush, None))
    }

    /// What of `range` is allocated: runs in order, which cover it exactly and differ from their neighbours.
    ///
    /// Each run names the link of the snapshot chain that it comes from.
    /// Computed as the iterator advances, in bounded memory. What is written meanwhile may or may not show.
    /// Sectors that hold data are never reported as anything but [`Allocation::Data`](crate::Allocation::Data); those
    /// of flat extents are holes only where the file system says so.
    ///
    /// # Errors
    /// The first item that fails is the last item.
    pub fn extents(&self, range: SectorRange) -> Extents<'_> {
        let failed = self
            .check_range(range)
            .err()
            .map(|error| self.described(error, Operation::Map, range));
        let range = if failed.is_none() {
            range
        } else {
            SectorRange::default()
        };
        Extents::new(self.chain.map(range), failed)
    }

    /// A value of the descriptor's disk data base; `key` without its prefix `ddb.`, in any case. What a child does not
    /// have is looked for in its parents.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.chain.metadata(key)
    }

    /// The keys of the disk data base in file order, without their prefix; behind those of a child the ones that only
    /// its parents have.
    #[must_use]
    pub fn metadata_keys(&self) -> Vec<String> {
        self.chain.metadata_keys()
    }

    /// Gives the disk data base a value: that of `key`, without the prefix `ddb.`, in place of the one that it has, or as
    /// a new last one. It is durable when this returns.
    ///
    /// Only the disk itself is changed, not its parents, and its content id stays. A value can be made empty, but no key
    /// can be removed. All other lines of the descriptor stay as they are, and a crash leaves the old text or the new.
    /// A descriptor with a file of its own is replaced by a new file (with the same owner and mode) that is written as
    /// `.draft`; one that is embedded needs room for a second text in its area meanwhile.
    ///
    /// # Errors
    /// By [`kind`](Error::kind): [`ReadOnly`]; [`InvalidArgument`] for keys that are empty or have anything but printable
    /// ASCII letters, or blanks, quotes or `=` in them, for values with quotes, line ends or letters that the
    /// descriptor's character set does not have, and for values that would make the disk unusable, such as a sector size
    /// of 7; [`NoRoom`] where the text does not fit; [`Unsupported`] for a stream that is being written; and [`DiskFull`], [`PermissionDenied`], [`WritesSuspended`] and
    /// [`Io`]. Then nothing has changed.
    ///
    /// [`ReadOnly`]: crate::ErrorKind::ReadOnly
    /// [`InvalidArgument`]: crate::ErrorKind::InvalidArgument
    /// [`NoRoom`]: crate::ErrorKind::NoRoom
    /// [`Unsupported`]: crate::ErrorKind::Unsupported
    /// [`DiskFull`]: crate::ErrorKind::DiskFull
    /// [`PermissionDenied`]: crate::ErrorKind::PermissionDenied
    /// [`WritesSuspended`]: crate::ErrorKind::WritesSuspended
    /// [`Io`]: crate::ErrorKind::Io
    ///
    /// ```
    /// use vmdk_engine::{CreateOptions, Disk, DiskKind, SectorCount, unwatched};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("disk.vmdk");
    /// let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(2048));
    /// let disk = Disk::create(&path, &options, &mut unwatched)?;
    /// disk.set_metadata("comment", "for tests")?;
    /// assert_eq!(disk.metadata("comment").as_deref(), Some("for tests"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_metadata(&self, key: &str, value: &str) -> Result<(), Error> {
        self.check_writable()
            .and_then(|()| self.chain.set_metadata(key, value))
            .map_err(|error| {
                error
                    .at(self.chain.path())
                    .during(Operation::WriteMetadata, None)
            })
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Flushes, notes in the files that they were closed properly, and closes them.
    ///
    /// Dropping a disk does the same, and can only log a failure.
    ///
    /// # Errors
    /// As [`Disk::flush`].
    pub fn close(mut self) -> Result<(), Error> {
        self.finish(Chain::close)
    }

    fn finish(&mut self, end: fn(&Chain) -> Result<(), Error>) -> Result<(), Error> {
        if !self.is_writable || self.is_finished {
            return Ok(());
        }
        self.is_finished = true;
        end(&self.chain).map_err(|error| error.at(self.chain.path()).during(Operation::Close, None))
    }

    #[cold]
    fn described(&self, error: Error, operation: Operation, range: SectorRange) -> Error {
        error.at(self.chain.path()).during(operation, Some(range))
    }

    fn check_buffer(&self, start: Sector, buf: &[u8]) -> Result<(), Error> {
        if !buf.len().is_multiple_of(SECTOR_SIZE) {
            return Err(Refusal::NotWholeSectors { bytes: buf.len() }.into());
        }
        let count = crate::units::sectors_of(buf);
        let range = SectorRange::new(start, count).ok_or_else(|| self.out_of_range())?;
        self.check_range(range)
    }

    fn check_range(&self, range: SectorRange) -> Result<(), Error> {
        if range.end().get() > self.capacity().get() {
            return Err(self.out_of_range());
        }
        Ok(())
    }

    fn out_of_range(&self) -> Error {
        let capacity = self.capacity().get();
        Refusal::OutOfRange { capacity }.into()
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.is_writable {
            Ok(())
        } else {
            Err(Refusal::ReadOnlyDisk.into())
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.finish(Chain::abandon) {
            tracing::warn!(%error, "closing a disk on drop failed");
        }
    }
}
