//! How a disk is opened.

/// How a disk is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) writable: bool,
    /// Open this link of the chain only, not its parents.
    pub(crate) single_link: bool,
    /// For data that goes over a network.
    pub(crate) compression: Compression,
}

/// How data is compressed on its way through a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    #[default]
    None,
    Zlib,
    FastLz,
    SkipZ,
}
