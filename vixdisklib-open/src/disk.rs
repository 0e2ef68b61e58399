//! One open disk: checks what callers ask for, passes it to the engine, and can be closed under their feet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::RwLock;
use vixdisklib_sys::VixError;
use vmdk_engine::{Disk, DiskInfo, MapExtent, OpenOptions, ZeroMode};

use crate::blocks::ChunkQuery;
use crate::error::Failure;
use crate::requests::{Requests, Ticket};

/// How a disk is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) writable: bool,
    /// Open this link of the chain only, not its parents.
    pub(crate) single_link: bool,
}

/// A disk that a handle stands for.
///
/// Every operation holds the engine for reading, however many at a time; closing takes it for writing, so it waits for
/// those that run, and later ones find nothing.
#[derive(Debug)]
pub(crate) struct OpenDisk {
    path: PathBuf,
    mode: Mode,
    capacity: SectorCount,
    engine: RwLock<Option<Disk>>,
    requests: Arc<Requests>,
}

impl OpenDisk {
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self, Failure> {
        let options = OpenOptions::new()
            .writable(mode.writable)
            .single_link(mode.single_link);
        let engine = Disk::open(path, &options).map_err(|error| Failure::engine(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            mode,
            capacity: engine.capacity(),
            engine: RwLock::new(Some(engine)),
            requests: Arc::default(),
        })
    }

    /// Waits for what runs, makes everything durable and lets go of the files. Later calls on this disk fail.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        self.requests.wait();
        let engine = self.engine.write().take();
        match engine {
            Some(engine) => engine.close().map_err(|error| self.explain(&error)),
            None => Err(closed()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn info(&self) -> Result<DiskInfo, Failure> {
        self.with_engine(|engine| Ok(engine.info()))
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        self.capacity
    }

    /// The sectors of a request, if there are any and the disk has them all.
    pub(crate) fn range(&self, start: u64, count: u64) -> Result<SectorRange, Failure> {
        if count == 0 {
            return Err(Failure::new(
                VixError::INVALID_ARG,
                format!("a request for zero sectors of {:?}", self.path),
            ));
        }
        SectorRange::new(Sector::new(start), SectorCount::new(count))
            .filter(|range| range.end().get() <= self.capacity.get())
            .ok_or_else(|| {
                Failure::new(
                    VixError::DISK_OUTOFRANGE,
                    format!(
                        "{count} sectors from sector {start} pass the end of {:?}, {} sectors",
                        self.path, self.capacity
                    ),
                )
            })
    }

    /// The same for a request that changes the disk.
    pub(crate) fn writable_range(&self, start: u64, count: u64) -> Result<SectorRange, Failure> {
        if !self.mode.writable {
            return Err(Failure::new(
                VixError::FILE_READ_ONLY,
                format!("{:?} is open for reading only", self.path),
            ));
        }
        self.range(start, count)
    }

    /// Fills `buffer` with the sectors of `range`, which it is as long as.
    pub(crate) fn read(&self, range: SectorRange, buffer: &mut [u8]) -> Result<(), Failure> {
        self.with_engine(|engine| {
            engine
                .read_at(range.start(), buffer)
                .map_err(|error| self.explain(&error))
        })
    }

    /// Writes `buffer`, which is as long as `range`, onto its sectors.
    pub(crate) fn write(&self, range: SectorRange, buffer: &[u8]) -> Result<(), Failure> {
        self.with_engine(|engine| {
            engine
                .write_at(range.start(), buffer)
                .map_err(|error| self.explain(&error))
        })
    }

    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Failure> {
        self.with_engine(|engine| {
            engine
                .write_zeroes(range, mode)
                .map_err(|error| self.explain(&error))
        })
    }

    pub(crate) fn trim(&self, range: SectorRange) -> Result<(), Failure> {
        self.with_engine(|engine| engine.trim(range).map_err(|error| self.explain(&error)))
    }

    /// Counts an asynchronous request in.
    pub(crate) fn begin_request(&self) -> Ticket {
        self.requests.begin()
    }

    /// Waits until every asynchronous request accepted before this call has called back.
    pub(crate) fn wait(&self) {
        self.requests.wait();
    }

    /// Makes durable what was written before this call, asynchronous requests included.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.requests.wait();
        self.with_engine(|engine| engine.flush().map_err(|error| self.explain(&error)))
    }

    /// The runs of chunks that hold data, for `QueryAllocatedBlocks`.
    pub(crate) fn allocated(&self, query: ChunkQuery) -> Result<Vec<SectorRange>, Failure> {
        self.with_engine(|engine| {
            query
                .runs(engine.extents(query.range()), self.mode.single_link)
                .map_err(|error| self.explain(&error))
        })
    }

    /// The first extents of `range`, contiguous, at most `limit` of them.
    pub(crate) fn extents(
        &self,
        range: SectorRange,
        limit: usize,
    ) -> Result<Vec<MapExtent>, Failure> {
        self.with_engine(|engine| {
            engine
                .extents(range)
                .take(limit)
                .collect::<Result<_, _>>()
                .map_err(|error| self.explain(&error))
        })
    }

    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>, Failure> {
        self.with_engine(|engine| Ok(engine.metadata(key)))
    }

    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>, Failure> {
        self.with_engine(|engine| Ok(engine.metadata_keys()))
    }

    fn with_engine<T>(
        &self,
        operation: impl FnOnce(&Disk) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        operation(self.engine.read().as_ref().ok_or_else(closed)?)
    }

    fn explain(&self, error: &vmdk_engine::Error) -> Failure {
        Failure::engine(&self.path, error)
    }
}

/// The disk was closed by another thread while this call was on its way to it.
fn closed() -> Failure {
    Failure::new(VixError::INVALID_HANDLE, "the disk has been closed")
}
