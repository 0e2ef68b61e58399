//! Read, Write, their asynchronous forms, Wait and Flush.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use vixdisklib_sys::{VixDiskLibCompletionCB, VixDiskLibHandle, VixDiskLibSectorType, VixError};

use super::{ENGINE, engine};
use crate::call::Call;
use crate::callback::{Completion, on_complete};
use crate::check::{Check, Scope, Use};
use crate::gate::{checked, guard};
use crate::rule::Rule;
use crate::state::{self, Request};

/// The rules for every request, and where its buffer lies.
fn request(
    check: &mut Check<'_>,
    purpose: Use,
    disk: VixDiskLibHandle,
    (start, count): (u64, u64),
    buffer: *const u8,
    fills: bool,
) -> Range<usize> {
    if check.disk(disk.addr(), purpose) {
        check.sectors(disk.addr(), start, count);
        if !fills {
            check.no_child(disk.addr());
        }
    }
    check.buffer(disk.addr(), buffer, count, fills)
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn read(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *mut u8,
) -> VixError {
    checked(
        "_Read",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {buffer:p}"),
        |check| {
            request(check, Use::Blocking, disk, (start, count), buffer, true);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.read)(disk, start, count, buffer) },
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn write(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *const u8,
) -> VixError {
    checked(
        "_Write",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {buffer:p}"),
        |check| {
            request(check, Use::Blocking, disk, (start, count), buffer, false);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.write)(disk, start, count, buffer) },
        |_, _, _| {},
    )
}

/// A submission in either direction. `pass_on` hands the engine the callback and the data that it is given.
fn submit(
    name: &'static str,
    disk: VixDiskLibHandle,
    (start, count): (u64, u64),
    (buffer, fills): (*const u8, bool),
    (callback, data): (VixDiskLibCompletionCB, *mut c_void),
    pass_on: impl FnOnce(VixDiskLibCompletionCB, *mut c_void) -> VixError,
) -> VixError {
    let place = RefCell::new(0..0);
    checked(
        name,
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {buffer:p}, .., {data:p}"),
        |check| {
            let range = request(check, Use::Submit, disk, (start, count), buffer, fills);
            place.replace(range);
            if callback.is_none() {
                check.broken(Rule::AsyncNullCallback, "it is null", None);
            }
        },
        |call| {
            let Some(callback) = callback else {
                return pass_on(None, data);
            };
            let buffer = place.take();
            // Before it is passed on: it may be over before that returns.
            guard((), || register(call, disk, buffer, fills));
            let token = Completion::lend(callback, data, call.number);
            let answer = pass_on(Some(on_complete), token);
            if answer.without_detail() != VixError::ASYNC {
                // SAFETY: not accepted, so the engine neither has called back nor will.
                unsafe { Completion::take_back(token) };
                guard((), || {
                    state::lock().requests.remove(&call.number);
                });
            }
            answer
        },
        |state, call, answer| {
            if answer.without_detail() == VixError::ASYNC
                && let Some(disk) = state.disks.get_mut(&disk.addr())
            {
                disk.unsettled = Some(Arc::clone(call));
            }
        },
    )
}

fn register(call: &Arc<Call>, disk: VixDiskLibHandle, buffer: Range<usize>, fills: bool) {
    let request = Request {
        call: Arc::clone(call),
        disk: disk.addr(),
        buffer,
        fills,
    };
    state::lock().requests.insert(call.number, request);
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn read_async(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *mut u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let pass_on = |callback, data| engine!(read_async(disk, start, count, buffer, callback, data));
    let memory = (buffer.cast_const(), true);
    submit(
        "_ReadAsync",
        disk,
        (start, count),
        memory,
        (callback, data),
        pass_on,
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn write_async(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *const u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let pass_on = |callback, data| engine!(write_async(disk, start, count, buffer, callback, data));
    let memory = (buffer, false);
    submit(
        "_WriteAsync",
        disk,
        (start, count),
        memory,
        (callback, data),
        pass_on,
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn wait(disk: VixDiskLibHandle) -> VixError {
    checked(
        "_Wait",
        Scope::Initialised,
        format_args!("{disk:p}"),
        |check| {
            check.disk(disk.addr(), Use::Other);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.wait)(disk) },
        |state, _, answer| {
            if answer.is_ok()
                && let Some(disk) = state.disks.get_mut(&disk.addr())
            {
                disk.unsettled = None;
            }
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn flush(disk: VixDiskLibHandle) -> VixError {
    checked(
        "_Flush",
        Scope::Initialised,
        format_args!("{disk:p}"),
        |check| {
            check.disk(disk.addr(), Use::Blocking);
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.flush)(disk) },
        |_, _, _| {},
    )
}
