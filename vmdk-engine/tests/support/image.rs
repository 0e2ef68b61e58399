//! Disks built byte by byte, as the programs that write them would.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use vmdk_engine::{
    FileAccess, FileIdentity, GateError, MemoryStorage, OpenGate, OpenOptions, OpenedFile, Storage,
};

use super::recording::Recording;

pub const SECTOR: usize = 512;
pub const GRAIN: u64 = 128;

/// A descriptor text as hosted products write it.
pub fn descriptor(create_type: &str, extents: &[&str]) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=1f2e3d4c\nparentCID=ffffffff\n\
         createType=\"{create_type}\"\n\n# Extent description\n{}\n\n# The Disk Data Base \n#DDB\n\n\
         ddb.adapterType = \"lsilogic\"\nddb.longContentID = \"00112233445566778899aabb1f2e3d4c\"\n",
        extents.join("\n")
    )
}

/// Makes a descriptor that of a child.
pub fn child_of(text: &str, cid: u32, parent: u32, hint: &str) -> String {
    text.replace("CID=1f2e3d4c", &format!("CID={cid:08x}"))
        .replace(
            "parentCID=ffffffff",
            &format!("parentCID={parent:08x}\nparentFileNameHint=\"{hint}\""),
        )
}

/// A hosted sparse extent as QEMU lays it out: header, text, redundant tables, tables, grains.
#[derive(Clone, Debug)]
pub struct SparseImage {
    pub capacity: u64,
    pub grain: u64,
    pub version: u32,
    pub flags: u32,
    /// Embedded text; empty for an extent of a split disk.
    pub text: String,
    /// Whether tables exist from the start, or their directory entries are zero.
    pub preallocated: bool,
}

impl SparseImage {
    /// A `monolithicSparse` disk of `capacity` sectors.
    pub fn monolithic(capacity: u64) -> Self {
        let line = format!("RW {capacity} SPARSE \"disk.vmdk\"");
        Self {
            capacity,
            grain: GRAIN,
            version: 1,
            flags: 3,
            text: descriptor("monolithicSparse", &[&line]),
            preallocated: true,
        }
    }

    /// One extent of a split disk.
    pub fn extent(capacity: u64) -> Self {
        Self {
            text: String::new(),
            ..Self::monolithic(capacity)
        }
    }

    pub fn tables(&self) -> u64 {
        self.capacity.div_ceil(512 * self.grain)
    }

    fn directory_sectors(&self) -> u64 {
        (self.tables() * 4).div_ceil(512)
    }

    pub fn redundant_directory(&self) -> u64 {
        21
    }

    pub fn directory(&self) -> u64 {
        self.redundant_directory() + self.directory_sectors() + 4 * self.tables()
    }

    pub fn first_table(&self) -> u64 {
        self.directory() + self.directory_sectors()
    }

    pub fn overhead(&self) -> u64 {
        (self.first_table() + 4 * self.tables()).next_multiple_of(self.grain)
    }

    pub fn build(&self) -> Vec<u8> {
        let mut image = vec![0; usize::try_from(self.overhead()).unwrap() * SECTOR];
        put(&mut image, 0, b"KDMV");
        put(&mut image, 4, &self.version.to_le_bytes());
        put(&mut image, 8, &self.flags.to_le_bytes());
        let has_text = u64::from(!self.text.is_empty());
        for (position, value) in [
            (12, self.capacity),
            (20, self.grain),
            (28, has_text),
            (36, 20 * has_text),
            (48, self.redundant_directory()),
            (56, self.directory()),
            (64, self.overhead()),
        ] {
            put(&mut image, position, &value.to_le_bytes());
        }
        put(&mut image, 44, &512_u32.to_le_bytes());
        put(&mut image, 73, b"\n \r\n");
        put(&mut image, 512, self.text.as_bytes());
        for table in (0..self.tables()).filter(|_| self.preallocated) {
            for (directory, first) in [
                (
                    self.redundant_directory(),
                    self.redundant_directory() + self.directory_sectors(),
                ),
                (self.directory(), self.first_table()),
            ] {
                let entry = u32::try_from(first + 4 * table).unwrap();
                put_entry(&mut image, directory, table, entry);
            }
        }
        image
    }
}

/// Overwrites bytes at a position.
pub fn put(image: &mut [u8], position: usize, bytes: &[u8]) {
    image[position..position + bytes.len()].copy_from_slice(bytes);
}

/// Overwrites entry `index` of the directory or table that begins in a sector.
pub fn put_entry(image: &mut [u8], sector: u64, index: u64, entry: u32) {
    let position = usize::try_from(sector * 512 + index * 4).unwrap();
    put(image, position, &entry.to_le_bytes());
}

/// Entry `index` of the directory or table that begins in a sector.
pub fn entry(image: &[u8], sector: u64, index: u64) -> u32 {
    let position = usize::try_from(sector * 512 + index * 4).unwrap();
    u32::from_le_bytes(image[position..position + 4].try_into().unwrap())
}

/// A stream-optimised disk as ESX exports it: tables behind their grains, a footer at the end.
#[derive(Clone, Debug)]
pub struct StreamImage {
    pub bytes: Vec<u8>,
    /// Where the record of each grain begins; 0 for grains of zeros.
    pub records: Vec<u64>,
    pub directory: u64,
}

impl StreamImage {
    /// `pad_last`: whether a last grain that the capacity cuts is padded before it is compressed.
    pub fn build(content: &[u8], pad_last: bool) -> Self {
        let capacity = u64::try_from(content.len() / SECTOR).unwrap();
        let line = format!("RDONLY {capacity} SPARSE \"generated-stream.vmdk\"");
        let text = descriptor("streamOptimized", &[&line]);
        let mut bytes = vec![0; 128 * SECTOR];
        put(&mut bytes, 0, b"KDMV");
        put(&mut bytes, 4, &3_u32.to_le_bytes());
        put(&mut bytes, 8, &0x30001_u32.to_le_bytes());
        for (position, value) in [
            (12, capacity),
            (20, GRAIN),
            (28, 1),
            (36, 20),
            (56, u64::MAX),
            (64, 128),
        ] {
            put(&mut bytes, position, &value.to_le_bytes());
        }
        put(&mut bytes, 44, &512_u32.to_le_bytes());
        put(&mut bytes, 73, b"\n \r\n");
        put(&mut bytes, 77, &1_u16.to_le_bytes());
        put(&mut bytes, 512, text.as_bytes());

        let grain_bytes = usize::try_from(GRAIN).unwrap() * SECTOR;
        let mut records = Vec::new();
        let mut directory = Vec::new();
        for table in content.chunks(512 * grain_bytes) {
            let first = records.len();
            for (grain, data) in table.chunks(grain_bytes).enumerate() {
                if data.iter().all(|byte| *byte == 0) {
                    records.push(0);
                    continue;
                }
                let mut data = data.to_vec();
                if pad_last {
                    data.resize(grain_bytes, 0);
                }
                records.push(sectors(&bytes));
                let lba = u64::try_from(first + grain).unwrap() * GRAIN;
                push_record(&mut bytes, lba, &deflate(&data));
            }
            let own = &records[first..];
            if own.iter().all(|record| *record == 0) {
                directory.push(0);
                continue;
            }
            push_marker(&mut bytes, 4, 1);
            directory.push(sectors(&bytes));
            let mut entries = own.to_vec();
            entries.resize(512, 0);
            push_entries(&mut bytes, &entries);
        }
        let directory_sectors = u64::try_from(directory.len() * 4).unwrap().div_ceil(512);
        push_marker(&mut bytes, directory_sectors, 2);
        let directory_start = sectors(&bytes);
        push_entries(&mut bytes, &directory);
        push_marker(&mut bytes, 1, 3);
        let mut footer = bytes[..SECTOR].to_vec();
        put(&mut footer, 56, &directory_start.to_le_bytes());
        bytes.extend(footer);
        bytes.extend([0; SECTOR]);
        Self {
            bytes,
            records,
            directory: directory_start,
        }
    }
}

fn sectors(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len() / SECTOR).unwrap()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
}

fn push_record(bytes: &mut Vec<u8>, lba: u64, compressed: &[u8]) {
    bytes.extend(lba.to_le_bytes());
    bytes.extend(u32::try_from(compressed.len()).unwrap().to_le_bytes());
    bytes.extend(compressed);
    pad(bytes);
}

fn push_marker(bytes: &mut Vec<u8>, sectors: u64, kind: u32) {
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    pad(bytes);
}

fn push_entries(bytes: &mut Vec<u8>, entries: &[u64]) {
    for entry in entries {
        bytes.extend(u32::try_from(*entry).unwrap().to_le_bytes());
    }
    pad(bytes);
}

/// A zlib stream, as stream-optimised disks hold it.
pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A gate to files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryGate {
    files: Vec<(String, Stored)>,
}

#[derive(Clone, Debug)]
enum Stored {
    /// Opened anew each time, so that locks end with their disk.
    Bytes(MemoryStorage),
    /// The same storage for every open.
    Shared(Recording),
}

impl MemoryGate {
    pub fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let stored = Stored::Bytes(MemoryStorage::new(bytes.into()));
        self.files.push((name.to_owned(), stored));
        self
    }

    pub fn with_recording(mut self, name: &str, recording: &Recording) -> Self {
        self.files
            .push((name.to_owned(), Stored::Shared(recording.clone())));
        self
    }

    /// The bytes of a file as they are now.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let file = self.files.iter().find(|(known, _)| known == name);
        match &file.unwrap().1 {
            Stored::Bytes(storage) => storage.to_vec(),
            Stored::Shared(recording) => recording.bytes(),
        }
    }

    pub fn options(&self) -> OpenOptions {
        OpenOptions::new().gate(Arc::new(self.clone()))
    }

    fn find(&self, name: &OsStr) -> Result<OpenedFile, GateError> {
        let found = self
            .files
            .iter()
            .position(|(known, _)| OsStr::new(known) == name);
        let index = found.ok_or(GateError::NotFound)?;
        let storage: Arc<dyn Storage> = match &self.files[index].1 {
            Stored::Bytes(storage) => Arc::new(storage.clone()),
            Stored::Shared(recording) => Arc::new(recording.clone()),
        };
        Ok(OpenedFile {
            path: PathBuf::from(name),
            identity: FileIdentity::new(0, u64::try_from(index).unwrap()),
            storage,
        })
    }
}

impl OpenGate for MemoryGate {
    fn open_disk(&self, path: &Path, _access: FileAccess) -> Result<OpenedFile, GateError> {
        self.find(path.as_os_str())
    }

    fn open_extent(
        &self,
        _descriptor: &Path,
        name: &OsStr,
        _access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        self.find(name)
    }

    fn open_parent(&self, _child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        self.find(name)
    }
}
