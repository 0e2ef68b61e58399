//! Stream-optimised extents: every record is read and inflated, and the tables must name the records that there are.
//!
//! If the end of a stream is damaged, all that it says can be made of the records: tables, directory, footer. A stream
//! that was cut off, as a download may be, is not whole, so that it takes a permission to close it behind its last good
//! record.

use std::collections::BTreeMap;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use zerocopy::{FromBytes, IntoBytes};

use super::finding::{FindingKind, Notes, Repair, Severity, impossible, possible};
use super::link::length_of;
use super::tail;
use crate::error::{Error, ErrorKind, IoFault};
use crate::extent::header::{SparseShape, read_header};
use crate::extent::stream::Records;
use crate::extent::survey::read_sectors;
use crate::extent::table::{little_endian, read_directory};
use crate::gate::OpenedFile;
use crate::layout::{
    FLAG_REDUNDANT, GD_AT_END, GrainRecord, MARKER_DIRECTORY, MARKER_END, MARKER_FOOTER,
    MARKER_PROGRESS, MARKER_TABLE,
};
use crate::storage::Storage;
use crate::units::{byte_position, clamped, shifted};

/// So many records are remembered: a TiB of data, in 128 MiB.
const MAX_RECORDS: usize = 1 << 24;

/// So many grains that cannot be read are named.
const MAX_BAD: usize = 2048;

/// A stream with a tail to be made anew.
#[derive(Debug)]
pub(super) struct Stream {
    file: OpenedFile,
    shape: SparseShape,
    records: Vec<Record>,
    /// Behind the last of what is kept.
    end: Sector,
}

/// Where the record of a grain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) grain: u32,
    pub(super) sector: u32,
}

/// How the records end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Behind the last one comes what belongs there, or the end of the file.
    Whole,
    /// At this sector, in the midst of something.
    Broken(Sector, String),
}

impl Stream {
    /// Notes all that is wrong; what is returned has a repair.
    pub(super) fn check(
        file: OpenedFile,
        shape: &SparseShape,
        range: SectorRange,
        notes: &mut Notes<'_>,
    ) -> Result<Option<Self>, Error> {
        let length = length_of(&*file.storage)?;
        let reader = Reader {
            storage: &*file.storage,
            records: Records::new(Arc::clone(&file.storage), shape, length),
            shape,
            length,
            range,
        };
        if !shape.has_markers {
            let named = reader.follow_tables(&[], Sector::ZERO)?;
            reader.note_bad(&named, notes);
            return Ok(None);
        }
        let mut walk = reader.walk()?;
        walk.records.sort_unstable();
        if let Some(grain) = doubled(&walk.records) {
            notes.add(
                Severity::Error,
                FindingKind::Stream,
                reader.sectors(u64::from(grain)),
                format!("there is more than one record of grain {grain}"),
                impossible("nothing says which of them counts"),
            );
            return Ok(None);
        }
        if walk.records.len() >= MAX_RECORDS {
            notes.add(
                Severity::Info,
                FindingKind::Stream,
                None,
                format!("only the first {MAX_RECORDS} records were read"),
                Repair::NotNeeded,
            );
            return Ok(None);
        }
        // A misplaced copy of the directory is in no reader's way; without any directory only the records are left.
        let has_tables = shape.directory != Sector::ZERO;
        let mut named = Named::default();
        if has_tables {
            named = reader.follow_tables(&walk.records, walk.last)?;
        }
        let repair = match &walk.end {
            End::Whole if has_tables && named.is_alike() => return Ok(None),
            End::Whole if named.good == 0 => {
                possible("tables and footer are made anew of the records, which are all there")
            }
            End::Whole => {
                let text = format!(
                    "{} records stand behind sector {} of the file, where the stream has its end",
                    named.good, walk.last
                );
                let repair = impossible("they can be read, but not as a stream");
                notes.add(Severity::Error, FindingKind::Stream, None, text, repair);
                return Ok(None);
            }
            End::Broken(at, why) if has_tables => {
                notes.add(
                    Severity::Error,
                    FindingKind::Stream,
                    None,
                    format!("at sector {at} of the file: {why}"),
                    impossible("what the record held is lost, or its place in the stream"),
                );
                reader.note_bad(&named, notes);
                return Ok(None);
            }
            End::Broken(at, why) => {
                let first = walk.records.last().map_or(0, |last| last.grain);
                notes.with_permission(format!(
                    "the stream is closed behind its last good record, in front of sector {at} of the file ({why}); records that may have followed, of grains behind {first}, are lost and read as zeros"
                ))
            }
        };
        let text = if has_tables {
            "the grain tables do not name the records that there are"
        } else {
            "the stream is incomplete: it has no valid footer at its end"
        };
        let severity = if has_tables {
            Severity::Error
        } else {
            Severity::Fatal
        };
        notes.add(severity, FindingKind::Stream, None, text, repair);
        let shape = shape.clone();
        Ok(Some(Self {
            shape,
            records: walk.records,
            end: walk.keep,
            file,
        }))
    }

    /// Cuts the file behind the last good record, and closes it as streams are closed.
    pub(super) fn repair(&self) -> Result<(), Error> {
        self.rebuild().map_err(|error| error.at(&self.file.path))
    }

    fn rebuild(&self) -> Result<(), Error> {
        let storage = &*self.file.storage;
        let fault = |error| IoFault::new("closing the stream", error);
        let mut header = read_header(storage, ByteLen::ZERO, length_of(storage)?)?;
        let is_new = header.directory.get() != GD_AT_END;
        header.directory = GD_AT_END.into();
        header.redundant_directory = 0.into();
        header.flags = (header.flags.get() & !FLAG_REDUNDANT).into();
        storage.set_len(byte_position(self.end)).map_err(fault)?;
        tail::write(storage, &self.shape, &header, &self.records, self.end)?;
        storage.sync_data().map_err(fault)?;
        if is_new {
            storage
                .write_all_at(header.as_bytes(), ByteLen::ZERO)
                .and_then(|()| storage.sync_data())
                .map_err(fault)?;
        }
        Ok(())
    }
}

fn doubled(records: &[Record]) -> Option<u32> {
    let pair = records
        .array_windows::<2>()
        .find(|[one, next]| one.grain == next.grain)?;
    Some(pair[0].grain)
}

/// What the records turned out to be.
struct Walk {
    records: Vec<Record>,
    /// Behind the last good record.
    last: Sector,
    /// Behind the directory if it was met, as the sign that no more records come; else the same.
    keep: Sector,
    end: End,
}

/// What tables name that are not the known records.
#[derive(Debug, Default)]
struct Named {
    differs: bool,
    /// Records behind the known ones that can be read.
    good: u64,
    /// Grains whose entries lead nowhere, and why.
    bad: Vec<(u64, String)>,
}

impl Named {
    fn is_alike(&self) -> bool {
        !self.differs
    }

    fn note(&mut self, grain: u64, why: String) {
        if self.bad.len() < MAX_BAD {
            self.bad.push((grain, why));
        }
    }
}

/// What a table turned out to have.
enum Seen {
    /// No record.
    Empty,
    Used,
}

struct Reader<'a> {
    storage: &'a dyn Storage,
    records: Records,
    shape: &'a SparseShape,
    length: ByteLen,
    range: SectorRange,
}

impl Reader<'_> {
    /// All records, in the order of the file.
    fn walk(&self) -> Result<Walk, Error> {
        let mut at = self.shape.data_start;
        let mut walk = Walk {
            records: Vec::new(),
            last: at,
            keep: at,
            end: End::Whole,
        };
        let mut buffer = vec![0; self.shape.grain.bytes()];
        let mut is_behind_records = false;
        while walk.records.len() < MAX_RECORDS {
            let there = self.length.get().saturating_sub(byte_position(at).get());
            // Streams with their tables in front need no end.
            if there == 0 && self.shape.damage.is_none() {
                break;
            }
            let mut head = [0; 16];
            if there < 512 {
                walk.end = End::Broken(at, "the file ends here".to_owned());
                break;
            }
            self.read(&mut head, at)?;
            let Ok((record, kind)) = GrainRecord::read_from_prefix(&head) else {
                break;
            };
            if record.size.get() == 0 {
                let kind = kind
                    .first_chunk::<4>()
                    .map_or(0, |kind| u32::from_le_bytes(*kind));
                let sectors = match kind {
                    MARKER_END => {
                        if self.shape.damage.is_some() {
                            let why = "the stream ends without a grain directory";
                            walk.end = End::Broken(at, why.to_owned());
                        }
                        break;
                    }
                    MARKER_TABLE | MARKER_DIRECTORY | MARKER_FOOTER | MARKER_PROGRESS => {
                        record.first_sector.get()
                    }
                    _ => {
                        let why = format!("a marker of the unknown kind {kind}");
                        walk.end = End::Broken(at, why);
                        break;
                    }
                };
                let next = at
                    .get()
                    .checked_add(1)
                    .and_then(|next| next.checked_add(sectors));
                match next.filter(|next| byte_position(Sector::new(*next)) <= self.length) {
                    Some(next) => {
                        // The directory comes when all records are written.
                        at = Sector::new(next);
                        if kind == MARKER_DIRECTORY {
                            is_behind_records = true;
                            walk.keep = at;
                        }
                    }
                    None => {
                        let why = "what a marker announces is cut off".to_owned();
                        walk.end = End::Broken(at, why);
                        break;
                    }
                }
                continue;
            }
            let first = record.first_sector.get();
            let size = self.shape.grain.sectors();
            let result = if first.is_multiple_of(size) && first < self.shape.capacity.get() {
                self.inflate(first.checked_div(size).unwrap_or(0), at, &mut buffer)?
            } else {
                Err(format!(
                    "a record of guest sector {first}, which none can have"
                ))
            };
            match (result, u32::try_from(at.get())) {
                (Ok(sectors), Ok(sector)) => {
                    let grain = first.checked_div(size).unwrap_or(0);
                    walk.records.push(Record {
                        grain: u32::try_from(grain).unwrap_or(u32::MAX),
                        sector,
                    });
                    at = clamped(at, sectors).end();
                    walk.last = at;
                    walk.keep = at;
                    is_behind_records = false;
                }
                (Err(why), _) => {
                    walk.end = End::Broken(at, why);
                    break;
                }
                (_, Err(_)) => {
                    walk.end = End::Broken(at, "tables cannot name a record here".to_owned());
                    break;
                }
            }
        }
        if is_behind_records {
            walk.end = End::Whole;
        }
        Ok(walk)
    }

    /// Inflates the record of `grain` at `sector`; returns what it takes up, or what is wrong with it.
    fn inflate(
        &self,
        grain: u64,
        sector: Sector,
        out: &mut [u8],
    ) -> Result<Result<SectorCount, String>, Error> {
        match self.records.inflate(grain, sector, out) {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Err(error.reason().to_string())),
            result => result.map(Ok),
        }
    }

    fn read(&self, buf: &mut [u8], sector: Sector) -> Result<(), Error> {
        self.storage
            .read_exact_at(buf, byte_position(sector))
            .map_err(|error| IoFault::new("reading a compressed grain", error).into())
    }

    fn sectors(&self, grain: u64) -> Option<SectorRange> {
        let size = self.shape.grain;
        let range = clamped(size.start_of(grain), size.count());
        shifted(range, self.range.start()).intersection(self.range)
    }

    /// What the tables name besides the `records`, which end at sector `known`; what they name behind it is followed.
    fn follow_tables(&self, records: &[Record], known: Sector) -> Result<Named, Error> {
        let shape = self.shape;
        let directory = read_directory(self.storage, shape.directory, shape.directory_entries)?;
        let mut buffer = vec![0; shape.grain.bytes()];
        let mut rest = records;
        let mut named = Named::default();
        // Each is read once: a small file may name one table for more grains than anybody can look at.
        let mut seen = BTreeMap::from([(0, Seen::Empty)]);
        for (table, start) in (0_u64..).zip(directory) {
            let first = table.saturating_mul(u64::from(shape.entries_per_table));
            let grains = first..first.saturating_add(u64::from(shape.entries_per_table));
            let is_own = |record: &Record| u64::from(record.grain) < grains.end;
            let (own, behind) = rest.split_at(rest.partition_point(is_own));
            rest = behind;
            match seen.get(&start) {
                Some(Seen::Empty) => {
                    named.differs |= !own.is_empty();
                    continue;
                }
                // A record is of one grain.
                Some(Seen::Used) => {
                    named.differs = true;
                    let why = format!("the grain table at sector {start} is that of other grains");
                    named.note(first, why);
                    continue;
                }
                None => {}
            }
            let Some(entries) = self.table(start) else {
                named.differs = true;
                named.note(
                    first,
                    format!("the grain table at sector {start} cannot be there"),
                );
                continue;
            };
            if entries.iter().all(|entry| *entry <= 1) {
                seen.insert(start, Seen::Empty);
                named.differs |= !own.is_empty();
                continue;
            }
            seen.insert(start, Seen::Used);
            let mut own = own.iter().peekable();
            for (grain, entry) in grains.zip(entries) {
                let record = own.next_if(|record| u64::from(record.grain) == grain);
                let record = record.map_or(0, |record| record.sector);
                if entry == record || (entry == 1 && record == 0) {
                    continue;
                }
                named.differs = true;
                if u64::from(entry) < known.get() {
                    continue;
                }
                let at = Sector::new(u64::from(entry));
                match self.inflate(grain, at, &mut buffer)? {
                    Ok(_) => named.good = named.good.saturating_add(1),
                    Err(why) => named.note(grain, format!("at sector {entry} of the file: {why}")),
                }
            }
        }
        Ok(named)
    }

    fn note_bad(&self, named: &Named, notes: &mut Notes<'_>) {
        for (grain, why) in &named.bad {
            notes.add(
                Severity::Error,
                FindingKind::Stream,
                self.sectors(*grain),
                why.clone(),
                impossible("what the record held is lost"),
            );
        }
    }

    /// The entries of the table at `start`, which is not 0; `None` if none can be there.
    fn table(&self, start: u32) -> Option<Vec<u32>> {
        let length = usize::try_from(self.shape.entries_per_table).unwrap_or(0);
        let bytes = read_sectors(self.storage, start, self.shape.table_len().get()).ok()?;
        let mut entries = little_endian(&bytes);
        entries.truncate(length);
        Some(entries)
    }
}
