//! Filling the files of a new disk.

use std::io;
use std::ops::Range;

use disk_units::ByteLen;

use super::layout::FreshLayout;
use super::plan::{NewExtent, NewFormat};
use crate::error::{Error, IoFault};
use crate::progress::Work;
use crate::storage::{Storage, write_zeros};

/// Space is asked for in pieces of this size, between which the watcher is heard.
const ALLOCATED_AT_ONCE: u64 = 1 << 30;
/// The same where zeros must be written.
const WRITTEN_AT_ONCE: u64 = 1 << 24;

/// Fills the empty file of an extent, and makes it durable. `text` is the descriptor, for an extent that holds it.
pub(crate) fn fill(
    extent: &NewExtent,
    storage: &dyn Storage,
    text: &[u8],
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let length = extent.file_len();
    match extent.format {
        NewFormat::Monolithic => FreshLayout::monolithic(extent.sectors).write(storage, text)?,
        NewFormat::Sparse => FreshLayout::split(extent.sectors).write(storage, &[])?,
        NewFormat::Stream => return Ok(()),
        NewFormat::Vmfs { is_thin: true } => storage
            .set_len(length)
            .map_err(|error| IoFault::new("extending the file", error))?,
        NewFormat::Flat | NewFormat::Vmfs { is_thin: false } => {
            take_space(storage, ByteLen::ZERO..length, work)?;
            return sync(storage);
        }
    }
    sync(storage)?;
    work.advance(length)
}

/// Gets space for a range that goes up to the new end of the file and reads as zeros from where the old one was.
pub(crate) fn take_space(
    storage: &dyn Storage,
    range: Range<ByteLen>,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let mut can_allocate = true;
    let mut start = range.start;
    while start < range.end {
        let piece = |size: u64| {
            let end = start.checked_add(ByteLen::new(size)).unwrap_or(range.end);
            start..end.min(range.end)
        };
        let mut piece_done = piece(ALLOCATED_AT_ONCE);
        if can_allocate {
            match storage.allocate(piece_done.clone()) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => can_allocate = false,
                result => {
                    result.map_err(|error| IoFault::new("getting space for the file", error))?;
                }
            }
        }
        if !can_allocate {
            piece_done = piece(WRITTEN_AT_ONCE);
            write_zeros(storage, piece_done.clone())
                .map_err(|error| IoFault::new("filling the file with zeros", error))?;
        }
        let length = piece_done.end.get().saturating_sub(start.get());
        start = piece_done.end;
        work.advance(ByteLen::new(length))?;
    }
    Ok(())
}

pub(crate) fn sync(storage: &dyn Storage) -> Result<(), Error> {
    storage
        .sync_data()
        .map_err(|error| IoFault::new("making the file durable", error).into())
}
