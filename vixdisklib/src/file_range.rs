//! Where sectors lie in a file as they are (`VixDiskLibExt_GetFileRange`), for whoever sends them without reading them.

use std::fs::File;

use disk_units::{ByteLen, SectorRange};
use vixdisklib_sys::{VixDiskLibExtFileRange, VixDiskLibHandle, VixError};

use crate::api::Api;

/// Bytes that lie together in a file as they are; see [`SharedDisk::file_range`](crate::SharedDisk::file_range).
#[derive(Debug)]
pub struct FileRange {
    /// The file, open for reading on a descriptor of its own. Its position belongs to nobody: read and send from
    /// positions that you name.
    pub file: File,
    /// The position of the first byte in the file.
    pub position: ByteLen,
    /// How many bytes lie there; never zero.
    pub length: ByteLen,
}

/// Asks the library for the front of `range`, which lies inside the disk and is not empty.
pub(crate) fn query(api: &Api, handle: VixDiskLibHandle, range: SectorRange) -> Option<FileRange> {
    let get = api.table.ext_get_file_range?;
    let mut found = VixDiskLibExtFileRange {
        length: 0,
        position: 0,
        fd: -1,
    };
    let (start, count) = (range.start().get(), range.count().get());
    // Called without what explains an error: there is nothing to explain, reading tells what is wrong.
    // SAFETY: the handle is open, and either its calls may run in parallel or the caller has settled it; the output is
    // writable.
    let code = unsafe { get(handle, start, count, &raw mut found) };
    if code != VixError::OK {
        return None;
    }
    let file = adopt(found.fd)?;
    let length = found.length.checked_mul(512).map(ByteLen::new)?;
    (found.length > 0 && found.length <= count).then_some(FileRange {
        file,
        position: ByteLen::new(found.position),
        length,
    })
}

#[cfg(unix)]
fn adopt(fd: std::ffi::c_int) -> Option<File> {
    use std::os::fd::FromRawFd as _;
    if fd < 0 {
        return None;
    }
    // SAFETY: the library said that the call worked, by which it hands over a descriptor that is the caller's to close.
    Some(unsafe { File::from_raw_fd(fd) })
}

/// Only Unix has descriptors that this could be.
#[cfg(not(unix))]
fn adopt(_fd: std::ffi::c_int) -> Option<File> {
    None
}
