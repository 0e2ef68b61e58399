//! The functions that callers give us to call.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use vixdisklib_sys::va_list::call_with_text;
use vixdisklib_sys::{
    VixDiskLibCompletionCB, VixDiskLibGenericLogFunc, VixDiskLibProgressFunc, VixError,
};

use super::pointer::null;
use crate::error::Failure;
use crate::log::Sink;

/// A buffer that a caller leaves to us until we call back, to be filled.
#[derive(Debug)]
pub(super) struct ReadBuffer(*mut [u8]);

// SAFETY: by the contract of the asynchronous calls (Virtual Disk Programming Guide, asynchronous I/O) a buffer belongs
// to the library from the submission to the callback, on whichever thread that is.
unsafe impl Send for ReadBuffer {}

impl ReadBuffer {
    /// # Safety
    /// `buffer` is not null, and nobody but the value made here uses its `length` bytes, which fit an `isize`, while that
    /// lives.
    pub(super) unsafe fn new(buffer: *mut u8, length: usize) -> Self {
        Self(ptr::slice_from_raw_parts_mut(buffer, length))
    }
}

impl AsMut<[u8]> for ReadBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the promise made to `new`, and the borrow of the only value that has the buffer. The memory comes from
        // outside the language, so its bytes have values, whatever those.
        unsafe { &mut *self.0 }
    }
}

/// A buffer that a caller leaves to us until we call back, to be written.
#[derive(Debug)]
pub(super) struct WriteBuffer(*const [u8]);

// SAFETY: as for `ReadBuffer`.
unsafe impl Send for WriteBuffer {}

impl WriteBuffer {
    /// # Safety
    /// `buffer` is not null, and nobody changes its `length` bytes, which fit an `isize`, while the value made here lives.
    pub(super) unsafe fn new(buffer: *const u8, length: usize) -> Self {
        Self(ptr::slice_from_raw_parts(buffer, length))
    }
}

impl AsRef<[u8]> for WriteBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the promise made to `new`.
        unsafe { &*self.0 }
    }
}

/// The callback of one accepted request, and what its owner wants to hear along.
#[derive(Debug)]
pub(super) struct Completion {
    callback: unsafe extern "C" fn(*mut c_void, VixError),
    data: *mut c_void,
}

// SAFETY: the contract of the asynchronous calls lets the callback come from any thread of the library, with the data
// pointer, which we only hand back.
unsafe impl Send for Completion {}

impl Completion {
    pub(super) fn new(
        callback: VixDiskLibCompletionCB,
        data: *mut c_void,
    ) -> Result<Self, Failure> {
        Ok(Self {
            callback: callback.ok_or_else(|| null("callback"))?,
            data,
        })
    }

    /// Tells the owner. Consumes the completion, so that it cannot happen twice.
    pub(super) fn call(self, code: VixError) {
        // SAFETY: the contract of `abi`: the function may be called once from any thread after the request was
        // accepted, with the data that came with it.
        unsafe { (self.callback)(self.data, code) }
    }
}

/// A progress function of the caller as a listener; null hears nothing. What the function returns does not matter: an
/// operation cannot be cancelled.
///
/// # Safety
/// `function` is null, or may be called with `data` on this thread for as long as the listener lives.
pub(super) unsafe fn listener(
    function: VixDiskLibProgressFunc,
    data: *mut c_void,
) -> impl FnMut(u8) {
    move |percent| {
        if let Some(function) = function {
            // SAFETY: the promise made to `listener`; this closure stays on the thread of the call, as the pointer does
            // not let it leave.
            let _ = unsafe { function(data, c_int::from(percent)) };
        }
    }
}

/// A log function of the caller as a place for lines; `None` for null.
///
/// A line goes out as the format `"%s"` with one argument, which ends in the newline that VDDK's lines have.
///
/// # Safety
/// `function` is null, or may be called from any thread until `Exit` has returned.
pub(super) unsafe fn sink(function: VixDiskLibGenericLogFunc) -> Option<Sink> {
    let function = function?;
    Some(Arc::new(move |line: &str| {
        let line = c_line(line);
        // SAFETY: the promise made to `sink`. Lines are written during calls and requests only; `Exit` ends the
        // requests, and calls on other threads must have ended before it (Virtual Disk Programming Guide).
        unsafe { call_with_text(function, &line) }
    }))
}

/// A line as C text; a NUL inside would end it early.
fn c_line(line: &str) -> CString {
    let mut bytes: Vec<u8> = line.bytes().filter(|byte| *byte != 0).collect();
    bytes.push(b'\n');
    CString::new(bytes).expect("every NUL was left out")
}
