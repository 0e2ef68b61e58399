//! ESX copy-on-write extents (COWD, `vmfsSparse`): another header over the tables of a hosted sparse extent.
//!
//! They have one directory without a copy, tables of 4096 entries, grains of usually one sector, an entry of 1 for
//! zeros, and a note in the header of the first sector that was never used.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note). qemu-img 10 was observed to take an entry of 1 for sector 1
//! of the file, which is zeros in usual headers, but is followed by the directory. So the entry is always read as zeros,
//! and only written where a grain has one sector, which is what ESX uses.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::header::{FreeSector, HeaderError, SparseShape, WholePart, check_grain, field};
use crate::error::{Error, IoFault};
use crate::geometry::Geometry;
use crate::layout::{COWD_FREE_SECTOR_AT, COWD_MAGIC, COWD_UNCLEAN_SHUTDOWN_AT, CowdHeader};
use crate::storage::Storage;

const HEADER_LEN: SectorCount = SectorCount::new(4);
const ENTRIES_PER_TABLE: u32 = 4096;

/// What a header says of the disk as a whole. It counts only where there is no descriptor: beside one ESX leaves it
/// empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CowdIdentity {
    /// Changes with the content, as content ids do.
    pub(crate) generation: u32,
    pub(crate) role: CowdRole,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CowdRole {
    Base(Geometry),
    /// The parent's file name, and the generation that it had.
    Child {
        parent: Vec<u8>,
        generation: u32,
    },
    /// Neither says anything, as in deltas whose descriptor is lost.
    Unknown,
}

/// Reads and validates the header.
pub(crate) fn load(storage: &dyn Storage) -> Result<SparseShape, Error> {
    load_with_identity(storage).map(|(shape, _)| shape)
}

/// The same, for a file that has no descriptor.
pub(crate) fn load_with_identity(
    storage: &dyn Storage,
) -> Result<(SparseShape, CowdIdentity), Error> {
    let len = storage
        .len()
        .map_err(|error| IoFault::new("asking for the length of the file", error))?;
    if len < HEADER_LEN.bytes().unwrap_or_default() {
        return Err(HeaderError::Cut("it is shorter than a header").into());
    }
    let mut bytes = [0; size_of::<CowdHeader>()];
    storage
        .read_exact_at(&mut bytes, ByteLen::ZERO)
        .map_err(|error| IoFault::new("reading the header", error))?;
    let header = CowdHeader::read_from_bytes(&bytes).map_err(|_| HeaderError::WrongMagic)?;
    Ok((check(&header, len.whole_part())?, identity(&header)))
}

/// A base has numbers where a child has text, and nothing in the header tells which. Geometries and names of files do
/// not look alike: the second number would have to follow a NUL.
fn identity(header: &CowdHeader) -> CowdIdentity {
    let name = header.parent_name.split(|byte| *byte == 0).next();
    let name = name.unwrap_or_default();
    let role = match geometry(&header.parent_name) {
        Some(geometry) => CowdRole::Base(geometry),
        None if name.is_empty() || name.iter().any(u8::is_ascii_control) => CowdRole::Unknown,
        None => CowdRole::Child {
            parent: name.to_vec(),
            generation: header.parent_generation.get(),
        },
    };
    CowdIdentity {
        generation: header.generation.get(),
        role,
    }
}

fn geometry(bytes: &[u8]) -> Option<Geometry> {
    let (numbers, _) = <[U32; 3]>::read_from_prefix(bytes).ok()?;
    let [cylinders, heads, sectors] = numbers.map(U32::get);
    let is_usual = (1..=65_535).contains(&cylinders)
        && (1..=255).contains(&heads)
        && (1..=63).contains(&sectors);
    is_usual.then_some(Geometry {
        cylinders,
        heads,
        sectors,
    })
}

fn check(header: &CowdHeader, file: SectorCount) -> Result<SparseShape, HeaderError> {
    if header.magic != *COWD_MAGIC {
        return Err(HeaderError::WrongMagic);
    }
    let version = header.version.get();
    if version != 1 {
        return Err(HeaderError::Version(version));
    }
    let capacity = SectorCount::new(u64::from(header.capacity.get()));
    if capacity.is_zero() {
        return Err(field("capacity", 0));
    }
    let grain = check_grain(u64::from(header.grain_size.get()))?;
    let entries = header.directory_entries.get();
    let needed = grain
        .grains_in(capacity)
        .div_ceil(u64::from(ENTRIES_PER_TABLE));
    if u64::from(entries) < needed {
        return Err(field(
            "number of grain directory entries",
            u64::from(entries),
        ));
    }
    let start = Sector::new(u64::from(header.directory.get()));
    let length = ByteLen::new(u64::from(entries).saturating_mul(4)).sectors_rounded_up();
    let directory = SectorRange::new(start, length)
        .filter(|range| start.get() >= HEADER_LEN.get() && range.end().get() <= file.get())
        .ok_or_else(|| field("grain directory offset", start.get()))?;
    Ok(SparseShape {
        capacity,
        grain,
        entries_per_table: ENTRIES_PER_TABLE,
        // Entries behind the capacity are of no use, but their place is the directory's.
        directory_entries: u32::try_from(needed).unwrap_or(entries),
        directory: start,
        redundant_directory: None,
        data_start: directory.end(),
        late_directories: Vec::new(),
        descriptor: None,
        is_compressed: false,
        has_markers: false,
        has_zeroed_grains: grain.sectors() == 1,
        is_dirty: header.unclean_shutdown.get() != 0,
        header_len: HEADER_LEN,
        dirty_byte: ByteLen::new(COWD_UNCLEAN_SHUTDOWN_AT),
        free_sector: Some(FreeSector {
            position: ByteLen::new(COWD_FREE_SECTOR_AT),
            first: Sector::new(u64::from(header.free_sector.get())),
        }),
        version_untracked: None,
        damage: None,
        read_only: None,
    })
}
