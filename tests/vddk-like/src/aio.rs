//! Asynchronous requests, completed as the release does it.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::{VixDiskLibCompletionCB, VixDiskLibHandle, VixDiskLibSectorType, VixError};

use crate::disk::{Turn, begin_request, end_request};
use crate::log;
use crate::release::{Completion, Release};

/// How many requests make a batch that is completed from its end.
const BATCH: usize = 4;

/// How long a late request takes.
const LATE: Duration = Duration::from_micros(300);

#[derive(Clone, Copy, Debug)]
enum Direction {
    Read,
    Write,
}

/// One accepted request.
#[derive(Debug)]
struct Request {
    direction: Direction,
    disk: VixDiskLibHandle,
    start: u64,
    count: u64,
    buffer: *mut u8,
    callback: unsafe extern "C" fn(*mut c_void, VixError),
    data: *mut c_void,
}

// SAFETY: from the submission to the callback the buffer is the library's, and the callback may come from any thread
// (Virtual Disk Programming Guide, asynchronous calls).
unsafe impl Send for Request {}

impl Request {
    fn run(self) {
        let Self {
            disk,
            start,
            count,
            buffer,
            ..
        } = self;
        let code = match self.direction {
            // SAFETY: the submitter vouches for the buffer until the callback.
            Direction::Read => unsafe { (ENGINE.read)(disk, start, count, buffer) },
            // SAFETY: as above.
            Direction::Write => unsafe { (ENGINE.write)(disk, start, count, buffer) },
        };
        // SAFETY: the one call of the callback of this request.
        unsafe { (self.callback)(self.data, Release::current().code(code)) };
        end_request(disk.addr());
    }
}

/// Requests that wait for their batch.
static WAITING: Mutex<Vec<Request>> = Mutex::new(Vec::new());

/// Completes what waits for a batch, the last request first.
pub(crate) fn push() {
    let batch = std::mem::take(&mut *WAITING.lock());
    if batch.is_empty() {
        return;
    }
    thread::spawn(move || {
        log::line("vddk-like: a batch is done");
        batch.into_iter().rev().for_each(Request::run);
    });
}

fn late(request: Request) {
    thread::spawn(move || {
        thread::sleep(LATE);
        log::line("vddk-like: a late request is done");
        request.run();
    });
}

fn submit(request: Request) -> VixError {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let _turn = Turn::take(request.disk);
    begin_request(request.disk.addr());
    match Release::current().completion {
        Completion::Inline => request.run(),
        Completion::Late => late(request),
        Completion::Mixed => {
            if COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                request.run();
            } else {
                late(request);
            }
        }
        Completion::LastFirst => {
            let mut waiting = WAITING.lock();
            waiting.push(request);
            let full = waiting.len() >= BATCH;
            drop(waiting);
            if full {
                push();
            } else {
                // Nobody may wait for ever because no more requests come.
                thread::spawn(|| {
                    thread::sleep(2 * LATE);
                    push();
                });
            }
        }
    }
    VixError::ASYNC
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn read_async(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *mut u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let Some(callback) = callback else {
        log::die("ReadAsync without a callback");
    };
    submit(Request {
        direction: Direction::Read,
        disk,
        start,
        count,
        buffer,
        callback,
        data,
    })
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn write_async(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *const u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let Some(callback) = callback else {
        log::die("WriteAsync without a callback");
    };
    submit(Request {
        direction: Direction::Write,
        disk,
        start,
        count,
        buffer: buffer.cast_mut(),
        callback,
        data,
    })
}
