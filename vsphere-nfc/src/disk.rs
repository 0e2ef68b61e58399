//! A disk on a host, as callers see it.
//!
//! ```text
//!   RemoteDisk      sectors of one disk                              disk.rs options.rs
//!    ├─ Core            what all its calls share                     core.rs flight.rs
//!    │   ├─ Link            the connection, renewed when lost        link.rs
//!    │   └─ Recovery        a thread for what has to be done again   recovery.rs
//!    └─ read, write     requests cut into pieces                     read.rs write.rs piece.rs
//! ```

mod core;
mod flight;
mod link;
mod options;
mod piece;
mod query;
mod read;
mod recovery;
mod write;

use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};

use self::core::Core;
use crate::dial::Dial;
use crate::error::{Error, Operation, Result};
use crate::failure::Failure;
use crate::wire::aio::Geometry;
pub use options::OpenOptions;

/// An open disk on a host.
///
/// All calls take `&self` and may be made from any number of threads at a time; requests are answered in any order.
/// Those that overlap must not be in flight together if one of them writes.
///
/// When the connection is lost, a disk that has written nothing over it connects again, with a new ticket, and repeats
/// what it was reading, once. Writes are never repeated: after a connection is lost over which something was written, all
/// calls fail, and the disk has to be opened again. When the host has no memory for a request, it is repeated in smaller
/// ones.
///
/// Callbacks run on threads of the connection. They must not use the disk: every call from there is refused. One that
/// panics is reported, and the panic goes no further.
///
/// Dropping it waits for requests in flight and closes it; [`close`](Self::close) does the same and tells failures.
#[derive(Debug)]
pub struct RemoteDisk {
    core: Arc<Core>,
}

impl RemoteDisk {
    /// Opens the disk at `path`, such as `[datastore1] vm/vm.vmdk`, at the host that `dial` connects to.
    ///
    /// # Errors
    /// Those of `dial`; [`ErrorKind::FileNotFound`], [`ErrorKind::AlreadyLocked`], and, if the ticket does not permit it,
    /// [`ErrorKind::AccessRefused`] or, for a disk to be written, [`ErrorKind::ReadOnly`]; those of a connection.
    ///
    /// [`ErrorKind::FileNotFound`]: crate::ErrorKind::FileNotFound
    /// [`ErrorKind::AlreadyLocked`]: crate::ErrorKind::AlreadyLocked
    /// [`ErrorKind::AccessRefused`]: crate::ErrorKind::AccessRefused
    /// [`ErrorKind::ReadOnly`]: crate::ErrorKind::ReadOnly
    pub fn open(dial: impl Dial + 'static, path: &str, options: &OpenOptions) -> Result<Self> {
        let core = Core::open(Box::new(dial), path, options)
            .map_err(|failure| failure.during(Operation::Open, path))?;
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// The number of sectors of 512 bytes.
    #[must_use]
    pub fn capacity(&self) -> SectorCount {
        self.core.shape.capacity
    }

    /// Bytes of a sector of the disk: 512, or a multiple of it that all requests have to keep to.
    #[must_use]
    pub fn sector_size(&self) -> u32 {
        self.core.shape.sector_size
    }

    /// The physical geometry, which may cover less than the capacity.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.core.shape.geometry
    }

    /// Whether the disk was opened for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.core.options.writable
    }

    /// The path that it was opened with.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.core.path
    }

    /// Reads sectors from `start` into `buf`, which holds whole sectors. Blocks.
    ///
    /// What arrives is copied once: no other thread may fill `buf`. [`submit_read`](Self::submit_read) does without.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for no sectors or parts of some,
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) past the end; what the host reports; those of a
    /// connection, if reconnecting does not help. After a failure `buf` may be partly filled, with nothing but data.
    pub fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<()> {
        read::read_at(&self.core, start, buf)
    }

    /// Reads sectors from `start` into a buffer that it takes over, and gives it back to `done`. What arrives is received
    /// straight into it.
    ///
    /// Blocks only while as much is in flight as the [budget](crate::Budget) of the host permits. `done` is called
    /// exactly once, on another thread or, when the request is refused, on this one; after a failure the buffer may be
    /// partly filled. Errors are those of [`read_at`](Self::read_at).
    pub fn submit_read<B>(
        &self,
        start: Sector,
        buf: B,
        done: impl FnOnce(Result<()>, B) + Send + 'static,
    ) where
        B: AsMut<[u8]> + Send + 'static,
    {
        read::submit(&self.core, start, buf, done);
    }

    /// Writes whole sectors from `start`. Blocks until the host has acknowledged them.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly); those of [`read_at`](Self::read_at). When the connection is
    /// lost it is unknown how much was written.
    pub fn write_at(&self, start: Sector, data: &[u8]) -> Result<()> {
        write::write_at(&self.core, start, data)
    }

    /// Writes whole sectors from `start` from a buffer that it takes over, and gives it back to `done` when the host has
    /// acknowledged them.
    ///
    /// Blocks until everything was sent. `done` is called exactly once, on another thread or, when the request is
    /// refused, on this one. Errors are those of [`write_at`](Self::write_at).
    pub fn submit_write<B>(
        &self,
        start: Sector,
        data: B,
        done: impl FnOnce(Result<()>, B) + Send + 'static,
    ) where
        B: AsRef<[u8]> + Send + 'static,
    {
        write::submit(&self.core, start, data, done);
    }

    /// The value of an entry of the disk database; `key` is without `ddb.`. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a key of more than 1024 bytes; what the host
    /// reports; those of a connection.
    pub fn ddb(&self, key: &str) -> Result<Option<String>> {
        Ok(self.ddb_values(&[key])?.pop().flatten())
    }

    /// The values of several entries of the disk database, in the order of `keys`. All are asked for at once. Blocks.
    ///
    /// # Errors
    /// Those of [`ddb`](Self::ddb).
    pub fn ddb_values(&self, keys: &[&str]) -> Result<Vec<Option<String>>> {
        query::ddb(&self.core, keys).map_err(|failure| self.error(failure, Operation::Metadata))
    }

    /// Which chunks of `range` hold data: as ranges in ascending order, none touching the next. Blocks.
    ///
    /// `range` begins and ends between chunks. What the host does not know to be free counts as data. What was written
    /// through this open disk may be missing. Of a snapshot, data of its parents counts too. (Observed by public
    /// clients.)
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a range that is empty or not made of whole
    /// chunks, [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) past the end; what the host reports; those of a
    /// connection.
    pub fn allocated(&self, range: SectorRange, chunk: SectorCount) -> Result<Vec<SectorRange>> {
        query::allocated(&self.core, range, chunk)
            .map_err(|failure| self.error(failure, Operation::Allocated))
    }

    /// Waits until everything submitted so far is done.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when a callback calls it.
    pub fn wait(&self) -> Result<()> {
        self.core
            .wait()
            .map_err(|failure| self.error(failure, Operation::Flush))
    }

    /// Waits until the host has acknowledged everything that was written. The protocol has no message that asks for
    /// more; closing the disk makes it durable at the latest.
    ///
    /// # Errors
    /// [`ErrorKind::ConnectionLost`](crate::ErrorKind::ConnectionLost) when writes were lost. Those that the host has
    /// refused were told to whoever wrote.
    pub fn flush(&self) -> Result<()> {
        self.core
            .wait()
            .and_then(|()| self.core.link.lost_writes())
            .map_err(|failure| self.error(failure, Operation::Flush))
    }

    /// Waits for requests in flight, closes the disk, and ends the session and its connection.
    ///
    /// # Errors
    /// [`ErrorKind::ConnectionLost`](crate::ErrorKind::ConnectionLost) when writes were lost; what the host reports.
    pub fn close(self) -> Result<()> {
        self.close_now()
    }

    fn close_now(&self) -> Result<()> {
        self.core
            .close()
            .map_err(|failure| self.error(failure, Operation::CloseDisk))
    }

    fn error(&self, failure: Failure, operation: Operation) -> Error {
        failure.during(operation, self.path())
    }
}

impl Drop for RemoteDisk {
    fn drop(&mut self) {
        if let Err(error) = self.close_now() {
            tracing::warn!(%error, "a disk was dropped");
        }
    }
}
