//! Where bytes live: positional, thread-safe access to one file, or to something that stands in for a file.
//!
//! All input and output of the engine goes through [`Storage`], so that a test can hold, fail, reorder or lose any of
//! it. [`FileStorage`] is a file of the operating system, [`MemoryStorage`] a vector of bytes.

mod byte_locks;
mod file;
mod memory;
pub(crate) mod pool;

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;

use disk_units::ByteLen;

pub use file::FileStorage;
pub use memory::MemoryStorage;

/// Positional access to the bytes of one file. All calls may run in parallel.
///
/// Positions and lengths are bytes. A write past the end extends the file; what lies between reads as zeros.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Fills `buf` from `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before `buf` is full; `buf` then holds what there was.
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()>;

    /// Fills several buffers, one after the other, from `position`. Unless overridden, each is read by itself.
    ///
    /// # Errors
    /// As [`read_exact_at`](Storage::read_exact_at), of all buffers together.
    fn read_exact_vectored_at(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        mut position: ByteLen,
    ) -> io::Result<()> {
        for buf in bufs {
            self.read_exact_at(buf, position)?;
            let length = ByteLen::new(u64::try_from(buf.len()).unwrap_or(u64::MAX));
            position = position.checked_add(length).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes all of `buf` at `position`.
    ///
    /// # Errors
    /// What the operating system reports. A part of `buf` may have been written.
    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()>;

    /// The length of the file.
    ///
    /// # Errors
    /// What the operating system reports.
    fn len(&self) -> io::Result<ByteLen>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the operating system reports.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()?.is_zero())
    }

    /// Cuts the file, or extends it by zeros that need take no space.
    ///
    /// # Errors
    /// What the operating system reports.
    fn set_len(&self, len: ByteLen) -> io::Result<()>;

    /// Makes everything written before this call durable, with as much of the file's length as is needed to read it.
    ///
    /// # Errors
    /// What the operating system reports; then nothing is known of earlier writes.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the range read as zeros and gives its space back. The length of the file stays.
    ///
    /// # Errors
    /// `Unsupported` where that cannot be done; nothing has changed then.
    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()>;

    /// Makes the range read as zeros, quickly, and keeps or gets space for it. The length of the file stays.
    ///
    /// # Errors
    /// `Unsupported` where that cannot be done; nothing has changed then.
    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()>;

    /// Gets space for the range, which may lie behind the end of the file; that is then the end of the range. What is
    /// there stays as it is, the rest reads as zeros.
    ///
    /// # Errors
    /// `Unsupported` where that cannot be done, which is the default; nothing has changed then.
    fn allocate(&self, _range: Range<ByteLen>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether [`Storage::punch_hole`] works here; found out without changing anything.
    ///
    /// The exception to calls in parallel: the question may be put behind the end of the file, so the file must not
    /// grow meanwhile.
    fn can_punch_holes(&self) -> bool;

    /// The first run at or behind `position` that may hold data; `None` if only holes follow.
    ///
    /// What lies outside such runs reads as zeros. Where the operating system cannot tell, all of the file is data.
    ///
    /// # Errors
    /// What the operating system reports.
    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>>;

    /// Whether the file occupies less space than its length.
    ///
    /// # Errors
    /// What the operating system reports.
    fn has_holes(&self) -> io::Result<bool>;

    /// The file itself, on a descriptor of its own, for whoever wants to send what is in it without reading it.
    ///
    /// # Errors
    /// `Unsupported`, as by default, where there is no file; or what the operating system reports.
    fn share(&self) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes the advisory lock that keeps everybody else out, until the storage is dropped; `false` if another storage has it.
    ///
    /// # Errors
    /// What the operating system reports; `Unsupported` where there are no such locks.
    fn try_lock(&self) -> io::Result<bool>;

    /// Takes the advisory lock that keeps writers out, until the storage is dropped; `false` if one has it.
    ///
    /// # Errors
    /// What the operating system reports; `Unsupported`, as by default, where there are no such locks.
    fn try_lock_shared(&self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Writes zeros over the range, the slow way that works everywhere.
pub(crate) fn write_zeros(storage: &dyn Storage, range: Range<ByteLen>) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut position = range.start.get();
    while position < range.end.get() {
        let rest = range.end.get().saturating_sub(position);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(ZEROS.len());
        storage.write_all_at(ZEROS.split_at(length).0, ByteLen::new(position))?;
        position = position.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}
