//! Disks that QEMU makes, of every sub-format that it and we know.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::client::qemu_img;
use crate::random::Random;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Bytes of a grain of the sparse formats.
pub const GRAIN: u64 = 128 * SECTOR;
/// Bytes that one grain table covers.
pub const TABLE: u64 = 512 * GRAIN;
/// Bytes after which QEMU begins another extent of a split disk.
pub const SPLIT: u64 = 4_194_304 * SECTOR;
/// One GiB without its last sector, in sectors.
pub const ODD_GIB: u64 = (1 << 21) - 1;

/// A sub-format, by the name of its `createType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One file with tables and data.
    MonolithicSparse,
    /// A text, and one file with nothing but data.
    MonolithicFlat,
    /// A text, and sparse files of at most 2 GiB.
    TwoGbMaxExtentSparse,
    /// A text, and data files of at most 2 GiB.
    TwoGbMaxExtentFlat,
    /// One file of compressed grains.
    StreamOptimized,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MonolithicSparse,
        Self::MonolithicFlat,
        Self::TwoGbMaxExtentSparse,
        Self::TwoGbMaxExtentFlat,
        Self::StreamOptimized,
    ];
    /// Those that can be written in place.
    pub const WRITABLE: [Self; 4] = [
        Self::MonolithicSparse,
        Self::MonolithicFlat,
        Self::TwoGbMaxExtentSparse,
        Self::TwoGbMaxExtentFlat,
    ];

    /// The name, as in the descriptor and for qemu-img.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MonolithicSparse => "monolithicSparse",
            Self::MonolithicFlat => "monolithicFlat",
            Self::TwoGbMaxExtentSparse => "twoGbMaxExtentSparse",
            Self::TwoGbMaxExtentFlat => "twoGbMaxExtentFlat",
            Self::StreamOptimized => "streamOptimized",
        }
    }

    /// Whether space is kept in grains.
    #[must_use]
    pub fn is_sparse(self) -> bool {
        !matches!(self, Self::MonolithicFlat | Self::TwoGbMaxExtentFlat)
    }

    /// An empty disk in `folder`.
    #[must_use]
    pub fn create(self, folder: &Path, bytes: u64) -> PathBuf {
        let disk = self.path(folder);
        qemu_img(crate::arguments![
            "create",
            "-q",
            "-f",
            "vmdk",
            "-o",
            self.option(),
            disk,
            bytes.to_string(),
        ]);
        disk
    }

    /// A disk in `folder` with the content of a raw file.
    #[must_use]
    pub fn convert(self, folder: &Path, raw: &Path) -> PathBuf {
        let disk = self.path(folder);
        qemu_img(crate::arguments![
            "convert",
            "-f",
            "raw",
            "-O",
            "vmdk",
            "-o",
            self.option(),
            raw,
            disk,
        ]);
        disk
    }

    fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.vmdk", self.name()))
    }

    fn option(self) -> String {
        format!("subformat={}", self.name())
    }
}

/// A raw file of `bytes` bytes in `folder`, with data in `pieces` random places, at both ends and across every border
/// that the formats have (grain, table, extent), as far as the file reaches.
#[must_use]
pub fn raw_with_data(folder: &Path, bytes: u64, pieces: u64, seed: u64) -> PathBuf {
    let path = folder.join("content.raw");
    let file = File::create(&path).expect("there is room for temporary files");
    file.set_len(bytes)
        .expect("there is room for temporary files");
    let mut random = Random::new(seed);
    let mut fill = |start: u64, length: u64| {
        let end = (start + length).min(bytes);
        if let Some(length) = end.checked_sub(start) {
            let content = random.bytes(usize::try_from(length).expect("a short piece"));
            file.write_all_at(&content, start)
                .expect("there is room for temporary files");
        }
    };
    fill(0, 2 * SECTOR);
    fill(bytes - SECTOR, SECTOR);
    for border in [GRAIN, 9 * GRAIN, TABLE, 2 * TABLE, SPLIT] {
        fill(border - 3 * SECTOR, 5 * SECTOR);
    }
    let mut places = Random::new(!seed);
    for _ in 0..pieces {
        let start = places.within(0..bytes.div_ceil(SECTOR)) * SECTOR;
        fill(start, places.within(1..400) * SECTOR);
    }
    path
}

/// Bytes that a file really takes.
#[must_use]
pub fn space_taken(path: &Path) -> u64 {
    fs::metadata(path).expect("the file is there").blocks() * 512
}
