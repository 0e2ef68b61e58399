//! What a written stream has around its grains: header and text in front, tables between, directory and footer behind.
//!
//! The order is that of exports of ESX and vCenter: nothing is ever written twice, so that the bytes can go anywhere.

use disk_units::SectorCount;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::writer::StreamError;
use crate::extent::header::{MAX_DESCRIPTOR_SECTORS, MAX_DIRECTORY_ENTRIES};
use crate::layout::{
    FLAG_COMPRESSED, FLAG_MARKERS, FLAG_NEWLINES, GD_AT_END, MARKER_DIRECTORY, MARKER_END,
    MARKER_FOOTER, MARKER_TABLE, Marker, NEWLINE_BYTES, SPARSE_MAGIC, SparseHeader,
};
use crate::units::GrainSize;

/// Sectors per grain.
pub(super) const GRAIN: u64 = 128;
/// Grains per grain table.
pub(super) const GRAINS_PER_TABLE: u64 = 512;
/// Sectors for the text, if it is not longer.
const TEXT_SECTORS: u64 = 20;

/// The header of a stream, and the text behind it.
#[derive(Debug)]
pub(super) struct Frame {
    header: SparseHeader,
    text: Vec<u8>,
}

impl Frame {
    /// The frame of a disk of `capacity` with this descriptor.
    pub(super) fn new(capacity: SectorCount, text: &[u8]) -> Result<Self, StreamError> {
        let grains = capacity.get().div_ceil(GRAIN);
        if grains == 0 || grains.div_ceil(GRAINS_PER_TABLE) > MAX_DIRECTORY_ENTRIES {
            return Err(StreamError::Capacity(capacity.get()));
        }
        let sectors = u64::try_from(text.len().div_ceil(512)).unwrap_or(u64::MAX);
        if sectors > MAX_DESCRIPTOR_SECTORS {
            return Err(StreamError::LongText(text.len()));
        }
        let text_sectors = sectors.max(TEXT_SECTORS);
        let header = SparseHeader {
            magic: *SPARSE_MAGIC,
            version: U32::new(3),
            flags: U32::new(FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS),
            capacity: U64::new(capacity.get()),
            grain_size: U64::new(GRAIN),
            descriptor_offset: U64::new(1),
            descriptor_size: U64::new(text_sectors),
            entries_per_table: U32::new(512),
            redundant_directory: U64::ZERO,
            directory: U64::new(GD_AT_END),
            overhead: U64::new(text_sectors.saturating_add(1).next_multiple_of(GRAIN)),
            unclean_shutdown: 0,
            newline_bytes: NEWLINE_BYTES,
            compress_algorithm: U16::new(1),
            pad: [0; 433],
        };
        Ok(Self {
            header,
            text: text.to_vec(),
        })
    }

    pub(super) fn capacity(&self) -> SectorCount {
        SectorCount::new(self.header.capacity.get())
    }

    pub(super) fn grain(&self) -> GrainSize {
        GrainSize::new(GRAIN).expect("128 is a power of two")
    }

    /// How many grain tables the disk may have.
    pub(super) fn tables(&self) -> u64 {
        self.grain()
            .grains_in(self.capacity())
            .div_ceil(GRAINS_PER_TABLE)
    }

    /// Everything in front of the first grain.
    pub(super) fn front(&self) -> Vec<u8> {
        let sectors = usize::try_from(self.header.overhead.get()).unwrap_or(0);
        let mut bytes = [self.header.as_bytes(), &self.text].concat();
        bytes.resize(sectors.saturating_mul(512), 0);
        bytes
    }

    /// A grain table and the marker in front of it.
    pub(super) fn table(entries: &[u32]) -> Vec<u8> {
        marked(MARKER_TABLE, entries)
    }

    /// Everything behind the last table. `position` is the sector at which it begins.
    pub(super) fn back(&self, directory: &[u32], position: u64) -> Vec<u8> {
        let mut bytes = marked(MARKER_DIRECTORY, directory);
        let mut footer = self.header.clone();
        footer.directory = U64::new(position.saturating_add(1));
        bytes.extend(marker(MARKER_FOOTER, 1).as_bytes());
        bytes.extend(footer.as_bytes());
        bytes.extend(marker(MARKER_END, 0).as_bytes());
        bytes
    }
}

fn marker(kind: u32, sectors: u64) -> Marker {
    Marker {
        sectors: U64::new(sectors),
        size: U32::ZERO,
        kind: U32::new(kind),
        pad: [0; 496],
    }
}

/// Entries, filled up to whole sectors, and the marker in front of them.
fn marked(kind: u32, entries: &[u32]) -> Vec<u8> {
    let length = entries.len().saturating_mul(4).next_multiple_of(512);
    let sectors = u64::try_from(length / 512).unwrap_or(u64::MAX);
    let mut bytes = marker(kind, sectors).as_bytes().to_vec();
    bytes.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
    bytes.resize(length.saturating_add(512), 0);
    bytes
}
