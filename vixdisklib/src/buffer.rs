//! Memory that any transport can read into.

use std::fmt;
use std::ops::{Deref, DerefMut};

use disk_units::{ByteLen, SectorCount};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes};

const ALIGNMENT: usize = 4096;

#[derive(FromBytes, Immutable, IntoBytes)]
#[repr(C, align(4096))]
struct Page([u8; ALIGNMENT]);

/// A zeroed buffer of whole sectors whose address is a multiple of 4096.
///
/// The HotAdd and SAN transports of VDDK want buffers aligned to the disk's sector size; 4096 satisfies all
/// (Virtual Disk Programming Guide). It dereferences to `[u8]`.
///
/// ```
/// use vixdisklib::{AlignedBuf, SectorCount};
///
/// let buffer = AlignedBuf::new(SectorCount::new(3));
/// assert_eq!(buffer.len(), 1536);
/// assert_eq!(buffer.as_ptr().addr() % 4096, 0);
/// ```
pub struct AlignedBuf {
    pages: Box<[Page]>,
    length: usize,
}

impl AlignedBuf {
    /// A buffer of `count` sectors, all zero.
    ///
    /// # Panics
    /// If the memory cannot be had, as with any other allocation.
    #[must_use]
    pub fn new(count: SectorCount) -> Self {
        let length = count
            .bytes()
            .map(ByteLen::get)
            .and_then(|bytes| usize::try_from(bytes).ok());
        let length = length.expect("a buffer fits into the address space");
        let pages = <[Page]>::new_box_zeroed_with_elems(length.div_ceil(ALIGNMENT))
            .expect("memory for a buffer");
        Self { pages, length }
    }

    /// The length in sectors.
    #[must_use]
    pub fn sectors(&self) -> SectorCount {
        ByteLen::new(self.length as u64).sectors_rounded_up()
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.as_bytes()[..self.length]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_bytes()[..self.length]
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AlignedBuf({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_aligned_and_zero() {
        for sectors in [0, 1, 7, 8, 9, 4096] {
            let buffer = AlignedBuf::new(SectorCount::new(sectors));
            assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(buffer.sectors(), SectorCount::new(sectors));
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
    }
}
