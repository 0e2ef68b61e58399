//! The kinds of disks.

use std::fmt;
use std::str::FromStr;

use vixdisklib_sys::VixDiskLibDiskType;

use crate::error::{Error, ErrorKind, Operation};

/// The kind of a disk: how its files hold the sectors (`VixDiskLibDiskType`).
///
/// The set is open, as a library may know more kinds than its header: [`from_raw`](Self::from_raw) takes any number.
/// Every kind of the header has a name, which [`FromStr`] reads.
///
/// ```
/// use vixdisklib::DiskKind;
///
/// let kind: DiskKind = "streamOptimized".parse()?;
/// assert_eq!(kind, DiskKind::STREAM_OPTIMIZED);
/// assert_eq!(kind.to_string(), "streamOptimized");
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskKind(VixDiskLibDiskType);

macro_rules! kinds {
    ($($(#[$doc:meta])* $constant:ident = $raw:ident, $name:literal;)*) => {
        impl DiskKind {
            $($(#[$doc])* pub const $constant: Self = Self(VixDiskLibDiskType::$raw);)*

            /// Every kind that has a name.
            pub const NAMED: &'static [Self] = &[$(Self::$constant),*];

            /// The name of the kind, or `None` if the header has none for it.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Grows with its data, one file.
    MONOLITHIC_SPARSE = VIXDISKLIB_DISK_MONOLITHIC_SPARSE, "monolithicSparse";
    /// Holds all its space from the start: a text, and one file with the sectors.
    MONOLITHIC_FLAT = VIXDISKLIB_DISK_MONOLITHIC_FLAT, "monolithicFlat";
    /// Grows with its data: a text, and files of at most 2 GiB each.
    SPLIT_SPARSE = VIXDISKLIB_DISK_SPLIT_SPARSE, "splitSparse";
    /// Holds all its space from the start: a text, and files of at most 2 GiB each.
    SPLIT_FLAT = VIXDISKLIB_DISK_SPLIT_FLAT, "splitFlat";
    /// The thick disk of ESX hosts.
    VMFS_FLAT = VIXDISKLIB_DISK_VMFS_FLAT, "vmfsFlat";
    /// Compressed, written once from front to back: for transport.
    STREAM_OPTIMIZED = VIXDISKLIB_DISK_STREAM_OPTIMIZED, "streamOptimized";
    /// The thin disk of ESX hosts; VDDK makes it on hosts only.
    VMFS_THIN = VIXDISKLIB_DISK_VMFS_THIN, "vmfsThin";
    /// The snapshot delta of ESX hosts; VDDK makes it on hosts only.
    VMFS_SPARSE = VIXDISKLIB_DISK_VMFS_SPARSE, "vmfsSparse";
}

impl DiskKind {
    /// The kind that a library calls by this number.
    #[must_use]
    pub fn from_raw(number: u32) -> Self {
        Self(VixDiskLibDiskType(number))
    }

    /// The number of the kind in C.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0.0
    }

    pub(crate) fn to_c(self) -> VixDiskLibDiskType {
        self.0
    }
}

impl fmt::Display for DiskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "kind {}", self.raw()),
        }
    }
}

impl fmt::Debug for DiskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DiskKind({self})")
    }
}

impl FromStr for DiskKind {
    type Err = Error;

    /// Reads the name of a kind, in any case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = |kind: &&Self| {
            kind.name()
                .is_some_and(|name| name.eq_ignore_ascii_case(text))
        };
        Self::NAMED.iter().find(named).copied().ok_or_else(|| {
            let names: Vec<_> = Self::NAMED.iter().filter_map(|kind| kind.name()).collect();
            let text = format!(
                "no kind of disk is called {text:?}; there are {}",
                names.join(", ")
            );
            Error::new(ErrorKind::InvalidArgument, Operation::Configure, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        for kind in DiskKind::NAMED {
            assert_eq!(DiskKind::from_raw(kind.raw()), *kind);
            assert_eq!(kind.to_string().parse::<DiskKind>().expect("a name"), *kind);
        }
        assert_eq!(DiskKind::NAMED.len(), 8);
    }

    #[test]
    fn unknown_kinds_survive() {
        let unknown = DiskKind::from_raw(77);
        assert_eq!((unknown.raw(), unknown.name()), (77, None));
        assert_eq!(format!("{unknown:?}"), "DiskKind(kind 77)");
    }

    #[test]
    fn another_name_is_refused_with_those_that_there_are() {
        let error = "qcow2".parse::<DiskKind>().expect_err("no such kind");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("splitSparse"), "{error}");
    }
}
