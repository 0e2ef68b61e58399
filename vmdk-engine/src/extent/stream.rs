//! Stream-optimised extents: compressed grains, each in a record of its own. Read-only.
//!
//! A record is looked up through the grain tables and must then agree with them. A request for a whole grain inflates
//! straight into the caller's buffer; parts of a grain come through a small cache of inflated grains.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note); that the bytes are zlib streams (RFC 1950), and that a
//! last grain may inflate short, was observed in files of ESX, VirtualBox and qemu-img 10.

use std::collections::VecDeque;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use flate2::{Decompress, FlushDecompress, Status};
use parking_lot::Mutex;
use zerocopy::FromBytes;

use super::runs::Place;
use super::table::Tables;
use super::{Extent, MapRun};
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::layout::GrainRecord;
use crate::storage::Storage;
use crate::units::{buffer_len, byte_position, range_of, take_front_mut};

/// Memory for inflated grains per open disk.
pub(crate) const INFLATED_BYTES: usize = 8 << 20;

const SHARDS: usize = 8;

/// Read at once in the hope that the whole record is in it; most compressed grains are.
const FIRST_READ: u64 = 32 * 1024;

/// Damage to a compressed grain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("grain {grain}: its record claims {size} compressed bytes")]
    Size { grain: u64, size: u32 },
    #[error("grain {grain}: its record is that of guest sector {found}")]
    OtherGrain { grain: u64, found: u64 },
    #[error("grain {grain}: its record is cut off by the end of the file")]
    Cut { grain: u64 },
    #[error("grain {grain}: its data is not a valid zlib stream")]
    Damaged { grain: u64 },
    #[error("grain {grain}: it inflates to more than a grain")]
    TooLong { grain: u64 },
    #[error("grain {grain}: it inflates to {bytes} bytes only")]
    TooShort { grain: u64, bytes: u64 },
}

impl Cause for RecordError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// The last few inflated grains of a disk, oldest first in each shard.
#[derive(Debug)]
pub(crate) struct InflatedGrains {
    shards: [Mutex<VecDeque<Inflated>>; SHARDS],
    grains_per_shard: usize,
}

#[derive(Debug)]
struct Inflated {
    extent: u32,
    grain: u64,
    bytes: Arc<[u8]>,
}

impl InflatedGrains {
    /// A cache of `bytes` for grains of `grain_bytes`, or the largest such in the disk.
    pub(crate) fn new(bytes: usize, grain_bytes: usize) -> Self {
        let grains = bytes.checked_div(grain_bytes).unwrap_or(0) / SHARDS;
        Self {
            shards: Default::default(),
            grains_per_shard: grains.max(1),
        }
    }

    fn shard(&self, grain: u64) -> &Mutex<VecDeque<Inflated>> {
        let index = usize::try_from(grain).unwrap_or(0) % SHARDS;
        self.shards.get(index).unwrap_or_else(|| {
            let [first, ..] = &self.shards;
            first
        })
    }

    fn find(&self, extent: u32, grain: u64) -> Option<Arc<[u8]>> {
        let shard = self.shard(grain).lock();
        let found = shard
            .iter()
            .find(|cached| cached.extent == extent && cached.grain == grain)?;
        Some(Arc::clone(&found.bytes))
    }

    fn keep(&self, extent: u32, grain: u64, bytes: Arc<[u8]>) {
        let mut shard = self.shard(grain).lock();
        while shard.len() >= self.grains_per_shard {
            shard.pop_front();
        }
        shard.push_back(Inflated {
            extent,
            grain,
            bytes,
        });
    }
}

/// Compressed grains.
#[derive(Debug)]
pub(crate) struct StreamExtent {
    storage: Arc<dyn Storage>,
    tables: Tables,
    inflated: Arc<InflatedGrains>,
    extent: u32,
    file: ByteLen,
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
        Ok(Self {
            storage,
            tables: tables.with_spare(file),
            inflated,
            extent,
            file,
        })
    }

    /// Fills `buf` with the part of one grain that `range` names; `record` is where the grain's record begins.
    fn read_grain(&self, range: SectorRange, record: Sector, buf: &mut [u8]) -> Result<(), Error> {
        let size = self.tables.shape.grain;
        let grain = size.grain_of(range.start());
        if range.count() == size.count() {
            return self.inflate(grain, record, buf);
        }
        let bytes = match self.inflated.find(self.extent, grain) {
            Some(bytes) => bytes,
            None => {
                let mut whole = vec![0; size.bytes()];
                self.inflate(grain, record, &mut whole)?;
                let whole: Arc<[u8]> = whole.into();
                self.inflated.keep(self.extent, grain, Arc::clone(&whole));
                whole
            }
        };
        let offset = buffer_len(SectorCount::new(size.offset_in(range.start())));
        let part = bytes.get(offset..).and_then(|rest| rest.get(..buf.len()));
        // The run lies inside its grain, so that the part always exists.
        buf.copy_from_slice(part.ok_or(RecordError::Damaged { grain })?);
        Ok(())
    }

    /// Inflates one grain into `out`, which has the length of a grain.
    fn inflate(&self, grain: u64, record: Sector, out: &mut [u8]) -> Result<(), Error> {
        let compressed = self.read_record(grain, record)?;
        let bytes = inflate_exactly(&compressed, out, grain)?;
        let (_, missing) = out.split_at_mut(bytes);
        if missing.is_empty() {
            return Ok(());
        }
        // Only the last grain may be short, and not by more than what the capacity cuts off.
        let shape = &self.tables.shape;
        let there = SectorCount::new(u64::try_from(bytes).unwrap_or(0) / 512);
        let end = shape
            .grain
            .start_of(grain)
            .checked_add(there)
            .unwrap_or_default();
        if end.get() < shape.capacity.get() {
            let bytes = u64::try_from(bytes).unwrap_or(0);
            return Err(RecordError::TooShort { grain, bytes }.into());
        }
        missing.fill(0);
        Ok(())
    }

    /// The compressed bytes of a grain.
    fn read_record(&self, grain: u64, record: Sector) -> Result<Vec<u8>, Error> {
        let start = byte_position(record).get();
        let there = self.file.get().saturating_sub(start);
        let mut bytes = vec![0; usize::try_from(there.min(FIRST_READ)).unwrap_or(0)];
        self.read_at(start, &mut bytes)?;
        let (head_len, size) = self.read_head(grain, &bytes)?;
        let shape = &self.tables.shape;
        let limit = shape.grain.bytes().saturating_mul(2);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if length == 0 || length > limit {
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
        Ok(bytes)
    }

    /// The length of what stands in front of the compressed bytes, and their number.
    fn read_head(&self, grain: u64, bytes: &[u8]) -> Result<(usize, u32), Error> {
        let cut = || RecordError::Cut { grain };
        if !self.tables.shape.has_markers {
            let size = bytes.first_chunk::<4>().ok_or_else(cut)?;
            return Ok((4, u32::from_le_bytes(*size)));
        }
        let (head, _) = GrainRecord::read_from_prefix(bytes).map_err(|_| cut())?;
        let found = head.first_sector.get();
        let size = head.size.get();
        if size != 0 && found != self.tables.shape.grain.start_of(grain).get() {
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

/// Inflates one whole zlib stream and checks its checksum; returns how many bytes of `out` it fills.
fn inflate_exactly(compressed: &[u8], out: &mut [u8], grain: u64) -> Result<usize, RecordError> {
    let damaged = |_| RecordError::Damaged { grain };
    let mut inflate = Decompress::new(true);
    let mut status = inflate
        .decompress(compressed, out, FlushDecompress::Finish)
        .map_err(damaged)?;
    if status != Status::StreamEnd && inflate.total_out() == u64::try_from(out.len()).unwrap_or(0) {
        // The buffer is full: what is left may be the checksum alone.
        let used = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
        let rest = compressed.get(used..).unwrap_or_default();
        let mut extra = [0; 1];
        status = inflate
            .decompress(rest, &mut extra, FlushDecompress::Finish)
            .map_err(damaged)?;
        if inflate.total_out() > u64::try_from(out.len()).unwrap_or(0) {
            return Err(RecordError::TooLong { grain });
        }
    }
    if status != Status::StreamEnd {
        return Err(RecordError::Damaged { grain });
    }
    let used = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
    if used < compressed.len() {
        tracing::debug!(
            grain,
            "bytes behind the end of a compressed grain are ignored"
        );
    }
    Ok(usize::try_from(inflate.total_out())
        .unwrap_or(out.len())
        .min(out.len()))
}

impl Extent for StreamExtent {
    fn read(
        &self,
        start: Sector,
        mut buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        for run in self.tables.runs(range_of(start, buf)) {
            let run = run?;
            let part = take_front_mut(&mut buf, run.range.count());
            match run.place {
                Place::Unallocated => holes.push(run.range),
                Place::Zeroed => part.fill(0),
                Place::At(record) => self.read_grain(run.range, record, part)?,
            }
        }
        Ok(())
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(self.tables.runs(range).map_runs())
    }

    fn grain(&self) -> Option<SectorCount> {
        Some(self.tables.shape.grain.count())
    }
}
