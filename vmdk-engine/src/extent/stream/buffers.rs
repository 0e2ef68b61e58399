//! Buffers for inflated grains, used again and again: new ones would have to be cleared each time.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

/// A run of bytes that returns to its pool when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Buffers>,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock();
        if free.len() < self.pool.most {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Unused buffers.
#[derive(Debug)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
    most: usize,
}

impl Buffers {
    /// Keeps at most so many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            most,
        })
    }

    /// A buffer of `length` bytes, whose contents are whatever was in it before.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let used = self.free.lock().pop();
        let mut bytes = used.unwrap_or_default();
        bytes.resize(length, 0);
        Buffer {
            bytes,
            pool: Arc::clone(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_few_are_kept() {
        let pool = Buffers::new(2);
        let mut first = pool.take(65536);
        first.fill(7);
        let address = first.as_ptr();
        drop(first);
        let second = pool.take(65536);
        assert_eq!(second.as_ptr(), address);
        assert_eq!((second.len(), second[65535]), (65536, 7));
        let others: Vec<_> = (0..5).map(|_| pool.take(65536)).collect();
        drop((second, others));
        assert_eq!(pool.free.lock().len(), 2);
        assert_eq!(pool.take(512).len(), 512);
        assert_eq!(pool.take(131_072).len(), 131_072);
    }
}
