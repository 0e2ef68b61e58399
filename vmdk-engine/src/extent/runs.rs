//! Runs of guest sectors that lie together in a file, which is all that reading, writing and mapping need to know.
//!
//! [`Runs`] walks the table entries of a range of sectors, in whatever format they are ([`Lookup`]), and joins them to
//! the longest runs.

use std::mem;
use std::ops::Range;

use disk_units::{Sector, SectorCount, SectorRange};

use super::MapRun;
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::file_range::Located;
use crate::map::Allocation;
use crate::storage::Storage;
use crate::units::{GrainSize, byte_position, take_front_mut};

/// Damage that is met when a place is looked up or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("grain table {table} at sector {sector} lies inside other metadata")]
    TableInMetadata { table: u32, sector: u32 },
    #[error("grain table {table} at sector {sector} lies behind the end of the file")]
    TableBeyondEnd { table: u32, sector: u32 },
    #[error("grain {grain} at sector {sector} lies inside the metadata")]
    GrainInMetadata { grain: u64, sector: u32 },
    #[error("grain table {table} has no valid entry in the grain directory")]
    DirectoryEntry { table: u32 },
    #[error("grain {grain}: the table entry {entry:#x} is not valid")]
    Entry { grain: u64, entry: u64 },
    #[error("the grains from guest sector {guest} of the extent lie behind the end of the file")]
    GrainBeyondEnd { guest: u64 },
}

impl Cause for TableError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// Where a run of guest sectors is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: zeros, or the parent's content.
    Unallocated,
    /// Nowhere: zeros, whatever a parent has.
    Zeroed,
    /// From this sector of the file on; for compressed grains, the sector of the record.
    At(Sector),
}

/// Guest sectors that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) range: SectorRange,
    pub(crate) place: Place,
}

/// Grain tables of one format.
pub(crate) trait Lookup {
    /// A table entry.
    type Entry: Copy;

    fn grain(&self) -> GrainSize;

    /// Whether grains are records of their own, which cannot be read together or in part.
    fn are_records(&self) -> bool;

    /// Appends the entries of `grains`, as far as one table has them, and returns the first grain behind those. A table
    /// without any grain appends nothing.
    fn copy_entries(
        &self,
        grains: Range<u64>,
        entries: &mut Vec<Self::Entry>,
    ) -> Result<u64, Error>;

    fn place_of(&self, grain: u64, entry: Self::Entry) -> Result<Place, TableError>;
}

/// A copy of the entries of consecutive grains of one table.
#[derive(Debug)]
struct Chunk<E> {
    grains: Range<u64>,
    /// Empty if all entries are zero.
    entries: Vec<E>,
}

impl<E> Default for Chunk<E> {
    fn default() -> Self {
        Self {
            grains: 0..0,
            entries: Vec::new(),
        }
    }
}

/// The runs of a range, in order and without a gap.
#[derive(Debug)]
pub(crate) struct Runs<'a, T: Lookup> {
    tables: &'a T,
    rest: SectorRange,
    chunk: Chunk<T::Entry>,
    pending: Option<Run>,
}

impl<'a, T: Lookup> Runs<'a, T> {
    pub(crate) fn new(tables: &'a T, range: SectorRange) -> Self {
        Self {
            tables,
            rest: range,
            chunk: Chunk::default(),
            pending: None,
        }
    }

    /// The next run, not yet joined with what follows; `rest` is not empty.
    fn next_piece(&mut self) -> Result<Run, Error> {
        let grain_size = self.tables.grain();
        let start = self.rest.start();
        let grain = grain_size.grain_of(start);
        if !self.chunk.grains.contains(&grain) {
            self.load_chunk(grain)?;
        }
        if self.chunk.entries.is_empty() {
            let range = self.take_up_to(grain_size.start_of(self.chunk.grains.end));
            return Ok(Run {
                range,
                place: Place::Unallocated,
            });
        }
        let index = grain.saturating_sub(self.chunk.grains.start);
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| self.chunk.entries.get(index));
        let place = match entry {
            Some(entry) => self.tables.place_of(grain, *entry)?,
            None => Place::Unallocated,
        };
        let place = match place {
            Place::At(sector) if !self.tables.are_records() => {
                let offset = SectorCount::new(grain_size.offset_in(start));
                Place::At(sector.checked_add(offset).unwrap_or(sector))
            }
            place => place,
        };
        let range = self.take_up_to(grain_size.start_of(grain.saturating_add(1)));
        Ok(Run { range, place })
    }

    fn take_up_to(&mut self, end: Sector) -> SectorRange {
        let (range, rest) = self.rest.split_at(end);
        self.rest = rest;
        range
    }

    /// Copies the entries that the rest of the range needs from one table.
    fn load_chunk(&mut self, grain: u64) -> Result<(), Error> {
        let end = SectorCount::new(self.rest.end().get());
        let last = self.tables.grain().grains_in(end);
        // A table that cannot be read must not leave a chunk behind: an empty one stands for zeros.
        let mut entries = mem::take(&mut self.chunk).entries;
        entries.clear();
        let end = self.tables.copy_entries(grain..last, &mut entries)?;
        self.chunk = Chunk {
            grains: grain..end,
            entries,
        };
        Ok(())
    }

    fn joined(&self, first: &Run, second: &Run) -> Option<Run> {
        let follows = match (first.place, second.place) {
            (Place::At(start), Place::At(next)) => {
                !self.tables.are_records() && start.checked_add(first.range.count()) == Some(next)
            }
            (one, other) => one == other,
        };
        follows.then(|| Run {
            range: SectorRange::between(first.range.start(), second.range.end())
                .unwrap_or(first.range),
            place: first.place,
        })
    }

    /// The same runs, as a map.
    pub(crate) fn map_runs(self) -> impl Iterator<Item = MapRun> + use<'a, T> {
        self.map(|run| {
            run.map(|run| {
                let state = match run.place {
                    Place::Unallocated => Allocation::Hole,
                    Place::Zeroed => Allocation::Zero,
                    Place::At(_) => Allocation::Data,
                };
                (run.range, state)
            })
        })
    }

    /// Where the first of them lies; see [`Extent::locate`](super::Extent::locate).
    pub(crate) fn locate(mut self, storage: &dyn Storage) -> Result<Located<'_>, Error> {
        let are_records = self.tables.are_records();
        let Some(Run { range, place }) = self.next().transpose()? else {
            return Ok(Located::Elsewhere);
        };
        Ok(match place {
            Place::Unallocated => Located::Below(range),
            Place::At(place) if !are_records => Located::At {
                storage,
                position: byte_position(place),
                range,
            },
            Place::At(_) | Place::Zeroed => Located::Elsewhere,
        })
    }

    /// Fills `buf`, which is as long as the range of the runs, from the file that they lie in; see
    /// [`Extent::read`](super::Extent::read).
    pub(crate) fn read(
        self,
        storage: &dyn Storage,
        mut buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        for run in self {
            let run = run?;
            let part = take_front_mut(&mut buf, run.range.count());
            match run.place {
                Place::Unallocated => holes.push(run.range),
                Place::Zeroed => part.fill(0),
                Place::At(place) => {
                    storage.read_exact_at(part, byte_position(place)).map_err(
                        |error| match error.kind() {
                            std::io::ErrorKind::UnexpectedEof => {
                                let guest = run.range.start().get();
                                Error::from(TableError::GrainBeyondEnd { guest })
                            }
                            _ => IoFault::new("reading grains", error).into(),
                        },
                    )?;
                }
            }
        }
        Ok(())
    }
}

impl<T: Lookup> Iterator for Runs<'_, T> {
    type Item = Result<Run, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let piece = match self.next_piece() {
                Ok(piece) => piece,
                Err(error) => {
                    // What came before is good; the error comes up again at the next call.
                    if let Some(run) = self.pending.take() {
                        return Some(Ok(run));
                    }
                    self.rest = SectorRange::default();
                    return Some(Err(error));
                }
            };
            match self.pending.take() {
                None => self.pending = Some(piece),
                Some(run) => match self.joined(&run, &piece) {
                    Some(longer) => self.pending = Some(longer),
                    None => {
                        self.pending = Some(piece);
                        return Some(Ok(run));
                    }
                },
            }
        }
        self.pending.take().map(Ok)
    }
}
