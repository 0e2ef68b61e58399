//! What can be wrong with a link whose parts are well-formed, each for itself.

use crate::error::{Cause, ErrorKind};

/// Why a link cannot be opened although each of its parts is well-formed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the file is one extent of a disk: open the descriptor that names it")]
    BareExtent,
    #[error("a copy-on-write file (COWD) without a descriptor can only be opened for reading")]
    BareCowd,
    #[error("it is a child disk, but its extents are {0}, which cannot let a parent show")]
    NoChild(&'static str),
    #[error("it is a child disk, but its descriptor has no content id of its own")]
    NamelessChild,
    #[error("it is a snapshot that the storage array took")]
    NativeSnapshot,
    #[error(
        "an extent of type {0} is a device of its host, which opens only where devices are allowed"
    )]
    Device(&'static str),
    #[error("an extent of type {0} can only be opened for reading")]
    ReadOnlyDevice(&'static str),
    #[error(
        "the descriptor has no content id, so that a change could not be noted; repair it before writing"
    )]
    NoContentId,
    #[error("an embedded descriptor must name one sparse extent")]
    EmbeddedExtents,
    #[error("the descriptor gives the extent {line} sectors, its header {header}")]
    SizesDiffer { line: u64, header: u64 },
    #[error("the descriptor's extents add up to {0} sectors")]
    Capacity(u64),
    #[error("the grain directories of all extents have {0} entries, more than any real disk needs")]
    Directories(u64),
    #[error("the descriptor names itself or a file twice")]
    SameFileTwice,
    #[error("the descriptor's {key} of \"{value}\" is not supported")]
    SectorSize { key: &'static str, value: String },
    #[error("a space-efficient sparse extent can only be opened for reading")]
    ReadOnlySeSparse,
}

impl Cause for LinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoChild(_) | Self::NamelessChild => ErrorKind::InvalidChain,
            Self::NoContentId => ErrorKind::NeedsRepair,
            Self::BareExtent
            | Self::EmbeddedExtents
            | Self::SizesDiffer { .. }
            | Self::Capacity(_)
            | Self::Directories(_)
            | Self::SameFileTwice => ErrorKind::InvalidDisk,
            Self::NativeSnapshot
            | Self::Device(_)
            | Self::ReadOnlyDevice(_)
            | Self::ReadOnlySeSparse
            | Self::BareCowd
            | Self::SectorSize { .. } => ErrorKind::Unsupported,
        }
    }
}
