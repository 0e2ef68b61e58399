//! Init, InitEx, Exit, ListTransportModes and the error texts.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use vixdisklib_sys::{VixDiskLibGenericLogFunc, VixError};

use super::boundary::{boundary, call};
use super::callback::sink;
use super::pointer;
use crate::lent::Lent;
use crate::library::{self, ApiVersion};
use crate::log::{Level, Log};

/// What there is to reach a disk with, in the order of `ListTransportModes`.
const TRANSPORT_MODES: &CStr = c"file:nbdssl:nbd";

/// `VixDiskLib_InitEx`. The directory of libraries has no effect: there are none to look for. An empty name of
/// a configuration file is as good as null.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn init_ex<const MAJOR: u32>(
    major: u32,
    minor: u32,
    log: VixDiskLibGenericLogFunc,
    warn: VixDiskLibGenericLogFunc,
    _panic: VixDiskLibGenericLogFunc,
    _lib_dir: *const c_char,
    config_file: *const c_char,
) -> VixError {
    call("VixDiskLib_InitEx", || {
        let log = Log {
            // SAFETY: the contract of `abi`, for a callback.
            note: unsafe { sink(log) },
            // SAFETY: the contract of `abi`, for a callback.
            warn: unsafe { sink(warn) },
            level: Level::default(),
        };
        // SAFETY: the contract of `abi`, for a string.
        let config_file = match unsafe { pointer::optional_text(config_file) } {
            Some(name) if !name.is_empty() => {
                // SAFETY: the contract of `abi`, for a string.
                Some(unsafe { pointer::path_text(config_file, "configFile") }?)
            }
            _ => None,
        };
        library::init(MAJOR, ApiVersion(major, minor), log, config_file.as_deref())
    })
}

/// `VixDiskLib_Init`: `InitEx` without a configuration file.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn init<const MAJOR: u32>(
    major: u32,
    minor: u32,
    log: VixDiskLibGenericLogFunc,
    warn: VixDiskLibGenericLogFunc,
    panic: VixDiskLibGenericLogFunc,
    lib_dir: *const c_char,
) -> VixError {
    // SAFETY: the same contract is passed on.
    unsafe { init_ex::<MAJOR>(major, minor, log, warn, panic, lib_dir, ptr::null()) }
}

/// `VixDiskLib_Exit`. One call too many does nothing.
///
/// # Safety
/// None.
pub(crate) unsafe extern "C" fn exit() {
    boundary("VixDiskLib_Exit", (), library::exit);
}

/// `VixDiskLib_ListTransportModes`. Works before `InitEx`.
///
/// # Safety
/// None.
pub(crate) unsafe extern "C" fn list_transport_modes() -> *const c_char {
    boundary("VixDiskLib_ListTransportModes", ptr::null(), || {
        TRANSPORT_MODES.as_ptr()
    })
}

/// The error texts that callers hold.
static TEXTS: Lent<Vec<u8>> = Lent::new();

/// `VixDiskLib_GetErrorText`, in English whatever the locale. Works before `InitEx`.
///
/// # Safety
/// None: `locale` is not looked at.
pub(crate) unsafe extern "C" fn get_error_text(
    error: VixError,
    _locale: *const c_char,
) -> *mut c_char {
    boundary("VixDiskLib_GetErrorText", ptr::null_mut(), || {
        let mut text = CString::new(error_text(error))
            .expect("our texts hold no NUL")
            .into_bytes_with_nul();
        TEXTS.lend(text.as_mut_ptr(), text).cast()
    })
}

/// `VixDiskLib_FreeErrorText`. Null, and what is not on loan, is left alone.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_error_text(text: *mut c_char) {
    boundary("VixDiskLib_FreeErrorText", (), || {
        drop(TEXTS.take_back(text))
    });
}

/// The meaning of an error; the number with it where the code alone does not tell all.
fn error_text(error: VixError) -> String {
    match error.meaning() {
        Some(meaning) if error == error.without_detail() => meaning.to_owned(),
        Some(meaning) => format!("{meaning} ({:#x})", error.0),
        None => format!("unknown error ({:#x})", error.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_text() {
        assert_eq!(error_text(VixError::FILE_NOT_FOUND), "file not found");
        assert_eq!(
            error_text(VixError(0x7_0000_0004)),
            "file not found (0x700000004)"
        );
        assert_eq!(error_text(VixError(0xFFFE)), "unknown error (0xfffe)");
        assert_eq!(
            error_text(VixError(u64::MAX)),
            "unknown error (0xffffffffffffffff)"
        );
    }

    #[test]
    fn a_text_may_be_changed_by_its_reader_and_freed_once() {
        // SAFETY: needs nothing.
        let text = unsafe { get_error_text(VixError::FAIL, ptr::null()) };
        // SAFETY: the text has at least one byte, and is ours until it is freed.
        unsafe { text.write(0) };
        for _ in 0..2 {
            // SAFETY: on loan the first time, unknown the second, and not used in between.
            unsafe { free_error_text(text) };
        }
        // SAFETY: null is only looked up.
        unsafe { free_error_text(ptr::null_mut()) };
    }
}
