//! The default policy: files in the folder of the descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::{FileAccess, FileIdentity, GateError, OpenGate, OpenedFile};
use crate::lock::{FileLock, LockKind, lock_in_folder};
use crate::storage::FileStorage;

/// The default policy: regular files inside the folder tree of the descriptor, symbolic links followed.
///
/// Parents may also lie in a folder beside that of the child, as those of linked clones do.
///
/// Files are made, renamed and removed wherever the caller says; only regular files, never what a link leads to.
///
/// Locks are folders beside the files, as VMware products make them: `disk.vmdk.lck`.
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
                return Err(outside(path));
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

    fn create(&self, path: &Path) -> Result<OpenedFile, GateError> {
        let place = Place::of(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = rustix::fs::openat(&place.folder, &place.name, flags, mode);
        opened(place.path(), File::from(file.map_err(io::Error::from)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        let (from, to) = (Place::of_regular(from)?, Place::of(to)?);
        let none = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&from.folder, &from.name, &to.folder, &to.name, none) {
            // Some file systems cannot do that: a link is refused too where the name exists.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let no_flags = AtFlags::empty();
                rustix::fs::linkat(&from.folder, &from.name, &to.folder, &to.name, no_flags)
                    .and_then(|()| rustix::fs::unlinkat(&from.folder, &from.name, no_flags))
            }
            result => result,
        }
        .map_err(|error| io::Error::from(error).into())
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        let (from, to) = (Place::of_regular(from)?, Place::of_regular(to)?);
        from.take_owner_and_mode(&to)?;
        rustix::fs::renameat(&from.folder, &from.name, &to.folder, &to.name)
            .map_err(|error| io::Error::from(error).into())
    }

    fn remove(&self, path: &Path) -> Result<(), GateError> {
        let place = Place::of_regular(path)?;
        rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::empty())
            .map_err(|error| io::Error::from(error).into())
    }

    fn lock(&self, path: &Path, kind: LockKind, patience: Duration) -> Result<FileLock, GateError> {
        lock_in_folder(path, kind, patience)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), GateError> {
        let folder = File::open(Place::of(path)?.folder_path)?;
        match rustix::fs::fsync(&folder) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                tracing::debug!("the file system cannot be asked to make names durable");
                Ok(())
            }
            result => Ok(result.map_err(io::Error::from)?),
        }
    }
}

/// A name in an open folder, which nobody can put another folder in the place of.
struct Place {
    folder: OwnedFd,
    folder_path: PathBuf,
    name: OsString,
}

impl Place {
    /// Symbolic links to the folder are followed; the name itself is taken as it is.
    fn of(path: &Path) -> Result<Self, GateError> {
        let name = path.file_name().ok_or(GateError::BadName)?.to_owned();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder_path = fs::canonicalize(folder)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&folder_path, flags, Mode::empty());
        Ok(Self {
            folder: folder.map_err(io::Error::from)?,
            folder_path,
            name,
        })
    }

    /// The same where there must be a regular file.
    fn of_regular(path: &Path) -> Result<Self, GateError> {
        let place = Self::of(path)?;
        let stat = rustix::fs::statat(&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW);
        let mode = stat.map_err(io::Error::from)?.st_mode;
        if !FileType::from_raw_mode(mode).is_file() {
            return Err(GateError::NotRegular);
        }
        Ok(place)
    }

    /// Makes this file look to the system like another one that it is going to replace.
    fn take_owner_and_mode(&self, other: &Self) -> Result<(), GateError> {
        let stat = |place: &Self| {
            rustix::fs::statat(&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let take = || {
            let file = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?;
            let (own, wanted) = (stat(self)?, stat(other)?);
            let uid = (own.st_uid != wanted.st_uid).then(|| Uid::from_raw(wanted.st_uid));
            let gid = (own.st_gid != wanted.st_gid).then(|| Gid::from_raw(wanted.st_gid));
            for (uid, gid) in [(uid, None), (None, gid)] {
                match rustix::fs::fchown(&file, uid, gid) {
                    // Files are given away by their administrator only; whoever may write here may have one of their own.
                    Err(Errno::PERM) => {
                        tracing::warn!(name = ?self.name, "a replaced file gets another owner")
                    }
                    result => result?,
                }
            }
            // Some file systems have one mode for all files, which nobody may change.
            if (own.st_mode ^ wanted.st_mode) & 0o777 == 0 {
                return Ok(());
            }
            rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted.st_mode & 0o777))
        };
        Ok(take().map_err(io::Error::from)?)
    }

    fn path(&self) -> PathBuf {
        self.folder_path.join(&self.name)
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
pub(super) fn open_regular(
    folder: &Path,
    path: PathBuf,
    access: FileAccess,
) -> Result<OpenedFile, GateError> {
    open(folder, path, access, FileType::is_file)
}

/// Opens a block device, or a regular file, that the caller has allowed; `path` has no symbolic links left.
pub(super) fn open_device(path: PathBuf, access: FileAccess) -> Result<OpenedFile, GateError> {
    let is_allowed = |kind: FileType| kind.is_block_device() || kind.is_file();
    open(Path::new("/"), path, access, is_allowed)
}

/// A file outside the folder is refused; that it is a device says better why.
fn outside(path: PathBuf) -> GateError {
    let is_device = |metadata: fs::Metadata| metadata.file_type().is_block_device();
    if fs::symlink_metadata(&path).is_ok_and(is_device) {
        GateError::Device(path)
    } else {
        GateError::Outside(path)
    }
}

fn open(
    folder: &Path,
    path: PathBuf,
    access: FileAccess,
    is_allowed: impl Fn(FileType) -> bool,
) -> Result<OpenedFile, GateError> {
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
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !is_allowed(kind) {
        return Err(GateError::NotRegular);
    }
    let access = match access {
        FileAccess::Read => OFlags::RDONLY,
        FileAccess::ReadWrite => OFlags::RDWR,
    };
    // NONBLOCK covers a pipe that was put there in between.
    let mut flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if kind.is_block_device() && access == OFlags::RDWR {
        // Nothing that is mounted, or that a mounted file system is on.
        flags |= OFlags::EXCL;
    }
    let file = match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Err(Errno::BUSY) => return Err(GateError::Locked("the operating system".to_owned())),
        result => File::from(result.map_err(io::Error::from)?),
    };
    let metadata = file.metadata()?;
    if !is_allowed(FileType::from_raw_mode(metadata.mode())) {
        return Err(GateError::NotRegular);
    }
    Ok(OpenedFile {
        path,
        identity: identity(&metadata),
        storage: Arc::new(FileStorage::new(file)),
    })
}

/// A device is the same one by every name that it has. No file has the inode number 0.
fn identity(metadata: &fs::Metadata) -> FileIdentity {
    if metadata.file_type().is_block_device() {
        FileIdentity::new(metadata.rdev(), 0)
    } else {
        FileIdentity::new(metadata.dev(), metadata.ino())
    }
}

fn opened(path: PathBuf, file: File) -> Result<OpenedFile, GateError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(GateError::NotRegular);
    }
    Ok(OpenedFile {
        path,
        identity: identity(&metadata),
        storage: Arc::new(FileStorage::new(file)),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::{Cause, ErrorKind};

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

    /// Folders of some file systems, of those over a network too, know no sync. In `/proc` none does.
    #[test]
    fn a_folder_that_knows_no_sync_is_as_durable_as_it_gets() {
        FolderGate
            .sync_folder(Path::new("/proc/version"))
            .expect("nothing more can be done");
        let error = FolderGate.sync_folder(Path::new("/proc/none/version"));
        assert!(matches!(error, Err(GateError::NotFound)));
    }

    #[test]
    fn files_are_made_renamed_and_removed_but_never_through_links() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let at = |name: &str| scratch.path().join(name);
        let made = FolderGate.create(&at("a")).expect("makes it");
        made.storage
            .write_all_at(b"a", disk_units::ByteLen::ZERO)
            .expect("is writable");
        fs::write(at("secret"), "s").expect("create");
        symlink("secret", at("link")).expect("link");

        let exists = |result: Result<(), GateError>| matches!(result, Err(GateError::Exists));
        assert!(exists(FolderGate.create(&at("a")).map(drop)));
        assert!(exists(FolderGate.create(&at("link")).map(drop)));
        assert!(exists(FolderGate.rename(&at("a"), &at("link"))));
        FolderGate.rename(&at("a"), &at("b")).expect("renames");
        FolderGate.create(&at("c")).expect("makes it");
        FolderGate.replace(&at("b"), &at("c")).expect("replaces");
        assert_eq!(fs::read(at("c")).expect("is there"), b"a");
        assert!(!at("b").exists());
        FolderGate.sync_folder(&at("c")).expect("syncs");

        for result in [
            FolderGate.remove(&at("link")),
            FolderGate.rename(&at("link"), &at("d")),
            FolderGate.replace(&at("c"), &at("link")),
            FolderGate.remove(scratch.path()),
        ] {
            let error = result.expect_err("not a regular file");
            assert!(matches!(error, GateError::NotRegular), "{error}");
        }
        FolderGate.remove(&at("c")).expect("removes");
        let error = FolderGate.remove(&at("c")).expect_err("is gone");
        assert!(matches!(error, GateError::NotFound), "{error}");
        assert_eq!(fs::read(at("secret")).expect("untouched"), b"s");
    }
}
