//! C pointers into Rust references, checked for null. The contract that makes each of them valid is in the docs of
//! [`abi`](super).

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::path::PathBuf;

use disk_units::SectorRange;
use vixdisklib_sys::VixError;

use crate::error::Failure;

/// Where the caller wants a result.
///
/// # Safety
/// `pointer` is null, or may be written to as a `T` for as long as `'a`.
pub(super) unsafe fn output<'a, T>(
    pointer: *mut T,
    name: &str,
) -> Result<&'a mut MaybeUninit<T>, Failure> {
    // SAFETY: the caller vouches for a writable `T` if not null, and `MaybeUninit` asks for no initial value.
    unsafe { optional_output(pointer) }.ok_or_else(|| null(name))
}

/// Where the caller wants a result, if it wants one.
///
/// # Safety
/// As for [`output`].
pub(super) unsafe fn optional_output<'a, T>(pointer: *mut T) -> Option<&'a mut MaybeUninit<T>> {
    // SAFETY: the caller vouches for a writable `T` if not null, and `MaybeUninit` asks for no initial value.
    unsafe { pointer.cast::<MaybeUninit<T>>().as_mut() }
}

/// A string that must be there.
///
/// # Safety
/// `pointer` is null, or points to a NUL-terminated string that nobody changes for as long as `'a`.
pub(super) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a CStr, Failure> {
    // SAFETY: the same promise is passed on.
    unsafe { optional_text(pointer) }.ok_or_else(|| null(name))
}

/// A string, or null.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional_text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller vouches for a string that ends.
    Some(unsafe { CStr::from_ptr(pointer) })
}

/// The buffer that a read fills.
///
/// # Safety
/// `pointer` is null, or the caller's own memory for as long as `'a`, as long as `range`.
pub(super) unsafe fn buffer_mut<'a>(
    pointer: *mut u8,
    range: SectorRange,
    name: &str,
) -> Result<&'a mut [u8], Failure> {
    let length = buffer_length(pointer, range, name)?;
    // SAFETY: not null, the caller vouches for the length and for being the only user, and `buffer_length` has checked
    // that it fits an `isize`. The memory comes from outside the language, so its bytes have values, whatever those.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// The buffer that a write takes its data from.
///
/// # Safety
/// `pointer` is null, or readable and unchanged for as long as `'a`, as long as `range`.
pub(super) unsafe fn buffer<'a>(
    pointer: *const u8,
    range: SectorRange,
    name: &str,
) -> Result<&'a [u8], Failure> {
    let length = buffer_length(pointer, range, name)?;
    // SAFETY: not null, the caller vouches for the length and that nobody writes meanwhile, and `buffer_length` has
    // checked that it fits an `isize`.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// The length in bytes of a buffer for `range`, if the pointer is not null and such a buffer can exist.
pub(super) fn buffer_length(
    pointer: *const u8,
    range: SectorRange,
    name: &str,
) -> Result<usize, Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    range
        .bytes()
        .and_then(|bytes| isize::try_from(bytes.get()).ok())
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| {
            Failure::new(
                VixError::INVALID_ARG,
                format!("{} sectors do not fit into memory", range.count()),
            )
        })
}

/// The failure of a call that got null where it needs something.
pub(super) fn null(name: &str) -> Failure {
    Failure::new(VixError::INVALID_ARG, format!("{name} is null"))
}

/// A string that must be there, in UTF-8.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn utf8<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the same promise is passed on.
    let text = unsafe { text(pointer, name) }?;
    text.to_str().map_err(|error| {
        Failure::new(
            VixError::INVALID_UTF8_STRING,
            format!("{name} {text:?} is not UTF-8: {error}"),
        )
    })
}

/// A string in UTF-8, or null.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional_utf8<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise is passed on.
    unsafe { utf8(pointer, name) }.map(Some)
}

/// The path in a string that must be there.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn path_text(pointer: *const c_char, name: &str) -> Result<PathBuf, Failure> {
    // SAFETY: the same promise is passed on.
    path(unsafe { text(pointer, name) }?)
}

/// The path in a string, or null.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional_path(pointer: *const c_char) -> Result<Option<PathBuf>, Failure> {
    // SAFETY: the same promise is passed on.
    unsafe { optional_text(pointer) }.map(path).transpose()
}

/// The path that a string names. Relative ones are taken from the working directory, where VDDK wants absolute ones.
#[cfg(unix)]
fn path(text: &CStr) -> Result<PathBuf, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    non_empty(PathBuf::from(std::ffi::OsStr::from_bytes(text.to_bytes())))
}

/// The path that a string names, which must be UTF-8. Relative ones are taken from the working directory, where VDDK
/// wants absolute ones.
#[cfg(not(unix))]
fn path(text: &CStr) -> Result<PathBuf, Failure> {
    let text = text.to_str().map_err(|error| {
        Failure::new(
            VixError::INVALID_UTF8_STRING,
            format!("the path {text:?} is not UTF-8: {error}"),
        )
    })?;
    non_empty(PathBuf::from(text))
}

fn non_empty(path: PathBuf) -> Result<PathBuf, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::new(VixError::INVALID_ARG, "the path is empty"));
    }
    Ok(path)
}
