//! Who may open the files that a descriptor names.
//!
//! A descriptor is untrusted text: one line in it can name any file of the host. So every file is opened through an
//! [`OpenGate`], and the default one, [`FolderGate`], stays inside the folder of the descriptor, or for parents beside
//! it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::error::{Cause, ErrorKind, io_kind};
use crate::storage::{FileStorage, Storage};

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

/// Decides which files may be opened, and opens them. Files are never created.
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
    /// A folder, a pipe, a device or anything else that is not a regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// A name that cannot be the name of a file.
    #[error("the name is empty or contains a NUL")]
    BadName,
    /// The operating system refused.
    #[error("the file cannot be opened")]
    Io(#[source] io::Error),
}

impl From<io::Error> for GateError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            _ => Self::Io(error),
        }
    }
}

impl GateError {
    fn kind_when_missing(&self, missing: ErrorKind) -> ErrorKind {
        match self {
            Self::NotFound => missing,
            Self::Outside(_) | Self::NotRegular | Self::BadName => ErrorKind::AccessRefused,
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

/// The default policy: regular files inside the folder tree of the descriptor, symbolic links followed.
///
/// Parents may also lie in a folder beside that of the child, as those of linked clones do.
///
/// Names with backslashes and the absolute names that ESX hosts write are also looked for by their last part, beside
/// the descriptor, since disks are copied off the systems that wrote them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderGate;

impl OpenGate for FolderGate {
    fn open_disk(&self, path: &Path, access: FileAccess) -> Result<OpenedFile, GateError> {
        let path = fs::canonicalize(path)?;
        let folder = path.parent().ok_or(GateError::NotRegular)?.to_owned();
        open_regular(&folder, path, access)
    }

    fn open_extent(
        &self,
        descriptor: &Path,
        name: &OsStr,
        access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        if name.is_empty() || name.as_bytes().contains(&0) {
            return Err(GateError::BadName);
        }
        let folder = descriptor.parent().unwrap_or(Path::new("/"));
        let open_one = |name: &OsStr| {
            let path = fs::canonicalize(folder.join(name))?;
            if !path.starts_with(folder) {
                return Err(GateError::Outside(path));
            }
            open_regular(folder, path, access)
        };
        match (open_one(name), foreign_last_part(name)) {
            (Err(GateError::NotFound), Some(last)) => open_one(last),
            (result, _) => result,
        }
    }

    fn open_parent(&self, child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        if name.is_empty() || name.as_bytes().contains(&0) {
            return Err(GateError::BadName);
        }
        let folder = child.parent().unwrap_or(Path::new("/"));
        let path = fs::canonicalize(folder.join(name))?;
        if path.starts_with(folder) {
            return open_regular(folder, path, FileAccess::Read);
        }
        match (folder.parent(), path.parent().and_then(Path::parent)) {
            (Some(around), Some(beside)) if around == beside => {
                open_regular(around, path, FileAccess::Read)
            }
            _ => Err(GateError::Outside(path)),
        }
    }
}

/// The last part of a name that a Windows or ESX host wrote; `None` for names of this system.
fn foreign_last_part(name: &OsStr) -> Option<&OsStr> {
    let bytes = name.as_bytes();
    let foreign = bytes.contains(&b'\\') || bytes.starts_with(b"/vmfs/volumes/");
    let last = bytes.rsplit(|byte| matches!(byte, b'\\' | b'/')).next()?;
    (foreign && !last.is_empty()).then(|| OsStr::from_bytes(last))
}

/// Opens a regular file and nothing else: a pipe would block, and opening a device can already have an effect.
///
/// `path` has no symbolic links left. One that is met on the way from `folder` was put there since, so none is followed.
fn open_regular(folder: &Path, path: PathBuf, access: FileAccess) -> Result<OpenedFile, GateError> {
    let inside = path.strip_prefix(folder).unwrap_or(&path);
    let (Some(parents), Some(name)) = (inside.parent(), inside.file_name()) else {
        return Err(GateError::NotRegular);
    };
    let to_folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(folder, to_folder, Mode::empty()).map_err(io::Error::from)?;
    for parent in parents {
        at = rustix::fs::openat(&at, parent, to_folder | OFlags::NOFOLLOW, Mode::empty())
            .map_err(io::Error::from)?;
    }
    let stat = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(GateError::NotRegular);
    }
    let access = match access {
        FileAccess::Read => OFlags::RDONLY,
        FileAccess::ReadWrite => OFlags::RDWR,
    };
    // NONBLOCK covers a pipe that was put there in between.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&at, name, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(GateError::NotRegular);
    }
    Ok(OpenedFile {
        path,
        identity: FileIdentity::new(metadata.dev(), metadata.ino()),
        storage: Arc::new(FileStorage::new(file)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn extent(descriptor: &Path, name: &str) -> Result<OpenedFile, GateError> {
        let descriptor = fs::canonicalize(descriptor).expect("exists");
        FolderGate.open_extent(&descriptor, OsStr::new(name), FileAccess::Read)
    }

    #[test]
    fn only_regular_files_inside_the_folder_open() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let folder = scratch.path().join("vm");
        fs::create_dir_all(folder.join("sub")).expect("create");
        let disk = folder.join("d.vmdk");
        for file in ["vm/d.vmdk", "vm/sub/e.vmdk", "vm/w.vmdk", "secret"] {
            fs::write(scratch.path().join(file), file).expect("create");
        }
        symlink("../secret", folder.join("link")).expect("link");
        symlink("sub/e.vmdk", folder.join("inside")).expect("link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");

        let absolute = folder.join("w.vmdk");
        for name in [
            "sub/e.vmdk",
            "inside",
            "sub/../w.vmdk",
            r"C:\disks\w.vmdk",
            "/vmfs/volumes/5f/vm/w.vmdk",
            absolute.to_str().expect("UTF-8"),
        ] {
            extent(&disk, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for name in ["../secret", "link", "/etc/hostname", "sub/../../secret"] {
            let error = extent(&disk, name).unwrap_err();
            assert!(matches!(error, GateError::Outside(_)), "{name}: {error}");
            assert_eq!(error.kind(), ErrorKind::AccessRefused);
        }
        for name in ["pipe", ".", "sub"] {
            let error = extent(&disk, name).unwrap_err();
            assert!(matches!(error, GateError::NotRegular), "{name}: {error}");
        }
        assert!(matches!(extent(&disk, "gone"), Err(GateError::NotFound)));
        assert!(matches!(extent(&disk, ""), Err(GateError::BadName)));
    }

    /// What a path becomes when a folder or a file is replaced by a link between looking it up and opening it.
    #[test]
    fn links_put_in_the_way_are_not_followed() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let scratch = fs::canonicalize(scratch.path()).expect("exists");
        let folder = scratch.join("vm");
        fs::create_dir_all(folder.join("sub")).expect("create");
        fs::create_dir(scratch.join("outside")).expect("create");
        for file in ["vm/sub/e.vmdk", "outside/e.vmdk"] {
            fs::write(scratch.join(file), file).expect("create");
        }
        symlink("../outside", folder.join("replaced")).expect("link");
        symlink("../outside/e.vmdk", folder.join("e.vmdk")).expect("link");
        let open = |inside: &str| open_regular(&folder, folder.join(inside), FileAccess::Read);
        open("sub/e.vmdk").expect("nothing was replaced");
        for inside in ["replaced/e.vmdk", "e.vmdk"] {
            assert!(open(inside).is_err(), "{inside}");
        }
    }

    #[test]
    fn parents_may_lie_in_the_folder_and_beside_it() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        for folder in ["vms/clone/sub", "vms/base/deep"] {
            fs::create_dir_all(scratch.path().join(folder)).expect("create");
        }
        for file in [
            "secret",
            "vms/up",
            "vms/clone/c",
            "vms/clone/sub/d",
            "vms/base/b",
            "vms/base/deep/e",
        ] {
            fs::write(scratch.path().join(file), file).expect("create");
        }
        symlink("../../secret", scratch.path().join("vms/base/link")).expect("link");
        let child = fs::canonicalize(scratch.path().join("vms/clone/c")).expect("exists");
        let open = |name: &str| FolderGate.open_parent(&child, OsStr::new(name));
        for name in ["c", "sub/d", "../base/b", "../clone/sub/d"] {
            open(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let outside = [
            "../up",
            "../../secret",
            "../base/deep/e",
            "../base/link",
            "/etc/hostname",
        ];
        for name in outside {
            let error = open(name).unwrap_err();
            assert!(matches!(error, GateError::Outside(_)), "{name}: {error}");
        }
        assert!(matches!(open("../base/gone"), Err(GateError::NotFound)));
        assert!(matches!(
            open("../base"),
            Err(GateError::Outside(_) | GateError::NotRegular)
        ));
        assert!(matches!(open(""), Err(GateError::BadName)));
    }

    #[test]
    fn links_have_the_identity_of_their_file() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let disk = scratch.path().join("d.vmdk");
        fs::write(&disk, "x").expect("create");
        fs::hard_link(&disk, scratch.path().join("hard")).expect("link");
        let one = extent(&disk, "d.vmdk").expect("opens").identity;
        assert_eq!(extent(&disk, "hard").expect("opens").identity, one);
    }
}
