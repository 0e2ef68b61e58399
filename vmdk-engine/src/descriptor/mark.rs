//! What tells whether the content of a disk is still what its children know.

use std::fmt;

/// A number that changes with the content of a disk. Numbers of different kinds are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentMark {
    /// The content id of a descriptor.
    Cid(u32),
    /// The generation in the header of a COWD file without a descriptor.
    Generation(u32),
}

impl fmt::Display for ContentMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cid(id) => write!(f, "the content id {id:08x}"),
            Self::Generation(number) => write!(f, "the generation {number}"),
        }
    }
}
