//! Why a text is refused.

use crate::error::{Cause, ErrorKind};

/// Why a text is not a usable descriptor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescriptorError {
    #[error("not a virtual disk: it has no known signature and is not a descriptor either")]
    NotADescriptor,
    #[error("the descriptor is longer than 1 MiB")]
    TooLong,
    #[error("line {line} of the descriptor ends in a carriage return alone")]
    LoneCarriageReturn { line: usize },
    #[error("line {line} of the descriptor: {problem}")]
    BadExtent { line: usize, problem: &'static str },
    #[error("line {line} of the descriptor: unknown extent type \"{kind}\"")]
    UnknownExtentType { line: usize, kind: String },
    #[error("the descriptor names no extent")]
    NoExtents,
    #[error("the descriptor has more than 16384 extents")]
    TooManyExtents,
    #[error("the descriptor's {key} \"{value}\" is not a valid value")]
    BadValue { key: &'static str, value: String },
    #[error("descriptor version {0} is not supported")]
    Version(u32),
    #[error("the name \"{name}\" cannot be read in the encoding \"{encoding}\"")]
    Encoding { name: String, encoding: String },
    #[error("the disk is encrypted")]
    Encrypted,
}

impl Cause for DescriptorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Version(_) => ErrorKind::UnsupportedVersion,
            Self::UnknownExtentType { .. } => ErrorKind::Unsupported,
            Self::Encoding { .. } => ErrorKind::Encoding,
            Self::Encrypted => ErrorKind::Encrypted,
            _ => ErrorKind::InvalidDisk,
        }
    }
}
