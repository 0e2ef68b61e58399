//! Writing a stream: grains in ascending order, compressed on all cores, into anything that takes bytes.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};

use disk_units::{Sector, SectorCount, SectorRange};
use flate2::Compression;

use super::frame::{Frame, GRAIN, GRAINS_PER_TABLE};
use super::record;
use crate::error::{Cause, Error, ErrorKind, IoFault, Operation, Refusal};
use crate::units::{is_zero, range_of};
use crate::worker::Pipeline;

/// So much is handed to the sink at a time: compressed grains may be a sector long.
const BUFFER: usize = 256 * 1024;

/// What a stream cannot take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(
        "a stream-optimised disk takes its grains in ascending order, each once; it is written up to sector {0}"
    )]
    GoingBack(u64),
    #[error("a stream-optimised disk takes whole grains of 128 sectors only")]
    NotWholeGrains,
    #[error("a stream-optimised disk cannot have {0} sectors")]
    Capacity(u64),
    #[error("a descriptor of {0} bytes does not fit")]
    LongText(usize),
}

impl Cause for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::GoingBack(_) | Self::NotWholeGrains => ErrorKind::Unsupported,
            Self::Capacity(_) | Self::LongText(_) => ErrorKind::InvalidArgument,
        }
    }
}

/// Writes a `streamOptimized` disk from its first byte to its last, without ever going back.
///
/// Grains are taken in ascending order; those of zeros, and those left out, take no space. They are compressed on all
/// cores while the caller goes on; at most 4 of 64 KiB for each core wait for that. The sink is written to on the
/// caller's thread only.
///
/// The stream is complete after [`StreamWriter::finish`]. One that is not, because the writer was dropped or has failed,
/// has no footer, and everyone refuses to open it.
pub struct StreamWriter<W: Write> {
    sink: Sink<W>,
    frame: Frame,
    level: Compression,
    records: Pipeline<Vec<u8>>,
    /// The numbers of the grains in `records`.
    grains: VecDeque<u64>,
    /// The first grain that may still come.
    next: u64,
    table: OpenTable,
    directory: Vec<u32>,
}

/// The entries of the grain table that the stream is in.
struct OpenTable {
    number: u64,
    entries: Vec<u32>,
}

impl<W: Write> StreamWriter<W> {
    /// Begins a stream with this descriptor.
    pub(crate) fn with_text(sink: W, capacity: SectorCount, text: &[u8]) -> Result<Self, Error> {
        let frame = Frame::new(capacity, text)?;
        let mut sink = Sink::new(sink);
        sink.write(&frame.front())?;
        let tables = usize::try_from(frame.tables()).unwrap_or(usize::MAX);
        Ok(Self {
            sink,
            level: Compression::new(6),
            records: Pipeline::new(),
            grains: VecDeque::new(),
            next: 0,
            table: OpenTable {
                number: 0,
                entries: vec![0; 512],
            },
            directory: vec![0; tables],
            frame,
        })
    }

    /// How hard grains are compressed from now on: 0 is not at all, 1 is fast, 9 is small. At first it is 6; numbers
    /// above 9 are taken as 9.
    #[must_use]
    pub fn with_level(mut self, level: u32) -> Self {
        self.level = Compression::new(level.min(9));
        self
    }

    /// The size of the disk.
    #[must_use]
    pub fn capacity(&self) -> SectorCount {
        self.frame.capacity()
    }

    /// The sector up to which the disk is written: the next write begins there or further on.
    #[must_use]
    pub fn written(&self) -> Sector {
        let end = self.frame.grain().start_of(self.next);
        end.min(Sector::new(self.capacity().get()))
    }

    /// Adds whole grains of 128 sectors from `start` on, of which the last may be cut by the end of the disk. What lies
    /// between the last write and `start` reads as zeros.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for less than whole grains and for going back, [`OutOfRange`],
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for less than whole sectors: the stream is as it was.
    /// [`FileTooBig`] behind 2 TiB of stream, and whatever the sink reports: the stream is lost, and all later calls
    /// fail with [`WritesSuspended`](ErrorKind::WritesSuspended).
    ///
    /// [`OutOfRange`]: ErrorKind::OutOfRange
    /// [`FileTooBig`]: ErrorKind::FileTooBig
    pub fn write_at(&mut self, start: Sector, buf: &[u8]) -> Result<(), Error> {
        let range = range_of(start, buf);
        let result = if !buf.len().is_multiple_of(512) {
            Err(Refusal::NotWholeSectors { bytes: buf.len() }.into())
        } else if buf.is_empty() {
            Ok(())
        } else {
            self.check(range).and_then(|()| self.add(start, buf))
        };
        result.map_err(|error| error.during(Operation::Write, Some(range)))
    }

    /// Leaves out whole grains, which read as zeros then.
    pub(crate) fn leave_out(&mut self, range: SectorRange) -> Result<(), Error> {
        self.check(range)?;
        self.next = self
            .frame
            .grain()
            .grains_in(SectorCount::new(range.end().get()));
        Ok(())
    }

    /// Refuses what is not whole grains behind those that are written.
    fn check(&self, range: SectorRange) -> Result<(), Error> {
        let (end, capacity) = (range.end().get(), self.capacity().get());
        if end > capacity {
            return Err(Refusal::OutOfRange { capacity }.into());
        }
        if range.start() < self.written() {
            return Err(StreamError::GoingBack(self.written().get()).into());
        }
        let is_whole = |sector: u64| sector.is_multiple_of(GRAIN);
        if !is_whole(range.start().get()) || !(is_whole(end) || end == capacity) {
            return Err(StreamError::NotWholeGrains.into());
        }
        self.sink.check()
    }

    fn add(&mut self, start: Sector, buf: &[u8]) -> Result<(), Error> {
        let grain = self.frame.grain();
        for (number, bytes) in (grain.grain_of(start)..).zip(buf.chunks(grain.bytes())) {
            self.next = number.saturating_add(1);
            if is_zero(bytes) {
                continue;
            }
            if self.records.is_full() {
                self.take_record()?;
            }
            let mut whole = bytes.to_vec();
            whole.resize(grain.bytes(), 0);
            let level = self.level;
            self.grains.push_back(number);
            self.records
                .push(move || record::deflate(grain, number, &whole, level));
        }
        Ok(())
    }

    /// Waits for the oldest grain and writes it.
    fn take_record(&mut self) -> Result<(), Error> {
        let (Some(grain), Some(record)) = (self.grains.pop_front(), self.records.pop()) else {
            return Ok(());
        };
        let number = grain / GRAINS_PER_TABLE;
        if number != self.table.number {
            self.end_table()?;
            self.table.number = number;
        }
        let position = self.sink.position(0)?;
        let slot = usize::try_from(grain % GRAINS_PER_TABLE).unwrap_or(0);
        if let Some(entry) = self.table.entries.get_mut(slot) {
            *entry = position;
        }
        self.sink.write(record.result())
    }

    /// Writes the table that the stream is in, unless it is empty.
    fn end_table(&mut self) -> Result<(), Error> {
        if self.table.entries.iter().all(|entry| *entry == 0) {
            return Ok(());
        }
        // The table itself stands behind its marker.
        let position = self.sink.position(1)?;
        let number = usize::try_from(self.table.number).unwrap_or(usize::MAX);
        if let Some(entry) = self.directory.get_mut(number) {
            *entry = position;
        }
        self.sink.write(&Frame::table(&self.table.entries))?;
        self.table.entries.fill(0);
        Ok(())
    }

    /// Completes the stream and gives the sink back, flushed.
    ///
    /// # Errors
    /// As [`StreamWriter::write_at`].
    pub fn finish(mut self) -> Result<W, Error> {
        self.complete()
            .map_err(|error| error.during(Operation::Close, None))?;
        Ok(self.sink.inner)
    }

    fn complete(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.end_table()?;
        let position = self.sink.sectors;
        self.sink
            .write(&self.frame.back(&self.directory, position))?;
        self.sink.flush()
    }

    /// Hands everything that was taken so far to the sink, and flushes that.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.sink.check()?;
        while !self.grains.is_empty() {
            self.take_record()?;
        }
        self.sink.flush()
    }
}

impl<W: Write> fmt::Debug for StreamWriter<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamWriter")
            .field("capacity", &self.capacity())
            .field("written", &self.written())
            .finish_non_exhaustive()
    }
}

/// The sink, with a count of what went there.
struct Sink<W> {
    inner: W,
    buffer: Vec<u8>,
    /// Sectors, those in the buffer included.
    sectors: u64,
    has_failed: bool,
}

impl<W: Write> Sink<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            buffer: Vec::new(),
            sectors: 0,
            has_failed: false,
        }
    }

    /// Refuses once a write has failed: nobody knows what of it is there.
    fn check(&self) -> Result<(), Error> {
        if self.has_failed {
            return Err(Refusal::WritesSuspended.into());
        }
        Ok(())
    }

    /// The sector that comes next but for `ahead`, as tables have it.
    fn position(&mut self, ahead: u64) -> Result<u32, Error> {
        u32::try_from(self.sectors.saturating_add(ahead)).map_err(|_| {
            self.has_failed = true;
            Refusal::FileTooBig.into()
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check()?;
        let sectors = u64::try_from(bytes.len() / 512).unwrap_or(u64::MAX);
        self.sectors = self.sectors.saturating_add(sectors);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Error> {
        let result = self.inner.write_all(&self.buffer);
        self.buffer.clear();
        self.noted(result)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.drain()?;
        let result = self.inner.flush();
        self.noted(result)
    }

    fn noted(&mut self, result: io::Result<()>) -> Result<(), Error> {
        result.map_err(|error| {
            self.has_failed = true;
            IoFault::new("writing the stream", error).into()
        })
    }
}
