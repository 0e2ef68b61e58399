//! Structures as they lie in files: little-endian, packed, with their sizes asserted.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note); those of space-efficient sparse extents observed in a file
//! that ESXi wrote.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes of a hosted sparse extent.
pub(crate) const SPARSE_MAGIC: &[u8; 4] = b"KDMV";
/// The same, in the other case: what one known writer leaves until a file is complete.
pub(crate) const UNFINISHED_SPARSE_MAGIC: &[u8; 4] = b"kdmv";
/// The first four bytes of an ESX copy-on-write extent.
pub(crate) const COWD_MAGIC: &[u8; 4] = b"COWD";
/// The first eight bytes of a space-efficient sparse extent.
pub(crate) const SESPARSE_MAGIC: [u8; 8] = 0xcafe_babe_u64.to_le_bytes();

/// The grain directory stands at the end; the footer says where.
pub(crate) const GD_AT_END: u64 = u64::MAX;

/// The four bytes that a transfer as text would have damaged.
pub(crate) const NEWLINE_BYTES: [u8; 4] = *b"\n \r\n";

/// Bit 0 of the flags: the newline bytes are valid.
pub(crate) const FLAG_NEWLINES: u32 = 1 << 0;
/// Bit 1: the redundant grain directory is valid.
pub(crate) const FLAG_REDUNDANT: u32 = 1 << 1;
/// Bit 2: a grain table entry of 1 means a grain of zeros.
pub(crate) const FLAG_ZEROED: u32 = 1 << 2;
/// Bit 16: grains are compressed.
pub(crate) const FLAG_COMPRESSED: u32 = 1 << 16;
/// Bit 17: markers stand in front of grains and metadata.
pub(crate) const FLAG_MARKERS: u32 = 1 << 17;
/// The high half holds flags that a reader must know.
pub(crate) const INCOMPATIBLE_FLAGS: u32 = 0xffff_0000;

/// Where the two fields stand in [`SparseHeader`] that say where the descriptor is.
pub(crate) const DESCRIPTOR_PLACE_AT: u64 = 28;

/// Where the dirty byte stands in [`SparseHeader`].
pub(crate) const UNCLEAN_SHUTDOWN_AT: u64 = 72;

/// Sector 0 of a hosted sparse extent. Offsets and lengths are sectors.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SparseHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U32,
    pub(crate) flags: U32,
    pub(crate) capacity: U64,
    pub(crate) grain_size: U64,
    pub(crate) descriptor_offset: U64,
    pub(crate) descriptor_size: U64,
    pub(crate) entries_per_table: U32,
    pub(crate) redundant_directory: U64,
    pub(crate) directory: U64,
    pub(crate) overhead: U64,
    pub(crate) unclean_shutdown: u8,
    pub(crate) newline_bytes: [u8; 4],
    pub(crate) compress_algorithm: U16,
    pub(crate) pad: [u8; 433],
}

const _: () = assert!(size_of::<SparseHeader>() == 512);
const _: () = assert!(std::mem::offset_of!(SparseHeader, descriptor_offset) == 28);
const _: () = assert!(std::mem::offset_of!(SparseHeader, directory) == 56);
const _: () = assert!(std::mem::offset_of!(SparseHeader, unclean_shutdown) == 72);

/// The sector in front of a table, directory or footer of a stream-optimised extent.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Marker {
    /// Sectors of the structure that follows.
    pub(crate) sectors: U64,
    /// Zero; anything else makes this a grain record.
    pub(crate) size: U32,
    pub(crate) kind: U32,
    pub(crate) pad: [u8; 496],
}

const _: () = assert!(size_of::<Marker>() == 512);

/// [`Marker::kind`] of the end of the stream.
pub(crate) const MARKER_END: u32 = 0;
/// [`Marker::kind`] of a grain table.
pub(crate) const MARKER_TABLE: u32 = 1;
/// [`Marker::kind`] of a grain directory.
pub(crate) const MARKER_DIRECTORY: u32 = 2;
/// [`Marker::kind`] of a footer.
pub(crate) const MARKER_FOOTER: u32 = 3;
/// [`Marker::kind`] of a note of progress, which means nothing to a reader.
pub(crate) const MARKER_PROGRESS: u32 = 4;

/// What stands in front of the compressed bytes of a grain.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GrainRecord {
    /// The first guest sector of the grain, relative to the extent.
    pub(crate) first_sector: U64,
    /// Compressed bytes that follow.
    pub(crate) size: U32,
}

const _: () = assert!(size_of::<GrainRecord>() == 12);

/// The head of an ESX copy-on-write extent, four sectors. Offsets and lengths are sectors.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CowdHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U32,
    pub(crate) flags: U32,
    pub(crate) capacity: U32,
    pub(crate) grain_size: U32,
    pub(crate) directory: U32,
    pub(crate) directory_entries: U32,
    pub(crate) free_sector: U32,
    /// In a child the name of its parent, filled with NULs; in a base its cylinders, heads and sectors.
    pub(crate) parent_name: [u8; 1024],
    pub(crate) parent_generation: U32,
    pub(crate) generation: U32,
    /// A name, a description and what was kept of former generations, for people.
    pub(crate) notes: [u8; 584],
    pub(crate) unclean_shutdown: U32,
    pub(crate) pad: [u8; 396],
}

const _: () = assert!(size_of::<CowdHeader>() == 2048);
const _: () = assert!(std::mem::offset_of!(CowdHeader, parent_generation) == 1056);
/// Where [`SparseHeader::version`] stands.
pub(crate) const SPARSE_VERSION_AT: u64 = 4;
const _: () = assert!(std::mem::offset_of!(SparseHeader, version) == 4);
/// Where [`CowdHeader::free_sector`] stands.
pub(crate) const COWD_FREE_SECTOR_AT: u64 = 28;
const _: () = assert!(std::mem::offset_of!(CowdHeader, free_sector) == 28);
/// Where [`CowdHeader::unclean_shutdown`] stands.
pub(crate) const COWD_UNCLEAN_SHUTDOWN_AT: u64 = 1648;
const _: () = assert!(std::mem::offset_of!(CowdHeader, unclean_shutdown) == 1648);

/// A region of a space-efficient sparse extent, in sectors.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SeSparseRegion {
    pub(crate) offset: U64,
    pub(crate) size: U64,
}

/// Sector 0 of a space-efficient sparse extent. Lengths are sectors.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SeSparseHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: U64,
    pub(crate) capacity: U64,
    pub(crate) grain_size: U64,
    pub(crate) table_size: U64,
    pub(crate) flags: U64,
    pub(crate) reserved: [U64; 4],
    pub(crate) volatile_header: SeSparseRegion,
    pub(crate) journal_header: SeSparseRegion,
    pub(crate) journal: SeSparseRegion,
    pub(crate) directory: SeSparseRegion,
    pub(crate) tables: SeSparseRegion,
    pub(crate) free_bitmap: SeSparseRegion,
    pub(crate) back_map: SeSparseRegion,
    pub(crate) grains: SeSparseRegion,
    pub(crate) pad: [u8; 304],
}

const _: () = assert!(size_of::<SeSparseHeader>() == 512);
const _: () = assert!(std::mem::offset_of!(SeSparseHeader, grains) == 192);

/// What of a space-efficient sparse extent changes while it is in use.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SeSparseVolatileHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) free_table: U64,
    pub(crate) next_transaction: U64,
    pub(crate) replay_journal: U64,
    pub(crate) pad: [u8; 480],
}

const _: () = assert!(size_of::<SeSparseVolatileHeader>() == 512);

/// The first eight bytes of [`SeSparseVolatileHeader`].
pub(crate) const SESPARSE_VOLATILE_MAGIC: [u8; 8] = 0xcafe_cafe_u64.to_le_bytes();
