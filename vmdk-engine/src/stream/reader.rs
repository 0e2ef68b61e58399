//! Reading a stream: grains in the order in which they come, inflated on all cores, from anything that gives bytes.

use std::collections::VecDeque;
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use disk_units::{Sector, SectorCount};
use zerocopy::FromBytes;

use super::head::Head;
use super::record::{self, RecordError};
use super::seen::SeenGrains;
use super::source::Source;
use crate::error::{Cause, Error, ErrorKind, Operation};
use crate::layout::{
    GrainRecord, MARKER_DIRECTORY, MARKER_END, MARKER_FOOTER, MARKER_PROGRESS, MARKER_TABLE, Marker,
};
use crate::units::buffer_len;
use crate::worker::{Pipeline, Task};

/// Memory for grains that wait to be inflated or taken: some 170 usual ones.
const MEMORY: usize = 32 << 20;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFault {
    #[error("the stream is incomplete: it ends at sector {0}, before its end is marked")]
    Incomplete(u64),
    #[error("the stream is incomplete: it has {found} of {expected} grains")]
    MissingGrains { found: u64, expected: u64 },
    #[error("sector {position}: a grain at guest sector {start}, which no grain begins at")]
    NoGrain { position: u64, start: u64 },
    #[error("sector {position}: a second grain at guest sector {start}")]
    Repeated { position: u64, start: u64 },
    #[error("sector {position}: a marker of kind {kind} for {sectors} sectors")]
    Marker {
        position: u64,
        kind: u32,
        sectors: u64,
    },
    #[error("the footer contradicts the header")]
    Footer,
    #[error("the stream goes on behind 2 TiB, where no table could name a grain")]
    TooLong,
}

impl Cause for ReadFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Incomplete(_) | Self::Footer => ErrorKind::InvalidDisk,
            _ => ErrorKind::Corrupt,
        }
    }
}

/// One grain out of a stream.
#[derive(Clone)]
pub struct StreamGrain {
    start: Sector,
    length: usize,
    inflated: Arc<Task<Inflated>>,
}

type Inflated = Result<Vec<u8>, RecordError>;

impl StreamGrain {
    /// The first sector of the grain on the disk.
    #[must_use]
    pub fn start(&self) -> Sector {
        self.start
    }

    /// Its content: whole sectors, up to the end of the disk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let whole = self.inflated.result().as_deref().unwrap_or_default();
        whole.get(..self.length).unwrap_or(whole)
    }
}

impl fmt::Debug for StreamGrain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamGrain")
            .field("start", &self.start)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Reads a `streamOptimized` disk from its first byte to its last, from a source that cannot go back: a download, a
/// pipe, a part of an archive.
///
/// It is an iterator over the grains, in the order in which the stream has them; usually, but not surely, that of the
/// disk. Each comes once, and what has none reads as zeros. The iterator ends where the end of the stream is marked; a
/// stream that ends without, or lacks grains that its tables name, gives an error as last item, and so does damage. What
/// came before the error is good.
///
/// The source is read on the caller's thread, in small pieces and never past the end of the stream. Grains are inflated
/// on all cores, ahead of the caller; they and their compressed bytes take at most 32 MiB. To tell repeated grains, one
/// bit is kept for each.
pub struct StreamReader<R> {
    source: Source<R>,
    head: Head,
    seen: SeenGrains,
    has_footer: bool,
    inflating: Pipeline<Inflated>,
    /// The numbers of the grains in `inflating`.
    grains: VecDeque<u64>,
    /// What comes behind those.
    end: Option<Result<(), Error>>,
}

impl<R: Read> StreamReader<R> {
    /// Reads everything in front of the first grain.
    ///
    /// # Errors
    /// [`InvalidDisk`](ErrorKind::InvalidDisk), [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) and
    /// [`Unsupported`](ErrorKind::Unsupported) for what it is, [`Encrypted`](ErrorKind::Encrypted), and what the source
    /// reports.
    pub fn new(source: R) -> Result<Self, Error> {
        Self::open(source).map_err(|error| error.during(Operation::Open, None))
    }

    fn open(source: R) -> Result<Self, Error> {
        let mut source = Source::new(source);
        let head = Head::read(&mut source)?;
        // A grain as it comes may take twice the room of an inflated one.
        let room = head.grain.bytes().saturating_mul(3);
        let grains = MEMORY.checked_div(room).unwrap_or(1);
        Ok(Self {
            source,
            head,
            seen: SeenGrains::default(),
            has_footer: false,
            inflating: Pipeline::new().at_most(grains),
            grains: VecDeque::new(),
            end: None,
        })
    }

    /// The size of the disk.
    #[must_use]
    pub fn capacity(&self) -> SectorCount {
        self.head.capacity
    }

    /// Sectors per grain: a power of two, usually 128.
    #[must_use]
    pub fn grain_size(&self) -> SectorCount {
        self.head.grain.count()
    }

    /// A value of the disk data base of the descriptor; `key` is without the prefix `ddb.`.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.head.descriptor.metadata(key)
    }

    /// The source, which stands behind the stream once the iterator has ended.
    pub fn into_inner(self) -> R {
        self.source.into_inner()
    }

    /// Reads up to the next grain and lets it be inflated; `None` at the end of the stream.
    fn read_grain(&mut self) -> Result<Option<u64>, Error> {
        loop {
            let position = self.source.position();
            let mut sector = [0; 512];
            if !self.source.read_unless_at_end(&mut sector)? {
                return self.end_of_source().map(|()| None);
            }
            let marker = Marker::read_from_bytes(&sector).map_err(|_| ReadFault::Footer)?;
            if marker.size.get() != 0 {
                return self.read_record(&sector, position).map(Some);
            }
            let (kind, sectors) = (marker.kind.get(), marker.sectors.get());
            match kind {
                MARKER_END if sectors == 0 => return self.end_of_stream().map(|()| None),
                MARKER_FOOTER if sectors == 1 => self.read_footer()?,
                MARKER_TABLE | MARKER_DIRECTORY | MARKER_PROGRESS
                    if sectors <= self.head.longest_table() =>
                {
                    self.source.skip(sectors)?;
                }
                _ => {
                    return Err(ReadFault::Marker {
                        position,
                        kind,
                        sectors,
                    }
                    .into());
                }
            }
        }
    }

    /// `first` is the first sector of the record.
    fn read_record(&mut self, first: &[u8; 512], position: u64) -> Result<u64, Error> {
        let head = GrainRecord::read_from_prefix(first);
        let (head, _) = head.map_err(|_| ReadFault::Footer)?;
        let (start, size) = (Sector::new(head.first_sector.get()), head.size.get());
        let grain_size = self.head.grain;
        let grain = grain_size.grain_of(start);
        if grain_size.offset_in(start) != 0 || start.get() >= self.head.header_capacity() {
            let start = start.get();
            return Err(ReadFault::NoGrain { position, start }.into());
        }
        if !self.seen.insert(grain) {
            let start = start.get();
            return Err(ReadFault::Repeated { position, start }.into());
        }
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if length > record::max_compressed(grain_size) {
            return Err(RecordError::Size { grain, size }.into());
        }
        let head_len = size_of::<GrainRecord>();
        let end = head_len.saturating_add(length);
        let mut bytes = first.to_vec();
        bytes.resize(end.next_multiple_of(512), 0);
        if let Some(rest) = bytes.get_mut(512..).filter(|rest| !rest.is_empty()) {
            self.source.read(rest)?;
        }
        let needed = buffer_len(self.head.covered(grain));
        self.inflating.push(move || {
            let mut whole = vec![0; grain_size.bytes()];
            let compressed = bytes.get(head_len..end).unwrap_or_default();
            record::inflate(compressed, &mut whole, needed, grain)?;
            Ok(whole)
        });
        Ok(grain)
    }

    fn read_footer(&mut self) -> Result<(), Error> {
        let mut footer = [0; 512];
        self.source.read(&mut footer)?;
        if !self.head.agrees_with(&footer) {
            return Err(ReadFault::Footer.into());
        }
        self.has_footer = true;
        Ok(())
    }

    /// The end is marked. A sector of zeros alone is also what a file looks like that was never filled.
    fn end_of_stream(&self) -> Result<(), Error> {
        if self.head.has_directory_at_end() && !self.has_footer {
            return Err(ReadFault::Incomplete(self.source.position()).into());
        }
        self.check_count()
    }

    /// The source has no more bytes. Some writers mark no end; then only their tables tell whether this is it.
    fn end_of_source(&self) -> Result<(), Error> {
        if self.head.grains_in_front.is_none() {
            return Err(ReadFault::Incomplete(self.source.position()).into());
        }
        self.check_count()
    }

    fn check_count(&self) -> Result<(), Error> {
        let found = self.seen.count();
        match self.head.grains_in_front {
            Some(expected) if expected != found => {
                Err(ReadFault::MissingGrains { found, expected }.into())
            }
            _ => Ok(()),
        }
    }

    /// The sectors of the disk that a grain has.
    fn take_grain(&mut self) -> Option<Result<StreamGrain, Error>> {
        let (grain, inflated) = (self.grains.pop_front()?, self.inflating.pop()?);
        if let Err(error) = inflated.result() {
            return Some(Err(error.clone().into()));
        }
        Some(Ok(StreamGrain {
            start: self.head.grain.start_of(grain),
            length: buffer_len(self.head.covered(grain)),
            inflated,
        }))
    }
}

impl<R: Read> Iterator for StreamReader<R> {
    type Item = Result<StreamGrain, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.end.is_none() && !self.inflating.is_full() {
            match self.read_grain() {
                Ok(Some(grain)) => self.grains.push_back(grain),
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        let next = match self.take_grain() {
            None => {
                let end = self.end.replace(Ok(()));
                return end.and_then(|end| end.err().map(|error| Err(described(error))));
            }
            Some(next) => next.map_err(described),
        };
        if next.is_err() {
            self.grains.clear();
            self.end = Some(Ok(()));
        }
        Some(next)
    }
}

fn described(error: Error) -> Error {
    error.during(Operation::Read, None)
}

impl<R> fmt::Debug for StreamReader<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamReader")
            .field("capacity", &self.head.capacity)
            .finish_non_exhaustive()
    }
}
