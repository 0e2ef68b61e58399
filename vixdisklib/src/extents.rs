//! Which parts of a disk hold data: exact where the library can tell, in chunks where it cannot.

mod blocks;
mod changed;
mod chunks;
mod exact;

pub use changed::{ChangedAreas, Within};
pub use chunks::Chunks;

use std::fmt;
use std::mem;
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::{VIXDISKLIB_MAX_CHUNK_SIZE, VIXDISKLIB_MIN_CHUNK_SIZE};

use crate::error::{Error, ErrorKind, Operation, Result};

pub(crate) use blocks::BlockQuery;
pub(crate) use exact::query as query_exact;

/// A run of sectors that is allocated throughout, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// The sectors.
    pub range: SectorRange,
    /// Whether the disk, or one of its parents, records contents for the run, be it that they are zero. What the
    /// library cannot tell counts as allocated.
    pub allocated: bool,
    /// Whether the run is known to read as zero.
    pub zero: bool,
    /// The link that decides: 0 is the leaf, 1 its parent. 0 where the library does not say.
    pub depth: u32,
}

impl Extent {
    /// A run that has to be taken for data because nothing is known of it.
    pub(crate) fn unknown(range: SectorRange) -> Self {
        Self {
            range,
            allocated: true,
            zero: false,
            depth: 0,
        }
    }

    /// Whether a copy of the disk needs the run: it is allocated, and not known to be zero.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        self.allocated && !self.zero
    }

    /// The union of two runs that follow each other and are alike.
    fn merged(self, next: Self) -> Option<Self> {
        let alike =
            (self.allocated, self.zero, self.depth) == (next.allocated, next.zero, next.depth);
        (alike && self.range.end() == next.range.start())
            .then(|| SectorRange::between(self.range.start(), next.range.end()))
            .flatten()
            .map(|range| Self { range, ..self })
    }
}

/// How well a library knows which parts of a disk hold data.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExtentDetail {
    /// To the sector, up to the end of the disk.
    Exact,
    /// In chunks of at least 128 sectors; what the last whole chunk leaves of the disk counts as data.
    Chunks,
    /// Not at all, so everything counts as data; the error says why.
    Unknown(Arc<Error>),
}

/// The size of the pieces in which a disk is described, in sectors: 128 to 131072.
///
/// Both limits are VixDiskLib's (`VIXDISKLIB_MIN_CHUNK_SIZE`, `VIXDISKLIB_MAX_CHUNK_SIZE`, VDDK 6.7).
///
/// ```
/// use vixdisklib::{ChunkSize, SectorCount};
///
/// assert_eq!(ChunkSize::default().sectors(), SectorCount::new(128));
/// assert!(ChunkSize::new(SectorCount::new(127)).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u64);

impl ChunkSize {
    /// The smallest chunk, 64 KiB.
    pub const MIN: Self = Self(VIXDISKLIB_MIN_CHUNK_SIZE as u64);
    /// The largest chunk, 64 MiB.
    pub const MAX: Self = Self(VIXDISKLIB_MAX_CHUNK_SIZE as u64);

    /// A chunk of `sectors`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] below 128 or above 131072 sectors.
    pub fn new(sectors: SectorCount) -> Result<Self> {
        let chunk = Self(sectors.get());
        if (Self::MIN..=Self::MAX).contains(&chunk) {
            return Ok(chunk);
        }
        let text = format!(
            "a chunk has {} to {} sectors, not {sectors}",
            Self::MIN.0,
            Self::MAX.0
        );
        Err(Error::new(
            ErrorKind::InvalidArgument,
            Operation::Configure,
            text,
        ))
    }

    /// The size in sectors.
    #[must_use]
    pub fn sectors(self) -> SectorCount {
        SectorCount::new(self.0)
    }

    /// The start of the chunk that holds `sector`; chunks are counted from the start of the disk.
    fn floor(self, sector: Sector) -> Sector {
        Sector::new(sector.get() / self.0 * self.0)
    }

    /// The end of the last chunk that holds a sector before `end`, no further than `limit`.
    fn ceil(self, end: Sector, limit: Sector) -> Sector {
        let chunks = end.get().div_ceil(self.0);
        chunks
            .checked_mul(self.0)
            .map_or(limit, |end| Sector::new(end).min(limit))
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self::MIN
    }
}

/// What can be asked for its extents, a bounded part at a time.
pub(crate) trait ExtentSource {
    /// Runs that follow each other from `range.start()`, at least one, none past `range.end()`. They may end before
    /// it. A back end that cannot tell exactly describes whole chunks.
    fn page(&self, range: SectorRange, chunk: ChunkSize) -> Result<Vec<Extent>>;
}

/// The extents of a range, in order, without gap or overlap; neighbours differ.
///
/// They are asked for as the iterator goes, so memory is bounded whatever the capacity: by 1024 extents at a time where
/// they are exact, else by the longest answer that VixDiskLib gives, of 262,144 runs. After an error it ends: the range of
/// the error is what could not be described, and taking it for data is always right.
#[must_use]
pub struct Extents<'disk> {
    source: &'disk (dyn ExtentSource + 'disk),
    chunk: ChunkSize,
    /// What has not been asked for yet.
    rest: SectorRange,
    page: std::vec::IntoIter<Extent>,
    merge: Merge,
}

impl fmt::Debug for Extents<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Extents")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

impl<'disk> Extents<'disk> {
    pub(crate) fn new(
        source: &'disk (dyn ExtentSource + 'disk),
        range: SectorRange,
        chunk: ChunkSize,
    ) -> Self {
        Self {
            source,
            chunk,
            rest: range,
            page: Vec::new().into_iter(),
            merge: Merge::default(),
        }
    }

    /// Leaves out all before `sector`, without asking for what has not been asked for; the extent there may be cut.
    fn skip_to(&mut self, sector: Sector) {
        let is_before = |extent: &Extent| extent.range.end() <= sector;
        if !self.merge.ahead.as_ref().is_none_or(is_before) {
            return;
        }
        self.merge.ahead = None;
        let waiting = self.page.as_slice().partition_point(is_before);
        if waiting > 0 {
            self.page.nth(waiting - 1);
        }
        if self.page.len() == 0 {
            self.rest = self.rest.split_at(sector).1;
        }
    }

    /// Leaves out all from `sector` on that has not been asked for.
    fn stop_at(&mut self, sector: Sector) {
        self.rest = self.rest.split_at(sector).0;
    }
}

impl Iterator for Extents<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Result<Extent>> {
        let Self {
            source,
            chunk,
            rest,
            page,
            merge,
        } = self;
        merge.next(|| {
            if page.len() == 0 && !rest.is_empty() {
                // Taken first, so that nothing is left to ask for after an error.
                let asked = mem::take(rest);
                let answer = source.page(asked, *chunk)?;
                let end = answer.last().map_or(asked.end(), |last| last.range.end());
                *rest = asked.split_at(end).1;
                *page = answer.into_iter();
            }
            Ok(page.next())
        })
    }
}

/// Joins runs that follow each other and are alike.
#[derive(Debug, Default)]
struct Merge {
    ahead: Option<Extent>,
}

impl Merge {
    fn next(
        &mut self,
        mut produce: impl FnMut() -> Result<Option<Extent>>,
    ) -> Option<Result<Extent>> {
        let first = self
            .ahead
            .take()
            .map_or_else(&mut produce, |extent| Ok(Some(extent)));
        let mut run = match first.transpose()? {
            Ok(extent) => extent,
            Err(error) => return Some(Err(error)),
        };
        loop {
            match produce() {
                Ok(None) => return Some(Ok(run)),
                Ok(Some(next)) => match run.merged(next) {
                    Some(merged) => run = merged,
                    None => {
                        self.ahead = Some(next);
                        return Some(Ok(run));
                    }
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod replay;
#[cfg(test)]
mod tests;
