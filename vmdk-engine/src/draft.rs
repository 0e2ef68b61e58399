//! Files that come to be under a name of their own before they take their place.
//!
//! The draft of a descriptor `disk.vmdk` is `disk.vmdk.draft`. Whoever makes one holds its lock; one that nobody holds is
//! what an interrupted change has left. Nobody removes one without holding its lock, and a lock counts only while the
//! locked file has its name: so of several who come at once one gets it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::gate::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::lock::{LockKind, LockRequest};

/// Somebody else is at it.
#[derive(Debug, thiserror::Error)]
#[error("a change of the disk is under way, by whoever has this file locked")]
struct UnderWay;

impl Cause for UnderWay {
    fn kind(&self) -> ErrorKind {
        ErrorKind::AlreadyLocked
    }
}

/// Where the draft of a file stands.
pub(crate) fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".draft");
    path.with_file_name(name)
}

/// Makes the draft of a file, locked, in place of one that an interrupted change has left.
pub(crate) fn make_draft(gate: &dyn OpenGate, path: &Path) -> Result<OpenedFile, Error> {
    make_draft_at(gate, &draft_of(path))
}

/// The same for a draft of another name.
pub(crate) fn make_draft_at(gate: &dyn OpenGate, draft: &Path) -> Result<OpenedFile, Error> {
    let make = || {
        let file = match gate.create(draft) {
            Err(GateError::Exists) => replace_left_behind(gate, draft)?,
            result => result?,
        };
        lock(gate, &file)?;
        Ok(file)
    };
    make().map_err(|error: Error| error.at(draft))
}

fn replace_left_behind(gate: &dyn OpenGate, draft: &Path) -> Result<OpenedFile, Error> {
    let replace = || -> Result<OpenedFile, Error> {
        let left_behind = open_left_behind(gate, draft)?;
        tracing::warn!(draft = %draft.display(), "what an interrupted change has left is removed");
        gate.remove(draft)?;
        drop(left_behind);
        Ok(gate.create(draft)?)
    };
    match replace() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
            Err(UnderWay.into())
        }
        result => result,
    }
}

/// Opens the draft that an interrupted change has left, and keeps everybody else from it.
pub(crate) fn open_left_behind(gate: &dyn OpenGate, draft: &Path) -> Result<OpenedFile, Error> {
    let file = gate.open_disk(draft, FileAccess::ReadWrite)?;
    lock(gate, &file)?;
    Ok(file)
}

/// Makes sure that nobody writes to a disk; keeps others from it until dropped.
pub(crate) fn expect_unlocked(gate: &dyn OpenGate, path: &Path) -> Result<OpenedFile, Error> {
    let open = || {
        let file = gate.open_disk(path, FileAccess::Read)?;
        LockRequest {
            kind: LockKind::Look,
            patience: Duration::ZERO,
        }
        .take(gate, &file)?;
        Ok(file)
    };
    open().map_err(|error: Error| error.at(path))
}

fn lock(gate: &dyn OpenGate, file: &OpenedFile) -> Result<(), Error> {
    match file.storage.try_lock() {
        Ok(true) => {}
        Ok(false) => return Err(UnderWay.into()),
        // Such file systems keep nobody out of anything.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
        Err(error) => return Err(IoFault::new("locking the file", error).into()),
    }
    // Before it was locked, somebody may have taken it for left behind, and made another.
    if file.is_at(gate, &file.path)? {
        Ok(())
    } else {
        Err(UnderWay.into())
    }
}

/// Files that a change has made; removed again, the last one first, unless the change comes to its end.
#[derive(Debug)]
pub(crate) struct NewFiles<'a> {
    gate: &'a dyn OpenGate,
    paths: Vec<PathBuf>,
}

impl<'a> NewFiles<'a> {
    pub(crate) fn new(gate: &'a dyn OpenGate) -> Self {
        Self {
            gate,
            paths: Vec::new(),
        }
    }

    /// Makes an empty file.
    pub(crate) fn create(&mut self, path: &Path) -> Result<OpenedFile, Error> {
        let made = self.gate.create(path);
        let file = made.map_err(|error| Error::from(error).at(path))?;
        self.add(&file.path);
        Ok(file)
    }

    /// Takes care of a file that was made elsewhere.
    pub(crate) fn add(&mut self, path: &Path) {
        self.paths.push(path.to_owned());
    }

    /// Gives one of them its place, under a name that nothing has.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        let renamed = self.gate.rename(from, to);
        renamed.map_err(|error| Error::from(error).at(to))?;
        for path in self.paths.iter_mut().filter(|path| *path == from) {
            to.clone_into(path);
        }
        Ok(())
    }

    /// Puts one of them in the place of a file that is there. It stays from then on, whatever happens.
    pub(crate) fn replace(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        let replaced = self.gate.replace(from, to);
        replaced.map_err(|error| Error::from(error).at(to))?;
        self.paths.retain(|path| path != from);
        Ok(())
    }

    /// They stay.
    pub(crate) fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for NewFiles<'_> {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            if let Err(error) = self.gate.remove(path) {
                tracing::warn!(path = %path.display(), %error, "a file that is of no use stays");
            }
        }
    }
}
