//! A look at all tables of a space-efficient sparse extent.

use std::fmt;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::header::GRAIN_SECTORS;
use super::{BAD_TABLE, ENTRIES_PER_TABLE, NO_TABLE, SeSparseShape, TABLE_SECTORS};
use crate::error::{Error, IoFault};
use crate::extent::runs::Place;
use crate::storage::Storage;
use crate::units::{buffer_len, byte_position};

/// Whether grains overlap is found out in files of up to 2 TiB, by one bit for each grain: 64 MiB.
const MAX_GRAINS: u64 = 1 << 29;

/// What is wrong with one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeSparseFaults {
    table: usize,
    /// The directory names no table that there can be.
    is_misplaced: bool,
    /// The table is that of another part of the disk too.
    is_shared: bool,
    /// Entries of no known kind.
    invalid: u64,
    /// Grains behind the end of the file.
    behind_end: u64,
    /// Grains whose place another one has.
    overlapping: u64,
}

impl SeSparseFaults {
    fn is_none(&self) -> bool {
        *self
            == Self {
                table: self.table,
                ..Self::default()
            }
    }
}

impl fmt::Display for SeSparseFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "grain table {}:", self.table)?;
        if self.is_misplaced {
            formatter.write_str(" its entry in the grain directory is not valid;")?;
        }
        if self.is_shared {
            formatter.write_str(" it is that of another part of the disk too;")?;
        }
        for (count, what) in [
            (self.invalid, "entries are not valid"),
            (self.behind_end, "grains lie behind the end of the file"),
            (self.overlapping, "grains have the place of another one"),
        ] {
            if count > 0 {
                write!(formatter, " {count} {what};")?;
            }
        }
        formatter.write_str(" the rest of it is good")
    }
}

/// The tables, one after the other.
#[derive(Debug)]
pub(crate) struct SeSparseTables<'a> {
    storage: &'a dyn Storage,
    shape: &'a SeSparseShape,
    file: ByteLen,
    directory: Vec<u32>,
    next: usize,
    tables: Bits,
    grains: Option<Bits>,
}

impl<'a> SeSparseTables<'a> {
    pub(crate) fn new(
        storage: &'a dyn Storage,
        shape: &'a SeSparseShape,
        file: ByteLen,
    ) -> Result<Self, Error> {
        let grains = file.get() / (512 * GRAIN_SECTORS);
        Ok(Self {
            storage,
            shape,
            file,
            directory: shape.read_directory(storage)?,
            next: 0,
            tables: Bits::new(shape.table_count.min(file.get())),
            grains: (grains <= MAX_GRAINS).then(|| Bits::new(grains)),
        })
    }

    /// The next table that something is wrong with, and the sectors of the extent that it describes.
    pub(crate) fn next_damaged(&mut self) -> Result<Option<(SectorRange, SeSparseFaults)>, Error> {
        while let Some(number) = self.directory.get(self.next).copied() {
            let table = self.next;
            self.next = table.saturating_add(1);
            let faults = self.look(table, number)?;
            if !faults.is_none() {
                let sectors = ENTRIES_PER_TABLE.saturating_mul(GRAIN_SECTORS);
                let first = u64::try_from(table)
                    .unwrap_or(u64::MAX)
                    .saturating_mul(sectors);
                let range = SectorRange::between(
                    Sector::new(first),
                    Sector::new(first.saturating_add(sectors).min(self.shape.capacity.get())),
                );
                return Ok(Some((range.unwrap_or_default(), faults)));
            }
        }
        Ok(None)
    }

    fn look(&mut self, table: usize, kept: u32) -> Result<SeSparseFaults, Error> {
        let number = kept.saturating_sub(1);
        let mut faults = SeSparseFaults {
            table,
            ..SeSparseFaults::default()
        };
        match kept {
            NO_TABLE => return Ok(faults),
            BAD_TABLE => {
                faults.is_misplaced = true;
                return Ok(faults);
            }
            _ => faults.is_shared = self.tables.set(u64::from(number)),
        }
        let offset = u64::from(number).saturating_mul(TABLE_SECTORS);
        let start = self.shape.tables.checked_add(SectorCount::new(offset));
        let mut bytes = vec![0; buffer_len(SectorCount::new(TABLE_SECTORS))];
        self.storage
            .read_exact_at(&mut bytes, byte_position(start.unwrap_or_default()))
            .map_err(|error| IoFault::new(format!("reading grain table {table}"), error))?;
        // In a table that two parts share, all grains come twice.
        let mut grains = self.grains.as_mut().filter(|_| !faults.is_shared);
        for entry in <[U64]>::ref_from_bytes(&bytes).unwrap_or_default() {
            let place = match self.shape.place_of(0, entry.get()) {
                Ok(Place::At(place)) => place,
                Ok(_) => continue,
                Err(_) => {
                    faults.invalid = faults.invalid.saturating_add(1);
                    continue;
                }
            };
            let end = place.checked_add(SectorCount::new(GRAIN_SECTORS));
            if end
                .and_then(Sector::byte_offset)
                .is_none_or(|end| end > self.file)
            {
                faults.behind_end = faults.behind_end.saturating_add(1);
                continue;
            }
            let index = place.checked_since(self.shape.grains).unwrap_or_default();
            if let Some(grains) = &mut grains
                && grains.set(index.get() / GRAIN_SECTORS)
            {
                faults.overlapping = faults.overlapping.saturating_add(1);
            }
        }
        Ok(faults)
    }
}

#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u64) -> Self {
        Self(vec![0; usize::try_from(count.div_ceil(64)).unwrap_or(0)])
    }

    /// Sets a bit, and says whether it was set before.
    fn set(&mut self, bit: u64) -> bool {
        let index = usize::try_from(bit / 64).unwrap_or(usize::MAX);
        let Some(word) = self.0.get_mut(index) else {
            return false;
        };
        let mask = 1 << (bit % 64);
        let was_set = *word & mask != 0;
        *word |= mask;
        was_set
    }
}
