//! The header of a hosted sparse extent, validated: nothing behind this module sees a field that was not checked.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note); the limits are our own.

mod error;
mod footer;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::FromBytes;

use crate::error::{Error, IoFault};
use crate::layout::{
    COWD_MAGIC, FLAG_COMPRESSED, FLAG_MARKERS, FLAG_NEWLINES, FLAG_REDUNDANT, FLAG_ZEROED,
    INCOMPATIBLE_FLAGS, NEWLINE_BYTES, SESPARSE_MAGIC, SPARSE_MAGIC, SparseHeader,
    UNCLEAN_SHUTDOWN_AT, UNFINISHED_SPARSE_MAGIC,
};
use crate::storage::Storage;
use crate::units::{GrainSize, clamped};

use footer::find_footer;

pub(crate) use error::{Damage, HeaderError};

/// Capacities from here on do not fit 63 bits in bytes.
pub(crate) const CAPACITY_LIMIT: u64 = 1 << 54;
/// Directories of 16 MiB, all of a disk together, reach 128 TiB with usual grains.
pub(crate) const MAX_DIRECTORY_ENTRIES: u64 = 1 << 22;
const MAX_GRAIN_SECTORS: u64 = 2048;
const MIN_WRITABLE_GRAIN_SECTORS: u64 = 8;
const MAX_ENTRIES_PER_TABLE: u32 = 4096;
const USUAL_ENTRIES_PER_TABLE: u32 = 512;
/// Space for text is never larger, 1 MiB.
pub(crate) const MAX_DESCRIPTOR_SECTORS: u64 = 2048;

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    HostedSparse,
    Cowd,
    SeSparse,
    Text,
}

impl Signature {
    /// Tells the extent formats from each other and from text.
    pub(crate) fn of(first_bytes: &[u8]) -> Result<Self, HeaderError> {
        if first_bytes.starts_with(SPARSE_MAGIC) {
            Ok(Self::HostedSparse)
        } else if first_bytes.starts_with(UNFINISHED_SPARSE_MAGIC) {
            Err(HeaderError::Unfinished)
        } else if first_bytes.starts_with(COWD_MAGIC) {
            Ok(Self::Cowd)
        } else if first_bytes.starts_with(&SESPARSE_MAGIC) {
            Ok(Self::SeSparse)
        } else {
            Ok(Self::Text)
        }
    }
}

/// What a validated header says: where things are and how large.
#[derive(Clone, Debug)]
pub(crate) struct SparseShape {
    /// The capacity that the header has; the descriptor's line may have less.
    pub(crate) capacity: SectorCount,
    pub(crate) grain: GrainSize,
    pub(crate) entries_per_table: u32,
    pub(crate) directory_entries: u32,
    pub(crate) directory: Sector,
    /// The second directory, where it is to be kept up to date.
    pub(crate) redundant_directory: Option<Sector>,
    /// The sector before which no grain can lie.
    pub(crate) data_start: Sector,
    /// Directories that lie behind it, where no grain can lie either.
    pub(crate) late_directories: Vec<SectorRange>,
    /// Where the embedded descriptor stands, if the header names a place.
    pub(crate) descriptor: Option<SectorRange>,
    /// Grains are records of compressed bytes.
    pub(crate) is_compressed: bool,
    /// Such records start with the grain's position.
    pub(crate) has_markers: bool,
    /// A grain of zeros has a table entry of its own.
    pub(crate) has_zeroed_grains: bool,
    /// Whoever wrote last did not finish.
    pub(crate) is_dirty: bool,
    /// What the header takes up.
    pub(crate) header_len: SectorCount,
    /// Where the mark stands that is set while changes are pending.
    pub(crate) dirty_byte: ByteLen,
    /// The header's note of the first unused sector, in formats that have one.
    pub(crate) free_sector: Option<FreeSector>,
    /// The version that the header gets when nobody tracks changes any more; `None` if it has that.
    pub(crate) version_untracked: Option<u32>,
    /// What must be repaired before the extent is written.
    pub(crate) damage: Option<Damage>,
    /// Why the extent cannot be written at all, if it cannot.
    pub(super) read_only: Option<ReadOnlyReason>,
}

/// A header's note of the first sector of the file that was never used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeSector {
    /// Where its 32 bits stand.
    pub(crate) position: ByteLen,
    /// What they were when the extent was opened.
    pub(crate) first: Sector,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ReadOnlyReason {
    Version,
    Shape(&'static str),
}

impl SparseShape {
    /// Reads and validates the header, and the footer where the directory stands at the end.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Self, Error> {
        let len = storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        let header = read_header(storage, ByteLen::ZERO, len)?;
        check_header(&header)?;
        let footer = find_footer(storage, &header, len)?;
        let directory = match &footer {
            Some(footer) => footer.directory.get(),
            None => header.directory.get(),
        };
        Self::from_checked(&header, directory, len.whole_part())
    }

    /// The shape that a header describes which [`check_header`] accepts, with this directory instead of its own.
    pub(crate) fn from_checked(
        header: &SparseHeader,
        directory: u64,
        file: SectorCount,
    ) -> Result<Self, Error> {
        let flags = header.flags.get();
        let file_range = SectorRange::whole(file);
        let capacity = SectorCount::new(header.capacity.get());
        let grain = check_grain(header.grain_size.get())?;
        let entries_per_table = check_table_size(header.entries_per_table.get())?;
        let directory_entries = grain
            .grains_in(capacity)
            .div_ceil(u64::from(entries_per_table));
        let directory_len = ByteLen::new(directory_entries.saturating_mul(4)).sectors_rounded_up();
        let in_file = |start: u64| {
            SectorRange::new(Sector::new(start), directory_len)
                .filter(|range| start != 0 && range.end() <= file_range.end())
        };
        if directory_entries > MAX_DIRECTORY_ENTRIES || directory_len > file {
            return Err(field("capacity", capacity.get()).into());
        }
        let mut damage = None;
        let (directory, redundant) = directories(header, directory, in_file, &mut damage)?;
        let overhead = header.overhead.get();
        if overhead > file.get() {
            return Err(HeaderError::Cut("it ends before its first grain").into());
        }
        let descriptor = check_descriptor(header, file_range)?;
        let is_compressed = flags & FLAG_COMPRESSED != 0;
        // What lies in front of the grains ends with the overhead. A directory may also lie among them, once it grew.
        let first = descriptor.map_or(1, |text| text.end().get());
        let is_front = |range: &SectorRange| overhead < first || range.start().get() < overhead;
        let directories = [Some(directory), redundant].into_iter().flatten();
        let (front, late): (Vec<_>, Vec<_>) = directories.partition(is_front);
        let metadata_end = front
            .iter()
            .map(|range| range.end().get())
            .fold(first, u64::max);
        if !is_compressed && overhead < metadata_end {
            damage = damage.or(Some(Damage::OverheadTooSmall));
        }
        let overlaps =
            |range: SectorRange| descriptor.is_some_and(|text| text.intersection(range).is_some());
        if overlaps(directory) || redundant.is_some_and(overlaps) {
            damage = Some(Damage::DescriptorOverlap);
        }
        let mut read_only = None;
        if entries_per_table != USUAL_ENTRIES_PER_TABLE {
            read_only = Some(ReadOnlyReason::Shape(
                "an extent with an unusual table size",
            ));
        }
        if grain.sectors() < MIN_WRITABLE_GRAIN_SECTORS {
            read_only = Some(ReadOnlyReason::Shape("an extent with grains under 4 KiB"));
        }
        if is_compressed {
            read_only = Some(ReadOnlyReason::Shape("a stream-optimised extent"));
        }
        let has_zeroed_grains = flags & FLAG_ZEROED != 0 && header.version.get() >= 2;
        let mut version_untracked = None;
        if !is_compressed && header.version.get() == 3 {
            version_untracked = Some(if has_zeroed_grains { 2 } else { 1 });
            read_only = read_only.or(Some(ReadOnlyReason::Version));
        }
        // A stream may keep its tables behind the grains, so that only what is surely in front bounds them.
        let data_start = if is_compressed {
            overhead.max(1)
        } else {
            overhead.max(metadata_end)
        };
        Ok(Self {
            capacity,
            grain,
            entries_per_table,
            directory_entries: u32::try_from(directory_entries).unwrap_or(u32::MAX),
            directory: directory.start(),
            redundant_directory: redundant.map(SectorRange::start),
            data_start: Sector::new(data_start),
            late_directories: if is_compressed { Vec::new() } else { late },
            descriptor,
            is_compressed,
            has_markers: flags & FLAG_MARKERS != 0,
            has_zeroed_grains,
            is_dirty: header.unclean_shutdown != 0,
            header_len: SectorCount::new(1),
            dirty_byte: ByteLen::new(UNCLEAN_SHUTDOWN_AT),
            free_sector: None,
            version_untracked,
            damage,
            read_only,
        })
    }

    /// Lets the extent be written although its header says that changes are tracked: they are known not to be, or
    /// tracking ends before the first change.
    pub(crate) fn permit_tracked(&mut self) {
        if let Some(ReadOnlyReason::Version) = self.read_only {
            self.read_only = None;
        }
    }

    /// The shape of a stream by its header alone, of which only the records can be read.
    pub(crate) fn of_records(
        header: &SparseHeader,
        file: SectorCount,
    ) -> Result<Self, HeaderError> {
        let capacity = SectorCount::new(header.capacity.get());
        let grain = check_grain(header.grain_size.get())?;
        let entries_per_table = check_table_size(header.entries_per_table.get())?;
        let directory_entries = grain
            .grains_in(capacity)
            .div_ceil(u64::from(entries_per_table));
        if directory_entries > MAX_DIRECTORY_ENTRIES {
            return Err(field("capacity", capacity.get()));
        }
        if header.overhead.get() > file.get() {
            return Err(HeaderError::Cut("it ends before its first grain"));
        }
        let flags = header.flags.get();
        Ok(Self {
            capacity,
            grain,
            entries_per_table,
            directory_entries: u32::try_from(directory_entries).unwrap_or(u32::MAX),
            directory: Sector::ZERO,
            redundant_directory: None,
            data_start: Sector::new(header.overhead.get().max(1)),
            late_directories: Vec::new(),
            descriptor: check_descriptor(header, SectorRange::whole(file))?,
            is_compressed: true,
            has_markers: flags & FLAG_MARKERS != 0,
            has_zeroed_grains: false,
            is_dirty: header.unclean_shutdown != 0,
            header_len: SectorCount::new(1),
            dirty_byte: ByteLen::new(UNCLEAN_SHUTDOWN_AT),
            free_sector: None,
            version_untracked: None,
            damage: Some(Damage::DirectoryMisplaced),
            read_only: Some(ReadOnlyReason::Shape("a stream-optimised extent")),
        })
    }

    /// Refuses what can only be read.
    pub(crate) fn check_writable(&self) -> Result<(), HeaderError> {
        match (self.read_only, self.damage) {
            (Some(ReadOnlyReason::Version), _) => Err(HeaderError::ReadOnlyVersion),
            (Some(ReadOnlyReason::Shape(what)), _) => Err(HeaderError::ReadOnlyShape(what)),
            (None, Some(Damage::DescriptorOverlap)) => Err(HeaderError::DescriptorOverlap),
            (None, Some(damage)) => Err(HeaderError::NeedsRepair(damage)),
            (None, None) => Ok(()),
        }
    }

    /// What is kept for the embedded descriptor: from the header on, unless something else stands there.
    pub(crate) fn descriptor_area(&self) -> Option<SectorRange> {
        let text = self.descriptor?;
        let header = SectorRange::whole(self.header_len).end();
        let is_alone = [Some(self.directory), self.redundant_directory]
            .into_iter()
            .flatten()
            .all(|directory| directory >= text.end());
        let area = SectorRange::between(header, text.end())?;
        Some(if is_alone { area } else { text })
    }

    /// The sectors that a grain directory takes up.
    pub(crate) fn directory_len(&self) -> SectorCount {
        ByteLen::new(u64::from(self.directory_entries).saturating_mul(4)).sectors_rounded_up()
    }

    /// The sectors that one grain table takes up.
    pub(crate) fn table_len(&self) -> SectorCount {
        ByteLen::new(u64::from(self.entries_per_table).saturating_mul(4)).sectors_rounded_up()
    }

    /// What stands at `dirty_byte` in a disk that was closed properly, or that is being written.
    pub(crate) fn dirty_mark(&self, is_dirty: bool) -> &'static [u8] {
        // COWD extents have a number of four bytes there.
        match (self.free_sector.is_some(), is_dirty) {
            (false, false) => &[0],
            (false, true) => &[1],
            (true, false) => &[0, 0, 0, 0],
            (true, true) => &[1, 0, 0, 0],
        }
    }

    /// Whether an entry of 1 is known to stand for zeros; elsewhere it is read so all the same.
    pub(crate) fn provides_for_zeros(&self) -> bool {
        // COWD extents have no flag to say so.
        self.has_zeroed_grains || self.free_sector.is_some()
    }

    /// Whether no grain can begin at `sector`, wherever the file ends.
    pub(crate) fn is_metadata(&self, sector: Sector) -> bool {
        let grain = || clamped(sector, self.grain.count());
        sector < self.data_start
            || self
                .late_directories
                .iter()
                .any(|directory| directory.intersection(grain()).is_some())
    }

    /// The sectors of directories that lie among the grains.
    pub(crate) fn late_directory_sectors(&self) -> u64 {
        let lengths = self
            .late_directories
            .iter()
            .map(|range| range.count().get());
        lengths.fold(0, u64::saturating_add)
    }

    /// Header, descriptor and directories: where neither a table nor a grain can lie.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = SectorRange> + '_ {
        let header = SectorRange::whole(self.header_len);
        let directory = |start| clamped(start, self.directory_len());
        [
            Some(header),
            self.descriptor,
            Some(directory(self.directory)),
            self.redundant_directory.map(directory),
        ]
        .into_iter()
        .flatten()
    }
}

/// The whole sectors of a file.
pub(crate) trait WholePart {
    fn whole_part(self) -> SectorCount;
}

impl WholePart for ByteLen {
    fn whole_part(self) -> SectorCount {
        SectorCount::new(self.get() / 512)
    }
}

pub(crate) fn field(field: &'static str, value: u64) -> HeaderError {
    HeaderError::Field { field, value }
}

/// Reads a header, or a footer.
pub(crate) fn read_header(
    storage: &dyn Storage,
    position: ByteLen,
    len: ByteLen,
) -> Result<SparseHeader, Error> {
    let header = ByteLen::new(512);
    if position.checked_add(header).is_none_or(|end| end > len) {
        return Err(HeaderError::Cut("it is shorter than a header").into());
    }
    let mut bytes = [0; 512];
    storage
        .read_exact_at(&mut bytes, position)
        .map_err(|error| IoFault::new("reading the header", error))?;
    match Signature::of(&bytes)? {
        Signature::HostedSparse => {}
        _ => return Err(HeaderError::WrongMagic.into()),
    }
    SparseHeader::read_from_bytes(&bytes).map_err(|_| HeaderError::WrongMagic.into())
}

/// The checks that concern single fields.
pub(crate) fn check_header(header: &SparseHeader) -> Result<(), HeaderError> {
    let (version, flags) = (header.version.get(), header.flags.get());
    if !(1..=3).contains(&version) {
        return Err(HeaderError::Version(version));
    }
    let unknown = flags & INCOMPATIBLE_FLAGS & !(FLAG_COMPRESSED | FLAG_MARKERS);
    if unknown != 0 {
        return Err(HeaderError::UnknownFlags(unknown));
    }
    let algorithm = header.compress_algorithm.get();
    let is_compressed = flags & FLAG_COMPRESSED != 0;
    if algorithm > 1 {
        return Err(HeaderError::Algorithm(algorithm));
    }
    if is_compressed != (algorithm == 1) || (flags & FLAG_MARKERS != 0 && !is_compressed) {
        return Err(HeaderError::Compression { flags, algorithm });
    }
    if flags & FLAG_NEWLINES != 0 && header.newline_bytes != NEWLINE_BYTES {
        return Err(HeaderError::NewlineBytes);
    }
    let capacity = header.capacity.get();
    if capacity == 0 || capacity >= CAPACITY_LIMIT {
        return Err(field("capacity", capacity));
    }
    Ok(())
}

pub(crate) fn check_grain(sectors: u64) -> Result<GrainSize, HeaderError> {
    GrainSize::new(sectors)
        .filter(|_| sectors <= MAX_GRAIN_SECTORS)
        .ok_or_else(|| field("grain size", sectors))
}

pub(crate) fn check_table_size(entries: u32) -> Result<u32, HeaderError> {
    if entries.is_power_of_two() && entries <= MAX_ENTRIES_PER_TABLE {
        Ok(entries)
    } else {
        Err(field(
            "number of entries per grain table",
            u64::from(entries),
        ))
    }
}

/// The directory to use, and the second one if there are two.
///
/// A second one counts only if the header says that it is kept up to date. It stands in for a first one that cannot be
/// where the header says; that is good enough to read, until a repair.
fn directories(
    header: &SparseHeader,
    directory: u64,
    in_file: impl Fn(u64) -> Option<SectorRange>,
    damage: &mut Option<Damage>,
) -> Result<(SectorRange, Option<SectorRange>), HeaderError> {
    let start = header.redundant_directory.get();
    let is_claimed = header.flags.get() & FLAG_REDUNDANT != 0 && start != 0;
    let redundant = in_file(start).filter(|_| is_claimed);
    let Some(primary) = in_file(directory) else {
        *damage = Some(Damage::DirectoryMisplaced);
        return redundant
            .map(|range| (range, None))
            .ok_or_else(|| field("grain directory offset", directory));
    };
    if !is_claimed || start == directory {
        return Ok((primary, None));
    }
    let redundant = redundant.filter(|range| range.intersection(primary).is_none());
    if redundant.is_none() {
        *damage = Some(Damage::CopyMisplaced);
    }
    Ok((primary, redundant))
}

fn check_descriptor(
    header: &SparseHeader,
    file: SectorRange,
) -> Result<Option<SectorRange>, HeaderError> {
    let (start, count) = (header.descriptor_offset.get(), header.descriptor_size.get());
    if start == 0 {
        return Ok(None);
    }
    if count == 0 || count > MAX_DESCRIPTOR_SECTORS {
        return Err(field("descriptor size", count));
    }
    SectorRange::new(Sector::new(start), SectorCount::new(count))
        .filter(|range| range.end() <= file.end())
        .map(Some)
        .ok_or_else(|| field("descriptor offset", start))
}
