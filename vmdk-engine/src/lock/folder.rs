//! The lock folder of a file: `disk.vmdk.lck` beside `disk.vmdk`, and what is in it.
//!
//! Whoever gives somebody a disk can put anything in the place of the lock folder: no link is followed, and nothing is
//! removed but what has the name of a lock.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::member::{MEMBER_LEN, Member};
use crate::gate::GateError;

/// More than this is in no lock folder that anybody uses.
const MAX_ENTRIES: usize = 10_000;
/// Others remove the folder between two calls only now and then.
const MAX_TRIES: u32 = 10_000;

/// Where the lock folder of a file is, or would be.
#[derive(Clone, Debug)]
pub(super) struct LockFolder {
    beside: PathBuf,
    name: OsString,
}

impl LockFolder {
    /// The lock folder of a file whose path has no symbolic links.
    pub(super) fn of(file: &Path) -> Result<Self, GateError> {
        let (Some(beside), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(GateError::BadName);
        };
        let mut name = name.to_owned();
        name.push(".lck");
        Ok(Self {
            beside: beside.to_owned(),
            name,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.beside.join(&self.name)
    }

    fn open_beside(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.beside, flags, Mode::empty())?)
    }

    /// Opens the folder; `None` if there is none.
    pub(super) fn open(&self) -> io::Result<Option<OpenFolder>> {
        match self.open_in(&self.open_beside()?) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_in(&self, beside: &OwnedFd) -> Result<OpenFolder, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(beside, &self.name, flags, Mode::empty()).map(OpenFolder)
    }

    /// Opens the folder, which is made if it is not there. A file in its place is a lock of the oldest kind, which
    /// nobody uses any more.
    pub(super) fn open_or_make(&self) -> io::Result<OpenFolder> {
        let beside = self.open_beside()?;
        for _ in 0..MAX_TRIES {
            match self.open_in(&beside) {
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let stat = rustix::fs::statat(&beside, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if !FileType::from_raw_mode(stat.st_mode).is_file() {
                        return Err(Errno::NOTDIR.into());
                    }
                    rustix::fs::unlinkat(&beside, &self.name, AtFlags::empty())?;
                }
                result => return Ok(result?),
            }
            match rustix::fs::mkdirat(&beside, &self.name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other("the lock folder comes and goes"))
    }

    /// Removes the folder unless somebody else's locks are in it.
    pub(super) fn remove_if_empty(&self) {
        let removed = self.open_beside().and_then(|beside| {
            Ok(rustix::fs::unlinkat(
                &beside,
                &self.name,
                AtFlags::REMOVEDIR,
            )?)
        });
        if let Err(error) = removed {
            tracing::trace!(%error, folder = %self.path().display(), "a lock folder stays");
        }
    }
}

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder: its maker is choosing the number of its lock.
    Choosing,
    /// A lock that is being written.
    Draft,
    /// A lock that is held or waited for.
    Lock,
}

/// An entry of a lock folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Chosen at random by whoever makes the entry.
    pub(super) digits: u16,
}

impl Entry {
    pub(super) fn new(kind: Kind, digits: u16) -> Self {
        Self { kind, digits }
    }

    fn name(self) -> String {
        let letter = match self.kind {
            Kind::Choosing => 'D',
            Kind::Draft => 'E',
            Kind::Lock => 'M',
        };
        format!("{letter}{:05}.lck", self.digits)
    }

    fn parse(name: &[u8]) -> Option<Self> {
        let [letter, digits @ .., b'.', b'l', b'c', b'k'] = name else {
            return None;
        };
        let kind = match letter {
            b'D' => Kind::Choosing,
            b'E' => Kind::Draft,
            b'M' => Kind::Lock,
            _ => return None,
        };
        if digits.len() != 5 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self { kind, digits })
    }
}

/// What a lock file turned out to be.
#[derive(Debug)]
pub(super) enum Found {
    Member(Member),
    Corrupt,
    /// Somebody else removed it meanwhile.
    Gone,
}

/// An open lock folder.
#[derive(Debug)]
pub(super) struct OpenFolder(OwnedFd);

impl OpenFolder {
    /// All entries of one kind. What has another name is nobody's lock.
    pub(super) fn entries(&self, kind: Kind) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (count, entry) in Dir::read_from(&self.0)?.enumerate() {
            if count >= MAX_ENTRIES {
                return Err(io::Error::other("the lock folder has too many entries"));
            }
            let entry = Entry::parse(entry?.file_name().to_bytes());
            entries.extend(entry.filter(|entry| entry.kind == kind));
        }
        Ok(entries)
    }

    /// Makes the folder that says that a number is being chosen; `false` if there is an entry with these digits.
    pub(super) fn begin_choosing(&self, digits: u16) -> io::Result<bool> {
        let choosing = Entry::new(Kind::Choosing, digits).name();
        match rustix::fs::mkdirat(&self.0, choosing, Mode::from_raw_mode(0o777)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        for kind in [Kind::Draft, Kind::Lock] {
            let name = Entry::new(kind, digits).name();
            match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                result => {
                    self.remove(Entry::new(Kind::Choosing, digits));
                    result?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Makes a lock appear at once and whole.
    pub(super) fn enter(&self, digits: u16, member: &Member) -> io::Result<()> {
        let draft = Entry::new(Kind::Draft, digits);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = rustix::fs::openat(&self.0, draft.name(), flags, mode)?;
        let mut file = File::from(file);
        let written = file.write_all(&member.to_bytes());
        // Closed before it has its name: only then others see its bytes where the folder is on a network.
        drop(file);
        let result = written.and_then(|()| {
            let lock = Entry::new(Kind::Lock, digits).name();
            Ok(rustix::fs::renameat(&self.0, draft.name(), &self.0, lock)?)
        });
        if result.is_err() {
            self.remove(draft);
        }
        result
    }

    /// Reads a lock file.
    pub(super) fn read(&self, entry: Entry) -> io::Result<Found> {
        // NONBLOCK covers a pipe in its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, entry.name(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Found::Gone),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Found::Corrupt),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(Found::Corrupt);
        }
        let mut bytes = Vec::with_capacity(MEMBER_LEN);
        let limit = u64::try_from(MEMBER_LEN).unwrap_or(0).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Member::parse(&bytes).map_or(Found::Corrupt, Found::Member))
    }

    /// What tells an entry from a later one of the same name; `None` if it is gone.
    pub(super) fn identity(&self, entry: Entry) -> Option<(u64, i64)> {
        let stat = rustix::fs::statat(&self.0, entry.name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_ino, stat.st_mtime))
    }

    /// Removes an entry. That somebody else has removed it is as good; what cannot be removed stays.
    pub(super) fn remove(&self, entry: Entry) {
        let mut removed = rustix::fs::unlinkat(&self.0, entry.name(), AtFlags::empty());
        if matches!(removed, Err(Errno::ISDIR | Errno::PERM)) {
            removed = rustix::fs::unlinkat(&self.0, entry.name(), AtFlags::REMOVEDIR);
        }
        if let Err(error) = removed
            && error != Errno::NOENT
        {
            tracing::warn!(%error, entry = entry.name(), "an entry of a lock folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_are_exact() {
        for (kind, name) in [
            (Kind::Choosing, "D00007.lck"),
            (Kind::Draft, "E00007.lck"),
            (Kind::Lock, "M00007.lck"),
        ] {
            let entry = Entry::new(kind, 7);
            assert_eq!(entry.name(), name);
            assert_eq!(Entry::parse(name.as_bytes()), Some(entry));
        }
        for name in [
            "M7.lck",
            "M000007.lck",
            "M00007",
            "X00007.lck",
            "M-0007.lck",
            "M99999.lck",
            "",
        ] {
            assert_eq!(Entry::parse(name.as_bytes()), None, "{name}");
        }
    }
}
