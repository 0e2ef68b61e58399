//! Records of compressed grains in a file: found, read and inflated.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use disk_units::{ByteLen, Sector, SectorCount};
use zerocopy::FromBytes;

use super::stored;
use crate::error::{Error, IoFault};
use crate::extent::header::SparseShape;
use crate::layout::GrainRecord;
use crate::storage::Storage;
use crate::stream::record::{self, RecordError};
use crate::units::{GrainSize, buffer_len, byte_position};

/// Bytes read at once, at first, in the hope that the whole record is in them; later as many as the last record had.
const FIRST_READ: usize = 32 * 1024;

/// What is read at once is a multiple of this, so that records of about the same length take one call.
const READ_STEP: usize = 4096;

/// Memory for a record that a thread keeps for the next one: records of usual grains fit in.
const KEPT_BYTES: usize = 128 * 1024;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Where the records are: all that a worker needs.
#[derive(Debug)]
pub(crate) struct Records {
    storage: Arc<dyn Storage>,
    grain: GrainSize,
    capacity: SectorCount,
    has_markers: bool,
    /// The length of the file.
    file: ByteLen,
    /// The length of the last record.
    last: AtomicUsize,
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
            last: AtomicUsize::new(FIRST_READ),
        }
    }

    pub(super) fn grain(&self) -> GrainSize {
        self.grain
    }

    /// Whether the last record was longer than its grain, whose bytes are stored as they are then. Copying such takes no
    /// longer than telling a worker to.
    pub(super) fn are_stored(&self) -> bool {
        self.last.load(Ordering::Relaxed) > self.grain.bytes()
    }

    /// The bytes of a grain that the capacity covers: all of them, but for the last grain.
    pub(super) fn needed(&self, grain: u64) -> usize {
        let start = self.grain.start_of(grain).get();
        let needed = SectorCount::new(self.capacity.get().saturating_sub(start));
        buffer_len(needed.min(self.grain.count()))
    }

    /// Inflates one grain, whose record begins in a sector of the file, into `out`, which has the length of a grain.
    /// Returns what the record takes up.
    pub(crate) fn inflate(
        &self,
        grain: u64,
        record: Sector,
        out: &mut [u8],
    ) -> Result<SectorCount, Error> {
        // Only the last grain may be short, and not by more than what the capacity cuts off.
        let needed = self.needed(grain);
        if let Some(length) = self.copy_stored(grain, record, out) {
            return Ok(length);
        }
        self.with_record(grain, record, |compressed| {
            record::inflate(compressed, out, needed, grain)
        })
    }

    /// Reads one whole grain without inflating it, if it looks like one whose bytes are stored as they are: all that a
    /// record must be was checked then, and the others are left to [`with_record`](Self::with_record).
    fn copy_stored(&self, grain: u64, record: Sector, out: &mut [u8]) -> Option<SectorCount> {
        if !self.are_stored() {
            return None;
        }
        let mut front = [0; size_of::<GrainRecord>() + stored::FRONT];
        let start = byte_position(record).get();
        self.read_at(start, &mut front).ok()?;
        let (head_len, size) = self.read_head(grain, &front).ok()?;
        let length = usize::try_from(size).ok()?;
        let position = start.checked_add(u64::try_from(head_len).ok()?)?;
        let end = position.checked_add(size.into())?;
        if length > record::max_compressed(self.grain) || end > self.file.get() {
            return None;
        }
        let (_, front) = front.split_at_checked(head_len)?;
        let position = ByteLen::new(position);
        let is_read = stored::read(&*self.storage, position, length, *front.first_chunk()?, out);
        is_read.then(|| ByteLen::new(end.saturating_sub(start)).sectors_rounded_up())
    }

    /// Inflates the front of one grain, as much as fits `out`. Damage behind that is not found, and a checksum is not
    /// checked.
    pub(super) fn inflate_front(
        &self,
        grain: u64,
        record: Sector,
        out: &mut [u8],
    ) -> Result<(), Error> {
        self.with_record(grain, record, |compressed| {
            record::inflate_front(compressed, out, grain)
        })
        .map(|_| ())
    }

    /// Calls `inflate` with the compressed bytes of a grain, and returns what their record takes up.
    fn with_record(
        &self,
        grain: u64,
        record: Sector,
        inflate: impl FnOnce(&[u8]) -> Result<(), RecordError>,
    ) -> Result<SectorCount, Error> {
        // Taken away, not borrowed: a storage may read another disk.
        let mut bytes = KEPT.take();
        let result = self
            .read_record(grain, record, &mut bytes)
            .and_then(|body| {
                inflate(bytes.get(body.clone()).unwrap_or_default())?;
                let length = ByteLen::new(u64::try_from(body.end).unwrap_or(u64::MAX));
                Ok(length.sectors_rounded_up())
            });
        if bytes.capacity() <= KEPT_BYTES {
            KEPT.set(bytes);
        }
        result
    }

    /// Reads a record to the front of `bytes`, and returns where in them the compressed bytes of the grain are.
    fn read_record(
        &self,
        grain: u64,
        record: Sector,
        bytes: &mut Vec<u8>,
    ) -> Result<Range<usize>, Error> {
        let start = byte_position(record).get();
        let there = self.file.get().saturating_sub(start);
        let there = usize::try_from(there).unwrap_or(usize::MAX);
        let usual = self.last.load(Ordering::Relaxed);
        let first = usual.next_multiple_of(READ_STEP).min(KEPT_BYTES).min(there);
        let first_bytes = front(bytes, first);
        self.read_at(start, first_bytes)?;
        let (head_len, size) = self.read_head(grain, first_bytes)?;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if length == 0 || length > record::max_compressed(self.grain) {
            return Err(RecordError::Size { grain, size }.into());
        }
        let end = head_len.saturating_add(length);
        if end > there {
            return Err(RecordError::Cut { grain }.into());
        }
        if let Some(rest) = front(bytes, end).get_mut(first..) {
            self.read_at(
                start.saturating_add(u64::try_from(first).unwrap_or(0)),
                rest,
            )?;
        }
        self.last.store(end, Ordering::Relaxed);
        Ok(head_len.min(end)..end)
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

/// The first `length` bytes, which are there afterwards. Those that were there already keep what they have.
fn front(bytes: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
    bytes.split_at_mut(length).0
}
