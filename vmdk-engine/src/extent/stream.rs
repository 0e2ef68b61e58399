//! Stream-optimised extents: compressed grains, each in a record of its own. Read-only.
//!
//! A record is looked up through the grain tables and must then agree with them. What covers a whole grain is inflated
//! straight into the caller's buffer. What takes part of one comes from the cache, in which grains stay that were
//! inflated as a whole or as far as somebody needed them: a reader here and there does not pay for what lies behind its
//! sectors. The checksum of a grain covers all of it, so that it is checked only where all of it is inflated.
//!
//! What could not be compressed, and is wanted as a whole, is read past the inflater.
//!
//! As long as there is nothing else to read, workers inflate the further grains of a long request, and those behind a
//! request of a sequential reader. With as many requests as cores every core has work, and handing over costs more than
//! it gains; so it does for grains that could not be compressed.

mod ahead;
mod buffers;
mod inflated;
mod records;
mod stored;

use std::collections::VecDeque;
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use self::ahead::ReadAhead;
use self::inflated::{Cached, GrainKey, Inflated};
pub(crate) use self::inflated::{INFLATED_BYTES, InflatedGrains};
pub(crate) use self::records::Records;
use super::runs::Place;
use super::table::Tables;
use super::{Extent, MapRun};
use crate::error::{Error, IoFault};
use crate::storage::Storage;
use crate::stream::record::RecordError;
use crate::units::{buffer_len, range_of, take_front_mut};

/// Compressed grains.
#[derive(Debug)]
pub(crate) struct StreamExtent {
    records: Arc<Records>,
    tables: Tables,
    inflated: Arc<InflatedGrains>,
    extent: u32,
    ahead: Mutex<ReadAhead>,
}

/// Sectors of one grain that were asked for, and where their bytes go.
struct Wanted<'a> {
    grain: u64,
    record: Sector,
    /// What a worker was told to do.
    submitted: Option<Arc<Inflated>>,
    /// Bytes of the grain in front of the wanted ones.
    skipped: usize,
    part: &'a mut [u8],
}

impl Wanted<'_> {
    /// Where the wanted bytes end in the grain.
    fn end(&self) -> usize {
        self.skipped.saturating_add(self.part.len())
    }

    /// Puts them where they were asked for.
    fn copy_from(self, inflated: &[u8]) -> Result<(), Error> {
        let grain = self.grain;
        // The run lies inside its grain, so that the part always exists.
        let part = inflated.get(self.skipped..self.end());
        self.part
            .copy_from_slice(part.ok_or(RecordError::Damaged { grain })?);
        Ok(())
    }
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

    fn key(&self, grain: u64) -> GrainKey {
        GrainKey {
            extent: self.extent,
            grain,
        }
    }

    /// The whole grain, inflated or still to be.
    fn find(&self, grain: u64, record: Sector) -> Arc<Inflated> {
        self.inflated.find_or_insert(self.key(grain), || {
            let records = Arc::clone(&self.records);
            let buffers = Arc::clone(self.inflated.buffers());
            move || {
                let mut whole = buffers.take(records.grain().bytes());
                // Who needs the grain finds out why it cannot be had.
                let result = records.inflate(grain, record, &mut whole);
                result.is_ok().then_some(whole)
            }
        })
    }

    /// Gets what is wanted, for a sequential reader or another one.
    fn get(&self, mut wanted: Wanted<'_>, is_sequential: bool) -> Result<(), Error> {
        if let Some(inflated) = wanted.submitted.take() {
            return self.copy(wanted, &inflated);
        }
        let key = self.key(wanted.grain);
        let had_front = match self.inflated.get(key) {
            Some(Cached::Whole(inflated)) => return self.copy(wanted, &inflated),
            Some(Cached::Front(front)) => match front.bytes() {
                bytes if wanted.end() <= bytes.len() => return wanted.copy_from(bytes),
                _ => true,
            },
            None => false,
        };
        let (grain, record) = (wanted.grain, wanted.record);
        if wanted.part.len() == self.records.grain().bytes() {
            return self.records.inflate(grain, record, wanted.part).map(|_| ());
        }
        if is_sequential || had_front || wanted.end() >= self.records.needed(grain) {
            return self.copy(wanted, &self.find(grain, record));
        }
        let mut front = self.inflated.buffers().take(self.records.grain().bytes());
        let end = wanted.end();
        self.records
            .inflate_front(grain, record, front.get_mut(..end).unwrap_or_default())?;
        let front = self.inflated.insert_front(key, front, end);
        wanted.copy_from(front.bytes())
    }

    /// Takes what is wanted out of a grain.
    fn copy(&self, wanted: Wanted<'_>, inflated: &Inflated) -> Result<(), Error> {
        if let Some(whole) = inflated.result() {
            return wanted.copy_from(whole);
        }
        let mut whole = self.inflated.buffers().take(self.records.grain().bytes());
        self.records
            .inflate(wanted.grain, wanted.record, &mut whole)?;
        wanted.copy_from(&whole)
    }

    /// Lets workers inflate what a sequential reader will ask for next.
    fn read_ahead(&self, next: SectorRange) {
        let size = self.records.grain();
        let end = Sector::new(self.tables.shape.capacity.get());
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
        let size = self.records.grain();
        let request = range_of(start, buf);
        let turn = self.inflated.begin();
        let follow = self.ahead.lock().follow(request, size);
        let hands_over = turn.leaves_cores() && !self.records.are_stored();
        if let Some(next) = follow.fetch.filter(|_| hands_over) {
            self.read_ahead(next);
        }
        let mut waiting: VecDeque<Wanted<'_>> = VecDeque::new();
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
            let mut wanted = Wanted {
                grain,
                record,
                submitted: None,
                skipped: buffer_len(SectorCount::new(size.offset_in(run.range.start()))),
                part,
            };
            if !hands_over {
                self.get(wanted, follow.is_sequential)?;
                continue;
            }
            if !waiting.is_empty() {
                // The first is done here.
                let inflated = self.find(grain, record);
                self.inflated.submit(&inflated);
                wanted.submitted = Some(inflated);
            }
            waiting.push_back(wanted);
            if waiting.len() > self.inflated.depth()
                && let Some(oldest) = waiting.pop_front()
            {
                self.get(oldest, follow.is_sequential)?;
            }
        }
        waiting
            .into_iter()
            .try_for_each(|wanted| self.get(wanted, follow.is_sequential))
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(self.tables.runs(range).map_runs())
    }

    fn grain(&self) -> Option<SectorCount> {
        Some(self.tables.shape.grain.count())
    }
}
