//! The footer of a stream, which says where its grain directory is.

use disk_units::ByteLen;
use zerocopy::FromBytes;

use super::{HeaderError, check_header, read_header};
use crate::error::{Error, ErrorKind, IoFault};
use crate::layout::{FLAG_MARKERS, GD_AT_END, MARKER_END, MARKER_FOOTER, Marker, SparseHeader};
use crate::storage::Storage;

/// The footer: required where the header has no directory, used where it is valid, ignored otherwise.
pub(super) fn find_footer(
    storage: &dyn Storage,
    header: &SparseHeader,
    len: ByteLen,
) -> Result<Option<SparseHeader>, Error> {
    let is_required = header.directory.get() == GD_AT_END;
    if header.flags.get() & FLAG_MARKERS == 0 {
        return if is_required {
            Err(HeaderError::NoFooter.into())
        } else {
            Ok(None)
        };
    }
    let footer = match read_footer(storage, len) {
        Ok(footer) => footer,
        Err(_) if !is_required => return Ok(None),
        Err(error) => return Err(error),
    };
    check_header(&footer)?;
    for (name, same) in [
        ("capacity", footer.capacity == header.capacity),
        ("grain size", footer.grain_size == header.grain_size),
        (
            "table size",
            footer.entries_per_table == header.entries_per_table,
        ),
        ("flags", footer.flags == header.flags),
    ] {
        if !same {
            return Err(HeaderError::FooterDiffers(name).into());
        }
    }
    if !is_required && footer.directory != header.directory {
        tracing::warn!("header and footer name different grain directories; the footer's is used");
    }
    Ok(Some(footer))
}

/// The last three sectors: footer marker, footer, end of stream.
fn read_footer(storage: &dyn Storage, len: ByteLen) -> Result<SparseHeader, Error> {
    let start = len
        .get()
        .checked_sub(3 * 512)
        .ok_or(HeaderError::NoFooter)?;
    let marker_at = |position: u64| -> Result<Marker, Error> {
        let mut bytes = [0; 512];
        storage
            .read_exact_at(&mut bytes, ByteLen::new(position))
            .map_err(|error| IoFault::new("reading the footer", error))?;
        Marker::read_from_bytes(&bytes).map_err(|_| HeaderError::NoFooter.into())
    };
    let footer_marker = marker_at(start)?;
    let end_marker = marker_at(start.saturating_add(1024))?;
    let is_valid = footer_marker.sectors.get() == 1
        && footer_marker.size.get() == 0
        && footer_marker.kind.get() == MARKER_FOOTER
        && end_marker.size.get() == 0
        && end_marker.kind.get() == MARKER_END;
    if !is_valid {
        return Err(HeaderError::NoFooter.into());
    }
    read_header(storage, ByteLen::new(start.saturating_add(512)), len).map_err(|error| match error
        .kind()
    {
        ErrorKind::InvalidDisk => HeaderError::NoFooter.into(),
        _ => error,
    })
}
