//! Which parts of a disk hold data.

use std::ops::Range;

use crate::wire::WireError;
use crate::wire::fields::{Builder, Fields};

/// The longest accepted bitmap in bytes: what half a million chunks take, the most of one call of VixDiskLib.
pub const MAX_BITMAP: usize = 64 << 10;

/// Asks which of `count` chunks hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryBlocks {
    /// The open disk.
    pub handle: u64,
    /// Length of a chunk in bytes.
    pub chunk: u64,
    /// Where the first chunk begins, in bytes; a multiple of `chunk`.
    pub start: u64,
    /// How many chunks; at most `8 * MAX_BITMAP`.
    pub count: u64,
}

impl QueryBlocks {
    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u64(self.handle)
            .u64(0)
            .u64(self.chunk)
            .u64(self.start)
            .u64(self.count)
            .u64(0)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("QUERY_ALLOCATED_BLOCKS", payload);
        let handle = fields.u64()?;
        fields.skip(8)?;
        let message = Self {
            handle,
            chunk: fields.u64()?,
            start: fields.u64()?,
            count: fields.u64()?,
        };
        fields.skip(8)?;
        fields.end()?;
        Bitmap::new(message.count)?;
        Ok(message)
    }
}

/// The answer: a bit for each chunk follows, and padding to a multiple of 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitmap {
    count: u64,
}

impl Bitmap {
    /// The answer for `count` chunks.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when its bitmap is beyond [`MAX_BITMAP`].
    pub fn new(count: u64) -> Result<Self, WireError> {
        let bytes = count.div_ceil(8);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= MAX_BITMAP => Ok(Self { count }),
            _ => Err(WireError::TooLong {
                what: "a bitmap",
                actual: bytes,
                limit: MAX_BITMAP,
            }),
        }
    }

    /// How many chunks it tells about.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Length of the bitmap in bytes, with its padding.
    #[must_use]
    pub fn extra(&self) -> u32 {
        // `new` has bounded it, so that neither step can fail.
        let words = u32::try_from(self.count.div_ceil(32)).unwrap_or(u32::MAX);
        words.saturating_mul(4)
    }

    /// The bitmap in which the chunks of `ranges` hold data. What is beyond the last chunk is left out.
    #[must_use]
    pub fn pack(&self, ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<u8> {
        let mut bits = vec![0; usize::try_from(self.extra()).unwrap_or_default()];
        for range in ranges {
            for chunk in range.start..range.end.min(self.count) {
                let byte = usize::try_from(chunk >> 3).ok();
                if let Some(byte) = byte.and_then(|at| bits.get_mut(at)) {
                    *byte |= 1 << (chunk & 7);
                }
            }
        }
        bits
    }

    /// The chunks that hold data, as ranges in ascending order, none empty and none touching the next.
    #[must_use]
    pub fn unpack(&self, bits: &[u8]) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (chunk, is_set) in (0..self.count).zip(bits.iter().flat_map(each_bit)) {
            if !is_set {
                continue;
            }
            let after = chunk.saturating_add(1);
            match ranges.last_mut() {
                Some(last) if last.end == chunk => last.end = after,
                _ => ranges.push(chunk..after),
            }
        }
        ranges
    }

    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .zeroes(32)
            .u64(self.count)
            .u64(0)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("the reply to QUERY_ALLOCATED_BLOCKS", payload);
        fields.skip(32)?;
        let count = fields.u64()?;
        fields.skip(8)?;
        fields.end()?;
        Self::new(count)
    }
}

/// The bits of a byte, the lowest first.
fn each_bit(byte: &u8) -> impl Iterator<Item = bool> {
    let byte = *byte;
    (0..8).map(move |bit| byte & (1 << bit) != 0)
}
