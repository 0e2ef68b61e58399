//! The thin call sites of an open handle.
//!
//! Everything takes `&self`, and relies on its owner for VDDK's rule of one call at a time per handle: `Disk` is not
//! `Sync`, and `SharedDisk` lets calls run in parallel only where the library says that they may.

mod attach;
mod facts;
mod info;
mod metadata;
mod reshape;
mod transfer;

use std::ffi::{CStr, CString};
use std::mem::{self, ManuallyDrop};
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;
use std::thread;

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::{
    VIXDISKLIBEXT_ZERO_FAST_ONLY, VIXDISKLIBEXT_ZERO_MAY_FREE, VIXDISKLIBEXT_ZERO_MUST_ALLOCATE,
    VixDiskLibExtProperty, VixDiskLibHandle, VixError,
};

use super::ZeroMode;
use crate::aio::{
    Direction, IoFuture, IoLimits, Queue, Request, Target, check_not_in_callback, in_callback,
};
use crate::api::{Api, no_handle};
use crate::buffer::AlignedBuf;
use crate::capability::Capabilities;
use crate::connection::{Connection, OpenFlags};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::extents::{BlockQuery, ChunkSize, Extent, ExtentDetail, ExtentSource, query_exact};
use crate::file_range::{self, FileRange};
use crate::info::DiskInfo;
use crate::transport::Transport;

use transfer::Bounce;

pub(crate) use facts::Facts;

/// What is asked for where the library does not name a size: 64 KiB, the usual grain.
const DEFAULT_PREFERRED_IO: SectorCount = SectorCount::new(128);

/// How many zeroes are written at once where the library cannot zero: 1 MiB.
const ZEROES: SectorCount = SectorCount::new(2048);

/// A library's handle of an open disk. Not `Sync`: one call at a time per handle (Virtual Disk Programming Guide,
/// multithreading).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle(pub(crate) VixDiskLibHandle);

// SAFETY: a handle is not bound to a thread (Virtual Disk Programming Guide, multithreading); that calls do not
// overlap is the owner's duty, see the module.
unsafe impl Send for Handle {}

/// An open handle; closed when dropped.
#[derive(Debug)]
pub(crate) struct OpenDisk {
    api: &'static Api,
    handle: Handle,
    facts: Arc<Facts>,
    limits: IoLimits,
    queue: Arc<Queue>,
    blocks: Arc<BlockQuery>,
    bounce: Bounce,
    /// The disks that this one was attached to; closed after it.
    parents: Vec<OpenDisk>,
    /// Behind the handle in order of drop: the handle's close comes first, in `drop`.
    connection: Connection,
}

impl OpenDisk {
    pub(crate) fn open(
        connection: Connection,
        name: PathBuf,
        c_name: CString,
        flags: OpenFlags,
    ) -> Result<Self> {
        let location = connection.location();
        let api = connection.library().api();
        let at = connection.clone();
        let opened = connection
            .library()
            .control(move || open(api, &at, &c_name, flags));
        let (handle, info, transport_mode, preferred_io, capabilities) =
            opened.map_err(|error| location.locate(error.with_path(&name)))?;
        let facts = Facts {
            name,
            info,
            flags,
            transport_mode,
            capabilities,
            preferred_io,
            location,
            birth: connection.library().birth(),
        };
        let target = Target {
            api,
            handle,
            parallel: capabilities.parallel_io,
        };
        let limits = IoLimits::default();
        Ok(Self {
            api,
            handle,
            facts: Arc::new(facts),
            limits,
            queue: Queue::new(target, limits),
            blocks: Arc::default(),
            bounce: Bounce::default(),
            parents: Vec::new(),
            connection,
        })
    }

    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    #[cfg(feature = "nbd")]
    pub(crate) fn library(&self) -> &crate::Library {
        self.connection.library()
    }

    pub(crate) fn api(&self) -> &'static Api {
        self.api
    }

    pub(crate) fn limits(&self) -> IoLimits {
        self.limits
    }

    pub(crate) fn set_limits(&mut self, limits: IoLimits) {
        self.limits = limits;
        self.queue.set_depth(limits);
    }

    /// Refuses to block in a forked child, and inside a callback that the library would wait for.
    fn may_block(&self, operation: Operation) -> Result<()> {
        self.facts.check_here(operation)?;
        check_not_in_callback(operation).map_err(|error| self.facts.locate(error))
    }

    /// Runs one blocking call on the handle.
    fn call(
        &self,
        operation: Operation,
        call: impl FnOnce(VixDiskLibHandle) -> VixError,
    ) -> Result<()> {
        self.may_block(operation)?;
        self.settle_for_blocking();
        self.api
            .call(operation, |_| call(self.handle.0))
            .map_err(|error| self.facts.locate(error))
    }

    /// Blocking and submitted requests must not meet on one handle (`VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED`), and only
    /// the library knows when it is through with the submitted ones: a callback comes before that.
    fn settle_for_blocking(&self) {
        if !self.facts.capabilities.parallel_io {
            self.settle_everything();
        }
    }

    /// Has nothing in flight when it returns, also where requests may meet.
    fn settle_everything(&self) {
        if !self.queue.is_unsettled() {
            return;
        }
        // The futures tell what became of the requests; the call that follows tells what is wrong with the disk.
        if let Err(error) = self.settle() {
            tracing::debug!(%error, "waiting before a blocking call failed");
        }
    }

    pub(crate) fn read_async(&self, start: Sector, buf: AlignedBuf) -> IoFuture {
        self.start(Direction::Read, start, buf)
    }

    pub(crate) fn write_async(&self, start: Sector, buf: AlignedBuf) -> IoFuture {
        self.start(Direction::Write, start, buf)
    }

    fn start(&self, direction: Direction, start: Sector, buf: AlignedBuf) -> IoFuture {
        let range = match self.facts.request(direction.operation(), start, buf.len()) {
            Ok(range) => range,
            Err(error) => return IoFuture::refused(error, buf),
        };
        let request = Request::new(direction, range, self.limits, buf);
        let future = IoFuture::waiting(Arc::clone(&request), self.api, Arc::clone(&self.facts));
        self.enqueue(request);
        future
    }

    /// Submits a request, which fits the disk, or puts it in line.
    pub(crate) fn enqueue(&self, request: Arc<Request>) {
        self.queue.enqueue(request);
    }

    pub(crate) fn settle(&self) -> Result<()> {
        self.may_block(Operation::Flush)?;
        self.queue.wait_submitted();
        let wait = self.api.table.wait;
        // SAFETY: the handle is open; waiting may run beside what it waits for, and nothing is being submitted now unless
        // calls may overlap.
        let waited = self
            .api
            .call(Operation::Flush, |_| unsafe { wait(self.handle.0) });
        self.queue.wait_idle();
        waited.map_err(|error| self.facts.locate(error))
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.settle()?;
        let flush = self.api.table.flush;
        // SAFETY: the handle is open and settled.
        self.call(Operation::Flush, |handle| unsafe { flush(handle) })
    }

    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<()> {
        let operation = Operation::WriteZeroes;
        let range = self.facts.check(operation, Some(range))?;
        self.facts.check_writable(operation, range)?;
        let Some(zero) = self.api.table.ext_write_zeroes else {
            return self.write_zeroes_out(range, mode);
        };
        let flags = match mode {
            ZeroMode::MayFree => VIXDISKLIBEXT_ZERO_MAY_FREE,
            ZeroMode::MustAllocate => VIXDISKLIBEXT_ZERO_MUST_ALLOCATE,
            ZeroMode::FastMayFree => VIXDISKLIBEXT_ZERO_MAY_FREE | VIXDISKLIBEXT_ZERO_FAST_ONLY,
            ZeroMode::FastMustAllocate => {
                VIXDISKLIBEXT_ZERO_MUST_ALLOCATE | VIXDISKLIBEXT_ZERO_FAST_ONLY
            }
        };
        let (first, count) = (range.start().get(), range.count().get());
        // SAFETY: the handle is open, the range lies inside the disk.
        self.call(operation, |handle| unsafe {
            zero(handle, first, count, flags)
        })
        .map_err(|error| error.with_range(range))
    }

    /// Zeroes for a library that cannot zero.
    fn write_zeroes_out(&self, range: SectorRange, mode: ZeroMode) -> Result<()> {
        if matches!(mode, ZeroMode::FastMayFree | ZeroMode::FastMustAllocate) {
            let text = "the library cannot zero faster than by writing";
            let error = Error::new(ErrorKind::Unsupported, Operation::WriteZeroes, text);
            return Err(self.facts.locate(error.with_range(range)));
        }
        let zeroes = AlignedBuf::new(ZEROES.min(range.count()));
        range.pieces(zeroes.sectors()).try_for_each(|piece| {
            let bytes = piece
                .bytes()
                .and_then(|bytes| usize::try_from(bytes.get()).ok());
            self.write_at(
                piece.start(),
                &zeroes[..bytes.expect("a piece is no longer than the buffer")],
            )
        })
    }

    pub(crate) fn trim(&self, range: SectorRange) -> Result<()> {
        let operation = Operation::Trim;
        let range = self.facts.check(operation, Some(range))?;
        self.facts.check_writable(operation, range)?;
        let Some(trim) = self.api.table.ext_trim else {
            let error = Error::new(
                ErrorKind::Unsupported,
                operation,
                "the library cannot give space back",
            );
            return Err(self.facts.locate(error.with_range(range)));
        };
        let (first, count) = (range.start().get(), range.count().get());
        // SAFETY: the handle is open, the range lies inside the disk.
        self.call(operation, |handle| unsafe { trim(handle, first, count) })
            .map_err(|error| error.with_range(range))
    }

    /// Where the front of `range` lies in a file as it is.
    pub(crate) fn file_range(&self, range: SectorRange) -> Option<FileRange> {
        let operation = Operation::Read;
        if range.is_empty() || !self.facts.capabilities.file_ranges {
            return None;
        }
        self.may_block(operation).ok()?;
        self.settle_for_blocking();
        let range = self.facts.check(operation, Some(range)).ok()?;
        file_range::query(self.api, self.handle.0, range)
    }

    /// How well the extents are known; may ask the library, once.
    pub(crate) fn extent_detail(&self) -> ExtentDetail {
        let capabilities = self.facts.capabilities;
        if capabilities.exact_extents {
            return ExtentDetail::Exact;
        }
        if !capabilities.allocated_blocks {
            let text = "the library has no such call, VDDK 6.7 does";
            let error = Error::new(ErrorKind::Unsupported, Operation::Extents, text);
            return ExtentDetail::Unknown(Arc::new(self.facts.locate(error)));
        }
        if let Err(error) = self.may_block(Operation::Extents) {
            return ExtentDetail::Unknown(Arc::new(error));
        }
        self.settle_for_blocking();
        let (api, handle, blocks) = (self.api, self.handle, Arc::clone(&self.blocks));
        let facts = Arc::clone(&self.facts);
        let failure = self.connection.library().control(move || {
            let handle: Handle = handle;
            Ok(blocks.failure(api, handle.0, &facts))
        });
        match failure {
            Ok(None) => ExtentDetail::Chunks,
            Ok(Some(error)) => ExtentDetail::Unknown(error),
            Err(error) => ExtentDetail::Unknown(Arc::new(self.facts.locate(error))),
        }
    }

    /// Closes now and returns the error; `drop` finds nothing left to do.
    pub(crate) fn close(mut self) -> Result<()> {
        // A disk that cannot be closed here is closed elsewhere, when `self` goes.
        check_not_in_callback(Operation::Close).map_err(|error| self.facts.locate(error))?;
        let closed = self.close_handle();
        let parents = mem::take(&mut self.parents).into_iter().map(Self::close);
        parents.fold(closed, Result::and)
    }

    fn close_handle(&mut self) -> Result<()> {
        let handle = mem::replace(&mut self.handle, Handle(ptr::null_mut()));
        if handle.0.is_null() {
            return Ok(());
        }
        // Forgotten all the same: the disk is open in the process that opened it, and that one closes it.
        self.facts.check_surely_here(Operation::Close)?;
        let api = self.api;
        let wait = api.table.wait;
        self.queue.wait_submitted();
        // SAFETY: the handle is open; VDDK wants the wait before the close where requests were submitted.
        let waited = api.call(Operation::Close, |_| unsafe { wait(handle.0) });
        self.queue.wait_idle();
        self.queue.close();
        let closed = self.connection.library().control(move || {
            // `Handle` as a whole, which is `Send`, moves here.
            let handle: Handle = handle;
            // SAFETY: the handle is open, settled, and forgotten by `self`.
            api.call(Operation::Close, |table| unsafe { (table.close)(handle.0) })
        });
        waited.and(closed).map_err(|error| self.facts.locate(error))
    }

    /// Has a thread of its own close the disk: closing waits for the callbacks of the disk, this thread is inside one,
    /// and what it holds of the connection goes before that callback ends.
    fn close_elsewhere(&mut self) {
        let disk = ManuallyDrop::new(Self {
            api: self.api,
            handle: mem::replace(&mut self.handle, Handle(ptr::null_mut())),
            facts: Arc::clone(&self.facts),
            limits: self.limits,
            queue: Arc::clone(&self.queue),
            blocks: Arc::clone(&self.blocks),
            bounce: mem::take(&mut self.bounce),
            parents: mem::take(&mut self.parents),
            connection: self.connection.clone(),
        });
        let closer = thread::Builder::new().name("vixdisklib-close".to_owned());
        // Without a thread nothing is dropped: better a disk that stays open than a process that hangs.
        if let Err(error) = closer.spawn(move || drop(ManuallyDrop::into_inner(disk))) {
            tracing::warn!(%error, "a disk that was dropped in a callback stays open");
        }
    }
}

impl Drop for OpenDisk {
    fn drop(&mut self) {
        if in_callback() && !self.handle.0.is_null() {
            return self.close_elsewhere();
        }
        if let Err(error) = self.close_handle()
            && error.kind() != ErrorKind::Forked
        {
            tracing::warn!(%error, "closing a disk failed on drop");
        }
    }
}

impl ExtentSource for OpenDisk {
    fn page(&self, range: SectorRange, chunk: ChunkSize) -> Result<Vec<Extent>> {
        self.may_block(Operation::Extents)?;
        self.settle_for_blocking();
        let capabilities = self.facts.capabilities;
        let page = if capabilities.exact_extents {
            query_exact(self.api, self.handle.0, range)
        } else if capabilities.allocated_blocks {
            let (api, handle, blocks) = (self.api, self.handle, Arc::clone(&self.blocks));
            let facts = Arc::clone(&self.facts);
            self.connection.library().control(move || {
                let handle: Handle = handle;
                blocks.page(api, handle.0, &facts, range, chunk)
            })
        } else {
            Ok(vec![Extent::unknown(range)])
        };
        let page = page.map_err(|error| self.facts.locate(error.with_range(range)))?;
        // Below a single link there may be a parent with data.
        let single = self.facts.flags.contains(OpenFlags::SINGLE_LINK);
        Ok(page
            .into_iter()
            .map(|run| Extent {
                zero: run.zero && (run.allocated || !single),
                ..run
            })
            .collect())
    }
}

type Opened = (Handle, DiskInfo, Transport, SectorCount, Capabilities);

/// `VixDiskLib_Open` and what is to be known at once; runs on the control thread.
fn open(
    api: &'static Api,
    connection: &Connection,
    name: &CStr,
    flags: OpenFlags,
) -> Result<Opened> {
    let mut handle = ptr::null_mut();
    api.call(Operation::Open, |table| {
        // SAFETY: the connection is live, the name a C string, the output writable; opens and closes are serialised by
        // the control thread.
        unsafe {
            (table.open)(
                connection.handle(),
                name.as_ptr(),
                flags.bits(),
                &raw mut handle,
            )
        }
    })?;
    if handle.is_null() {
        return Err(no_handle(Operation::Open));
    }
    let known = info::read(api, handle).map(|info| {
        let property = |property| property_of(api, handle, property);
        let preferred = property(VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PREFERRED_IO)
            .unwrap_or_default();
        let preferred = if preferred == 0 {
            DEFAULT_PREFERRED_IO
        } else {
            SectorCount::new(preferred)
        };
        // A function that the library has may yet be of no use for this disk; only a clear no counts.
        let may = |property_id| property(property_id) != Some(0);
        let table = Capabilities::of(&api.table);
        let capabilities = Capabilities {
            parallel_io: property(VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO)
                == Some(1),
            trim: table.trim && may(VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_TRIM),
            exact_extents: table.exact_extents
                && may(VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_EXACT_EXTENTS),
            ..table
        };
        (
            Handle(handle),
            info,
            transport_mode(api, handle),
            preferred,
            capabilities,
        )
    });
    if known.is_err() {
        // SAFETY: open since above and unknown to anyone else.
        let _ = unsafe { (api.table.close)(handle) };
    }
    known
}

fn transport_mode(api: &Api, handle: VixDiskLibHandle) -> Transport {
    // SAFETY: the handle is open.
    let mode = unsafe { (api.table.get_transport_mode)(handle) };
    // SAFETY: null, or a static string of the library.
    unsafe { Transport::from_library(mode) }
}

fn property_of(
    api: &Api,
    handle: VixDiskLibHandle,
    property: VixDiskLibExtProperty,
) -> Option<u64> {
    let get = api.table.ext_get_property?;
    let mut value = 0;
    // SAFETY: the handle is open, the output writable; an unknown property is refused.
    let code = unsafe { get(handle, property, &raw mut value) };
    (code == VixError::OK).then_some(value)
}
