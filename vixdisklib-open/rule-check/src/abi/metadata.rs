//! ReadMetadata, WriteMetadata and GetMetadataKeys.

use std::ffi::c_char;

use vixdisklib_sys::{VixDiskLibHandle, VixError};

use super::engine;
use crate::check::{Check, Scope, Use};
use crate::gate::checked;
use crate::params::text;

/// The sizing protocol: without a buffer there is a place for the size.
fn sized(check: &mut Check<'_>, buffer: *const c_char, length: usize, required: *const usize) {
    if length > 0 {
        check.pointer("the buffer", buffer);
    }
    if buffer.is_null() {
        check.pointer("the place for the required length", required);
    }
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn read_metadata(
    disk: VixDiskLibHandle,
    key: *const c_char,
    buffer: *mut c_char,
    length: usize,
    required: *mut usize,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(key) };
    checked(
        "_ReadMetadata",
        Scope::Initialised,
        format_args!("{disk:p}, {name:?}, {buffer:p}, {length}, .."),
        |check| {
            check.disk(disk.addr(), Use::Other);
            check.pointer("the key", key);
            sized(check, buffer, length, required);
        },
        |_| engine!(read_metadata(disk, key, buffer, length, required)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn write_metadata(
    disk: VixDiskLibHandle,
    key: *const c_char,
    value: *const c_char,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(key) };
    checked(
        "_WriteMetadata",
        Scope::Initialised,
        format_args!("{disk:p}, {name:?}, .."),
        |check| {
            check.disk(disk.addr(), Use::Blocking);
            check.pointer("the key", key);
            check.pointer("the value", value);
        },
        |_| engine!(write_metadata(disk, key, value)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_metadata_keys(
    disk: VixDiskLibHandle,
    keys: *mut c_char,
    length: usize,
    required: *mut usize,
) -> VixError {
    checked(
        "_GetMetadataKeys",
        Scope::Initialised,
        format_args!("{disk:p}, {keys:p}, {length}, .."),
        |check| {
            check.disk(disk.addr(), Use::Other);
            sized(check, keys, length, required);
        },
        |_| engine!(get_metadata_keys(disk, keys, length, required)),
        |_, _, _| {},
    )
}
