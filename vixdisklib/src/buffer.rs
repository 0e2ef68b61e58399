//! Memory that any transport can read into.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

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

/// A buffer that others write to: only its address is held, so that no reference or `Box` vouches for its contents.
#[derive(Debug)]
pub(crate) struct Lent {
    pages: NonNull<[Page]>,
    length: usize,
}

// SAFETY: it owns its pages, plain bytes, as the `Box` did that they came from.
unsafe impl Send for Lent {}

impl Lent {
    pub(crate) fn new(buf: AlignedBuf) -> Self {
        let pages = NonNull::from(Box::leak(buf.pages));
        Self {
            pages,
            length: buf.length,
        }
    }

    /// The address of the first byte. It may be written through while this is neither given back nor dropped.
    pub(crate) fn base(&self) -> *mut u8 {
        self.pages.as_ptr().cast()
    }

    /// The buffer again; from now on nobody may write through the address.
    pub(crate) fn take_back(self) -> AlignedBuf {
        let lent = ManuallyDrop::new(self);
        // SAFETY: the pages came from `Box::leak` and are owned here alone; they are not freed in `drop` as well.
        let pages = unsafe { Box::from_raw(lent.pages.as_ptr()) };
        AlignedBuf {
            pages,
            length: lent.length,
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: the pages came from `Box::leak` and are owned here alone.
        drop(unsafe { Box::from_raw(self.pages.as_ptr()) });
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

    #[test]
    fn a_lent_buffer_comes_back_with_what_was_written() {
        for sectors in [0, 1, 8, 9] {
            let lent = Lent::new(AlignedBuf::new(SectorCount::new(sectors)));
            if sectors > 0 {
                // SAFETY: the first byte of a buffer that is not empty, and that nobody else refers to.
                unsafe { lent.base().write(7) };
            }
            let buffer = lent.take_back();
            assert_eq!(buffer.sectors(), SectorCount::new(sectors));
            assert_eq!(buffer.first().copied(), (sectors > 0).then_some(7));
        }
        drop(Lent::new(AlignedBuf::new(SectorCount::new(9))));
    }
}
