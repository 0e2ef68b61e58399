//! Zeroes to send, of which there is never more than one copy.

use std::fs::File;
use std::sync::LazyLock;

/// In memory: what the kernel copies from stays in the processor's caches.
pub(super) static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// In a file that is one hole: the kernel hands out the one page of zeroes that it has, and copies nothing. None where
/// there are no such files.
pub(super) fn zero_file() -> Option<&'static File> {
    static FILE: LazyLock<Option<File>> = LazyLock::new(hole);
    FILE.as_ref()
}

/// Bytes in the file: as many as one reply can have.
const LENGTH: u64 = 1 << 30;

#[cfg(target_os = "linux")]
fn hole() -> Option<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("nbd-zeroes", flags).ok()?);
    file.set_len(LENGTH).ok()?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK).ok()?;
    Some(file)
}

#[cfg(not(target_os = "linux"))]
fn hole() -> Option<File> {
    None
}
