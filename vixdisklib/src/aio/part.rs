//! One part of a request: the library has it, and a reference to all that it needs, until it calls back.

use std::ffi::c_void;
use std::sync::Arc;

use disk_units::{SECTOR_SIZE, SectorRange};
use vixdisklib_sys::VixError;

use super::queue::{Queue, Request};
use super::{Direction, wake};
use crate::statistics::count_late_failure;

/// A part that was cut off its request, and is given to the library now.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) queue: Arc<Queue>,
    pub(super) request: Arc<Request>,
    /// The request's, in the queue.
    pub(super) number: u64,
    pub(super) range: SectorRange,
}

impl Part {
    /// Gives the part to the library. Nobody else is in a call on the handle that may not overlap with this one: that
    /// is the queue's promise.
    pub(super) fn submit(self) {
        let api = self.queue.target.api;
        let table = &api.table;
        let handle = self.queue.target.handle.0;
        let (first, count) = (self.range.start().get(), self.range.count().get());
        let bytes = self.bytes();
        let calls = table.read_async.zip(table.write_async);
        match (self.request.direction, calls) {
            (Direction::Read, Some((read, _))) => self.lend(|token| {
                // SAFETY: the handle is open, as a disk is closed only when its queue has nothing unfinished. The range
                // lies in the disk. `bytes` begins the part of the request's buffer that is as long as the range and
                // that no other part has; the buffer is owned by the `Completion`, which `token` keeps alive, and is
                // neither given back nor freed while a part is lent, which this one is until `on_complete` ran.
                unsafe { read(handle, first, count, bytes, Some(on_complete), token) }
            }),
            (Direction::Write, Some((_, write))) => self.lend(|token| {
                // SAFETY: as above; the library only reads the bytes.
                unsafe { write(handle, first, count, bytes, Some(on_complete), token) }
            }),
            // A library without these calls does the work before this returns, just as one that has them does on its
            // synchronous transports.
            (Direction::Read, None) => {
                // SAFETY: as above, with the part lent until `end` below; every earlier request on the handle was done
                // inside its own call.
                let code = unsafe { (table.read)(handle, first, count, bytes) };
                self.end(code);
            }
            (Direction::Write, None) => {
                // SAFETY: as above.
                let code = unsafe { (table.write)(handle, first, count, bytes) };
                self.end(code);
            }
        }
    }

    /// Where the part begins in the request's buffer.
    fn bytes(&self) -> *mut u8 {
        let before = self.range.start().checked_since(self.request.range.start());
        let before = before.and_then(|sectors| usize::try_from(sectors.get()).ok());
        let offset = before.expect("a part lies in its buffer") * SECTOR_SIZE;
        let base = self.request.completion.with_buf(|buf| buf.base());
        base.expect("the buffer stays while a part is lent")
            .wrapping_add(offset)
    }

    /// Gives the library a reference to the part along with `submit`.
    fn lend(self, submit: impl FnOnce(*mut c_void) -> VixError) {
        let token = Box::into_raw(Box::new(self)).cast::<c_void>();
        let code = submit(token);
        if code.without_detail() == VixError::ASYNC {
            return;
        }
        // SAFETY: not accepted, so `on_complete` never runs and the part is ours again.
        let part = unsafe { Box::from_raw(token.cast::<Self>()) };
        // Only `VIX_ASYNC` accepts a request (Virtual Disk Programming Guide): after `VIX_OK` no data would ever come.
        part.end(if code.is_ok() { VixError::FAIL } else { code });
    }

    fn end(self, code: VixError) {
        let Self {
            queue,
            request,
            number,
            range,
        } = self;
        let ended = request.completion.end(range, code);
        drop(ended.garbage);
        drop(request);
        if let Some(waker) = ended.waker {
            wake(waker);
        }
        // Last, since whoever waits for the queue waits for the callback, and for the memory of what was given up.
        queue.end(number, ended.done);
    }
}

/// The library's word that a part is done, from a thread of its own or from inside the submitting call.
unsafe extern "C" fn on_complete(token: *mut c_void, code: VixError) {
    // SAFETY: `token` is the part that `lend` gave the library, which calls back exactly once.
    let part = unsafe { Box::from_raw(token.cast::<Part>()) };
    if code != VixError::OK {
        let (api, direction) = (part.queue.target.api, part.request.direction);
        count_late_failure(api, direction, part.range.count());
    }
    part.end(code);
}
