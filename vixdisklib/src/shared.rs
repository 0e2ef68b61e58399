//! A disk for several threads.

use std::path::Path;
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};

use crate::aio::Direction;
use crate::buffer::AlignedBuf;
use crate::capability::Capabilities;
use crate::disk::{Disk, Facts, LONGEST_REQUEST, OpenDisk, ZeroMode, pieces};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::extents::{ChunkSize, Chunks, Extent, ExtentDetail, ExtentSource, Extents};
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
    facts: Arc<Facts>,
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
        let facts = Arc::clone(open.facts());
        let access = if facts.capabilities.parallel_io {
            Access::Direct(ParallelDisk(open))
        } else {
            let worker =
                Worker::start("vixdisklib-submit", Disk::from_open(open)).map_err(|cause| {
                    Error::new(
                        ErrorKind::OutOfMemory,
                        Operation::Open,
                        "no thread for the disk",
                    )
                    .with_cause(cause)
                })?;
            Access::Queued(worker)
        };
        Ok(Self {
            facts,
            access: Arc::new(access),
        })
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

    /// As [`Disk::read_at`].
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.read_at(start, buf),
            Access::Queued(worker) => {
                let range = self.facts.request(Operation::Read, start, buf.len())?;
                for (piece, buf) in pieces(range).zip(buf.chunks_mut(LONGEST_REQUEST)) {
                    buf.copy_from_slice(&transfer(worker, Direction::Read, piece, buf)?);
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
                for (piece, buf) in pieces(range).zip(buf.chunks(LONGEST_REQUEST)) {
                    transfer(worker, Direction::Write, piece, buf)?;
                }
                Ok(())
            }
        }
    }

    /// As [`Disk::flush`]; covers the writes of all clones that returned before.
    ///
    /// # Errors
    /// As [`Disk::flush`].
    pub fn flush(&self) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.flush(),
            Access::Queued(worker) => {
                self.facts.birth.check_surely(Operation::Flush)?;
                worker.run(|disk| disk.flush())
            }
        }
    }

    /// As [`Disk::write_zeroes`].
    ///
    /// # Errors
    /// As [`Disk::write_zeroes`].
    pub fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.write_zeroes(range, mode),
            Access::Queued(worker) => worker.run(move |disk| disk.write_zeroes(range, mode)),
        }
    }

    /// As [`Disk::trim`].
    ///
    /// # Errors
    /// As [`Disk::trim`].
    pub fn trim(&self, range: SectorRange) -> Result<()> {
        match &*self.access {
            Access::Direct(disk) => disk.0.trim(range),
            Access::Queued(worker) => worker.run(move |disk| disk.trim(range)),
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
            Access::Queued(worker) => worker.run(|disk| disk.extent_detail()),
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
        self.facts.birth.check_surely(Operation::Close)?;
        match Arc::into_inner(self.access) {
            None => Ok(()),
            Some(Access::Direct(disk)) => disk.0.close(),
            Some(Access::Queued(worker)) => worker.finish().close(),
        }
    }
}

/// Has the submit thread start a request, and waits for its end on this one.
fn transfer(
    worker: &Worker<Disk>,
    direction: Direction,
    range: SectorRange,
    bytes: &[u8],
) -> Result<AlignedBuf> {
    let start = range.start();
    let mut buf = AlignedBuf::new(range.count());
    if direction == Direction::Write {
        buf.copy_from_slice(bytes);
    }
    let request = worker.run(move |disk| match direction {
        Direction::Read => disk.read_async(start, buf),
        Direction::Write => disk.write_async(start, buf),
    });
    let (done, buf) = request.wait();
    done.map(|()| buf)
}

impl ExtentSource for SharedDisk {
    fn page(&self, range: SectorRange, chunk: ChunkSize) -> Result<Vec<Extent>> {
        match &*self.access {
            Access::Direct(disk) => disk.0.page(range, chunk),
            Access::Queued(worker) => {
                self.facts.birth.check(Operation::Extents)?;
                worker.run(move |disk| disk.page(range, chunk))
            }
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
