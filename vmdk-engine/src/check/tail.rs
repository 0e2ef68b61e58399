//! What stands behind the records of a stream: tables, directory, footer, end.

use disk_units::Sector;
use zerocopy::IntoBytes;

use super::stream::Record;
use crate::error::{Error, IoFault};
use crate::extent::header::SparseShape;
use crate::layout::{
    MARKER_DIRECTORY, MARKER_END, MARKER_FOOTER, MARKER_TABLE, Marker, SparseHeader,
};
use crate::storage::Storage;
use crate::units::{byte_position, sectors_of};

/// Writes in order, sector by sector.
struct Pen<'a> {
    storage: &'a dyn Storage,
    at: Sector,
}

impl Pen<'_> {
    /// Writes `bytes`, filled up to whole sectors, and says where.
    fn write(&mut self, bytes: &[u8]) -> Result<Sector, Error> {
        let start = self.at;
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        self.storage
            .write_all_at(&bytes, byte_position(start))
            .map_err(|error| IoFault::new("closing the stream", error))?;
        self.at = start.checked_add(sectors_of(&bytes)).unwrap_or(start);
        Ok(start)
    }

    fn marker(&mut self, sectors: u64, kind: u32) -> Result<(), Error> {
        let marker = Marker {
            sectors: sectors.into(),
            size: 0.into(),
            kind: kind.into(),
            pad: [0; 496],
        };
        self.write(marker.as_bytes()).map(|_| ())
    }

    fn entries(&mut self, entries: &[u32], kind: u32) -> Result<Sector, Error> {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect();
        let sectors = u64::try_from(bytes.len().div_ceil(512)).unwrap_or(u64::MAX);
        self.marker(sectors, kind)?;
        self.write(&bytes)
    }
}

/// Closes a stream whose `records`, in order of their grains, end at sector `end`.
pub(super) fn write(
    storage: &dyn Storage,
    shape: &SparseShape,
    header: &SparseHeader,
    records: &[Record],
    end: Sector,
) -> Result<(), Error> {
    let mut pen = Pen { storage, at: end };
    let length = shape.entries_per_table.max(1);
    let mut directory = vec![0; usize::try_from(shape.directory_entries).unwrap_or(0)];
    let table_of = |record: &Record| record.grain.checked_div(length).unwrap_or(0);
    for own in records.chunk_by(|one, next| table_of(one) == table_of(next)) {
        let mut entries = vec![0; usize::try_from(length).unwrap_or(0)];
        for record in own {
            let index = record.grain.checked_rem(length).unwrap_or(0);
            if let Some(entry) = entries.get_mut(usize::try_from(index).unwrap_or(0)) {
                *entry = record.sector;
            }
        }
        let start = pen.entries(&entries, MARKER_TABLE)?;
        let table = own.first().map_or(0, table_of);
        let slot = directory.get_mut(usize::try_from(table).unwrap_or(usize::MAX));
        if let Some(slot) = slot {
            *slot = u32::try_from(start.get()).unwrap_or(0);
        }
    }
    let start = pen.entries(&directory, MARKER_DIRECTORY)?;
    pen.marker(1, MARKER_FOOTER)?;
    let mut footer = header.clone();
    footer.directory = start.get().into();
    pen.write(footer.as_bytes())?;
    pen.marker(0, MARKER_END)
}
