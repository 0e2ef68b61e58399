//! What a stream has in front of its grains: header, text and, with some writers, tables.

use std::collections::BTreeSet;
use std::io::Read;

use disk_units::{ByteLen, SectorCount};
use zerocopy::FromBytes;

use super::source::Source;
use crate::descriptor::{Access, Descriptor, ExtentKind};
use crate::error::{Cause, Error, ErrorKind};
use crate::extent::header::{
    HeaderError, MAX_DESCRIPTOR_SECTORS, MAX_DIRECTORY_ENTRIES, Signature, check_grain,
    check_header, check_table_size, field,
};
use crate::extent::table::little_endian;
use crate::layout::{FLAG_COMPRESSED, FLAG_MARKERS, GD_AT_END, SparseHeader};
use crate::units::{GrainSize, buffer_len};

/// Why a file is no stream.
#[derive(Debug, thiserror::Error)]
enum HeadError {
    #[error("not a stream-optimised disk")]
    NotAStream,
    #[error("its grains do not say where they belong, so that it cannot be read as a stream")]
    NoMarkers,
    #[error("the descriptor must name one sparse extent")]
    Extents,
    #[error("the descriptor gives the extent {line} sectors, the header {header}")]
    SizesDiffer { line: u64, header: u64 },
}

impl Cause for HeadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoMarkers => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidDisk,
        }
    }
}

/// A validated header, and what was read with it.
#[derive(Debug)]
pub(super) struct Head {
    header: SparseHeader,
    pub(super) descriptor: Descriptor,
    /// What the descriptor says, which may be less than the header has.
    pub(super) capacity: SectorCount,
    pub(super) grain: GrainSize,
    entries_per_table: u32,
    directory_entries: u64,
    /// How many grains the tables name, if they stand in front.
    pub(super) grains_in_front: Option<u64>,
}

impl Head {
    /// Reads up to the first record.
    pub(super) fn read(source: &mut Source<impl Read>) -> Result<Self, Error> {
        let mut bytes = [0; 512];
        source.read(&mut bytes)?;
        let header = match Signature::of(&bytes)? {
            Signature::HostedSparse => SparseHeader::read_from_bytes(&bytes),
            _ => return Err(HeadError::NotAStream.into()),
        };
        let header = header.map_err(|_| HeadError::NotAStream)?;
        check_header(&header)?;
        let flags = header.flags.get();
        if flags & FLAG_COMPRESSED == 0 {
            return Err(HeadError::NotAStream.into());
        }
        if flags & FLAG_MARKERS == 0 {
            return Err(HeadError::NoMarkers.into());
        }
        let grain = check_grain(header.grain_size.get())?;
        let entries_per_table = check_table_size(header.entries_per_table.get())?;
        let header_capacity = SectorCount::new(header.capacity.get());
        let directory_entries = grain
            .grains_in(header_capacity)
            .div_ceil(u64::from(entries_per_table));
        if directory_entries > MAX_DIRECTORY_ENTRIES {
            return Err(field("capacity", header_capacity.get()).into());
        }
        let descriptor = read_descriptor(source, &header)?;
        let capacity = capacity(&descriptor, header_capacity, grain)?;
        let mut head = Self {
            header,
            descriptor,
            capacity,
            grain,
            entries_per_table,
            directory_entries,
            grains_in_front: None,
        };
        head.grains_in_front = head.read_tables(source)?;
        source.skip_to(head.header.overhead.get())?;
        Ok(head)
    }

    pub(super) fn header_capacity(&self) -> u64 {
        self.header.capacity.get()
    }

    /// How many sectors of a grain belong to the disk.
    pub(super) fn covered(&self, grain: u64) -> SectorCount {
        let start = self.grain.start_of(grain).get();
        let rest = self.capacity.get().saturating_sub(start);
        SectorCount::new(rest).min(self.grain.count())
    }

    /// The most sectors that follow a marker.
    pub(super) fn longest_table(&self) -> u64 {
        self.directory_len().max(self.table_len()).get()
    }

    pub(super) fn has_directory_at_end(&self) -> bool {
        self.header.directory.get() == GD_AT_END
    }

    /// Whether a footer is that of this stream.
    pub(super) fn agrees_with(&self, footer: &[u8; 512]) -> bool {
        SparseHeader::read_from_bytes(footer).is_ok_and(|footer| {
            footer.magic == self.header.magic
                && footer.capacity == self.header.capacity
                && footer.grain_size == self.header.grain_size
                && footer.entries_per_table == self.header.entries_per_table
                && footer.flags == self.header.flags
        })
    }

    fn directory_len(&self) -> SectorCount {
        ByteLen::new(self.directory_entries.saturating_mul(4)).sectors_rounded_up()
    }

    fn table_len(&self) -> SectorCount {
        ByteLen::new(u64::from(self.entries_per_table).saturating_mul(4)).sectors_rounded_up()
    }

    /// Counts the grains that tables in front of the grains name; `None` if the tables are not all there.
    fn read_tables(&self, source: &mut Source<impl Read>) -> Result<Option<u64>, Error> {
        let (directory, end) = (self.header.directory.get(), self.header.overhead.get());
        let ends_in_time =
            |start: u64, length: SectorCount| start.saturating_add(length.get()) <= end;
        if directory < source.position() || !ends_in_time(directory, self.directory_len()) {
            return Ok(None);
        }
        source.skip_to(directory)?;
        let mut bytes = vec![0; buffer_len(self.directory_len())];
        source.read(&mut bytes)?;
        let tables: BTreeSet<u32> = little_endian(&bytes)
            .into_iter()
            .filter(|sector| *sector != 0)
            .collect();
        let mut grains = 0_u64;
        for start in tables.into_iter().map(u64::from) {
            if start < source.position() || !ends_in_time(start, self.table_len()) {
                return Ok(None);
            }
            source.skip_to(start)?;
            let mut bytes = vec![0; buffer_len(self.table_len())];
            source.read(&mut bytes)?;
            let named = little_endian(&bytes).into_iter().filter(|entry| *entry > 1);
            grains = grains.saturating_add(u64::try_from(named.count()).unwrap_or(u64::MAX));
        }
        Ok(Some(grains))
    }
}

/// The text, which stands somewhere between the header and the grains.
fn read_descriptor(
    source: &mut Source<impl Read>,
    header: &SparseHeader,
) -> Result<Descriptor, Error> {
    let (start, count) = (header.descriptor_offset.get(), header.descriptor_size.get());
    if start == 0 || start.saturating_add(count) > header.overhead.get() {
        return Err(field("descriptor offset", start).into());
    }
    if count == 0 || count > MAX_DESCRIPTOR_SECTORS {
        return Err(HeaderError::Field {
            field: "descriptor size",
            value: count,
        }
        .into());
    }
    source.skip_to(start)?;
    let mut text = vec![0; buffer_len(SectorCount::new(count))];
    source.read(&mut text)?;
    Ok(Descriptor::parse(&text)?)
}

fn capacity(
    descriptor: &Descriptor,
    header: SectorCount,
    grain: GrainSize,
) -> Result<SectorCount, HeadError> {
    let line = match descriptor.extents() {
        [line] if line.kind == ExtentKind::Sparse && line.access != Access::None => line.sectors,
        _ => return Err(HeadError::Extents),
    };
    if line.is_zero() || !grain.agree(line, header) {
        let (line, header) = (line.get(), header.get());
        return Err(HeadError::SizesDiffer { line, header });
    }
    Ok(line)
}
