//! One open disk: checks what callers ask for, passes it to the engine, and can be closed under their feet.

mod exclusive;

use std::ffi::CStr;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::{RwLock, RwLockReadGuard};
use vixdisklib_sys::VixError;
use vmdk_engine::{ByteLen, Disk, DiskKind, FileRange, MapExtent, ZeroMode};

use crate::blocks::ChunkQuery;
use crate::error::Failure;
use crate::medium::{self, Info, Medium};
use crate::mode::Mode;
use crate::progress;
use crate::requests::{Requests, Ticket};

/// A disk that a handle stands for.
///
/// Every operation holds the state for reading, however many at a time. Closing takes it for writing, so it waits for
/// those that run, and later ones find nothing; so do the operations that want the disk for themselves.
#[derive(Debug)]
pub(crate) struct OpenDisk {
    path: PathBuf,
    mode: Mode,
    capacity: SectorCount,
    answers_by_itself: bool,
    state: RwLock<State>,
    requests: Arc<Requests>,
}

/// What a handle leads to.
#[derive(Debug)]
enum State {
    Open(Medium),
    /// It was attached to a child, which has the engine now; or that has failed, and it waits to be closed.
    Spent(Option<Disk>),
    Closed,
}

impl State {
    /// With an engine over files of this machine.
    fn local(engine: Disk) -> Self {
        Self::Open(Medium::Local(engine))
    }

    fn medium(&self) -> Result<&Medium, Failure> {
        match self {
            Self::Open(medium) => Ok(medium),
            Self::Spent(_) | Self::Closed => Err(self.unusable()),
        }
    }

    /// The engine of a local disk.
    fn engine(&self) -> Result<&Disk, Failure> {
        self.medium()?.local()
    }

    /// The engine of a local disk, in whose place something else is left.
    fn take(&mut self, left: Self) -> Result<Disk, Failure> {
        match mem::replace(self, left) {
            Self::Open(Medium::Local(engine)) => Ok(engine),
            other => {
                let failure = match &other {
                    Self::Open(_) => medium::local_only(),
                    Self::Spent(_) | Self::Closed => other.unusable(),
                };
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
    /// Opens a disk of this machine.
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self, Failure> {
        let medium = Medium::open_local(path, mode).map_err(|error| error.explain(path))?;
        Ok(Self::new(path, mode, medium))
    }

    pub(crate) fn new(path: &Path, mode: Mode, medium: Medium) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            capacity: medium.capacity(),
            answers_by_itself: medium.remote().is_some(),
            state: RwLock::new(State::Open(medium)),
            requests: Arc::default(),
        }
    }

    /// Waits for what runs, makes everything durable and lets go of the disk. Later calls on it fail.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        self.requests.wait();
        let state = mem::replace(&mut *self.state.write(), State::Closed);
        match state {
            State::Open(medium) => medium.close().map_err(|error| error.explain(&self.path)),
            State::Spent(Some(engine)) => engine.close().map_err(|error| self.explain(&error)),
            // The child closes it.
            State::Spent(None) => Ok(()),
            State::Closed => Err(state.unusable()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn info(&self) -> Result<Info, Failure> {
        self.with_medium(Medium::info)
    }

    /// What VixDiskLib calls the way to the disk.
    pub(crate) fn transport(&self) -> Result<&'static CStr, Failure> {
        self.with_medium(|medium| Ok(medium.transport()))
    }

    /// The length that requests should have, and be aligned to, for best speed.
    pub(crate) fn preferred_io(&self) -> Result<SectorCount, Failure> {
        self.with_medium(|medium| Ok(medium.preferred_io()))
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
        self.with_medium(|medium| medium.read_at(range.start(), buffer))
    }

    /// Writes `buffer`, which is as long as `range`, onto its sectors.
    pub(crate) fn write(&self, range: SectorRange, buffer: &[u8]) -> Result<(), Failure> {
        self.with_medium(|medium| medium.write_at(range.start(), buffer))
    }

    /// Whether the disk is one of this machine. What hosts cannot do, or not as exactly, depends on it.
    pub(crate) fn is_local(&self) -> bool {
        !self.answers_by_itself
    }

    /// Whether the disk answers requests by itself, and needs no thread that waits meanwhile.
    pub(crate) fn answers_by_itself(&self) -> bool {
        self.answers_by_itself
    }

    /// Begins to read into `buffer` from a disk that answers by itself. `done` is called once, on some thread, and must not
    /// block.
    pub(crate) fn begin_read(
        &self,
        range: SectorRange,
        buffer: impl AsMut<[u8]> + Send + 'static,
        done: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) -> Result<(), Failure> {
        self.with_medium(|medium| {
            let disk = medium.remote().ok_or_else(not_by_itself)?;
            disk.submit_read(range.start(), buffer, done);
            Ok(())
        })
    }

    /// As [`begin_read`](Self::begin_read), to write `buffer`.
    pub(crate) fn begin_write(
        &self,
        range: SectorRange,
        buffer: impl AsRef<[u8]> + Send + 'static,
        done: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) -> Result<(), Failure> {
        self.with_medium(|medium| {
            let disk = medium.remote().ok_or_else(not_by_itself)?;
            disk.submit_write(range.start(), buffer, done);
            Ok(())
        })
    }

    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Failure> {
        self.with_medium(|medium| medium.write_zeroes(range, mode))
    }

    pub(crate) fn trim(&self, range: SectorRange) -> Result<(), Failure> {
        self.with_medium(|medium| medium.trim(range))
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
        self.with_medium(Medium::flush)
    }

    /// The runs of chunks that hold data, for `QueryAllocatedBlocks`.
    pub(crate) fn allocated(&self, query: ChunkQuery) -> Result<Vec<SectorRange>, Failure> {
        self.with_medium(|medium| medium.allocated(query, self.mode.single_link))
    }

    /// The first extents of `range`, contiguous, at most `limit` of them.
    pub(crate) fn extents(
        &self,
        range: SectorRange,
        limit: usize,
    ) -> Result<Vec<MapExtent>, Failure> {
        self.with_medium(|medium| medium.extents(range, limit))
    }

    /// The sectors at the front of `range` that lie in a file as they are.
    pub(crate) fn file_range(&self, range: SectorRange) -> Result<Option<FileRange>, Failure> {
        self.with_medium(|medium| medium.file_range(range))
    }

    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>, Failure> {
        self.with_medium(|medium| medium.metadata(key))
    }

    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>, Failure> {
        self.with_medium(Medium::metadata_keys)
    }

    /// Gives a metadata key a value, durably.
    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Result<(), Failure> {
        self.with_medium(|medium| medium.set_metadata(key, value))
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

    fn with_medium<T>(
        &self,
        operation: impl FnOnce(&Medium) -> Result<T, medium::Error>,
    ) -> Result<T, Failure> {
        operation(self.shared()?.medium()?).map_err(|error| error.explain(&self.path))
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

/// The failure of a request to a local disk that was taken for another one.
#[cold]
fn not_by_itself() -> Failure {
    Failure::new(VixError::FAIL, "the disk does not answer by itself")
}
