//! Whether the descriptor as a whole can be opened in the way that is asked for.

use super::error::LinkError;
use crate::descriptor::{ContentMark, Descriptor};
use crate::disk::OpenOptions;
use crate::error::{Cause, Error, ErrorKind};

pub(super) fn check_descriptor(
    descriptor: &Descriptor,
    options: &OpenOptions,
) -> Result<(), LinkError> {
    check_sector_sizes(descriptor)?;
    match descriptor.mark() {
        Some(ContentMark::Generation(_)) if options.is_writable() => Err(LinkError::BareCowd),
        Some(_) => Ok(()),
        None if options.is_writable() => Err(LinkError::NoContentId),
        None if descriptor.parent().is_some() => Err(LinkError::NamelessChild),
        None => {
            tracing::warn!("the descriptor has no content id");
            Ok(())
        }
    }
}

fn check_sector_sizes(descriptor: &Descriptor) -> Result<(), LinkError> {
    for key in ["logicalSectorSize", "physicalSectorSize"] {
        match descriptor.metadata(key) {
            Some(value) if value != "512" && value != "4096" => {
                return Err(LinkError::SectorSize { key, value });
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a descriptor would do to the disk.
#[derive(Debug, thiserror::Error)]
#[error("with it, the disk could not be opened any more: {0}")]
pub(in crate::link) struct Unusable(LinkError);

impl Cause for Unusable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Refuses a changed descriptor that the disk could not be opened with.
pub(in crate::link) fn expect_usable(descriptor: &Descriptor) -> Result<(), Unusable> {
    check_sector_sizes(descriptor).map_err(Unusable)
}

/// Refuses what nobody opens, however whole each part of it is, and what no repair makes another disk of.
pub(crate) fn expect_openable(descriptor: &Descriptor, has_streams: bool) -> Result<(), Error> {
    check_sector_sizes(descriptor)?;
    check_child(descriptor, has_streams)?;
    Ok(())
}

/// Refuses children of a kind that cannot be one.
///
/// Products have rules for more: COWD deltas lie over VMFS disks or each other only, and SESparse deltas likewise. But a
/// chain with another link in it, converted by somebody, says by content id what belongs together all the same, and
/// reads without doubt. So those rules bind who makes a child, not who opens one.
pub(super) fn check_child(descriptor: &Descriptor, has_streams: bool) -> Result<(), LinkError> {
    if descriptor.parent().is_none() {
        return Ok(());
    }
    if descriptor.extents().iter().any(|line| line.kind.is_flat()) {
        return Err(LinkError::NoChild("flat"));
    }
    if has_streams {
        return Err(LinkError::NoChild("stream-optimised"));
    }
    if descriptor.is_native_snapshot() {
        return Err(LinkError::NativeSnapshot);
    }
    Ok(())
}
