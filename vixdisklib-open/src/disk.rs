//! One open disk: checks what callers ask for, passes it to the engine, and can be closed under their feet.

mod exclusive;

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::{RwLock, RwLockReadGuard};
use vixdisklib_sys::VixError;
use vmdk_engine::{ByteLen, Disk, DiskInfo, DiskKind, FileRange, MapExtent, OpenOptions, ZeroMode};

use crate::blocks::ChunkQuery;
use crate::error::Failure;
use crate::progress;
use crate::requests::{Requests, Ticket};

/// How a disk is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) writable: bool,
    /// Open this link of the chain only, not its parents.
    pub(crate) single_link: bool,
}

impl Mode {
    fn options(self) -> OpenOptions {
        OpenOptions::new()
            .writable(self.writable)
            .single_link(self.single_link)
    }
}

/// A disk that a handle stands for.
///
/// Every operation holds the state for reading, however many at a time. Closing takes it for writing, so it waits for
/// those that run, and later ones find nothing; so do the operations that want the disk for themselves.
#[derive(Debug)]
pub(crate) struct OpenDisk {
    path: PathBuf,
    mode: Mode,
    capacity: SectorCount,
    state: RwLock<State>,
    requests: Arc<Requests>,
}

/// What a handle leads to.
#[derive(Debug)]
enum State {
    Open(Disk),
    /// It was attached to a child, which has the engine now; or that has failed, and it waits to be closed.
    Spent(Option<Disk>),
    Closed,
}

impl State {
    fn engine(&self) -> Result<&Disk, Failure> {
        match self {
            Self::Open(engine) => Ok(engine),
            Self::Spent(_) | Self::Closed => Err(self.unusable()),
        }
    }

    /// The engine, in whose place something else is left.
    fn take(&mut self, left: Self) -> Result<Disk, Failure> {
        match mem::replace(self, left) {
            Self::Open(engine) => Ok(engine),
            other => {
                let failure = other.unusable();
                *self = other;
                Err(failure)
            }
        }
    }

    /// The failure of a call on a handle without an engine.
    fn unusable(&self) -> Failure {
        let why = match self {
            Self::Spent(_) => {
                "the disk was given to VixDiskLib_Attach as a parent, and can only be closed"
            }
            // By another thread, while this call was on its way to it; or by a failure.
            Self::Open(_) | Self::Closed => "the disk has been closed",
        };
        Failure::new(VixError::INVALID_HANDLE, why)
    }
}

impl OpenDisk {
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self, Failure> {
        let engine =
            Disk::open(path, &mode.options()).map_err(|error| Failure::engine(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            mode,
            capacity: engine.capacity(),
            state: RwLock::new(State::Open(engine)),
            requests: Arc::default(),
        })
    }

    /// Waits for what runs, makes everything durable and lets go of the files. Later calls on this disk fail.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        self.requests.wait();
        let state = mem::replace(&mut *self.state.write(), State::Closed);
        match state {
            State::Open(engine) | State::Spent(Some(engine)) => {
                engine.close().map_err(|error| self.explain(&error))
            }
            // The child closes it.
            State::Spent(None) => Ok(()),
            State::Closed => Err(state.unusable()),
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
            let is_alone = self.mode.single_link && !self.is_attached(engine);
            query
                .runs(engine.extents(query.range()), is_alone)
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

    /// The sectors at the front of `range` that lie in a file as they are.
    pub(crate) fn file_range(&self, range: SectorRange) -> Result<Option<FileRange>, Failure> {
        self.with_engine(|engine| {
            engine
                .file_range(range)
                .map_err(|error| self.explain(&error))
        })
    }

    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>, Failure> {
        self.with_engine(|engine| Ok(engine.metadata(key)))
    }

    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>, Failure> {
        self.with_engine(|engine| Ok(engine.metadata_keys()))
    }

    /// Gives a metadata key a value, durably.
    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Result<(), Failure> {
        self.with_engine(|engine| {
            engine
                .set_metadata(key, value)
                .map_err(|error| self.explain(&error))
        })
    }

    /// How many bytes a clone of this kind takes at most; `None` means the kind of this disk.
    pub(crate) fn space_needed_for_clone(
        &self,
        kind: Option<DiskKind>,
    ) -> Result<ByteLen, Failure> {
        self.with_engine(|engine| {
            let kind = kind.unwrap_or_else(|| engine.info().kind);
            engine
                .space_needed_for_clone(kind)
                .map_err(|error| self.explain(&error))
        })
    }

    /// Whether a disk that was opened alone has got a parent since.
    fn is_attached(&self, engine: &Disk) -> bool {
        self.mode.single_link && engine.info().links > 1
    }

    fn with_engine<T>(
        &self,
        operation: impl FnOnce(&Disk) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        operation(self.shared()?.engine()?)
    }

    /// The state, for reading; waits for an operation that wants it alone, unless that runs on this very thread.
    fn shared(&self) -> Result<RwLockReadGuard<'_, State>, Failure> {
        if !progress::is_telling() {
            return Ok(self.state.read());
        }
        self.state.try_read().ok_or_else(|| {
            Failure::new(
                VixError::OBJECT_IS_BUSY,
                format!(
                    "{:?} is in use; a progress function cannot wait for it",
                    self.path
                ),
            )
        })
    }

    fn explain(&self, error: &vmdk_engine::Error) -> Failure {
        Failure::engine(&self.path, error)
    }
}
