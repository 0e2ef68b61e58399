//! One library's function table, and how a call through it becomes a `Result`.

use std::ffi::CStr;
use std::ptr;

use vixdisklib_sys::{FnTable, VixError};

use crate::aio::in_callback;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::log::{Window, redactor};

const NO_TEXT: &str = "the library has no text for this code";

/// A function that not every library has, or the error that says so, before any call.
pub(crate) fn required<F>(operation: Operation, function: Option<F>) -> Result<F> {
    function.ok_or_else(|| {
        let text = "the library has no such call";
        Error::new(ErrorKind::Unsupported, operation, text)
    })
}

/// The error for a library that reports success and gives nothing to go on with.
#[cold]
pub(crate) fn no_handle(operation: Operation) -> Error {
    let text = "the library reports success and gives no handle";
    Error::new(ErrorKind::Other, operation, text)
}

/// A library that is in the process: the embedded engine, or one that was loaded. It is never unloaded.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) table: FnTable,
    /// The major version where it is known; some fields of structs exist only from one on.
    pub(crate) major: Option<u32>,
}

impl Api {
    /// Runs one call of the library and turns its code into a result, with the lines logged meanwhile.
    ///
    /// Call it on the thread that makes the foreign call: the lines of that thread explain the error.
    pub(crate) fn call(
        &self,
        operation: Operation,
        call: impl FnOnce(&FnTable) -> VixError,
    ) -> Result<()> {
        let window = Window::open();
        let code = call(&self.table);
        if code == VixError::OK {
            Ok(())
        } else {
            Err(self.error(operation, code, window))
        }
    }

    #[cold]
    pub(crate) fn error(&self, operation: Operation, code: VixError, window: Window) -> Error {
        let lines = window.collect();
        Error::from_code(operation, code, self.text(code), lines)
    }

    /// The library's text for a code; inside a callback, which must not call the library, our own.
    fn text(&self, code: VixError) -> String {
        if in_callback() {
            return code.meaning().unwrap_or(NO_TEXT).to_owned();
        }
        // SAFETY: the function takes any code, and a null locale is the only one it documents.
        let text = unsafe { (self.table.get_error_text)(code, ptr::null()) };
        if text.is_null() {
            return NO_TEXT.to_owned();
        }
        // SAFETY: not null, so a C string that lives until it is freed below.
        let copy = redactor::readable(unsafe { CStr::from_ptr(text) }.to_bytes());
        // SAFETY: the text came from the partner of this function and is not used again.
        unsafe { (self.table.free_error_text)(text) };
        copy
    }
}
