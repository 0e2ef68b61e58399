//! Folders of temporary overlays: they go at the end, and what a killed process left goes when the next one is made.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, ErrorKind, Operation, Result};

/// What names of these folders begin with.
const PREFIX: &str = "vixdisklib-overlay-";

/// How many names are tried.
const MAX_NAMES: u32 = 1000;

/// No name is used again, so that who removes a folder by its name removes the one that was meant.
static NEXT_NAME: AtomicU32 = AtomicU32::new(0);

/// Locked as long as the folder is in use. The system unlocks it however the process ends, so who can lock it knows that
/// the folder is abandoned.
const LOCK: &str = "lock";

/// A folder that goes with all that is in it.
#[derive(Debug)]
pub(super) struct TemporaryFolder {
    path: PathBuf,
    /// None once the folder is gone.
    lock: Option<File>,
}

impl TemporaryFolder {
    /// A new one inside of `parent`, from which abandoned ones of the same user are removed.
    pub(super) fn new(parent: &Path) -> Result<Self> {
        let failed = |cause: io::Error| {
            let text = "no folder for the overlay";
            let kind = match cause.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                io::ErrorKind::StorageFull => ErrorKind::StorageFull,
                _ => ErrorKind::Io,
            };
            let error = Error::new(kind, Operation::CreateChild, text).with_cause(cause);
            error.with_path(parent)
        };
        // The child names its base by the way from here, which a link would lead astray.
        let parent = parent.canonicalize().map_err(failed)?;
        let folder = Self::in_use(&parent).map_err(failed)?;
        if let Err(error) = remove_abandoned(&parent, &folder.path) {
            tracing::warn!(%error, folder = %parent.display(), "abandoned overlays may stay");
        }
        Ok(folder)
    }

    fn in_use(parent: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        for _ in 0..MAX_NAMES {
            let number = NEXT_NAME.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}", process::id()));
            match builder.create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                created => created?,
            }
            match lock(&path) {
                Ok(None) => {}
                Ok(lock) => return Ok(Self { path, lock }),
                Err(error) => {
                    let _ = remove_all(&path);
                    return Err(error);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(mut self) -> Result<()> {
        self.end().map_err(|cause| {
            let text = "the folder of the overlay stays";
            Error::new(ErrorKind::Io, Operation::Close, text)
                .with_path(&self.path)
                .with_cause(cause)
        })
    }

    fn end(&mut self) -> io::Result<()> {
        // Unlocked when it is gone, or else somebody may take it for abandoned meanwhile.
        let _lock = self.lock.take();
        remove_all(&self.path)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = self.end();
        }
    }
}

/// Locks a new folder; none if somebody took it for abandoned in between.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = match File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        created => created?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => {
            // Then nobody else can lock it either, and the folder counts as in use for ever.
            tracing::debug!(%error, path = %path.display(), "the file system has no locks");
        }
        Ok(()) => {}
    }
    Ok(is_at(&file, &path).then_some(file))
}

/// Whether `path` is still the name of `file`.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(one), Ok(other)) => is_same(&one, &other),
        _ => false,
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// A locked file cannot go away here.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Removes the folders in `parent` that nobody uses and that have the owner of `own`.
fn remove_abandoned(parent: &Path, own: &Path) -> io::Result<()> {
    let own = fs::metadata(own)?;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if is_candidate(&entry, &own)
            && let Err(error) = remove_if_abandoned(&entry.path())
        {
            tracing::warn!(%error, folder = %entry.path().display(), "an abandoned overlay stays");
        }
    }
    Ok(())
}

/// Not those of others, who may have put anything there; and no links.
fn is_candidate(entry: &DirEntry, own: &Metadata) -> bool {
    let name = entry.file_name();
    let is_named = name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    is_named
        && entry
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && has_same_owner(&metadata, own))
}

#[cfg(unix)]
fn has_same_owner(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

/// Folders for temporary files belong to one user here.
#[cfg(not(unix))]
fn has_same_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

fn remove_if_abandoned(folder: &Path) -> io::Result<()> {
    let path = folder.join(LOCK);
    let lock = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Its process ended, or is, between making the folder and the lock. Only an empty one goes.
            let _ = fs::remove_dir(folder);
            return Ok(());
        }
        opened => opened?,
    };
    // It may be the lock of a folder that has gone meanwhile.
    if lock.try_lock().is_ok() && is_at(&lock, &path) {
        tracing::info!(folder = %folder.display(), "removing an abandoned overlay");
        remove_all(folder)?;
    }
    Ok(())
}

/// Once the lock file is gone, somebody else may remove the rest.
fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn make(path: &Path, files: &[&str]) {
        fs::create_dir(path).unwrap();
        for file in files {
            fs::write(path.join(file), "something").unwrap();
        }
    }

    #[test]
    fn what_nobody_uses_goes_and_the_rest_stays() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        make(&at("vixdisklib-overlay-1-0"), &[LOCK, "overlay.vmdk"]);
        make(&at("vixdisklib-overlay-1-1"), &[]);
        // Of a version without locks, and of others.
        make(&at("vixdisklib-overlay-1-2"), &["overlay.vmdk"]);
        make(&at("elsewhere"), &[LOCK]);
        fs::write(at("vixdisklib-overlay-file"), "a file").unwrap();
        let used = TemporaryFolder::new(parent.path()).unwrap();
        let also_used = TemporaryFolder::new(parent.path()).unwrap();
        assert_ne!(used.path(), also_used.path());
        for folder in [&used, &also_used] {
            assert!(folder.path().join(LOCK).exists());
        }
        used.remove().unwrap();
        drop(also_used);
        let stays = [
            "elsewhere",
            "vixdisklib-overlay-1-2",
            "vixdisklib-overlay-file",
        ];
        assert_eq!(names(parent.path()), stays);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere() {
        let parent = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join(LOCK), "").unwrap();
        let link = parent.path().join("vixdisklib-overlay-9-9");
        std::os::unix::fs::symlink(target.path(), &link).unwrap();
        drop(TemporaryFolder::new(parent.path()).unwrap());
        assert_eq!(names(target.path()), [LOCK]);
        assert!(link.is_symlink());
    }

    /// Many at once make, sweep and remove: each has a folder to itself, and none stays.
    #[test]
    fn those_who_come_at_once_do_not_take_each_other_away() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let folder = TemporaryFolder::new(parent.path()).unwrap();
                        let mine = folder.path().join("mine");
                        File::create_new(&mine).unwrap();
                        std::thread::yield_now();
                        assert!(mine.exists());
                        folder.remove().unwrap();
                    }
                });
            }
        });
        assert_eq!(names(parent.path()), [""; 0]);
    }
}
