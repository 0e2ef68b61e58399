//! The caller's warning function, for lines of our own.

use std::ffi::CString;

use parking_lot::Mutex;
use vixdisklib_sys::{VixDiskLibGenericLogFunc, va_list};

static WARN: Mutex<VixDiskLibGenericLogFunc> = Mutex::new(None);

pub(crate) fn set(warn: VixDiskLibGenericLogFunc) {
    *WARN.lock() = warn;
}

/// Writes a line, on whatever thread this is.
pub(crate) fn line(text: &str) {
    let function = *WARN.lock();
    if let (Some(function), Ok(text)) = (function, CString::new(format!("{text}\n"))) {
        // SAFETY: the caller of `InitEx` vouches for its function until `Exit`, which forgets it.
        unsafe { va_list::call_with_text(function, &text) };
    }
}

/// Ends the process: a caller did what VDDK does not survive.
pub(crate) fn die(what: &str) -> ! {
    eprintln!("vddk-like: {what}");
    std::process::abort()
}
