//! The files of one disk, in memory, behind a gate that watches what is done to them.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use vmdk_engine::{
    ByteLen, FileAccess, FileIdentity, GateError, MemoryStorage, OpenGate, OpenOptions, OpenedFile,
    Storage,
};

/// No file may grow beyond this, so that memory stays bounded whatever a header says.
const MAX_FILE: u64 = 8 << 20;

/// Named files. Clones share them; [`Files::copy`] does not.
#[derive(Clone, Debug, Default)]
pub struct Files {
    shared: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    files: Vec<File>,
    /// How many files there were.
    made: u64,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Stays the same when the file gets another name.
    number: u64,
    bytes: MemoryStorage,
}

impl Names {
    fn add(&mut self, path: &Path, bytes: Vec<u8>) -> &File {
        self.made += 1;
        self.files.push(File {
            path: path.to_owned(),
            number: self.made,
            bytes: MemoryStorage::new(bytes),
        });
        self.files.last().expect("it was just added")
    }

    fn find(&self, path: &Path) -> Result<&File, GateError> {
        let found = self.files.iter().find(|file| file.path == path);
        found.ok_or(GateError::NotFound)
    }
}

impl File {
    fn opened(&self, access: FileAccess) -> OpenedFile {
        OpenedFile {
            path: self.path.clone(),
            identity: FileIdentity::new(0, self.number),
            storage: Arc::new(Watched {
                bytes: self.bytes.clone(),
                access,
            }),
        }
    }
}

impl Files {
    /// The same files and one more.
    #[must_use]
    pub fn with(self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.names().add(Path::new(name), bytes.into());
        self
    }

    /// Files of their own, with the bytes that these have now, and no locks.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        for file in &self.names().files {
            copy.names().add(&file.path, file.bytes.to_vec());
        }
        copy
    }

    /// The name of the first file, which is the disk.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        let first = |names: &Names| Some(names.files.first()?.path.clone());
        first(&self.names()).unwrap_or_default()
    }

    /// Options to open a disk of these files with, and of no others.
    #[must_use]
    pub fn options(&self) -> OpenOptions {
        OpenOptions::new().gate(Arc::new(self.clone()))
    }

    /// All bytes as they are now.
    #[must_use]
    pub fn contents(&self) -> Vec<Vec<u8>> {
        let names = self.names();
        names.files.iter().map(|file| file.bytes.to_vec()).collect()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.shared.lock().expect("nobody panics with the lock")
    }
}

impl OpenGate for Files {
    fn open_disk(&self, path: &Path, access: FileAccess) -> Result<OpenedFile, GateError> {
        Ok(self.names().find(path)?.opened(access))
    }

    fn open_extent(
        &self,
        _descriptor: &Path,
        name: &OsStr,
        access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        Ok(self.names().find(Path::new(name))?.opened(access))
    }

    fn open_parent(&self, _child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        Ok(self.names().find(Path::new(name))?.opened(FileAccess::Read))
    }

    fn create(&self, path: &Path) -> Result<OpenedFile, GateError> {
        let mut names = self.names();
        if names.find(path).is_ok() {
            return Err(GateError::Exists);
        }
        Ok(names.add(path, Vec::new()).opened(FileAccess::ReadWrite))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        if self.names().find(to).is_ok() {
            return Err(GateError::Exists);
        }
        self.replace(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        let mut names = self.names();
        let number = names.find(from)?.number;
        let bytes = names.find(from)?.bytes.clone();
        names.files.retain(|file| file.number != number);
        let file = File {
            path: to.to_owned(),
            number,
            bytes,
        };
        // The first file stays the first.
        match names.files.iter_mut().find(|file| file.path == to) {
            Some(replaced) => *replaced = file,
            None => names.files.push(file),
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), GateError> {
        let mut names = self.names();
        names.find(path)?;
        names.files.retain(|file| file.path != path);
        Ok(())
    }

    fn sync_folder(&self, _path: &Path) -> Result<(), GateError> {
        Ok(())
    }
}

/// Bytes that only grow so far, and change only when they were opened for that.
#[derive(Debug)]
struct Watched {
    bytes: MemoryStorage,
    access: FileAccess,
}

impl Watched {
    fn before_change(&self, end: Option<u64>) -> io::Result<()> {
        assert_eq!(
            self.access,
            FileAccess::ReadWrite,
            "a change to a file that was opened for reading"
        );
        match end {
            Some(end) if end <= MAX_FILE => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Storage for Watched {
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
        self.bytes.read_exact_at(buf, position)
    }

    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
        let length = u64::try_from(buf.len()).expect("64 bits");
        self.before_change(position.get().checked_add(length))?;
        self.bytes.write_all_at(buf, position)
    }

    fn len(&self) -> io::Result<ByteLen> {
        self.bytes.len()
    }

    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.before_change(Some(len.get()))?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.bytes.sync_data()
    }

    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.before_change(Some(0))?;
        self.bytes.punch_hole(range)
    }

    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.before_change(Some(0))?;
        self.bytes.zero_range(range)
    }

    fn can_punch_holes(&self) -> bool {
        true
    }

    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
        self.bytes.next_data(position)
    }

    fn has_holes(&self) -> io::Result<bool> {
        self.bytes.has_holes()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.bytes.try_lock()
    }
}
