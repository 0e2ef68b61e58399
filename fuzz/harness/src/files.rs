//! The files of one disk, in memory, behind a gate that watches what is done to them.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmdk_engine::{
    ByteLen, FileAccess, FileIdentity, GateError, MemoryStorage, OpenGate, OpenOptions, OpenedFile,
    Storage,
};

/// No file may grow beyond this, so that memory stays bounded whatever a header says.
const MAX_FILE: u64 = 8 << 20;

/// Named files. Clones share the bytes; [`Files::copy`] does not.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: Vec<(String, MemoryStorage)>,
}

impl Files {
    /// The same files and one more.
    #[must_use]
    pub fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files
            .push((name.to_owned(), MemoryStorage::new(bytes.into())));
        self
    }

    /// Files of their own, with the bytes that these have now, and no locks.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copied = |(name, storage): &(String, MemoryStorage)| {
            (name.clone(), MemoryStorage::new(storage.to_vec()))
        };
        Self {
            files: self.files.iter().map(copied).collect(),
        }
    }

    /// The name of the first file, which is the disk.
    #[must_use]
    pub fn disk(&self) -> &str {
        self.files.first().map_or("", |(name, _)| name)
    }

    /// Options to open a disk of these files with, and of no others.
    #[must_use]
    pub fn options(&self) -> OpenOptions {
        OpenOptions::new().gate(Arc::new(self.clone()))
    }

    /// All bytes as they are now.
    #[must_use]
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.files
            .iter()
            .map(|(_, storage)| storage.to_vec())
            .collect()
    }

    fn find(&self, name: &OsStr, access: FileAccess) -> Result<OpenedFile, GateError> {
        let known = |(known, _): &(String, MemoryStorage)| OsStr::new(known) == name;
        let index = self.files.iter().position(known);
        let index = index.ok_or(GateError::NotFound)?;
        Ok(OpenedFile {
            path: PathBuf::from(name),
            identity: FileIdentity::new(0, u64::try_from(index).expect("64 bits")),
            storage: Arc::new(Watched {
                bytes: self.files[index].1.clone(),
                access,
            }),
        })
    }
}

impl OpenGate for Files {
    fn open_disk(&self, path: &Path, access: FileAccess) -> Result<OpenedFile, GateError> {
        self.find(path.as_os_str(), access)
    }

    fn open_extent(
        &self,
        _descriptor: &Path,
        name: &OsStr,
        access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        self.find(name, access)
    }

    fn open_parent(&self, _child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        self.find(name, FileAccess::Read)
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
