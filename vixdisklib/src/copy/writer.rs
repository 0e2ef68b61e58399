//! The writing side of a copy, on a thread of its own.

use std::sync::mpsc;

use disk_units::{SectorCount, SectorRange};

use super::target::{self, CopyTarget};
use super::zero;
use crate::buffer::AlignedBuf;
use crate::error::Result;

/// What the reading side hands over.
pub(super) enum Work {
    Data(SectorRange, AlignedBuf),
    Zero(SectorRange),
    Skip(SectorRange),
}

/// What became of it, in bytes.
#[derive(Default)]
pub(super) struct Done {
    pub(super) copied: u64,
    pub(super) zeroed: u64,
    pub(super) skipped: u64,
    /// The memory, to be used again.
    pub(super) buf: Option<AlignedBuf>,
}

pub(super) struct Writer<'target, T: ?Sized> {
    pub(super) target: &'target mut T,
    pub(super) grain: SectorCount,
    pub(super) target_is_zero: bool,
}

impl<T: CopyTarget + ?Sized> Writer<'_, T> {
    /// Writes until there is no more work, or nobody wants to know any more.
    pub(super) fn run(
        mut self,
        work: mpsc::Receiver<Work>,
        done: &mpsc::Sender<Done>,
    ) -> Result<()> {
        for work in work {
            let outcome = match work {
                Work::Data(range, buf) => self.data(range, buf)?,
                Work::Zero(range) => self.zero(range)?,
                Work::Skip(range) => Done {
                    skipped: bytes(range),
                    ..Done::default()
                },
            };
            if done.send(outcome).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn data(&mut self, range: SectorRange, buf: AlignedBuf) -> Result<Done> {
        let mut done = Done::default();
        for run in zero::runs(range.start(), &buf, self.grain) {
            if run.zero {
                let zeroed = self.zero(run.range)?;
                done.zeroed += zeroed.zeroed;
                done.skipped += zeroed.skipped;
            } else {
                self.target
                    .write_at(run.range.start(), run.bytes)
                    .map_err(|error| target::failure(error, "writing", Some(run.range)))?;
                done.copied += bytes(run.range);
            }
        }
        done.buf = Some(buf);
        Ok(done)
    }

    fn zero(&mut self, range: SectorRange) -> Result<Done> {
        if self.target_is_zero {
            return Ok(Done {
                skipped: bytes(range),
                ..Done::default()
            });
        }
        self.target
            .write_zeroes(range)
            .map_err(|error| target::failure(error, "zeroing", Some(range)))?;
        Ok(Done {
            zeroed: bytes(range),
            ..Done::default()
        })
    }
}

/// In bytes; a disk that is open has fewer than 2^64.
fn bytes(range: SectorRange) -> u64 {
    range.bytes().unwrap_or_default().get()
}
