//! The headers of a space-efficient sparse extent, validated.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::FromBytes;

use super::{ENTRIES_PER_TABLE, TABLE_SECTORS};
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::extent::header::{CAPACITY_LIMIT, MAX_DIRECTORY_ENTRIES};
use crate::layout::{
    SESPARSE_MAGIC, SESPARSE_VOLATILE_MAGIC, SeSparseHeader, SeSparseRegion, SeSparseVolatileHeader,
};
use crate::storage::Storage;
use crate::units::{GrainSize, byte_position};

/// The only version that is known, 2.1.
const VERSION: u64 = 0x0000_0002_0000_0001;
/// The only grain size that is known.
pub(super) const GRAIN_SECTORS: u64 = 8;

/// Why a file is not a usable space-efficient sparse extent.
#[derive(Debug, thiserror::Error)]
enum SeSparseError {
    #[error("not a space-efficient sparse extent")]
    WrongMagic,
    #[error("the file is cut off: it is shorter than its headers")]
    Cut,
    #[error("the header's {field} is not the one that is known, but {value:#x}")]
    Unknown { field: &'static str, value: u64 },
    #[error("the header's reserved bytes are in use")]
    Reserved,
    #[error("the header's capacity of {0} is not valid")]
    Capacity(u64),
    #[error("the region of the {0} is misplaced")]
    Misplaced(&'static str),
    #[error("the regions of the {0} and of the {1} overlap")]
    Overlap(&'static str, &'static str),
    #[error("the grain directory is too small for the capacity")]
    SmallDirectory,
    #[error("the volatile header is damaged")]
    VolatileHeader,
    #[error("the host that wrote it did not finish; only an ESX host can replay its journal")]
    Journal,
}

impl Cause for SeSparseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } | Self::Reserved => ErrorKind::UnsupportedVersion,
            Self::Journal => ErrorKind::NeedsRepair,
            _ => ErrorKind::InvalidDisk,
        }
    }
}

/// What the headers say: where things are and how large.
#[derive(Clone, Debug)]
pub(crate) struct SeSparseShape {
    pub(crate) capacity: SectorCount,
    pub(super) grain: GrainSize,
    pub(super) directory: Sector,
    pub(crate) directory_entries: u64,
    pub(super) tables: Sector,
    /// Tables that the region of tables has room for.
    pub(super) table_count: u64,
    pub(super) grains: Sector,
}

impl SeSparseShape {
    /// Reads and validates both headers.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Self, Error> {
        let mut bytes = [0; 512];
        read(storage, Sector::ZERO, &mut bytes)?;
        let header =
            SeSparseHeader::read_from_bytes(&bytes).map_err(|_| SeSparseError::WrongMagic)?;
        let file = storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        let shape = Self::checked(&header, file)?;
        read(
            storage,
            Sector::new(header.volatile_header.offset.get()),
            &mut bytes,
        )?;
        let volatile = SeSparseVolatileHeader::read_from_bytes(&bytes)
            .map_err(|_| SeSparseError::VolatileHeader)?;
        if volatile.magic != SESPARSE_VOLATILE_MAGIC {
            return Err(SeSparseError::VolatileHeader.into());
        }
        if volatile.replay_journal.get() != 0 {
            return Err(SeSparseError::Journal.into());
        }
        Ok(shape)
    }

    fn checked(header: &SeSparseHeader, file: ByteLen) -> Result<Self, SeSparseError> {
        if header.magic != SESPARSE_MAGIC {
            return Err(SeSparseError::WrongMagic);
        }
        for (field, value, known) in [
            ("version", header.version.get(), VERSION),
            ("grain size", header.grain_size.get(), GRAIN_SECTORS),
            ("table size", header.table_size.get(), TABLE_SECTORS),
            ("set of flags", header.flags.get(), 0),
        ] {
            if value != known {
                return Err(SeSparseError::Unknown { field, value });
            }
        }
        if header.reserved.iter().any(|value| value.get() != 0)
            || header.pad.iter().any(|byte| *byte != 0)
        {
            return Err(SeSparseError::Reserved);
        }
        let grain = GrainSize::new(GRAIN_SECTORS).ok_or(SeSparseError::WrongMagic)?;
        let capacity = SectorCount::new(header.capacity.get());
        let directory_entries = grain.grains_in(capacity).div_ceil(ENTRIES_PER_TABLE);
        if capacity.is_zero()
            || capacity.get() >= CAPACITY_LIMIT
            || directory_entries > MAX_DIRECTORY_ENTRIES
        {
            return Err(SeSparseError::Capacity(capacity.get()));
        }
        let regions = regions(header)?;
        for (name, region) in regions {
            let must_be_there = matches!(name, "grain directory" | "grain tables");
            let end = region.end().byte_offset();
            if must_be_there && end.is_none_or(|end| end > file) {
                return Err(SeSparseError::Misplaced(name));
            }
        }
        let directory_bytes = header.directory.size.get().saturating_mul(512);
        if directory_bytes < directory_entries.saturating_mul(8) {
            return Err(SeSparseError::SmallDirectory);
        }
        Ok(Self {
            capacity,
            grain,
            directory: Sector::new(header.directory.offset.get()),
            directory_entries,
            tables: Sector::new(header.tables.offset.get()),
            table_count: header.tables.size.get() / TABLE_SECTORS,
            grains: Sector::new(header.grains.offset.get()),
        })
    }
}

/// All regions with their names, none of which overlaps another.
fn regions(header: &SeSparseHeader) -> Result<[(&'static str, SectorRange); 9], SeSparseError> {
    let region = |name, region: SeSparseRegion| {
        let start = Sector::new(region.offset.get());
        SectorRange::new(start, SectorCount::new(region.size.get()))
            .map(|range| (name, range))
            .ok_or(SeSparseError::Misplaced(name))
    };
    let regions = [
        ("header", SectorRange::whole(SectorCount::new(1))),
        region("volatile header", header.volatile_header)?,
        region("journal header", header.journal_header)?,
        region("journal", header.journal)?,
        region("grain directory", header.directory)?,
        region("grain tables", header.tables)?,
        region("free bitmap", header.free_bitmap)?,
        region("back map", header.back_map)?,
        region("grains", header.grains)?,
    ];
    let mut sorted = regions;
    sorted.sort_unstable_by_key(|(_, range)| range.start());
    let mut before = ("header", SectorRange::default());
    for (name, range) in sorted {
        if range.is_empty() {
            continue;
        }
        if range.start() < before.1.end() {
            return Err(SeSparseError::Overlap(before.0, name));
        }
        before = (name, range);
    }
    Ok(regions)
}

fn read(storage: &dyn Storage, sector: Sector, bytes: &mut [u8]) -> Result<(), Error> {
    storage
        .read_exact_at(bytes, byte_position(sector))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => SeSparseError::Cut.into(),
            _ => IoFault::new("reading the header", error).into(),
        })
}
