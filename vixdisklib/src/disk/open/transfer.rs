//! Reading and writing while the caller waits.

use disk_units::{SECTOR_SIZE, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use super::OpenDisk;
use crate::buffer::AlignedBuf;
use crate::connection::OpenFlags;
use crate::error::{Operation, Result};

/// What any disk is content with: the size of the largest sector.
const LARGEST_SECTOR: usize = 4096;

impl OpenDisk {
    pub(crate) fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<()> {
        let range = self.facts.request(Operation::Read, start, buf.len())?;
        let suits = self.takes_memory_at(buf.as_ptr());
        let longest = self.limits.request;
        let mut pieces = range
            .pieces(longest.sectors())
            .zip(buf.chunks_mut(longest.bytes()));
        if suits {
            return pieces.try_for_each(|(piece, buf)| self.read_piece(piece, buf));
        }
        self.bounce
            .lend(range.count().min(longest.sectors()), |aligned| {
                pieces.try_for_each(|(piece, buf)| {
                    let aligned = &mut aligned[..buf.len()];
                    self.read_piece(piece, aligned)?;
                    buf.copy_from_slice(aligned);
                    Ok(())
                })
            })
    }

    pub(crate) fn write_at(&self, start: Sector, buf: &[u8]) -> Result<()> {
        let range = self.facts.request(Operation::Write, start, buf.len())?;
        let suits = self.takes_memory_at(buf.as_ptr());
        let longest = self.limits.request;
        let mut pieces = range
            .pieces(longest.sectors())
            .zip(buf.chunks(longest.bytes()));
        if suits {
            return pieces.try_for_each(|(piece, buf)| self.write_piece(piece, buf));
        }
        self.bounce
            .lend(range.count().min(longest.sectors()), |aligned| {
                pieces.try_for_each(|(piece, buf)| {
                    let aligned = &mut aligned[..buf.len()];
                    aligned.copy_from_slice(buf);
                    self.write_piece(piece, aligned)
                })
            })
    }

    /// Whether the library takes a buffer at this address. Without the host's cache, HotAdd wants it on the sectors of
    /// memory, as the disk sees them (Virtual Disk Programming Guide). The pieces of a buffer lie as the whole does, since
    /// their lengths are multiples of 4 KiB.
    fn takes_memory_at(&self, address: *const u8) -> bool {
        if !self.facts.flags.contains(OpenFlags::UNBUFFERED) {
            return true;
        }
        let sector = match self.facts.info.logical_sector_size.map(usize::try_from) {
            Some(Ok(size)) => size.max(SECTOR_SIZE),
            _ => LARGEST_SECTOR,
        };
        address.addr().is_multiple_of(sector)
    }

    /// `buf` is as long as the piece, which lies in the disk.
    fn read_piece(&self, piece: SectorRange, buf: &mut [u8]) -> Result<()> {
        let read = self.api.table.read;
        let (first, count) = (piece.start().get(), piece.count().get());
        self.call(Operation::Read, |handle| {
            // SAFETY: the handle is open until drop and no call overlaps this one that may not; the piece lies inside
            // the disk; `buf` is writable for exactly `count` sectors during the call.
            unsafe { read(handle, first, count, buf.as_mut_ptr()) }
        })
        .map_err(|error| error.with_range(piece))
    }

    /// As [`read_piece`](Self::read_piece).
    fn write_piece(&self, piece: SectorRange, buf: &[u8]) -> Result<()> {
        let write = self.api.table.write;
        let (first, count) = (piece.start().get(), piece.count().get());
        self.call(Operation::Write, |handle| {
            // SAFETY: as in `read_piece`, and `buf` is readable for exactly `count` sectors.
            unsafe { write(handle, first, count, buf.as_ptr()) }
        })
        .map_err(|error| error.with_range(piece))
    }
}

/// Aligned memory for requests whose own is not: one buffer, as long as the longest piece so far, kept for the next.
#[derive(Debug, Default)]
pub(super) struct Bounce(Mutex<Option<AlignedBuf>>);

impl Bounce {
    /// Lends at least `count` sectors. Where calls may overlap, each that meets another has memory of its own.
    fn lend<R>(&self, count: SectorCount, work: impl FnOnce(&mut [u8]) -> R) -> R {
        let kept = self.0.lock().take();
        let mut buf = kept
            .filter(|kept| kept.sectors() >= count)
            .unwrap_or_else(|| AlignedBuf::new(count));
        let done = work(&mut buf);
        *self.0.lock() = Some(buf);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_lent_again_and_never_twice_at_once() {
        let bounce = Bounce::default();
        let sectors = SectorCount::new;
        let address = |count| bounce.lend(sectors(count), |buf| (buf.as_ptr().addr(), buf.len()));
        let (first, length) = address(16);
        assert!(first.is_multiple_of(LARGEST_SECTOR) && length == 16 * SECTOR_SIZE);
        assert_eq!(address(9), (first, length), "a shorter one does with it");
        assert_eq!(address(17).1, 17 * SECTOR_SIZE);
        bounce.lend(sectors(17), |outer| {
            outer.fill(1);
            bounce.lend(sectors(17), |inner| inner.fill(2));
            assert!(outer.iter().all(|byte| *byte == 1));
        });
    }
}
