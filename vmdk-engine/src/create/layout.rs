//! Where things stand in a hosted sparse extent that nobody has written to yet.
//!
//! Every grain table is there from the start, twice, so that no other program has to make one: qemu-img 10 was observed
//! to overwrite the header of a file that lacks one.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note), and the same layout observed with qemu-img 10.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::IntoBytes;

use crate::error::{Error, IoFault};
use crate::layout::{FLAG_NEWLINES, FLAG_REDUNDANT, NEWLINE_BYTES, SPARSE_MAGIC, SparseHeader};
use crate::storage::Storage;
use crate::units::{byte_position, clamped};

/// The sectors of a new grain: 64 KiB.
pub(crate) const NEW_GRAIN: u64 = 128;
/// The entries of a new grain table.
const TABLE_ENTRIES: u64 = 512;
/// The sectors of a new grain table.
const TABLE_SECTORS: u64 = 4;
/// The sectors that are kept for an embedded descriptor.
pub(crate) const TEXT_SECTORS: SectorCount = SectorCount::new(20);

/// The layout of an extent without grains. Positions are sectors of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FreshLayout {
    capacity: SectorCount,
    /// Where the descriptor goes, if it is embedded.
    text: Option<SectorRange>,
    tables: u64,
    directory_len: u64,
}

impl FreshLayout {
    /// The layout of the only extent of a disk, which has the descriptor inside.
    pub(crate) fn monolithic(capacity: SectorCount) -> Self {
        Self::new(capacity, Some(clamped(Sector::new(1), TEXT_SECTORS)))
    }

    /// The layout of one extent among others.
    pub(crate) fn split(capacity: SectorCount) -> Self {
        Self::new(capacity, None)
    }

    fn new(capacity: SectorCount, text: Option<SectorRange>) -> Self {
        let tables = capacity
            .get()
            .div_ceil(NEW_GRAIN.saturating_mul(TABLE_ENTRIES));
        let directory_len = ByteLen::new(tables.saturating_mul(4)).sectors_rounded_up();
        Self {
            capacity,
            text,
            tables,
            directory_len: directory_len.get(),
        }
    }

    fn redundant_directory(&self) -> u64 {
        self.text.map_or(1, |text| text.end().get())
    }

    /// What a directory takes up together with its tables.
    fn copy_len(&self) -> u64 {
        self.tables
            .saturating_mul(TABLE_SECTORS)
            .saturating_add(self.directory_len)
    }

    fn directory(&self) -> u64 {
        self.redundant_directory().saturating_add(self.copy_len())
    }

    /// Everything in front of the first grain: the length of the new file.
    pub(crate) fn overhead(&self) -> SectorCount {
        let end = self.directory().saturating_add(self.copy_len());
        SectorCount::new(end.checked_next_multiple_of(NEW_GRAIN).unwrap_or(u64::MAX))
    }

    /// Writes the extent into an empty file.
    pub(crate) fn write(&self, storage: &dyn Storage, text: &[u8]) -> Result<(), Error> {
        let fault = |error| IoFault::new("writing the metadata of a new extent", error);
        // The tables are zeros, which a longer file has by itself.
        let length = self.overhead().bytes().unwrap_or(ByteLen::new(u64::MAX));
        storage.set_len(length).map_err(fault)?;
        for directory in [self.redundant_directory(), self.directory()] {
            let first_table = directory.saturating_add(self.directory_len);
            let entries: Vec<u8> = (0..self.tables)
                .map(|table| first_table.saturating_add(table.saturating_mul(TABLE_SECTORS)))
                .flat_map(|sector| u32::try_from(sector).unwrap_or(0).to_le_bytes())
                .collect();
            storage
                .write_all_at(&entries, byte_position(Sector::new(directory)))
                .map_err(fault)?;
        }
        if let Some(range) = self.text {
            storage
                .write_all_at(text, byte_position(range.start()))
                .map_err(fault)?;
        }
        storage
            .write_all_at(self.header().as_bytes(), ByteLen::ZERO)
            .map_err(|error| fault(error).into())
    }

    fn header(&self) -> SparseHeader {
        let text = self.text.unwrap_or_default();
        SparseHeader {
            magic: *SPARSE_MAGIC,
            version: 1.into(),
            flags: (FLAG_NEWLINES | FLAG_REDUNDANT).into(),
            capacity: self.capacity.get().into(),
            grain_size: NEW_GRAIN.into(),
            descriptor_offset: text.start().get().into(),
            descriptor_size: text.count().get().into(),
            entries_per_table: u32::try_from(TABLE_ENTRIES).unwrap_or(0).into(),
            redundant_directory: self.redundant_directory().into(),
            directory: self.directory().into(),
            overhead: self.overhead().get().into(),
            unclean_shutdown: 0,
            newline_bytes: NEWLINE_BYTES,
            compress_algorithm: 0.into(),
            pad: [0; 433],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of files that qemu-img 10 and converters in the manner of VMware wrote.
    #[test]
    fn known_files_have_these_offsets() {
        const MIB: u64 = 2048;
        for (capacity, redundant, directory, overhead) in [
            (1, 21, 26, 128),
            (32 * MIB, 21, 26, 128),
            (4096 * MIB, 21, 534, 1152),
            (5120 * MIB, 21, 663, 1408),
            (2_097_152 * MIB, 21, 262_677, 525_440),
        ] {
            let layout = FreshLayout::monolithic(SectorCount::new(capacity));
            assert_eq!(layout.redundant_directory(), redundant, "{capacity}");
            assert_eq!(layout.directory(), directory, "{capacity}");
            assert_eq!(layout.overhead().get(), overhead, "{capacity}");
        }
        for (capacity, directory, overhead) in [(10 * MIB, 6, 128), (4_192_256, 258, 640)] {
            let layout = FreshLayout::split(SectorCount::new(capacity));
            assert_eq!(layout.redundant_directory(), 1);
            assert_eq!(layout.directory(), directory, "{capacity}");
            assert_eq!(layout.overhead().get(), overhead, "{capacity}");
        }
        assert_eq!(
            FreshLayout::split(SectorCount::new(4064 * MIB)).directory(),
            510
        );
    }
}
