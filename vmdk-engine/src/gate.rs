//! Who may open the files that a descriptor names.
//!
//! A descriptor is untrusted text: one line in it can name any file of the host. So every file is opened through an
//! [`OpenGate`], and the default one, [`FolderGate`], stays inside the folder of the descriptor, or for parents beside
//! it.

mod folder;
mod list;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Cause, ErrorKind, io_kind};
use crate::lock::{FileLock, LockKind};
use crate::storage::Storage;

pub use folder::FolderGate;
pub use list::ListGate;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileAccess {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// What makes a file the same file whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The identity made of a device and an inode number.
    #[must_use]
    pub const fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }
}

/// A file that a gate has opened.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    /// Where the file really is, symbolic links followed.
    pub path: PathBuf,
    /// What makes it the same file under another name.
    pub identity: FileIdentity,
    /// Its bytes.
    pub storage: Arc<dyn Storage>,
}

impl OpenedFile {
    /// Whether `path` still leads to this file. Until somebody has locked it, another may take its place.
    pub(crate) fn is_at(&self, gate: &dyn OpenGate, path: &Path) -> Result<bool, GateError> {
        match gate.open_disk(path, FileAccess::Read) {
            Ok(there) => Ok(there.identity == self.identity),
            Err(GateError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Decides which files may be opened, and opens them; for operations that make, rename and remove files, does that too.
///
/// A gate that only opens keeps the defaults of the other methods, which refuse.
pub trait OpenGate: fmt::Debug + Send + Sync {
    /// Opens the file that the caller of [`Disk::open`](crate::Disk::open) named.
    ///
    /// # Errors
    /// Why it was not opened.
    fn open_disk(&self, path: &Path, access: FileAccess) -> Result<OpenedFile, GateError>;

    /// Opens a file that the extent line of a descriptor names.
    ///
    /// `descriptor` is the [`path`](OpenedFile::path) of the opened descriptor, `name` the text of the line.
    ///
    /// # Errors
    /// Why it was not opened.
    fn open_extent(
        &self,
        descriptor: &Path,
        name: &OsStr,
        access: FileAccess,
    ) -> Result<OpenedFile, GateError>;

    /// Opens a file that may be the parent of a child disk, for reading.
    ///
    /// `child` is the [`path`](OpenedFile::path) of the opened child, `name` a place to look, absolute or relative to
    /// the child's folder. What opens is used only if it is a virtual disk that fits the child.
    ///
    /// # Errors
    /// Why it was not opened. Other places are tried then.
    fn open_parent(&self, child: &Path, name: &OsStr) -> Result<OpenedFile, GateError>;

    /// Whether an extent line of a descriptor may name this device of the host, which [`OpenGate::open_extent`] then
    /// opens. Asked for lines that would name a file of another meaning otherwise (`VMFSRAW`, `VMFSRDM`), and before a
    /// disk is removed, renamed or made larger: the device is not a part of it.
    fn allows_device(&self, _name: &OsStr) -> bool {
        false
    }

    /// Makes an empty file and opens it for reading and writing. Its name is durable only after
    /// [`OpenGate::sync_folder`].
    ///
    /// # Errors
    /// [`GateError::Exists`] if there is anything of that name, and whatever else kept it from being made.
    fn create(&self, _path: &Path) -> Result<OpenedFile, GateError> {
        Err(GateError::unsupported())
    }

    /// Gives a file another name, unless there is anything of that name already.
    ///
    /// # Errors
    /// [`GateError::Exists`] and whatever else kept it from being renamed.
    fn rename(&self, _from: &Path, _to: &Path) -> Result<(), GateError> {
        Err(GateError::unsupported())
    }

    /// Puts the file `from` in the place of the file `to` at once: whoever opens `to` finds the one or the other. Owner
    /// and mode stay those of `to`, as far as that is permitted.
    ///
    /// # Errors
    /// What kept it from being replaced.
    fn replace(&self, _from: &Path, _to: &Path) -> Result<(), GateError> {
        Err(GateError::unsupported())
    }

    /// Removes a regular file. Whoever has it open keeps it.
    ///
    /// # Errors
    /// What kept it from being removed.
    fn remove(&self, _path: &Path) -> Result<(), GateError> {
        Err(GateError::unsupported())
    }

    /// Locks a file against other programs, by its [`path`](OpenedFile::path), and waits for that as long as `patience`
    /// lasts. The lock ends when what is returned is dropped.
    ///
    /// The locks of [`Storage::try_lock`] are not meant; they are taken beside this one. By default there are none.
    ///
    /// # Errors
    /// [`GateError::Locked`] if somebody else has it, and what kept it from being locked.
    fn lock(
        &self,
        _path: &Path,
        _kind: LockKind,
        _patience: Duration,
    ) -> Result<FileLock, GateError> {
        Ok(FileLock::none())
    }

    /// Makes durable which files are in the folder that `path`, a file, lies in.
    ///
    /// # Errors
    /// What the operating system reports.
    fn sync_folder(&self, _path: &Path) -> Result<(), GateError> {
        Err(GateError::unsupported())
    }
}

/// Why a gate did not open a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// There is no such file.
    #[error("the file does not exist")]
    NotFound,
    /// The file lies outside the folder of the descriptor that names it, and for a parent outside its neighbours too.
    #[error("the file lies outside the folders that the descriptor may name, at {}", .0.display())]
    Outside(PathBuf),
    /// A block device. Whoever wants it opened has to say so.
    #[error("it is the device {}, which opens only where devices are allowed", .0.display())]
    Device(PathBuf),
    /// A folder, a pipe, a device or anything else that is not a regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// A name that cannot be the name of a file.
    #[error("the name is empty or contains a NUL")]
    BadName,
    /// There is something of that name already.
    #[error("a file of that name exists")]
    Exists,
    /// Somebody else has locked it: who that is.
    #[error("it is locked by {0}")]
    Locked(String),
    /// It cannot be locked, because its lock folder cannot be made, read or written.
    #[error("it cannot be locked in its folder")]
    NoLock(#[source] io::Error),
    /// The operating system refused.
    #[error("the operating system refused it")]
    Io(#[source] io::Error),
}

impl From<io::Error> for GateError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Io(error),
        }
    }
}

/// For a file that was opened before.
impl From<GateError> for io::Error {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Io(error) | GateError::NoLock(error) => error,
            GateError::NotFound => Self::new(io::ErrorKind::NotFound, GateError::NotFound),
            error => Self::other(error),
        }
    }
}

impl GateError {
    fn unsupported() -> Self {
        Self::Io(io::ErrorKind::Unsupported.into())
    }

    fn kind_when_missing(&self, missing: ErrorKind) -> ErrorKind {
        match self {
            Self::NotFound => missing,
            Self::Outside(_) | Self::Device(_) | Self::NotRegular | Self::BadName => {
                ErrorKind::AccessRefused
            }
            Self::Exists => ErrorKind::AlreadyExists,
            Self::Locked(_) => ErrorKind::AlreadyLocked,
            Self::NoLock(error) if is_out_of_descriptors(error) => ErrorKind::TooManyOpenFiles,
            Self::NoLock(error) => io_kind(error),
            Self::Io(error) if is_out_of_descriptors(error) => ErrorKind::TooManyOpenFiles,
            Self::Io(error) => io_kind(error),
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

impl Cause for GateError {
    fn kind(&self) -> ErrorKind {
        self.kind_when_missing(ErrorKind::NotFound)
    }
}

/// A file that a descriptor names could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the extent \"{name}\" that the descriptor names: {gate}")]
pub(crate) struct ExtentRefused {
    pub(crate) name: String,
    gate: String,
    kind: ErrorKind,
    source: Option<io::Error>,
}

impl ExtentRefused {
    pub(crate) fn new(name: &OsStr, error: GateError) -> Self {
        Self {
            name: name.to_string_lossy().into_owned(),
            gate: error.to_string(),
            kind: error.kind_when_missing(ErrorKind::ExtentNotFound),
            source: match error {
                GateError::Io(error) => Some(error),
                _ => None,
            },
        }
    }
}

impl Cause for ExtentRefused {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
