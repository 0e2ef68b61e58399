//! Where sectors lie in a file as they are, for whoever can pass them on without reading them.

use std::fs::File;

use disk_units::{ByteLen, SectorRange};

use crate::storage::Storage;

/// Sectors that lie together in one file, as plain bytes; see [`Disk::file_range`](crate::Disk::file_range).
#[derive(Debug)]
pub struct FileRange {
    /// The file, open for reading on a descriptor of its own. Its position belongs to nobody: read and send from
    /// positions that you name.
    pub file: File,
    /// The position of the first byte in the file.
    pub position: ByteLen,
    /// The sectors.
    pub range: SectorRange,
}

/// What one link, or one of its extents, has at the front of a range.
pub(crate) enum Located<'a> {
    /// These sectors lie in the file from this position on.
    At {
        storage: &'a dyn Storage,
        position: ByteLen,
        range: SectorRange,
    },
    /// Nothing for these sectors: what is below shows.
    Below(SectorRange),
    /// They have to be read, if there are any.
    Elsewhere,
}

impl Located<'_> {
    /// The same with the sectors moved.
    pub(crate) fn map_range(self, change: impl FnOnce(SectorRange) -> SectorRange) -> Self {
        match self {
            Self::At {
                storage,
                position,
                range,
            } => Self::At {
                storage,
                position,
                range: change(range),
            },
            Self::Below(range) => Self::Below(change(range)),
            Self::Elsewhere => Self::Elsewhere,
        }
    }
}
