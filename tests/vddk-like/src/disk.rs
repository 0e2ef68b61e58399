//! Calls on an open disk: one at a time, and blocking ones not while requests are in flight.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};

use parking_lot::{Condvar, Mutex};
use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::{VixDiskLibBlockList, VixDiskLibHandle, VixDiskLibSectorType, VixError};

use crate::release::Release;
use crate::{aio, log};

const TRANSPORT_MODE: &CStr = c"nbdssl";

/// What happens on a disk.
#[derive(Debug, Default)]
struct Traffic {
    in_call: bool,
    in_flight: usize,
}

static DISKS: Mutex<Option<HashMap<usize, Traffic>>> = Mutex::new(None);
static IDLE: Condvar = Condvar::new();

fn traffic<R>(disk: usize, look: impl FnOnce(&mut Traffic) -> R) -> R {
    let mut disks = DISKS.lock();
    look(disks.get_or_insert_default().entry(disk).or_default())
}

/// The right to a call on a disk, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Turn(usize);

impl Turn {
    pub(crate) fn take(disk: VixDiskLibHandle) -> Self {
        let taken = traffic(disk.addr(), |disk| {
            std::mem::replace(&mut disk.in_call, true)
        });
        if taken {
            log::die("two calls at once on one handle");
        }
        Self(disk.addr())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        traffic(self.0, |disk| disk.in_call = false);
    }
}

/// A request begins.
pub(crate) fn begin_request(disk: usize) {
    traffic(disk, |disk| disk.in_flight += 1);
}

/// The callback of a request has returned.
pub(crate) fn end_request(disk: usize) {
    traffic(disk, |disk| disk.in_flight -= 1);
    IDLE.notify_all();
}

/// Runs a blocking call, or refuses it while requests are in flight.
fn blocking(disk: VixDiskLibHandle, call: impl FnOnce() -> VixError) -> VixError {
    let _turn = Turn::take(disk);
    let release = Release::current();
    if traffic(disk.addr(), |disk| disk.in_flight) > 0 {
        return release.code(VixError::ASYNC_MIXEDMODE_UNSUPPORTED);
    }
    release.code(call())
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn close(disk: VixDiskLibHandle) -> VixError {
    let turn = Turn::take(disk);
    if traffic(disk.addr(), |disk| disk.in_flight) > 0 {
        log::die("Close with requests in flight");
    }
    // SAFETY: passed on.
    let answer = unsafe { (ENGINE.close)(disk) };
    drop(turn);
    DISKS.lock().get_or_insert_default().remove(&disk.addr());
    Release::current().code(answer)
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn get_transport_mode(disk: VixDiskLibHandle) -> *const c_char {
    let _turn = Turn::take(disk);
    TRANSPORT_MODE.as_ptr()
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn read(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *mut u8,
) -> VixError {
    // SAFETY: passed on.
    blocking(disk, || unsafe {
        (ENGINE.read)(disk, start, count, buffer)
    })
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn write(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *const u8,
) -> VixError {
    // SAFETY: passed on.
    blocking(disk, || unsafe {
        (ENGINE.write)(disk, start, count, buffer)
    })
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn flush(disk: VixDiskLibHandle) -> VixError {
    // SAFETY: passed on.
    blocking(disk, || unsafe { (ENGINE.flush)(disk) })
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn wait(disk: VixDiskLibHandle) -> VixError {
    let _turn = Turn::take(disk);
    aio::push();
    let mut disks = DISKS.lock();
    IDLE.wait_while(&mut disks, |disks| {
        let disks = disks.get_or_insert_default();
        disks
            .get(&disk.addr())
            .is_some_and(|disk| disk.in_flight > 0)
    });
    VixError::OK
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn query_allocated_blocks(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    chunk_size: VixDiskLibSectorType,
    blocks: *mut *mut VixDiskLibBlockList,
) -> VixError {
    let Some(query) = ENGINE.query_allocated_blocks else {
        return VixError::NOT_SUPPORTED;
    };
    // SAFETY: passed on.
    blocking(disk, || unsafe {
        query(disk, start, count, chunk_size, blocks)
    })
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn read_metadata(
    disk: VixDiskLibHandle,
    key: *const c_char,
    buffer: *mut c_char,
    length: usize,
    required: *mut usize,
) -> VixError {
    let Some(read) = ENGINE.read_metadata else {
        return VixError::NOT_SUPPORTED;
    };
    let _turn = Turn::take(disk);
    // SAFETY: passed on.
    sized(length, unsafe { read(disk, key, buffer, length, required) })
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn get_metadata_keys(
    disk: VixDiskLibHandle,
    keys: *mut c_char,
    length: usize,
    required: *mut usize,
) -> VixError {
    let Some(list) = ENGINE.get_metadata_keys else {
        return VixError::NOT_SUPPORTED;
    };
    let _turn = Turn::take(disk);
    // SAFETY: passed on.
    sized(length, unsafe { list(disk, keys, length, required) })
}

/// What a question for the length is answered with.
fn sized(length: usize, answer: VixError) -> VixError {
    let release = Release::current();
    if release.sizing_succeeds
        && length == 0
        && answer.without_detail() == VixError::BUFFER_TOOSMALL
    {
        return VixError::OK;
    }
    release.code(answer)
}
