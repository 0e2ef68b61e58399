//! Giving back the space of zeros in a thin file: they become holes.

use std::io;

use disk_units::{ByteLen, SectorCount, SectorRange};

use super::super::Extent;
use super::FlatExtent;
use crate::error::{Error, IoFault, Refusal};
use crate::map::Allocation;
use crate::progress::Work;
use crate::units::{buffer_len, clamped, is_zero, range_of};

/// The file is read in pieces of this size.
const PIECE: SectorCount = SectorCount::new(2048);

/// The least that file systems have holes for.
const BLOCK: SectorCount = SectorCount::new(8);

impl FlatExtent {
    /// Makes holes of blocks that hold zeros. Nothing that can be read changes at any moment.
    pub(super) fn punch_zeros(&self, work: &mut Work<'_>) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for run in self.map(SectorRange::whole(self.size)) {
            let (mut rest, state) = run?;
            while state == Allocation::Data && !rest.is_empty() {
                let (piece, behind) = rest.split_at(clamped(rest.start(), PIECE).end());
                buffer.resize(buffer_len(piece.count()), 0);
                self.read(piece.start(), &mut buffer, &mut Vec::new())?;
                self.punch_zeros_of(piece, &buffer)?;
                // Nothing is left to do for these bytes.
                work.advance(ByteLen::new(piece.count().get().saturating_mul(1024)))?;
                rest = behind;
            }
        }
        Ok(())
    }

    fn punch_zeros_of(&self, piece: SectorRange, content: &[u8]) -> Result<(), Error> {
        let mut start = piece.start();
        for blocks in content
            .chunks(buffer_len(BLOCK))
            .collect::<Vec<_>>()
            .chunk_by(|one, next| is_zero(one) == is_zero(next))
        {
            let first = start;
            for block in blocks {
                start = range_of(start, block).end();
            }
            let zeros = SectorRange::between(first, start).unwrap_or_default();
            if blocks.first().is_some_and(|block| is_zero(block)) {
                match self.storage.punch_hole(self.in_file(zeros)) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        return Err(Refusal::CannotShrink.into());
                    }
                    result => result.map_err(|error| {
                        IoFault::new("the space of zeros cannot be given back", error)
                    })?,
                }
            }
        }
        Ok(())
    }
}
