//! Stream-optimised extents: compressed grains, each in a record of its own. Read-only.
//!
//! A record is looked up through the grain tables and must then agree with them. Grains are inflated by whoever comes
//! first: the caller, or one of the workers that get the other grains of a long request, and those behind a request of
//! a sequential reader. Inflated grains stay in a cache for readers that take less than a grain at a time.
//!
//! A single whole grain is inflated straight into the caller's buffer.

mod ahead;
mod inflated;

use std::collections::VecDeque;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;
use zerocopy::FromBytes;

use self::ahead::ReadAhead;
use self::inflated::{GrainKey, Inflated};
pub(crate) use self::inflated::{INFLATED_BYTES, InflatedGrains};
use super::header::SparseShape;
use super::runs::Place;
use super::table::Tables;
use super::{Extent, MapRun};
use crate::error::{Error, IoFault};
use crate::layout::GrainRecord;
use crate::storage::Storage;
use crate::stream::record::{self, RecordError};
use crate::units::{GrainSize, buffer_len, byte_position, range_of, take_front_mut};

/// Read at once in the hope that the whole record is in it; most compressed grains are.
const FIRST_READ: u64 = 32 * 1024;

/// Where the records are: all that a worker needs.
#[derive(Debug)]
pub(crate) struct Records {
    storage: Arc<dyn Storage>,
    grain: GrainSize,
    capacity: SectorCount,
    has_markers: bool,
    /// The length of the file.
    file: ByteLen,
}

impl Records {
    /// Those of the extent with this shape, in a file of this length.
    pub(crate) fn new(storage: Arc<dyn Storage>, shape: &SparseShape, file: ByteLen) -> Self {
        Self {
            storage,
            grain: shape.grain,
            capacity: shape.capacity,
            has_markers: shape.has_markers,
            file,
        }
    }

    /// Inflates one grain, whose record begins in a sector of the file, into `out`, which has the length of a grain.
    /// Returns what the record takes up.
    pub(crate) fn inflate(
        &self,
        grain: u64,
        record: Sector,
        out: &mut [u8],
    ) -> Result<SectorCount, Error> {
        let (compressed, length) = self.read_record(grain, record)?;
        // Only the last grain may be short, and not by more than what the capacity cuts off.
        let start = self.grain.start_of(grain).get();
        let needed = SectorCount::new(self.capacity.get().saturating_sub(start));
        let needed = buffer_len(needed.min(self.grain.count()));
        record::inflate(&compressed, out, needed, grain)?;
        Ok(length.sectors_rounded_up())
    }

    /// The compressed bytes of a grain, and the length of their record.
    fn read_record(&self, grain: u64, record: Sector) -> Result<(Vec<u8>, ByteLen), Error> {
        let start = byte_position(record).get();
        let there = self.file.get().saturating_sub(start);
        let mut bytes = vec![0; usize::try_from(there.min(FIRST_READ)).unwrap_or(0)];
        self.read_at(start, &mut bytes)?;
        let (head_len, size) = self.read_head(grain, &bytes)?;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if length == 0 || length > record::max_compressed(self.grain) {
            return Err(RecordError::Size { grain, size }.into());
        }
        let end = head_len.saturating_add(length);
        if u64::try_from(end).unwrap_or(u64::MAX) > there {
            return Err(RecordError::Cut { grain }.into());
        }
        let had = bytes.len();
        bytes.resize(end, 0);
        if let Some(rest) = bytes.get_mut(had..).filter(|rest| !rest.is_empty()) {
            self.read_at(start.saturating_add(u64::try_from(had).unwrap_or(0)), rest)?;
        }
        bytes.drain(..head_len.min(end));
        let length = ByteLen::new(u64::try_from(end).unwrap_or(u64::MAX));
        Ok((bytes, length))
    }

    /// The length of what stands in front of the compressed bytes, and their number.
    fn read_head(&self, grain: u64, bytes: &[u8]) -> Result<(usize, u32), Error> {
        let cut = || RecordError::Cut { grain };
        if !self.has_markers {
            let size = bytes.first_chunk::<4>().ok_or_else(cut)?;
            return Ok((4, u32::from_le_bytes(*size)));
        }
        let (head, _) = GrainRecord::read_from_prefix(bytes).map_err(|_| cut())?;
        let found = head.first_sector.get();
        let size = head.size.get();
        if size != 0 && found != self.grain.start_of(grain).get() {
            return Err(RecordError::OtherGrain { grain, found }.into());
        }
        Ok((size_of::<GrainRecord>(), size))
    }

    fn read_at(&self, position: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.storage
            .read_exact_at(buf, ByteLen::new(position))
            .map_err(|error| IoFault::new("reading a compressed grain", error).into())
    }
}

/// Compressed grains.
#[derive(Debug)]
pub(crate) struct StreamExtent {
    records: Arc<Records>,
    tables: Tables,
    inflated: Arc<InflatedGrains>,
    extent: u32,
    ahead: Mutex<ReadAhead>,
}

/// A grain that was asked for, and where its bytes go.
struct Wanted<'a> {
    grain: u64,
    record: Sector,
    inflated: Arc<Inflated>,
    /// Bytes of the grain in front of the wanted ones.
    skipped: usize,
    part: &'a mut [u8],
}

impl StreamExtent {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        tables: Tables,
        inflated: Arc<InflatedGrains>,
        extent: u32,
    ) -> Result<Self, Error> {
        let file = storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        let records = Records::new(storage, &tables.shape, file);
        Ok(Self {
            records: Arc::new(records),
            ahead: Mutex::new(ReadAhead::new(inflated.read_ahead())),
            tables: tables.for_reading(file),
            inflated,
            extent,
        })
    }

    /// The grain, inflated or still to be.
    fn find(&self, grain: u64, record: Sector) -> Arc<Inflated> {
        let key = GrainKey {
            extent: self.extent,
            grain,
        };
        self.inflated.find_or_insert(key, || {
            let records = Arc::clone(&self.records);
            move || {
                let mut whole = vec![0; records.grain.bytes()];
                // Who needs the grain finds out why it cannot be had.
                let result = records.inflate(grain, record, &mut whole);
                result.is_ok().then_some(whole)
            }
        })
    }

    /// Puts a grain where it was asked for.
    fn copy(&self, wanted: Wanted<'_>) -> Result<(), Error> {
        let once_more;
        let whole = match wanted.inflated.result() {
            Some(whole) => whole,
            None => {
                let mut whole = vec![0; self.records.grain.bytes()];
                self.records
                    .inflate(wanted.grain, wanted.record, &mut whole)?;
                once_more = whole;
                &once_more
            }
        };
        let end = wanted.skipped.saturating_add(wanted.part.len());
        let part = whole.get(wanted.skipped..end);
        let grain = wanted.grain;
        // The run lies inside its grain, so that the part always exists.
        wanted
            .part
            .copy_from_slice(part.ok_or(RecordError::Damaged { grain })?);
        Ok(())
    }

    /// Lets workers inflate what a sequential reader will ask for next.
    fn read_ahead(&self, range: SectorRange) {
        let size = self.records.grain;
        let end = Sector::new(self.tables.shape.capacity.get());
        let Some(next) = self.ahead.lock().follow(range, size) else {
            return;
        };
        for run in self.tables.runs(next.split_at(end).0).map_while(Result::ok) {
            if let Place::At(record) = run.place {
                let grain = size.grain_of(run.range.start());
                self.inflated.submit(&self.find(grain, record));
            }
        }
    }
}

impl Extent for StreamExtent {
    fn read(
        &self,
        start: Sector,
        mut buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        let size = self.records.grain;
        let request = range_of(start, buf);
        self.read_ahead(request);
        let is_one_grain = request.count() == size.count() && size.offset_in(start) == 0;
        let mut wanted: VecDeque<Wanted<'_>> = VecDeque::new();
        for run in self.tables.runs(request) {
            let run = run?;
            let part = take_front_mut(&mut buf, run.range.count());
            let record = match run.place {
                Place::Unallocated => {
                    holes.push(run.range);
                    continue;
                }
                Place::Zeroed => {
                    part.fill(0);
                    continue;
                }
                Place::At(record) => record,
            };
            let grain = size.grain_of(run.range.start());
            if is_one_grain && !self.inflated.contains(self.extent, grain) {
                return self.records.inflate(grain, record, part).map(|_| ());
            }
            let inflated = self.find(grain, record);
            if !wanted.is_empty() {
                // The first is done here.
                self.inflated.submit(&inflated);
            }
            wanted.push_back(Wanted {
                grain,
                record,
                inflated,
                skipped: buffer_len(SectorCount::new(size.offset_in(run.range.start()))),
                part,
            });
            if wanted.len() > self.inflated.depth()
                && let Some(oldest) = wanted.pop_front()
            {
                self.copy(oldest)?;
            }
        }
        wanted.into_iter().try_for_each(|wanted| self.copy(wanted))
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(self.tables.runs(range).map_runs())
    }

    fn grain(&self) -> Option<SectorCount> {
        Some(self.tables.shape.grain.count())
    }
}
