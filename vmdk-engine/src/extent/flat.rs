//! Raw sectors in a file, from some offset on: `FLAT` and `VMFS` extents.
//!
//! Whether freed space is given back follows the file: one that is thin already (marked so, or with holes when it was
//! opened) gets holes, a fully allocated one keeps its space and is only zeroed, as its owner reserved it on purpose.

mod shrink;

use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use super::{Below, Extent, MapRun, ZeroMode};
use crate::error::{Cause, Error, ErrorKind, IoFault, Refusal};
use crate::file_range::Located;
use crate::fuse::Fuse;
use crate::map::Allocation;
use crate::progress::Work;
use crate::storage::{Storage, write_zeros};
use crate::units::{byte_position, byte_range, clamped};

/// A flat file that cannot hold its extent.
#[derive(Debug, thiserror::Error)]
#[error("the file has {actual} bytes, but its extent needs {needed}")]
pub(crate) struct TooShort {
    actual: ByteLen,
    needed: ByteLen,
}

impl Cause for TooShort {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidDisk
    }
}

/// Raw sectors.
#[derive(Debug)]
pub(crate) struct FlatExtent {
    storage: Arc<dyn Storage>,
    /// The sector of the file at which the extent begins.
    first: Sector,
    size: SectorCount,
    is_thin: bool,
    can_punch_holes: OnceLock<bool>,
    fuse: Arc<Fuse>,
    syncing: Mutex<()>,
}

impl FlatExtent {
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        first: Sector,
        size: SectorCount,
        is_marked_thin: bool,
        fuse: Arc<Fuse>,
    ) -> Result<Self, Error> {
        let unknown = |error| IoFault::new("asking for the length of the file", error);
        let actual = storage.len().map_err(unknown)?;
        let needed = byte_position(clamped(first, size).end());
        if actual < needed {
            return Err(TooShort { actual, needed }.into());
        }
        let is_thin = is_marked_thin || storage.has_holes().map_err(unknown)?;
        Ok(Self {
            storage,
            first,
            size,
            is_thin,
            can_punch_holes: OnceLock::new(),
            fuse,
            syncing: Mutex::default(),
        })
    }

    fn in_file(&self, range: SectorRange) -> Range<ByteLen> {
        let start = Sector::new(range.start().get().saturating_add(self.first.get()));
        byte_range(clamped(start, range.count()))
    }

    /// Zeroes without writing; `Unsupported` where the file system cannot.
    fn zero_quickly(&self, range: Range<ByteLen>, may_free: bool) -> io::Result<()> {
        if may_free && self.is_thin {
            self.storage.punch_hole(range)
        } else {
            self.storage.zero_range(range)
        }
    }
}

impl Extent for FlatExtent {
    fn read(
        &self,
        start: Sector,
        buf: &mut [u8],
        _holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        let range = self.in_file(clamped(start, SectorCount::ZERO));
        self.storage
            .read_exact_at(buf, range.start)
            .map_err(|error| IoFault::new("the file cannot be read", error).into())
    }

    fn locate(&self, range: SectorRange) -> Result<Located<'_>, Error> {
        Ok(Located::At {
            storage: &*self.storage,
            position: self.in_file(range).start,
            range,
        })
    }

    fn map<'a>(&'a self, range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(FlatMap {
            extent: self,
            rest: range,
            data: None,
        })
    }

    fn write(&self, start: Sector, buf: &[u8], _below: &dyn Below) -> Result<(), Error> {
        let range = self.in_file(clamped(start, SectorCount::ZERO));
        self.storage
            .write_all_at(buf, range.start)
            .map_err(|error| IoFault::new("the file cannot be written", error).into())
    }

    fn write_zeroes(
        &self,
        range: SectorRange,
        mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<(), Error> {
        let range = self.in_file(range);
        let result = match self.zero_quickly(range.clone(), mode.may_free()) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                if mode.is_fast_only() {
                    return Err(Refusal::NotFast.into());
                }
                write_zeros(&*self.storage, range)
            }
            result => result,
        };
        result.map_err(|error| IoFault::new("the file cannot be zeroed", error).into())
    }

    fn zeroes_fast(
        &self,
        _range: SectorRange,
        _mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<bool, Error> {
        Ok(*self
            .can_punch_holes
            .get_or_init(|| self.storage.can_punch_holes()))
    }

    fn trim(&self, range: SectorRange, _below: &dyn Below) -> Result<(), Error> {
        match self.zero_quickly(self.in_file(range), true) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::debug!(%range, "the file system cannot discard; the data stays");
                Ok(())
            }
            result => {
                result.map_err(|error| IoFault::new("the file cannot be trimmed", error).into())
            }
        }
    }

    fn can_shrink(&self) -> bool {
        self.is_thin
    }

    fn shrink(&self, _below: &dyn Below, work: &mut Work<'_>) -> Result<(), Error> {
        self.punch_zeros(work)?;
        self.flush()
    }

    fn flush(&self) -> Result<(), Error> {
        // The system reports a lost write to one sync only: a second one at the same time must not succeed meanwhile.
        let _one = self.syncing.lock();
        self.fuse.protect(|| {
            self.storage
                .sync_data()
                .map_err(|error| IoFault::new("the file cannot be made durable", error).into())
        })
    }
}

/// Data and holes of the file, cut out to sectors in favour of data.
#[derive(Debug)]
struct FlatMap<'a> {
    extent: &'a FlatExtent,
    rest: SectorRange,
    /// The next run of data, known from the last question; extent-relative.
    data: Option<SectorRange>,
}

impl FlatMap<'_> {
    /// The first run of data in `rest`; empty, at its end, if there is none.
    fn next_data(&self) -> Result<SectorRange, Error> {
        let none = clamped(self.rest.end(), SectorCount::ZERO);
        let run = self
            .extent
            .storage
            .next_data(self.extent.in_file(self.rest).start)
            .map_err(|error| IoFault::new("the file's holes cannot be found", error))?;
        let Some(run) = run else { return Ok(none) };
        let base = self.extent.first.get();
        let start = (run.start.get() / 512).saturating_sub(base);
        let end = run.end.sectors_rounded_up().get().saturating_sub(base);
        let run = SectorRange::between(Sector::new(start), Sector::new(end));
        Ok(run
            .and_then(|run| run.intersection(self.rest))
            .unwrap_or(none))
    }
}

impl Iterator for FlatMap<'_> {
    type Item = MapRun;

    fn next(&mut self) -> Option<MapRun> {
        if self.rest.is_empty() {
            return None;
        }
        let data = match self.data.take().map_or_else(|| self.next_data(), Ok) {
            Ok(data) => data,
            Err(error) => {
                self.rest = SectorRange::default();
                return Some(Err(error));
            }
        };
        let (hole, behind) = self.rest.split_at(data.start());
        if hole.is_empty() {
            self.rest = behind.split_at(data.end()).1;
            Some(Ok((data, Allocation::Data)))
        } else {
            self.rest = behind;
            self.data = Some(data);
            Some(Ok((hole, Allocation::Hole)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStorage;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn the_map_is_cut_to_the_extent_and_rounds_towards_data() {
        let storage = FileStorage::new(tempfile::tempfile().expect("a scratch file"));
        storage.set_len(ByteLen::new(1 << 20)).expect("extend");
        // One byte in the middle of the file; the extent begins in an odd sector.
        storage
            .write_all_at(b"x", ByteLen::new(512 * 1000))
            .expect("write");
        let extent = FlatExtent::open(
            Arc::new(storage),
            Sector::new(3),
            SectorCount::new(2000),
            false,
            Arc::default(),
        )
        .expect("opens");
        let runs: Vec<_> = extent
            .map(range(1, 1900))
            .collect::<Result<_, _>>()
            .expect("maps");
        assert_eq!(runs[0].0.start(), Sector::new(1));
        assert_eq!(runs.last().expect("not empty").0.end(), Sector::new(1900));
        for pair in runs.windows(2) {
            assert_eq!(pair[0].0.end(), pair[1].0.start());
        }
        let holding: Vec<_> = runs
            .iter()
            .filter(|run| run.1 == Allocation::Data)
            .collect();
        assert_eq!(holding.len(), 1);
        assert!(holding[0].0.contains(Sector::new(997)));
        assert!(holding[0].0.count().get() < 200, "{runs:?}");
    }
}
