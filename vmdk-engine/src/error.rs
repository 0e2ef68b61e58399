//! The one error type of the crate.
//!
//! Each module says what went wrong in an enum of its own ([`Cause`] gives its kind); [`Error`] adds what was being
//! done, to which sectors and to which file.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use disk_units::SectorRange;

/// What class of failure an [`Error`] is, for `match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file that the caller named does not exist.
    NotFound,
    /// A file that a descriptor names does not exist.
    ExtentNotFound,
    /// The operating system does not permit the access.
    PermissionDenied,
    /// The policy does not permit it: the file lies outside the descriptor's folder, or is not a regular file.
    AccessRefused,
    /// Not a virtual disk, or one that contradicts itself.
    InvalidDisk,
    /// A newer version of the format, or an unknown incompatible feature of it.
    UnsupportedVersion,
    /// A known feature that the engine does not offer for this disk.
    Unsupported,
    /// The disk can be read, but its metadata is damaged: it must be repaired before it is written.
    NeedsRepair,
    /// The place asked for cannot be read: its metadata or its compressed data is damaged.
    Corrupt,
    /// A name in the descriptor is written in a character encoding that the engine does not know.
    Encoding,
    /// The disk is encrypted.
    Encrypted,
    /// The disk claims a parent that its kind cannot have, or the parents lead back to the disk itself.
    InvalidChain,
    /// A parent of the disk, or of one of its parents, is missing; or sectors would come from such a parent.
    ParentNotFound,
    /// The parent's content id is not the one that the child knows: it was changed, or is another disk.
    CidMismatch,
    /// Parent and child differ in size.
    CapacityMismatch,
    /// The disk has more parents than the engine follows.
    TooManyLinks,
    /// A sparse file would grow past the 2 TiB that its 32-bit sector numbers reach.
    FileTooBig,
    /// The file system has no space left.
    DiskFull,
    /// The disk, or this extent of it, is open for reading only.
    ReadOnly,
    /// Somebody else writes to the disk, or for writing, has it open at all.
    AlreadyLocked,
    /// The sectors lie, at least in part, past the end of the disk.
    OutOfRange,
    /// The request itself is malformed, for example a buffer that is not whole sectors.
    InvalidArgument,
    /// An earlier write of metadata or an earlier flush failed, so that this open disk takes no more writes; open it
    /// again.
    WritesSuspended,
    /// A fast-only request would not be faster than writing zeros; nothing was changed.
    NotFast,
    /// The process has no file descriptors left.
    TooManyOpenFiles,
    /// A file that was to be made exists already.
    AlreadyExists,
    /// The watcher of a long operation cancelled it.
    Cancelled,
    /// A disk of this kind has no space that could be given back.
    CannotShrink,
    /// The disk is damaged in a way that cannot be repaired.
    CannotRepair,
    /// A changed descriptor does not fit into the place that the file has for it.
    NoRoom,
    /// The disk has no parent, where only a child will do.
    NotAChild,
    /// The disk has a parent, where it must not have one, or has one open already.
    HasParent,
    /// Any other failure of the operating system; see the source.
    Io,
}

/// What the engine was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a disk.
    Open,
    /// Reading sectors.
    Read,
    /// Writing sectors.
    Write,
    /// Writing zeros.
    WriteZeroes,
    /// Discarding sectors.
    Trim,
    /// Mapping what is allocated.
    Map,
    /// Making written data durable.
    Flush,
    /// Closing a disk.
    Close,
    /// Making a disk.
    Create,
    /// Making a child of a disk.
    CreateChild,
    /// Putting a child on top of its parent.
    Attach,
    /// Making a disk larger.
    Grow,
    /// Giving back the space of zeros.
    Shrink,
    /// Putting grains in order.
    Defragment,
    /// Giving a disk another name.
    Rename,
    /// Removing a disk.
    Unlink,
    /// Copying a disk.
    Clone,
    /// Copying a child into its parent.
    Commit,
    /// Looking for damage.
    Check,
    /// Repairing damage.
    Repair,
    /// Changing the disk data base.
    WriteMetadata,
}

impl Operation {
    const fn gerund(self) -> &'static str {
        match self {
            Self::Open => "opening",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::WriteZeroes => "writing zeros to",
            Self::Trim => "discarding",
            Self::Map => "mapping",
            Self::Flush => "flushing",
            Self::Close => "closing",
            Self::Create => "creating",
            Self::CreateChild => "creating a child of",
            Self::Attach => "attaching",
            Self::Grow => "growing",
            Self::Shrink => "shrinking",
            Self::Defragment => "defragmenting",
            Self::Rename => "renaming",
            Self::Unlink => "removing",
            Self::Clone => "copying",
            Self::Commit => "committing",
            Self::Check => "checking",
            Self::Repair => "repairing",
            Self::WriteMetadata => "writing the metadata of",
        }
    }
}

/// A failure of the engine: what was being done, to which sectors, in which file, and why it failed.
///
/// `Display` is one lower-case line without what [`source`](StdError::source) prints.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Option<Operation>,
    range: Option<SectorRange>,
    path: Option<PathBuf>,
    cause: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// The sectors of the disk that the request named.
    #[must_use]
    pub fn range(&self) -> Option<SectorRange> {
        self.0.range
    }

    /// The file that the failure is about: the disk's own, one of its extents, or one of its parents.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Why it failed, without the operation, the sectors and the file: for callers that name those themselves.
    #[must_use]
    pub fn reason(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0.cause
    }

    /// Names the file, unless a layer below has named one already.
    #[cold]
    pub(crate) fn at(mut self, path: &Path) -> Self {
        self.0.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// Says what was being done, and to which sectors of the disk.
    #[cold]
    pub(crate) fn during(mut self, operation: Operation, range: Option<SectorRange>) -> Self {
        self.0.operation = Some(operation);
        self.0.range = range;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            formatter.write_str(operation.gerund())?;
            if let Some(range) = self.0.range {
                write!(formatter, " sectors {range}")?;
            }
            formatter.write_str(" failed: ")?;
        }
        if let Some(path) = &self.0.path {
            write!(formatter, "{}: ", path.display())?;
        }
        fmt::Display::fmt(&self.0.cause, formatter)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("range", &self.0.range)
            .field("path", &self.0.path)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.source()
    }
}

/// A module's own account of what went wrong, which knows its kind.
pub(crate) trait Cause: StdError + Send + Sync + 'static {
    fn kind(&self) -> ErrorKind;
}

impl<C: Cause> From<C> for Error {
    #[cold]
    fn from(cause: C) -> Self {
        Self(Box::new(Inner {
            kind: cause.kind(),
            operation: None,
            range: None,
            path: None,
            cause: Box::new(cause),
        }))
    }
}

/// The operating system refused something.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub(crate) struct IoFault {
    doing: String,
    source: io::Error,
}

impl IoFault {
    #[cold]
    pub(crate) fn new(doing: impl Into<String>, source: io::Error) -> Self {
        Self {
            doing: doing.into(),
            source,
        }
    }
}

impl Cause for IoFault {
    fn kind(&self) -> ErrorKind {
        io_kind(&self.source)
    }
}

/// The kind that a failure of the operating system has on a file that is open already.
pub(crate) fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::FileTooLarge => ErrorKind::FileTooBig,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorKind::PermissionDenied
        }
        io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    }
}

/// A request that cannot be carried out on this disk, whatever its content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the disk ends at sector {capacity}")]
    OutOfRange { capacity: u64 },
    #[error("a buffer of {bytes} bytes is not whole sectors")]
    NotWholeSectors { bytes: usize },
    #[error("the disk is open for reading only")]
    ReadOnlyDisk,
    #[error("the descriptor marks this extent as read-only")]
    ReadOnlyExtent,
    #[error("the descriptor forbids access to this extent")]
    NoAccess,
    #[error("an extent of type ZERO cannot hold data other than zeros")]
    ZeroExtent,
    #[error(
        "an earlier write of metadata or flush failed; the disk takes no writes until it is opened again"
    )]
    WritesSuspended,
    #[error("zeroing these sectors would not be faster than writing them")]
    NotFast,
    #[error("the file would grow past 2 TiB, beyond which grains cannot be addressed")]
    FileTooBig,
    #[error("disks of this kind have no space that could be given back")]
    CannotShrink,
    #[error("the grains of copy-on-write extents of ESX cannot be put in order")]
    CannotDefragment,
}

impl Cause for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfRange { .. } => ErrorKind::OutOfRange,
            Self::NotWholeSectors { .. } => ErrorKind::InvalidArgument,
            Self::ReadOnlyDisk | Self::ReadOnlyExtent | Self::ZeroExtent => ErrorKind::ReadOnly,
            Self::NoAccess | Self::CannotDefragment => ErrorKind::Unsupported,
            Self::WritesSuspended => ErrorKind::WritesSuspended,
            Self::NotFast => ErrorKind::NotFast,
            Self::FileTooBig => ErrorKind::FileTooBig,
            Self::CannotShrink => ErrorKind::CannotShrink,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_and_one_line() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
        let error = Error::from(IoFault::new(
            "writing a grain",
            io::Error::from(io::ErrorKind::StorageFull),
        ))
        .at(Path::new("/disks/a-s001.vmdk"))
        .at(Path::new("/disks/a.vmdk"))
        .during(
            Operation::Write,
            SectorRange::new(disk_units::Sector::new(8), disk_units::SectorCount::new(2)),
        );
        assert_eq!(
            error.to_string(),
            "writing sectors 8..10 failed: /disks/a-s001.vmdk: writing a grain"
        );
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        assert_eq!(error.path(), Some(Path::new("/disks/a-s001.vmdk")));
        assert!(error.source().is_some());
    }
}
