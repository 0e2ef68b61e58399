//! Open, Close, GetInfo, GetTransportMode and QueryAllocatedBlocks.

use std::cell::Cell;
use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use vixdisklib_sys::{
    VIXDISKLIB_FLAG_OPEN_UNBUFFERED, VixDiskLibBlockList, VixDiskLibConnection, VixDiskLibHandle,
    VixDiskLibInfo, VixDiskLibSectorType, VixError,
};

use super::{ENGINE, engine};
use crate::check::{Scope, Use};
use crate::gate::checked;
use crate::loan::Kind;
use crate::params::text;
use crate::rule::Rule;
use crate::state::Disk;

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn open(
    connection: VixDiskLibConnection,
    path: *const c_char,
    flags: u32,
    handle: *mut VixDiskLibHandle,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(path) };
    let opened = Cell::new((ptr::null_mut(), None));
    checked(
        "_Open",
        Scope::Initialised,
        format_args!("{connection:p}, {name:?}, {flags:#x}, .."),
        |check| {
            check.on_init_thread(Rule::OpenThread);
            check.opens_or_closes();
            check.pointer("the place for the handle", handle);
            if check.connection(connection.addr()) {
                check.path_on(connection.addr(), "the path", name.as_deref());
            }
        },
        |_| {
            // SAFETY: the caller's contract, passed on.
            let answer = unsafe { (ENGINE.open)(connection, path, flags, handle) };
            if answer.is_ok() && !handle.is_null() {
                // SAFETY: not null, and the call that worked wrote it.
                let disk = unsafe { *handle };
                opened.set((disk, capacity(disk)));
            }
            answer
        },
        |state, call, _| {
            let (disk, capacity) = opened.get();
            if disk.is_null() {
                return;
            }
            state.disks.insert(
                disk.addr(),
                Disk {
                    call: Arc::clone(call),
                    connection: connection.addr(),
                    path: name.clone(),
                    capacity,
                    unbuffered: flags & VIXDISKLIB_FLAG_OPEN_UNBUFFERED != 0,
                    unsettled: None,
                    attached: None,
                    has_child: None,
                },
            );
        },
    )
}

/// The capacity of a disk in sectors, as the engine says.
fn capacity(disk: VixDiskLibHandle) -> Option<u64> {
    let mut info: *mut VixDiskLibInfo = ptr::null_mut();
    // SAFETY: the disk is open, and nobody else has its handle yet; the output is ours.
    let answer = unsafe { (ENGINE.get_info)(disk, &raw mut info) };
    if !answer.is_ok() || info.is_null() {
        return None;
    }
    // SAFETY: the engine gave it just now, whole.
    let capacity = unsafe { (*info).capacity };
    // SAFETY: it comes from the partner of this call, and is not used any more.
    unsafe { (ENGINE.free_info)(info) };
    Some(capacity)
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn close(disk: VixDiskLibHandle) -> VixError {
    checked(
        "_Close",
        Scope::Initialised,
        format_args!("{disk:p}"),
        |check| {
            check.on_init_thread(Rule::OpenThread);
            check.opens_or_closes();
            check.disk(disk.addr(), Use::Close);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.close)(disk) },
        |state, call, _| state.bury_disk(disk.addr(), call),
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_info(
    disk: VixDiskLibHandle,
    info: *mut *mut VixDiskLibInfo,
) -> VixError {
    checked(
        "_GetInfo",
        Scope::Initialised,
        format_args!("{disk:p}, .."),
        |check| {
            check.disk(disk.addr(), Use::Other);
            check.pointer("the place for the information", info);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.get_info)(disk, info) },
        |state, call, answer| {
            if answer.is_ok() && !info.is_null() {
                // SAFETY: not null, and the call that worked wrote it.
                state.lend(Kind::Info, unsafe { *info }, call);
            }
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_transport_mode(disk: VixDiskLibHandle) -> *const c_char {
    checked(
        "_GetTransportMode",
        Scope::Initialised,
        format_args!("{disk:p}"),
        |check| {
            check.disk(disk.addr(), Use::Other);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.get_transport_mode)(disk) },
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn query_allocated_blocks(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    chunk_size: VixDiskLibSectorType,
    blocks: *mut *mut VixDiskLibBlockList,
) -> VixError {
    checked(
        "_QueryAllocatedBlocks",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {chunk_size}, .."),
        |check| {
            check.on_init_thread(Rule::QueryThread);
            check.pointer("the place for the list", blocks);
            if check.disk(disk.addr(), Use::Blocking) {
                check.chunks(disk.addr(), start, count, chunk_size);
            }
        },
        |_| {
            engine!(query_allocated_blocks(
                disk, start, count, chunk_size, blocks
            ))
        },
        |state, call, answer| {
            if answer.is_ok() && !blocks.is_null() {
                // SAFETY: not null, and the call that worked wrote it.
                state.lend(Kind::Blocks, unsafe { *blocks }, call);
            }
        },
    )
}
