//! A folder for disks, and what an export says of one.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use vixdisklib::nbd::{BlockState, DiskExport, Export};
use vixdisklib::{
    ByteLen, Connection, CreateOptions, DiskKind, Library, OpenFlags, Sector, SectorCount,
};

/// There is one library per process.
pub(crate) fn one_library() -> MutexGuard<'static, ()> {
    static LIBRARY: Mutex<()> = Mutex::new(());
    LIBRARY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct World {
    pub(crate) connection: Connection,
    pub(crate) folder: TempDir,
    _library: MutexGuard<'static, ()>,
}

impl World {
    pub(crate) fn new() -> Self {
        let library = one_library();
        Self {
            connection: Library::embedded().unwrap().connect_local().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            _library: library,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A disk with `content`, which is whole sectors.
    pub(crate) fn disk(&self, name: &str, kind: DiskKind, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        let sectors = SectorCount::new(content.len() as u64 / 512);
        let options = CreateOptions::new(kind, sectors);
        self.connection
            .create_disk(&path, &options, |_| {})
            .unwrap();
        let disk = self
            .connection
            .open_disk(&path, OpenFlags::empty())
            .unwrap();
        for (number, sector) in (0..).zip(content.chunks(512)) {
            if sector.iter().any(|byte| *byte != 0) {
                disk.write_at(Sector::new(number), sector).unwrap();
            }
        }
        disk.close().unwrap();
        path
    }

    pub(crate) fn child(&self, parent: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        let mut parent = self
            .connection
            .open_disk(parent, OpenFlags::READ_ONLY)
            .unwrap();
        let kind = DiskKind::MONOLITHIC_SPARSE;
        parent.create_child(&path, kind, |_| {}).unwrap();
        path
    }

    pub(crate) fn export(&self, path: &Path, flags: OpenFlags) -> DiskExport {
        let disk = self.connection.open_disk(path, flags).unwrap();
        DiskExport::new(disk.into_shared().unwrap()).unwrap()
    }
}

/// The states of a whole export, as lengths and states with neighbours merged.
pub(crate) fn map(export: &DiskExport) -> Vec<(u64, BlockState)> {
    let mut map: Vec<(u64, BlockState)> = Vec::new();
    let visit = &mut |length: ByteLen, state| {
        match map.last_mut() {
            Some(last) if last.1 == state => last.0 += length.get(),
            _ => map.push((length.get(), state)),
        }
        ControlFlow::Continue(())
    };
    export
        .block_status(ByteLen::ZERO, export.size(), visit)
        .unwrap();
    map
}

/// The same byte by byte.
pub(crate) fn states(export: &DiskExport) -> Vec<BlockState> {
    let runs = map(export).into_iter();
    runs.flat_map(|(length, state)| std::iter::repeat_n(state, usize::try_from(length).unwrap()))
        .collect()
}

/// All bytes.
pub(crate) fn content(export: &DiskExport) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(export.size().get()).unwrap()];
    export.read_at(ByteLen::ZERO, &mut bytes).unwrap();
    bytes
}

/// `length` bytes without a zero.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut number = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = (number ^ (number >> 32)) | 0x0101_0101_0101_0101;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
