//! Whether the descriptor as a whole can be opened in the way that is asked for.

use super::error::LinkError;
use super::parts::{Format, Part};
use crate::descriptor::{ContentMark, Descriptor};
use crate::disk::OpenOptions;

pub(super) fn check_descriptor(
    descriptor: &Descriptor,
    options: &OpenOptions,
) -> Result<(), LinkError> {
    for key in ["logicalSectorSize", "physicalSectorSize"] {
        match descriptor.metadata(key) {
            Some(value) if value != "512" && value != "4096" => {
                return Err(LinkError::SectorSize { key, value });
            }
            _ => {}
        }
    }
    if options.is_writable() {
        match descriptor.mark() {
            Some(ContentMark::Cid(_)) => {}
            Some(ContentMark::Generation(_)) => return Err(LinkError::BareCowd),
            None => return Err(LinkError::NoContentId),
        }
    } else if descriptor.mark().is_none() {
        tracing::warn!("the descriptor has no content id");
    }
    Ok(())
}

/// Refuses children of a kind that cannot be one.
pub(super) fn check_parent(descriptor: &Descriptor, parts: &[Part]) -> Result<(), LinkError> {
    if descriptor.parent().is_none() {
        return Ok(());
    }
    if descriptor.mark().is_none() {
        return Err(LinkError::NamelessChild);
    }
    if descriptor.extents().iter().any(|line| line.kind.is_flat()) {
        return Err(LinkError::NoChild("flat"));
    }
    let is_stream =
        |part: &Part| matches!(&part.format, Format::Sparse(shape) if shape.is_compressed);
    if parts.iter().any(is_stream) {
        return Err(LinkError::NoChild("stream-optimised"));
    }
    if descriptor.is_native_snapshot() {
        return Err(LinkError::NativeSnapshot);
    }
    Ok(())
}
