//! Read, Write, their asynchronous forms, Wait and Flush.

use std::ffi::c_void;

use vixdisklib_sys::{VixDiskLibCompletionCB, VixDiskLibHandle, VixDiskLibSectorType, VixError};

use super::boundary::{call, complete, submit};
use super::callback::{Completion, ReadBuffer, WriteBuffer};
use super::disk::handle;
use super::pointer;
use crate::error::Failure;
use crate::library::{Library, current, refuse_in_callback};
use crate::log::Log;
use crate::requests::Finish;

/// `VixDiskLib_Read`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn read(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *mut u8,
) -> VixError {
    call("VixDiskLib_Read", || {
        let disk = current()?.disk(handle(disk))?;
        let range = disk.range(start, count)?;
        // SAFETY: the contract of `abi`: the caller's buffer holds the sectors that it asks for.
        let buffer = unsafe { pointer::buffer_mut(buffer, range, "readBuffer") }?;
        disk.read(range, buffer)
    })
}

/// `VixDiskLib_Write`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn write(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    buffer: *const u8,
) -> VixError {
    call("VixDiskLib_Write", || {
        let disk = current()?.disk(handle(disk))?;
        let range = disk.writable_range(start, count)?;
        // SAFETY: the contract of `abi`: the caller's buffer holds the sectors that it wants written.
        let buffer = unsafe { pointer::buffer(buffer, range, "writeBuffer") }?;
        disk.write(range, buffer)
    })
}

/// `VixDiskLib_ReadAsync`. What can be refused is refused here, before `VIX_ASYNC` promises a callback.
///
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
    const NAME: &str = "VixDiskLib_ReadAsync";
    submit(NAME, || {
        let library = current()?;
        let disk = library.disk(handle(disk))?;
        let range = disk.range(start, count)?;
        let length = pointer::buffer_length(buffer, range, "readBuffer")?;
        let finish = Finisher::new(NAME, &library, callback, data)?;
        // SAFETY: the contract of `abi`: the buffer holds the sectors that are asked for, and stays the library's own until
        // the callback, which comes last.
        let buffer = unsafe { ReadBuffer::new(buffer, length) };
        library.submit_read(disk, range, buffer, finish)
    })
}

/// `VixDiskLib_WriteAsync`. What can be refused is refused here, before `VIX_ASYNC` promises a callback.
///
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
    const NAME: &str = "VixDiskLib_WriteAsync";
    submit(NAME, || {
        let library = current()?;
        let disk = library.disk(handle(disk))?;
        let range = disk.writable_range(start, count)?;
        let length = pointer::buffer_length(buffer, range, "writeBuffer")?;
        let finish = Finisher::new(NAME, &library, callback, data)?;
        // SAFETY: the contract of `abi`: the buffer holds the sectors that are written, and nobody changes it until the
        // callback, which comes last.
        let buffer = unsafe { WriteBuffer::new(buffer, length) };
        library.submit_write(disk, range, buffer, finish)
    })
}

/// Tells the owner of a request how it went.
struct Finisher {
    function: &'static str,
    log: Log,
    completion: Completion,
}

impl Finisher {
    fn new(
        function: &'static str,
        library: &Library,
        callback: VixDiskLibCompletionCB,
        data: *mut c_void,
    ) -> Result<Self, Failure> {
        Ok(Self {
            function,
            log: library.log().clone(),
            completion: Completion::new(callback, data)?,
        })
    }
}

impl Finish for Finisher {
    fn finish(self, body: impl FnOnce() -> Result<(), Failure>) {
        let code = complete(self.function, &self.log, body);
        self.completion.call(code);
    }
}

/// `VixDiskLib_Wait`.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn wait(disk: VixDiskLibHandle) -> VixError {
    call("VixDiskLib_Wait", || {
        let disk = current()?.disk(handle(disk))?;
        refuse_in_callback()?;
        disk.wait();
        Ok(())
    })
}

/// `VixDiskLib_Flush`. Waits for the requests accepted before it, so that they are durable too.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn flush(disk: VixDiskLibHandle) -> VixError {
    call("VixDiskLib_Flush", || {
        let disk = current()?.disk(handle(disk))?;
        refuse_in_callback()?;
        disk.flush()
    })
}
