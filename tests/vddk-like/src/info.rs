//! `GetInfo`, with as many bytes as the release has and not one more, so that a checker of memory sees an over-read.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ptr;

use parking_lot::Mutex;
use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::{VixDiskLibHandle, VixDiskLibInfo, VixError};

use crate::disk::Turn;
use crate::log;
use crate::release::Release;

/// What callers hold, and the engine's structure whose strings it refers to, both by their address.
static LENT: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);

fn layout() -> Layout {
    Layout::from_size_align(Release::current().info_length, 8).expect("a small size")
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn get_info(
    disk: VixDiskLibHandle,
    info: *mut *mut VixDiskLibInfo,
) -> VixError {
    let _turn = Turn::take(disk);
    let mut whole: *mut VixDiskLibInfo = ptr::null_mut();
    // SAFETY: passed on, with an output of ours.
    let answer = unsafe { (ENGINE.get_info)(disk, &raw mut whole) };
    if !answer.is_ok() {
        return Release::current().code(answer);
    }
    // SAFETY: the size is not zero.
    let short = unsafe { alloc(layout()) };
    if short.is_null() {
        return VixError::OUT_OF_MEMORY;
    }
    // SAFETY: the engine's structure is whole, ours is no longer.
    unsafe { ptr::copy_nonoverlapping(whole.cast::<u8>(), short, layout().size()) };
    LENT.lock()
        .get_or_insert_default()
        .insert(short.addr(), whole.expose_provenance());
    // SAFETY: an output, by the contract of the call.
    unsafe { info.write(short.cast()) };
    VixError::OK
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn free_info(info: *mut VixDiskLibInfo) {
    if info.is_null() {
        return;
    }
    let whole = LENT.lock().get_or_insert_default().remove(&info.addr());
    let Some(whole) = whole else {
        log::die("FreeInfo of what GetInfo did not give");
    };
    // SAFETY: the engine gave it in `get_info`, and it is given back once.
    unsafe { (ENGINE.free_info)(ptr::with_exposed_provenance_mut(whole)) };
    // SAFETY: allocated in `get_info` with this layout, and taken off the list.
    unsafe { dealloc(info.cast(), layout()) };
}
