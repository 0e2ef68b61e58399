//! A vector of bytes in place of a file.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk_units::ByteLen;
use parking_lot::RwLock;

use super::Storage;

/// Bytes in memory. Clones share them, but each clone takes the lock for itself, as an open file does.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
    locked_here: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: RwLock<Vec<u8>>,
    locked: AtomicBool,
}

impl MemoryStorage {
    /// Storage that holds `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            shared: Arc::new(Shared {
                bytes: RwLock::new(bytes),
                locked: AtomicBool::new(false),
            }),
            locked_here: AtomicBool::new(false),
        }
    }

    /// A copy of all bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.shared.bytes.read().clone()
    }
}

impl Clone for MemoryStorage {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            locked_here: AtomicBool::new(false),
        }
    }
}

impl Drop for MemoryStorage {
    fn drop(&mut self) {
        if *self.locked_here.get_mut() {
            self.shared.locked.store(false, Ordering::Release);
        }
    }
}

fn index(position: ByteLen) -> usize {
    usize::try_from(position.get()).unwrap_or(usize::MAX)
}

impl Storage for MemoryStorage {
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
        let bytes = self.shared.bytes.read();
        let there = bytes.get(index(position)..).unwrap_or_default();
        let length = there.len().min(buf.len());
        let (filled, missing) = buf.split_at_mut(length);
        filled.copy_from_slice(there.split_at(length).0);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
        let start = index(position);
        let end = start
            .checked_add(buf.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.shared.bytes.write();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(target) = bytes.get_mut(start..end) {
            target.copy_from_slice(buf);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<ByteLen> {
        let len = self.shared.bytes.read().len();
        Ok(ByteLen::new(u64::try_from(len).unwrap_or(u64::MAX)))
    }

    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.shared.bytes.write().resize(index(len), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
        let mut bytes = self.shared.bytes.write();
        let end = index(range.end).min(bytes.len());
        if let Some(target) = bytes.get_mut(index(range.start).min(end)..end) {
            target.fill(0);
        }
        Ok(())
    }

    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.punch_hole(range)
    }

    fn can_punch_holes(&self) -> bool {
        true
    }

    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
        let len = self.len()?;
        Ok((position < len).then_some(position..len))
    }

    fn has_holes(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn try_lock(&self) -> io::Result<bool> {
        if self.locked_here.load(Ordering::Acquire) {
            return Ok(true);
        }
        let free = !self.shared.locked.swap(true, Ordering::AcqRel);
        if free {
            self.locked_here.store(true, Ordering::Release);
        }
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_file() {
        let storage = MemoryStorage::default();
        storage
            .write_all_at(b"abc", ByteLen::new(2))
            .expect("write");
        assert_eq!(storage.to_vec(), b"\0\0abc");
        let mut buf = [9; 4];
        let error = storage
            .read_exact_at(&mut buf, ByteLen::new(3))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&buf[..2], b"bc");
        storage
            .punch_hole(ByteLen::new(2)..ByteLen::new(100))
            .expect("punch");
        assert_eq!(storage.to_vec(), [0; 5]);
    }

    #[test]
    fn the_lock_ends_with_its_holder() {
        let one = MemoryStorage::default();
        let two = one.clone();
        assert!(one.try_lock().expect("lock"));
        assert!(one.try_lock().expect("lock"), "it is its own");
        assert!(!two.try_lock().expect("lock"));
        drop(one);
        assert!(two.try_lock().expect("lock"));
    }
}
