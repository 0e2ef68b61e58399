//! Page-aligned buffers that a connection uses again and again.
//!
//! Large blocks from the allocator are mapped and unmapped each time, and lie 16 bytes behind a page boundary,
//! where copies from and to files are several times slower on some processors (measured on AMD Zen 3).

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::quota::Quota;

const PAGE: usize = 4096;

/// Unused buffers that one connection keeps, in bytes.
const KEEP: usize = 16 << 20;

/// A run of bytes that begins at a page boundary; it returns to its pool when dropped.
pub(super) struct Buffer {
    /// One page longer than the capacity, so that an aligned run fits in.
    bytes: Box<[u8]>,
    skip: usize,
    length: usize,
    pool: Arc<Pool>,
}

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.skip..self.skip + self.length]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.skip..self.skip + self.length]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Buffer")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

/// The unused buffers of one connection.
#[derive(Debug)]
pub(super) struct Pool {
    free: Mutex<Free>,
    /// What all connections of a server may keep in unused buffers.
    idle: Arc<Quota>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Pool {
    pub(super) fn new(idle: &Arc<Quota>) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            idle: Arc::clone(idle),
        })
    }

    /// A buffer of `length` bytes, whose contents are whatever the connection had in it before.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        // Sizes are rounded to powers of two, so that buffers for similar requests replace each other.
        let capacity = length.next_power_of_two().max(PAGE) + PAGE;
        let bytes = self
            .reuse(capacity)
            .unwrap_or_else(|| vec![0; capacity].into_boxed_slice());
        let skip = bytes.as_ptr().align_offset(PAGE);
        Buffer {
            bytes,
            skip,
            length,
            pool: Arc::clone(self),
        }
    }

    fn reuse(&self, capacity: usize) -> Option<Box<[u8]>> {
        let mut free = self.free.lock();
        let index = free
            .buffers
            .iter()
            .rposition(|buffer| buffer.len() == capacity)?;
        free.bytes -= capacity;
        self.idle.give_back(capacity);
        Some(free.buffers.swap_remove(index))
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut free = self.free.lock();
        if free.bytes + bytes.len() <= KEEP && self.idle.take(bytes.len()) {
            free.bytes += bytes.len();
            free.buffers.push(bytes);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.idle.give_back(self.free.get_mut().bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_used_again() {
        let pool = Pool::new(&Arc::new(Quota::new(1 << 30)));
        let mut first = pool.take(5000);
        assert_eq!(first.as_slice().len(), 5000);
        assert_eq!(first.as_slice().as_ptr().align_offset(PAGE), 0);
        let address = first.as_slice().as_ptr();
        first.as_mut_slice().fill(7);
        drop(first);
        let second = pool.take(8192);
        assert_eq!(second.as_slice().as_ptr(), address);
        let third = pool.take(1);
        assert_ne!(third.as_slice().as_ptr(), address);
    }

    #[test]
    fn idle_memory_is_bounded() {
        let pool = Pool::new(&Arc::new(Quota::new(1 << 30)));
        let buffers: Vec<_> = (0..40).map(|_| pool.take(1 << 20)).collect();
        drop(buffers);
        assert!(pool.free.lock().bytes <= KEEP);
        drop(pool.take(32 << 20));
        assert!(pool.free.lock().bytes <= KEEP);
    }
    #[test]
    fn idle_memory_of_all_is_bounded() {
        let idle = Arc::new(Quota::new(10 << 20));
        let pools = [Pool::new(&idle), Pool::new(&idle)];
        for pool in &pools {
            drop((0..8).map(|_| pool.take(1 << 20)).collect::<Vec<_>>());
        }
        let kept = pools.iter().map(|pool| pool.free.lock().bytes);
        assert!(kept.sum::<usize>() <= 10 << 20);
        // What is in use again makes room for others, and so does the end of a connection.
        let [first, second] = pools;
        drop(first);
        drop((0..8).map(|_| second.take(1 << 20)).collect::<Vec<_>>());
        assert!(second.free.lock().bytes > 8 << 20);
        drop(second);
        assert_eq!(idle.left(), 10 << 20);
    }
}
