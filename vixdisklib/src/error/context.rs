//! The circumstances of an error.

use std::fmt;
use std::path::PathBuf;

use disk_units::SectorRange;

use crate::cleanup::Cleaned;
use crate::transport::Transport;

/// One circumstance of an [`Error`](super::Error).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Context {
    /// The disk, by the name it was opened with, or the library's path.
    Path(PathBuf),
    /// The sectors of the request.
    Sectors(SectorRange),
    /// The server of the connection.
    Server(String),
    /// The metadata key.
    Key(String),
    /// The reference of the snapshot that the connection is for.
    Snapshot(String),
    /// The transport of the open disk.
    Transport(Transport),
    /// The new name of a disk that is renamed, the name of its clone, or the disk that it is attached to.
    Target(PathBuf),
    /// How far a clean-up came.
    Cleaned(Cleaned),
}

impl Context {
    /// The place in a sentence.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Sectors(_) => 0,
            Self::Path(_) => 1,
            Self::Target(_) => 2,
            Self::Key(_) => 3,
            Self::Snapshot(_) => 4,
            Self::Server(_) => 5,
            Self::Transport(_) => 6,
            Self::Cleaned(_) => 7,
        }
    }

    /// Whether it goes without saying.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Transport(mode) if *mode == Transport::FILE)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(formatter, "\"{}\"", path.display()),
            Self::Sectors(range) => write!(formatter, "sectors {range}"),
            Self::Server(name) => write!(formatter, "at {name}"),
            Self::Key(key) => write!(formatter, "key {key:?}"),
            Self::Snapshot(moref) => write!(formatter, "of {moref}"),
            Self::Transport(mode) => write!(formatter, "over {mode}"),
            Self::Target(path) => write!(formatter, "to \"{}\"", path.display()),
            Self::Cleaned(cleaned) => write!(
                formatter,
                "({} cleaned up, {} remaining)",
                cleaned.cleaned_up, cleaned.remaining
            ),
        }
    }
}
