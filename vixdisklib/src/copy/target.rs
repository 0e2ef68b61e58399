//! Where a copy writes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use crate::disk::{Disk, ZeroMode};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::shared::SharedDisk;

/// What [`copy`](crate::copy()) writes to: a [`Disk`], a [`SharedDisk`], a [`File`] as a raw image, or what you make.
///
/// One thread calls, in this order: `begin`, `grain`, then writes and zeroes in ascending order without overlap, `finish`
/// after the last of them. A copy that fails or is ended calls no `finish`. Starts and lengths are in sectors of 512 bytes.
pub trait CopyTarget: Send {
    /// Gets the target ready for a disk of `capacity` sectors.
    ///
    /// # Errors
    /// If it cannot hold that many.
    fn begin(&mut self, capacity: SectorCount) -> io::Result<()>;

    /// The size of the pieces in which the target keeps space, in sectors: zeroes are looked for in whole ones. 64 KiB
    /// unless the target knows better.
    fn grain(&self) -> SectorCount {
        SectorCount::new(128)
    }

    /// Writes whole sectors.
    ///
    /// # Errors
    /// If they cannot all be written.
    fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()>;

    /// Makes sectors read as zero; the range may be long, up to 1 GiB.
    ///
    /// # Errors
    /// If some may still read as something else.
    fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()>;

    /// Makes all durable.
    ///
    /// # Errors
    /// If something may be lost.
    fn finish(&mut self, capacity: SectorCount) -> io::Result<()>;
}

/// What a target reports, as an error of this crate: its own errors as they are, others as the cause.
pub(super) fn failure(error: io::Error, doing: &str, range: Option<SectorRange>) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::StorageFull
        }
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::InvalidInput => ErrorKind::InvalidArgument,
        io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Io,
    };
    let text = format!("{doing} failed: {error}");
    let failure = Error::new(kind, Operation::Copy, text).with_cause(error);
    match range {
        Some(range) => failure.with_range(range),
        None => failure,
    }
}

/// What a disk needs to be a target.
fn check(
    name: &std::path::Path,
    read_only: bool,
    own: SectorCount,
    capacity: SectorCount,
) -> Result<()> {
    let refuse = |kind, text: String| Err(Error::new(kind, Operation::Copy, text).with_path(name));
    if read_only {
        return refuse(
            ErrorKind::ReadOnly,
            "the target is open for reading only".to_owned(),
        );
    }
    if own < capacity {
        let text = format!("the target has {own} sectors, the source {capacity}");
        return refuse(ErrorKind::InvalidArgument, text);
    }
    Ok(())
}

macro_rules! disk_target {
    ($disk:ty) => {
        impl CopyTarget for $disk {
            fn begin(&mut self, capacity: SectorCount) -> io::Result<()> {
                check(
                    self.name(),
                    self.is_read_only(),
                    <$disk>::capacity(self),
                    capacity,
                )
                .map_err(io::Error::other)
            }

            fn grain(&self) -> SectorCount {
                self.preferred_io()
            }

            fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()> {
                <$disk>::write_at(self, start, bytes).map_err(io::Error::other)
            }

            fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()> {
                <$disk>::write_zeroes(self, range, ZeroMode::MayFree).map_err(io::Error::other)
            }

            fn finish(&mut self, _: SectorCount) -> io::Result<()> {
                self.flush().map_err(io::Error::other)
            }
        }
    };
}

disk_target!(Disk);
disk_target!(SharedDisk);

/// A raw image: a regular file that is as long as the disk afterwards, with holes where it had none of the zeroes before; or a
/// block device that is large enough.
impl CopyTarget for File {
    fn begin(&mut self, capacity: SectorCount) -> io::Result<()> {
        let capacity = offset(Sector::ZERO.checked_add(capacity).unwrap_or_default())?;
        let (own, regular) = size(self)?;
        if regular && own > capacity {
            let text = format!("the file has {own} bytes, more than the disk with {capacity}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if !regular && own < capacity {
            let text = format!("the device has {own} bytes, the disk {capacity}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }

    fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset(start)?))?;
        self.write_all(bytes)
    }

    fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()> {
        static ZEROES: [u8; 65536] = [0; 65536];
        // Behind the end of a regular file there is nothing, and what is written later leaves a hole.
        let end = offset(range.end())?.min(size(self)?.0);
        let mut position = offset(range.start())?;
        self.seek(SeekFrom::Start(position))?;
        while position < end {
            let length = (end - position).min(ZEROES.len() as u64);
            let zeroes = usize::try_from(length).map_or(&ZEROES[..], |length| &ZEROES[..length]);
            self.write_all(zeroes)?;
            position += length;
        }
        Ok(())
    }

    fn finish(&mut self, capacity: SectorCount) -> io::Result<()> {
        let capacity = offset(Sector::ZERO.checked_add(capacity).unwrap_or_default())?;
        let (own, regular) = size(self)?;
        if regular && own < capacity {
            self.set_len(capacity)?;
        }
        self.sync_all()
    }
}

/// The length in bytes, and whether it is that of a regular file.
fn size(file: &mut File) -> io::Result<(u64, bool)> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok((metadata.len(), true));
    }
    // A device has a length only by its end.
    Ok((file.seek(SeekFrom::End(0))?, false))
}

fn offset(sector: Sector) -> io::Result<u64> {
    let bytes = sector.byte_offset().map(ByteLen::get);
    bytes.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}
