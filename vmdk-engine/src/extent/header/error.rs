//! Why a header is refused, and what is wrong in one that can be used all the same.

use crate::error::{Cause, ErrorKind};

/// Why a file is not a usable sparse extent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("not a hosted sparse extent")]
    WrongMagic,
    #[error("its creation was interrupted: the file was never completed")]
    Unfinished,
    #[error("the file is cut off: {0}")]
    Cut(&'static str),
    #[error("format version {0} is not supported")]
    Version(u32),
    #[error("the incompatible flags {0:#x} are not known")]
    UnknownFlags(u32),
    #[error("damaged newline bytes: the file was transferred as text")]
    NewlineBytes,
    #[error("the header's {field} of {value} is not valid")]
    Field { field: &'static str, value: u64 },
    #[error(
        "the header's flags {flags:#x} and compression algorithm {algorithm} contradict each other"
    )]
    Compression { flags: u32, algorithm: u16 },
    #[error("compression algorithm {0} is not supported")]
    Algorithm(u16),
    #[error("the stream is incomplete: it has no valid footer at its end")]
    NoFooter,
    #[error("the footer contradicts the header in its {0}")]
    FooterDiffers(&'static str),
    #[error("the embedded descriptor overlaps a grain directory")]
    DescriptorOverlap,
    #[error("{0} can only be opened for reading")]
    ReadOnlyShape(&'static str),
    #[error(
        "format version 3 without compression can only be opened for reading, unless the descriptor says that it stands for tracked changes"
    )]
    ReadOnlyVersion,
    #[error("{0}; the disk must be repaired before it is written")]
    NeedsRepair(Damage),
}

impl Cause for HeaderError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Version(_) | Self::UnknownFlags(_) | Self::ReadOnlyVersion => {
                ErrorKind::UnsupportedVersion
            }
            Self::Algorithm(_) | Self::ReadOnlyShape(_) => ErrorKind::Unsupported,
            Self::NeedsRepair(_) => ErrorKind::NeedsRepair,
            _ => ErrorKind::InvalidDisk,
        }
    }
}

/// What is wrong in a header that can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the grain directory is misplaced")]
    DirectoryMisplaced,
    #[error("the grain directory cannot be read")]
    DirectoryUnreadable,
    #[error("the redundant grain directory is misplaced")]
    CopyMisplaced,
    #[error("the redundant grain directory cannot be read")]
    CopyUnreadable,
    #[error("the header's overhead is too small")]
    OverheadTooSmall,
    #[error("the embedded descriptor overlaps a grain directory")]
    DescriptorOverlap,
}
