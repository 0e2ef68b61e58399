//! The engine as a library whose reads take a millisecond, like a disk on a fast network, and that has none of the
//! engine's extensions.
//!
//! `SLOW_LIBRARY=late`: asynchronous reads end on a thread of the library, as on the transport `nbd`, as which they
//! pass. `SLOW_LIBRARY=inline`: they end inside the call, as on `san`.

use std::collections::VecDeque;
use std::env;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::{FnTable, VixDiskLibCompletionCB, VixDiskLibHandle, VixError};

/// How long a read takes.
const LATENCY: Duration = Duration::from_millis(1);

static IS_LATE: LazyLock<bool> =
    LazyLock::new(|| env::var_os("SLOW_LIBRARY").is_none_or(|value| value != "inline"));

/// Reads that are done, and not called back yet, by the time at which they are.
static QUEUE: Mutex<VecDeque<Due>> = Mutex::new(VecDeque::new());
static CHANGED: Condvar = Condvar::new();
static CLOCK: LazyLock<()> = LazyLock::new(|| {
    thread::spawn(call_back);
});

struct Due {
    at: Instant,
    callback: VixDiskLibCompletionCB,
    /// The caller's, with its provenance exposed.
    data: usize,
    code: VixError,
}

/// The thread of the library that calls back.
fn call_back() {
    let mut queue = QUEUE.lock();
    loop {
        match queue.front().map(|due| due.at) {
            None => CHANGED.wait(&mut queue),
            Some(at) if at > Instant::now() => {
                CHANGED.wait_until(&mut queue, at);
            }
            Some(_) => {
                if let Some(due) = queue.pop_front() {
                    parking_lot::MutexGuard::unlocked(&mut queue, || due.end());
                }
                CHANGED.notify_all();
            }
        }
    }
}

impl Due {
    fn end(self) {
        let data = ptr::with_exposed_provenance_mut(self.data);
        if let Some(callback) = self.callback {
            // SAFETY: the callback and the data of one request, which was accepted and is called back this once.
            unsafe { callback(data, self.code) };
        }
    }
}

unsafe extern "C" fn read(
    disk: VixDiskLibHandle,
    start: u64,
    count: u64,
    buffer: *mut u8,
) -> VixError {
    thread::sleep(LATENCY);
    // SAFETY: passed on.
    unsafe { (ENGINE.read)(disk, start, count, buffer) }
}

unsafe extern "C" fn read_async(
    disk: VixDiskLibHandle,
    start: u64,
    count: u64,
    buffer: *mut u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let at = Instant::now() + LATENCY;
    if !*IS_LATE {
        thread::sleep(LATENCY);
    }
    // SAFETY: passed on.
    let code = unsafe { (ENGINE.read)(disk, start, count, buffer) };
    let due = Due {
        at,
        callback,
        data: data.expose_provenance(),
        code,
    };
    if *IS_LATE {
        LazyLock::force(&CLOCK);
        QUEUE.lock().push_back(due);
        CHANGED.notify_all();
    } else {
        due.end();
    }
    VixError::ASYNC
}

unsafe extern "C" fn wait(disk: VixDiskLibHandle) -> VixError {
    let mut queue = QUEUE.lock();
    while !queue.is_empty() {
        CHANGED.wait(&mut queue);
    }
    drop(queue);
    // SAFETY: passed on.
    unsafe { (ENGINE.wait)(disk) }
}

unsafe extern "C" fn transport_mode(_: VixDiskLibHandle) -> *const c_char {
    if *IS_LATE { c"nbd" } else { c"san" }.as_ptr()
}

/// What the library exports.
pub static TABLE: FnTable = FnTable {
    read,
    read_async: Some(read_async),
    wait,
    get_transport_mode: transport_mode,
    ext_write_zeroes: None,
    ext_trim: None,
    ext_query_extents: None,
    ext_get_file_range: None,
    ext_get_property: None,
    ..ENGINE
};

vixdisklib_sys::export_symbols!(crate::TABLE);
