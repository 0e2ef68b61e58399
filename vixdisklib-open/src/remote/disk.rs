//! One open disk on a host.

use std::ffi::CStr;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::Mutex;
use vixdisklib_sys::VixError;
use vmdk_engine::ZeroMode;
use vsphere_nfc::{Error, ErrorKind, RemoteDisk, Transport};

use super::error::failure;
use super::written::Written;
use crate::error::Failure;

/// Data goes over the network in pieces of 1 MiB.
pub(crate) const PREFERRED_IO: SectorCount = SectorCount::new(2048);

/// So many bytes of zeros are sent at a time.
const ZEROES: usize = 1 << 20;

/// The links of a disk, as far as the server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) links: u32,
    pub(super) parent: Option<String>,
}

impl Chain {
    /// `files` begins with the disk itself. A disk that the server does not know counts as one link.
    pub(super) fn new(files: &[String]) -> Self {
        Self {
            links: u32::try_from(files.len()).unwrap_or(u32::MAX).max(1),
            parent: files.get(1).cloned(),
        }
    }
}

/// One open disk on a host.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(super) disk: RemoteDisk,
    transport: Transport,
    pub(super) chain: Chain,
    pub(super) written: Mutex<Written>,
}

impl Disk {
    pub(super) fn new(disk: RemoteDisk, transport: Transport, chain: Chain) -> Self {
        Self {
            disk,
            transport,
            chain,
            written: Mutex::default(),
        }
    }

    /// The datastore path.
    pub(crate) fn path(&self) -> &str {
        self.disk.path()
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        self.disk.capacity()
    }

    pub(crate) fn transport(&self) -> &'static CStr {
        match self.transport {
            Transport::Nbd => c"nbd",
            _ => c"nbdssl",
        }
    }

    pub(crate) fn read_at(&self, start: Sector, buffer: &mut [u8]) -> Result<(), Failure> {
        self.disk.read_at(start, buffer).map_err(explain)
    }

    pub(crate) fn write_at(&self, start: Sector, data: &[u8]) -> Result<(), Failure> {
        self.note_write(start, data.len());
        self.disk.write_at(start, data).map_err(explain)
    }

    /// Reads into a buffer that it takes over. `done` is called once, on another thread or on this one, and must not
    /// block: other requests wait for it.
    pub(crate) fn submit_read<B: AsMut<[u8]> + Send + 'static>(
        &self,
        start: Sector,
        buffer: B,
        done: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) {
        self.disk
            .submit_read(start, buffer, |result, _| done(result.map_err(explain)));
    }

    /// Writes from a buffer that it takes over; else as [`submit_read`](Self::submit_read).
    pub(crate) fn submit_write<B: AsRef<[u8]> + Send + 'static>(
        &self,
        start: Sector,
        data: B,
        done: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) {
        self.note_write(start, data.as_ref().len());
        self.disk
            .submit_write(start, data, |result, _| done(result.map_err(explain)));
    }

    /// Writes zeros: there is no other way over a network.
    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Failure> {
        if matches!(mode, ZeroMode::FastMayFree | ZeroMode::FastMustAllocate) {
            return Err(Failure::note(
                VixError::NOT_SUPPORTED,
                "over a network zeros take as long as other data",
            ));
        }
        let zeroes = vec![0; ZEROES];
        let most = SectorCount::new((ZEROES / 512) as u64);
        let mut rest = range;
        while !rest.is_empty() {
            let count = rest.count().min(most);
            let bytes = usize::try_from(count.get()).map_or(ZEROES, |sectors| sectors * 512);
            self.write_at(rest.start(), &zeroes[..bytes])?;
            let behind = Sector::new(rest.start().get() + count.get());
            rest = SectorRange::between(behind, range.end())
                .expect("no more than the rest was written");
        }
        Ok(())
    }

    /// Everything that was written has been acknowledged. When hosts make it durable is theirs to say: at the latest when
    /// the disk is closed.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.disk.flush().map_err(explain)
    }

    pub(crate) fn close(self) -> Result<(), Failure> {
        self.disk.close().map_err(explain)
    }

    fn note_write(&self, start: Sector, bytes: usize) {
        let count = SectorCount::new((bytes / 512) as u64);
        if let Some(range) = SectorRange::new(start, count) {
            self.written.lock().add(range);
        }
    }
}

pub(super) fn explain(error: Error) -> Failure {
    failure(&error)
}

/// Whether a host refused a question because it cannot answer it.
pub(super) fn is_unanswerable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Failed | ErrorKind::Unsupported)
}
