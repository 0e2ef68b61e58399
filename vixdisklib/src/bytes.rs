//! Access to any byte of a disk that knows whole sectors only.

use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};

use crate::disk::{Disk, Facts};
use crate::error::{Operation, Result};
use crate::shared::SharedDisk;

const SECTOR_BYTES: u64 = SECTOR_SIZE as u64;

/// A part of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Some bytes of one sector.
    Part {
        sector: Sector,
        skip: usize,
        length: usize,
    },
    /// Whole sectors, and the bytes in them.
    Whole { range: SectorRange, length: usize },
}

impl Piece {
    pub(crate) fn length(self) -> usize {
        match self {
            Self::Part { length, .. } | Self::Whole { length, .. } => length,
        }
    }
}

/// Cuts bytes, which lie inside a disk and are no more than memory holds, into at most one part, whole sectors, and one
/// more part.
pub(crate) fn pieces(offset: ByteLen, length: ByteLen) -> impl Iterator<Item = Piece> {
    let mut position = offset.get();
    let mut left = length.get();
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let sector = Sector::new(position / SECTOR_BYTES);
        let skip = position % SECTOR_BYTES;
        let partial = skip != 0 || left < SECTOR_BYTES;
        let taken = if partial {
            left.min(SECTOR_BYTES - skip)
        } else {
            left - left % SECTOR_BYTES
        };
        position += taken;
        left -= taken;
        let length = in_memory(taken);
        Some(if partial {
            let skip = in_memory(skip);
            Piece::Part {
                sector,
                skip,
                length,
            }
        } else {
            let range = SectorRange::new(sector, SectorCount::new(taken / SECTOR_BYTES))
                .expect("requests lie inside the disk");
            Piece::Whole { range, length }
        })
    })
}

fn in_memory(count: u64) -> usize {
    usize::try_from(count).expect("requests fit into memory")
}

impl Facts {
    /// Refuses bytes that do not lie inside the disk, and writes where there are none.
    fn check_bytes(&self, operation: Operation, offset: ByteLen, length: usize) -> Result<()> {
        let first = offset.get() / SECTOR_BYTES;
        let end = offset.get().saturating_add(length as u64);
        let sectors = ByteLen::new(end).sectors_rounded_up().get() - first;
        let touched = sectors.saturating_mul(SECTOR_BYTES);
        let touched = usize::try_from(touched).unwrap_or(usize::MAX / SECTOR_SIZE * SECTOR_SIZE);
        self.request(operation, Sector::new(first), touched)
            .map(drop)
    }
}

/// Reads any bytes by `read`, which reads whole sectors.
fn read_exact_at(
    facts: &Facts,
    offset: ByteLen,
    buf: &mut [u8],
    read: impl Fn(Sector, &mut [u8]) -> Result<()>,
) -> Result<()> {
    if buf.is_empty() {
        return Ok(());
    }
    facts.check_bytes(Operation::Read, offset, buf.len())?;
    let mut rest = buf;
    for piece in pieces(offset, ByteLen::new(rest.len() as u64)) {
        let (here, behind) = rest.split_at_mut(piece.length());
        rest = behind;
        match piece {
            Piece::Whole { range, .. } => read(range.start(), here)?,
            Piece::Part { sector, skip, .. } => {
                let mut whole = [0; SECTOR_SIZE];
                read(sector, &mut whole)?;
                here.copy_from_slice(&whole[skip..skip + here.len()]);
            }
        }
    }
    Ok(())
}

/// Writes any bytes by `read` and `write`, which know whole sectors.
fn write_all_at(
    facts: &Facts,
    offset: ByteLen,
    buf: &[u8],
    read: impl Fn(Sector, &mut [u8]) -> Result<()>,
    write: impl Fn(Sector, &[u8]) -> Result<()>,
) -> Result<()> {
    if buf.is_empty() {
        return Ok(());
    }
    facts.check_bytes(Operation::Write, offset, buf.len())?;
    let mut rest = buf;
    for piece in pieces(offset, ByteLen::new(buf.len() as u64)) {
        let (here, behind) = rest.split_at(piece.length());
        rest = behind;
        match piece {
            Piece::Whole { range, .. } => write(range.start(), here)?,
            Piece::Part { sector, skip, .. } => {
                let mut whole = [0; SECTOR_SIZE];
                read(sector, &mut whole)?;
                whole[skip..skip + here.len()].copy_from_slice(here);
                write(sector, &whole)?;
            }
        }
    }
    Ok(())
}

impl Disk {
    /// Reads `buf.len()` bytes from `offset`, which need not lie on sectors. Blocks. An empty `buf` is read at once,
    /// wherever it lies.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) if a byte lies past the end, and then nothing was read; or
    /// what the library reports, and then the contents of `buf` are undefined.
    pub fn read_exact_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<()> {
        read_exact_at(self.facts(), offset, buf, |start, buf| {
            self.read_at(start, buf)
        })
    }

    /// Writes all of `buf` from `offset`, which need not lie on sectors. Blocks. [`flush`](Self::flush) makes it durable.
    ///
    /// A sector that is written in part is read, changed and written back. That is not atomic: it loses what others
    /// write to the sector meanwhile, and after a crash or an error part of `buf` may be written.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("disk.vmdk");
    /// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
    /// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
    /// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
    /// use vixdisklib::{ByteLen, Library, OpenFlags};
    ///
    /// let disk = Library::embedded()?.connect_local()?.open_disk(&path, OpenFlags::empty())?;
    /// disk.write_all_at(ByteLen::new(510), b"hello")?;
    /// let mut bytes = [0; 7];
    /// disk.read_exact_at(ByteLen::new(509), &mut bytes)?;
    /// assert_eq!(&bytes, b"\x07hello\x07");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`read_exact_at`](Self::read_exact_at), and [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn write_all_at(&self, offset: ByteLen, buf: &[u8]) -> Result<()> {
        let read = |start, buf: &mut [u8]| self.read_at(start, buf);
        write_all_at(self.facts(), offset, buf, read, |start, buf| {
            self.write_at(start, buf)
        })
    }
}

impl SharedDisk {
    /// As [`Disk::read_exact_at`].
    ///
    /// # Errors
    /// As [`Disk::read_exact_at`].
    pub fn read_exact_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<()> {
        read_exact_at(self.facts(), offset, buf, |start, buf| {
            self.read_at(start, buf)
        })
    }

    /// As [`Disk::write_all_at`]. Two threads that write to one sector in part may lose what the other wrote, also where
    /// their bytes do not overlap.
    ///
    /// # Errors
    /// As [`Disk::write_all_at`].
    pub fn write_all_at(&self, offset: ByteLen, buf: &[u8]) -> Result<()> {
        let read = |start, buf: &mut [u8]| self.read_at(start, buf);
        write_all_at(self.facts(), offset, buf, read, |start, buf| {
            self.write_at(start, buf)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_fall_into_parts_and_whole_sectors() {
        let all: Vec<_> = pieces(ByteLen::new(500), ByteLen::new(1100)).collect();
        let whole = SectorRange::new(Sector::new(1), SectorCount::new(2)).expect("fits");
        assert_eq!(
            all,
            [
                Piece::Part {
                    sector: Sector::ZERO,
                    skip: 500,
                    length: 12
                },
                Piece::Whole {
                    range: whole,
                    length: 1024
                },
                Piece::Part {
                    sector: Sector::new(3),
                    skip: 0,
                    length: 64
                },
            ]
        );
        assert_eq!(pieces(ByteLen::new(10), ByteLen::new(5)).count(), 1);
        assert_eq!(pieces(ByteLen::new(512), ByteLen::new(512)).count(), 1);
        assert_eq!(pieces(ByteLen::new(512), ByteLen::ZERO).count(), 0);
    }
}
