//! ReadMetadata, WriteMetadata and GetMetadataKeys.

use std::ffi::c_char;

use vixdisklib_sys::{VixDiskLibHandle, VixError};

use super::boundary::call;
use super::disk::handle;
use super::pointer;
use crate::error::Failure;
use crate::library::current;

/// `VixDiskLib_ReadMetadata`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn read_metadata(
    disk: VixDiskLibHandle,
    key: *const c_char,
    buffer: *mut c_char,
    length: usize,
    required: *mut usize,
) -> VixError {
    call("VixDiskLib_ReadMetadata", || {
        // SAFETY: the contract of `abi`, for a string.
        let key = unsafe { pointer::text(key, "key") }?;
        let disk = current()?.disk(handle(disk))?;
        // A key that is not UTF-8 cannot be in a descriptor, which the engine decodes to UTF-8.
        let value = match key.to_str() {
            Ok(key) => disk.metadata(key)?,
            Err(_) => None,
        };
        let mut value = value
            .ok_or_else(|| {
                Failure::note(
                    VixError::DISK_KEY_NOTFOUND,
                    format!("disk {:?} has no metadata key {key:?}", disk.path()),
                )
            })?
            .into_bytes();
        value.push(0);
        // SAFETY: the contract of `abi`, for a buffer and a pointer to a result.
        unsafe { hand_out(&value, buffer, length, required) }
    })
}

/// `VixDiskLib_WriteMetadata`. What is written is durable on return.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn write_metadata(
    disk: VixDiskLibHandle,
    key: *const c_char,
    value: *const c_char,
) -> VixError {
    call("VixDiskLib_WriteMetadata", || {
        // SAFETY: the contract of `abi`, for a string.
        let key = unsafe { pointer::utf8(key, "key") }?;
        // SAFETY: the contract of `abi`, for a string.
        let value = unsafe { pointer::utf8(value, "val") }?;
        current()?.disk(handle(disk))?.set_metadata(key, value)
    })
}

/// `VixDiskLib_GetMetadataKeys`: each key with its NUL, and one more NUL behind the last.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_metadata_keys(
    disk: VixDiskLibHandle,
    buffer: *mut c_char,
    length: usize,
    required: *mut usize,
) -> VixError {
    call("VixDiskLib_GetMetadataKeys", || {
        let disk = current()?.disk(handle(disk))?;
        let mut keys = Vec::new();
        for key in disk.metadata_keys()? {
            keys.extend_from_slice(key.as_bytes());
            keys.push(0);
        }
        keys.push(0);
        // SAFETY: the contract of `abi`, for a buffer and a pointer to a result.
        unsafe { hand_out(&keys, buffer, length, required) }
    })
}

/// Copies bytes into a buffer that may be too small or absent: then it is left alone, and `VIX_E_BUFFER_TOOSMALL` with
/// the length that is needed makes callers come again. That is how they ask for the length, so it is not logged.
///
/// # Safety
/// `buffer` is null or `length` writable bytes; `required` is null or writable.
unsafe fn hand_out(
    bytes: &[u8],
    buffer: *mut c_char,
    length: usize,
    required: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the promise made to this function.
    if let Some(required) = unsafe { pointer::optional_output(required) } {
        required.write(bytes.len());
    }
    if buffer.is_null() || length < bytes.len() {
        return Err(Failure::silent(VixError::BUFFER_TOOSMALL));
    }
    // SAFETY: `buffer` is not null, has room for all bytes, and is the caller's, so it does not overlap ours.
    unsafe {
        buffer
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
    };
    Ok(())
}
