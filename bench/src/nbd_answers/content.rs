//! What the export has: the same page again and again, and holes.

use std::fs::File;
use std::io::Write as _;

use super::Result;

/// Bytes in memory, and in a file, that stand for all data.
pub(crate) const PAGE: usize = 64 << 10;
/// The longest read.
const LONGEST: usize = 32 << 20;

pub(crate) struct Content {
    /// Bytes of the export.
    pub(crate) size: u64,
    part: u64,
    end: u64,
    pub(crate) page: Vec<u8>,
    /// For long replies: as many bytes as the longest read.
    pub(crate) file: File,
}

impl Content {
    /// Every second `part` of the bytes before `end` is data.
    pub(crate) fn new(size: u64, part: u64, end: u64) -> Result<Self> {
        if part == 0 || end > size {
            return Err("parts have bytes, and lie in the export".into());
        }
        let page = vec![7; PAGE];
        let mut file = tempfile::tempfile()?;
        for _ in 0..LONGEST / PAGE {
            file.write_all(&page)?;
        }
        Ok(Self {
            size,
            part,
            end,
            page,
            file,
        })
    }

    /// Whether the byte at `offset` is in a hole, and the end of what is alike.
    pub(crate) fn at(&self, offset: u64) -> (bool, u64) {
        if offset >= self.end {
            return (true, self.size);
        }
        let number = offset / self.part;
        let is_hole = number % 2 == 1;
        let end = (number + 1) * self.part;
        match is_hole && end >= self.end {
            true => (true, self.size),
            false => (is_hole, end.min(self.end)),
        }
    }
}
