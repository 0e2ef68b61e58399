//! A disk for several threads.

use std::path::Path;
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};

use crate::aio::{Direction, IoFuture, IoLimits, Request, check_not_in_callback};
use crate::api::Api;
use crate::buffer::AlignedBuf;
use crate::capability::Capabilities;
use crate::disk::{Disk, Facts, OpenDisk, ZeroMode};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::extents::{ChunkSize, Chunks, Extent, ExtentDetail, ExtentSource, Extents};
use crate::file_range::FileRange;
use crate::info::DiskInfo;
use crate::transport::Transport;
use crate::worker::Worker;

/// An open disk that several threads use at once; made by [`Disk::into_shared`]. It is a cheap handle.
///
/// Where the library allows parallel calls on one handle ([`Capabilities::parallel_io`]: the embedded engine does),
/// they run on the callers' threads. Elsewhere one thread owns the disk and submits the requests, which then run
/// side by side as far as the transport is asynchronous; it settles before it flushes or asks for extents. No lock is
/// ever held around a call of the library.
///
/// The disk is closed when the last clone is gone.
#[derive(Clone, Debug)]
pub struct SharedDisk {
    api: &'static Api,
    facts: Arc<Facts>,
    limits: IoLimits,
    access: Arc<Access>,
}

#[derive(Debug)]
enum Access {
    Direct(ParallelDisk),
    Queued(Worker<Disk>),
}

/// A disk whose library says that calls on one handle may run in parallel.
#[derive(Debug)]
struct ParallelDisk(OpenDisk);

// SAFETY: made in `SharedDisk::new` alone, and there only if the library answered 1 to
// VIXDISKLIBEXT_PROPERTY_PARALLEL_IO, by which it promises that calls on the handle may overlap.
unsafe impl Sync for ParallelDisk {}

impl SharedDisk {
    pub(crate) fn new(disk: Disk) -> Result<Self> {
        let open = disk.into_open();
        let (api, limits) = (open.api(), open.limits());
        let facts = Arc::clone(open.facts());
        let access = if facts.capabilities.parallel_io {
            Access::Direct(ParallelDisk(open))
        } else {
            let worker =
                Worker::start("vixdisklib-submit", Disk::from_open(open)).map_err(|cause| {
                    let text = "no thread for the disk";
                    let error = Error::new(ErrorKind::OutOfMemory, Operation::Open, text);
                    facts.locate(error.with_cause(cause))
                })?;
            Access::Queued(worker)
        };
        Ok(Self {
            api,
            facts,
            limits,
            access: Arc::new(access),
        })
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The name that the disk was opened with; a local one is absolute.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.facts.name
    }

    /// The capacity in sectors.
    #[must_use]
    pub fn capacity(&self) -> SectorCount {
        self.facts.info.capacity
    }

    /// What the disk says of itself, as of opening.
    #[must_use]
    pub fn info(&self) -> &DiskInfo {
        &self.facts.info
    }

    /// Whether the disk is open for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.facts.is_read_only()
    }

    /// The transport that the library chose.
    #[must_use]
    pub fn transport_mode(&self) -> &Transport {
        &self.facts.transport_mode
    }

    /// What can be done with this disk.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.facts.capabilities
    }

    /// The request size in sectors that suits the disk.
    #[must_use]
    pub fn preferred_io(&self) -> SectorCount {
        self.facts.preferred_io
    }

    /// As [`Disk::io_limits`], as of [`Disk::into_shared`].
    #[must_use]
    pub fn io_limits(&self) -> IoLimits {
        self.limits
    }

    /// As [`Disk::read_at`].
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.read_at(start, buf),
            Access::Queued(worker) => {
                let range = self.facts.request(Operation::Read, start, buf.len())?;
                let pieces = range.pieces(self.limits.request.sectors());
                for (piece, buf) in pieces.zip(buf.chunks_mut(self.limits.request.bytes())) {
                    let aligned = AlignedBuf::new(piece.count());
                    let (done, aligned) = self.post(worker, Direction::Read, piece, aligned).wait();
                    done?;
                    buf.copy_from_slice(&aligned);
                }
                Ok(())
            }
        }
    }

    /// As [`Disk::write_at`].
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn write_at(&self, start: Sector, buf: &[u8]) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.write_at(start, buf),
            Access::Queued(worker) => {
                let range = self.facts.request(Operation::Write, start, buf.len())?;
                let pieces = range.pieces(self.limits.request.sectors());
                for (piece, buf) in pieces.zip(buf.chunks(self.limits.request.bytes())) {
                    let mut aligned = AlignedBuf::new(piece.count());
                    aligned.copy_from_slice(buf);
                    self.post(worker, Direction::Write, piece, aligned)
                        .wait()
                        .0?;
                }
                Ok(())
            }
        }
    }

    /// As [`Disk::read_async`], from any thread. Where one thread owns the disk, that one submits, so this never blocks.
    pub fn read_async(&self, start: Sector, buf: AlignedBuf) -> IoFuture {
        self.start(Direction::Read, start, buf)
    }

    /// As [`Disk::write_async`]; else as [`read_async`](Self::read_async).
    pub fn write_async(&self, start: Sector, buf: AlignedBuf) -> IoFuture {
        self.start(Direction::Write, start, buf)
    }

    fn start(&self, direction: Direction, start: Sector, buf: AlignedBuf) -> IoFuture {
        match &*self.access {
            Access::Direct(disk) => match direction {
                Direction::Read => disk.0.read_async(start, buf),
                Direction::Write => disk.0.write_async(start, buf),
            },
            Access::Queued(worker) => {
                match self.facts.request(direction.operation(), start, buf.len()) {
                    Ok(range) => self.post(worker, direction, range, buf),
                    Err(error) => IoFuture::refused(error, buf),
                }
            }
        }
    }

    /// Has the submit thread start a request.
    fn post(
        &self,
        worker: &Worker<Disk>,
        direction: Direction,
        range: SectorRange,
        buf: AlignedBuf,
    ) -> IoFuture {
        let request = Request::new(direction, range, self.limits, buf);
        let future = IoFuture::waiting(Arc::clone(&request), self.api, Arc::clone(&self.facts));
        worker.post(move |disk| disk.enqueue(request));
        future
    }

    /// Has the submit thread make a blocking call, and waits for it.
    fn run<R: Send + 'static>(
        &self,
        worker: &Worker<Disk>,
        operation: Operation,
        call: impl FnOnce(&Disk) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.facts.check_surely_here(operation)?;
        check_not_in_callback(operation).map_err(|error| self.facts.locate(error))?;
        worker.run(move |disk| call(disk))
    }

    /// As [`Disk::flush`]; covers the writes of all clones that returned before.
    ///
    /// # Errors
    /// As [`Disk::flush`].
    pub fn flush(&self) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.flush(),
            Access::Queued(worker) => self.run(worker, Operation::Flush, Disk::flush),
        }
    }

    /// As [`Disk::write_zeroes`].
    ///
    /// # Errors
    /// As [`Disk::write_zeroes`].
    pub fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.write_zeroes(range, mode),
            Access::Queued(worker) => self.run(worker, Operation::WriteZeroes, move |disk| {
                disk.write_zeroes(range, mode)
            }),
        }
    }

    /// As [`Disk::trim`].
    ///
    /// # Errors
    /// As [`Disk::trim`].
    pub fn trim(&self, range: SectorRange) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.trim(range),
            Access::Queued(worker) => {
                self.run(worker, Operation::Trim, move |disk| disk.trim(range))
            }
        }
    }

    /// As [`Disk::file_range`]; of a library whose calls may not run in parallel always `None`, as those who ask want to be
    /// faster than reading is.
    #[must_use]
    pub fn file_range(&self, range: SectorRange) -> Option<FileRange> {
        match &*self.access {
            Access::Direct(disk) => disk.0.file_range(range),
            Access::Queued(_) => None,
        }
    }

    /// As [`Disk::extents`].
    ///
    /// # Errors
    /// As [`Disk::extents`].
    pub fn extents(&self, range: SectorRange) -> Result<Extents<'_>> {
        self.facts.check_extents(range)?;
        Ok(Extents::new(self, range, ChunkSize::MIN))
    }

    /// As [`Disk::extent_detail`].
    #[must_use]
    pub fn extent_detail(&self) -> ExtentDetail {
        match &*self.access {
            Access::Direct(disk) => disk.0.extent_detail(),
            Access::Queued(worker) => {
                let detail = |disk: &Disk| Ok(disk.extent_detail());
                let known = self.run(worker, Operation::Extents, detail);
                known.unwrap_or_else(|error| ExtentDetail::Unknown(Arc::new(error)))
            }
        }
    }

    /// As [`Disk::chunks`].
    ///
    /// # Errors
    /// As [`Disk::chunks`].
    pub fn chunks(&self, range: SectorRange, chunk: ChunkSize) -> Result<Chunks<'_>> {
        self.facts.check_extents(range)?;
        Ok(Chunks::new(Extents::new(self, range, chunk), range, chunk))
    }

    /// Gives this handle up. If it is the last one, the disk is closed now and the error returned that dropping would
    /// only log; while there are others the disk stays open.
    ///
    /// # Errors
    /// As [`Disk::close`].
    pub fn close(self) -> Result<()> {
        self.facts.check_surely_here(Operation::Close)?;
        match Arc::into_inner(self.access) {
            None => Ok(()),
            Some(Access::Direct(disk)) => disk.0.close(),
            Some(Access::Queued(worker)) => {
                // The thread closes the disk by itself when the worker goes.
                check_not_in_callback(Operation::Close)
                    .map_err(|error| self.facts.locate(error))?;
                worker.finish().close()
            }
        }
    }
}

impl ExtentSource for SharedDisk {
    fn page(&self, range: SectorRange, chunk: ChunkSize) -> Result<Vec<Extent>> {
        match &*self.access {
            Access::Direct(disk) => disk.0.page(range, chunk),
            Access::Queued(worker) => self.run(worker, Operation::Extents, move |disk| {
                disk.page(range, chunk)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send_and_sync<T: Send + Sync>() {}

    #[test]
    fn it_is_for_several_threads() {
        is_send_and_sync::<SharedDisk>();
    }
}
