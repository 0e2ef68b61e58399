//! Entries in the journal on the way.

use std::io;

use vixdisklib::{ByteLen, CopyTarget, Sector, SectorCount, SectorRange};

use crate::journal::Journal;
use crate::target::Target;

/// Passes on to a target what is written, and notes from time to time up to where it is durable.
pub(crate) struct Checkpoints<'copy> {
    target: &'copy mut Target,
    journal: &'copy mut Journal,
    every: ByteLen,
    /// Bytes written since the last entry.
    written: u64,
}

impl<'copy> Checkpoints<'copy> {
    pub(crate) fn new(
        target: &'copy mut Target,
        journal: &'copy mut Journal,
        every: ByteLen,
    ) -> Self {
        Self {
            target,
            journal,
            every,
            written: 0,
        }
    }

    /// All before `end` was written: what comes is in ascending order, and what was left out reads as zero.
    fn wrote(&mut self, end: Sector, bytes: u64) -> io::Result<()> {
        self.written += bytes;
        if self.written < self.every.get() {
            return Ok(());
        }
        self.written = 0;
        self.target.sync()?;
        self.journal.done(end)
    }
}

impl CopyTarget for Checkpoints<'_> {
    fn begin(&mut self, capacity: SectorCount) -> io::Result<()> {
        self.target.begin(capacity)
    }

    fn grain(&self) -> SectorCount {
        self.target.grain()
    }

    fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()> {
        self.target.write_at(start, bytes)?;
        let length = ByteLen::new(bytes.len() as u64);
        let end = start.checked_add(length.sectors_rounded_up());
        self.wrote(end.unwrap_or(start), length.get())
    }

    fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()> {
        // Mostly that is no work, and no reason for an entry.
        self.target.write_zeroes(range)
    }

    fn finish(&mut self, capacity: SectorCount) -> io::Result<()> {
        self.target.finish(capacity)?;
        let end = Sector::ZERO.checked_add(capacity);
        self.journal.done(end.unwrap_or_default())
    }
}
