//! Reading one disk with several requests at a time, on every transport.

mod lane;
#[cfg(all(test, feature = "embedded"))]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::thread;

use disk_units::{SectorCount, SectorRange};

use self::lane::{Job, Lanes, Requests, Workers};
use crate::aio::{IoLimits, check_not_in_callback};
use crate::buffer::AlignedBuf;
use crate::connection::{Connection, OpenFlags};
use crate::disk::Disk;
use crate::error::{Error, Operation, Result};
use crate::transport::Transport;

/// How a [`ParallelReader`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParallelOptions {
    /// How many requests are with the library at a time; 4 by default. A reader holds twice as many buffers of
    /// [`IoLimits::request`], at most 2 MiB each.
    pub requests: NonZeroUsize,
    /// What they have in common.
    pub parallelism: Parallelism,
    /// The order in which pieces are delivered.
    pub order: DeliveryOrder,
}

impl Default for ParallelOptions {
    fn default() -> Self {
        Self {
            requests: NonZeroUsize::new(4).expect("not zero"),
            parallelism: Parallelism::Auto,
            order: DeliveryOrder::Ascending,
        }
    }
}

/// What the simultaneous requests of a [`ParallelReader`] have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parallelism {
    /// One handle where the transport is asynchronous, else several: the embedded engine is, and so are `nbd` and
    /// `nbdssl` from VDDK 6.7 on; `file`, `hotadd` and `san` are taken as synchronous (Virtual Disk Programming Guide).
    /// With a host that makes `nbd` synchronous, choose [`Handles`](Self::Handles).
    #[default]
    Auto,
    /// One handle with asynchronous requests.
    Requests,
    /// One handle and one thread for each: the disk is opened as often, which over the network costs the host a
    /// connection each time.
    Handles,
}

/// The order in which a [`ParallelReader`] delivers what it read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryOrder {
    /// As the ranges were given, and within a range from its start.
    #[default]
    Ascending,
    /// As pieces are read, which never waits for a slow one.
    AsRead,
}

/// One disk, open for reading with several requests at a time; made by [`Connection::open_parallel`].
///
/// VDDK allows one call at a time per handle, but calls on several handles of one disk may run side by side (Virtual Disk
/// Programming Guide, multithreading). The reader opens as many as it takes, one after the other on the control thread.
#[derive(Debug)]
pub struct ParallelReader {
    /// One for each worker, or one alone for asynchronous requests. Never empty.
    disks: Vec<Disk>,
    asynchronous: bool,
    options: ParallelOptions,
}

impl Connection {
    /// Opens a disk for reading in parallel: as [`open_disk`](Self::open_disk), with [`OpenFlags::READ_ONLY`] added.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("disk.vmdk");
    /// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
    /// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
    /// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
    /// use vixdisklib::{Library, OpenFlags, ParallelOptions, SectorRange};
    ///
    /// let connection = Library::embedded()?.connect_local()?;
    /// let mut reader =
    ///     connection.open_parallel(&path, OpenFlags::empty(), ParallelOptions::default())?;
    /// let mut copy = Vec::new();
    /// let whole = SectorRange::whole(reader.disk().capacity());
    /// reader.read([whole], |_range, bytes| {
    ///     copy.extend_from_slice(bytes);
    ///     Ok::<_, vixdisklib::Error>(())
    /// })?;
    /// assert_eq!(copy, [7; 64 * 512]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_disk`](Self::open_disk).
    pub fn open_parallel(
        &self,
        path: impl AsRef<OsStr>,
        flags: OpenFlags,
        options: ParallelOptions,
    ) -> Result<ParallelReader> {
        let open = || self.open_disk(path.as_ref(), flags | OpenFlags::READ_ONLY);
        let mut first = open()?;
        let asynchronous = match options.parallelism {
            Parallelism::Auto => is_asynchronous(&first),
            Parallelism::Requests => true,
            Parallelism::Handles => false,
        };
        first.set_io_limits(IoLimits {
            depth: options.requests,
            ..IoLimits::default()
        });
        let mut disks = vec![first];
        while !asynchronous && disks.len() < options.requests.get() {
            disks.push(open()?);
        }
        Ok(ParallelReader {
            disks,
            asynchronous,
            options,
        })
    }
}

/// Whether requests on one handle run side by side.
fn is_asynchronous(disk: &Disk) -> bool {
    let can = disk.capabilities();
    // Allocated blocks came with the release that made these transports asynchronous, 6.7.
    let network = [Transport::NBD, Transport::NBDSSL].contains(disk.transport_mode());
    can.async_io && (can.parallel_io || (network && can.allocated_blocks))
}

impl ParallelReader {
    /// One of the handles, for everything but reading in parallel: size, extents, metadata.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disks[0]
    }

    /// Reads ranges, in pieces of at most [`IoLimits::request`], and gives each piece with its bytes to `deliver`, on
    /// this thread. Blocks until all is read, or something failed.
    ///
    /// `ranges` is asked for the next one only when there is a buffer for it. The first error ends the reading, be it
    /// the disk's or of `deliver`; pieces before it may not have been delivered. When this returns, also by a panic of
    /// `ranges` or `deliver`, all threads that it started have ended.
    ///
    /// # Errors
    /// What `deliver` returns; or, as its type, an error as of [`Disk::read_at`], with
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if no thread can be started.
    pub fn read<E: From<Error>>(
        &mut self,
        ranges: impl IntoIterator<Item = SectorRange>,
        deliver: impl FnMut(SectorRange, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        check_not_in_callback(Operation::Read)?;
        let options = self.options;
        let longest = self.disk().io_limits().request.sectors();
        let pieces = ranges
            .into_iter()
            .flat_map(move |range| range.pieces(longest));
        if self.asynchronous {
            let lanes = Requests::new(&self.disks[0]);
            return drive(lanes, options, pieces, deliver);
        }
        let disks = &mut self.disks;
        thread::scope(|scope| {
            let lanes = Workers::start(scope, disks)?;
            drive(lanes, options, pieces, deliver)
        })
    }

    /// Closes every handle, and returns the first error that dropping would only log.
    ///
    /// # Errors
    /// As [`Disk::close`].
    pub fn close(self) -> Result<()> {
        let closed = self.disks.into_iter().map(Disk::close);
        closed.fold(Ok(()), Result::and)
    }
}

/// Keeps the lanes busy, and delivers what comes out of them.
fn drive<E: From<Error>>(
    mut lanes: impl Lanes,
    options: ParallelOptions,
    pieces: impl Iterator<Item = SectorRange>,
    mut deliver: impl FnMut(SectorRange, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // As many again as are being read, so that lanes have work while this thread delivers.
    let most = options.requests.get().saturating_mul(2);
    let mut pieces = pieces.fuse().enumerate();
    let mut spare = Spare::default();
    // Started and not delivered; each has a buffer.
    let mut outstanding = 0;
    // Read, and waiting for those before them.
    let mut early = BTreeMap::new();
    let mut turn = 0;
    loop {
        while outstanding < most
            && let Some((index, range)) = pieces.next()
        {
            let buf = spare.take(range.count());
            lanes.start(Job { index, range, buf });
            outstanding += 1;
        }
        if outstanding == 0 {
            return Ok(());
        }
        let (job, done) = lanes.next();
        done?;
        match options.order {
            DeliveryOrder::AsRead => {
                deliver(job.range, &job.buf)?;
                spare.give(job.buf);
                outstanding -= 1;
            }
            DeliveryOrder::Ascending => {
                early.insert(job.index, job);
                while let Some(job) = early.remove(&turn) {
                    deliver(job.range, &job.buf)?;
                    spare.give(job.buf);
                    outstanding -= 1;
                    turn += 1;
                }
            }
        }
    }
}

/// Buffers that were delivered, for pieces of the same length.
#[derive(Default)]
struct Spare(Vec<AlignedBuf>);

impl Spare {
    fn take(&mut self, count: SectorCount) -> AlignedBuf {
        match self.0.pop() {
            Some(buf) if buf.sectors() == count => buf,
            // Of another length: freed, so that there are never more buffers than pieces outstanding.
            _ => AlignedBuf::new(count),
        }
    }

    fn give(&mut self, buf: AlignedBuf) {
        self.0.push(buf);
    }
}
