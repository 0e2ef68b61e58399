//! The names of a disk's files.

use std::path::Path;

use crate::error::{Cause, ErrorKind};

/// Why a name cannot be that of a disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error("the path names no file")]
    NoFile,
    #[error("the name \"{0}\" cannot be written in a descriptor: it is not UTF-8")]
    NotUtf8(String),
    #[error(
        "the name {0:?} cannot be written in a descriptor: quotes and line ends have no place there"
    )]
    NotQuotable(String),
}

impl Cause for NameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The name of a descriptor and what the names of its extents begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskName {
    pub(crate) file: String,
    /// The name without `.vmdk`.
    pub(crate) base: String,
}

impl DiskName {
    /// The name of the disk at `path`, if descriptors can hold it.
    pub(crate) fn of(path: &Path) -> Result<Self, NameError> {
        let file = path.file_name().ok_or(NameError::NoFile)?;
        let Some(text) = file.to_str() else {
            return Err(NameError::NotUtf8(file.to_string_lossy().into_owned()));
        };
        Ok(Self {
            file: quotable(text)?.to_owned(),
            base: base_of(text).to_owned(),
        })
    }

    /// The file with all the sectors of a disk that is not split.
    pub(crate) fn flat(&self) -> String {
        format!("{}-flat.vmdk", self.base)
    }

    /// File `number`, counted from 1, of a split sparse disk.
    pub(crate) fn sparse_part(&self, number: usize) -> String {
        format!("{}-s{number:03}.vmdk", self.base)
    }

    /// File `number`, counted from 1, of a split flat disk.
    pub(crate) fn flat_part(&self, number: usize) -> String {
        format!("{}-f{number:03}.vmdk", self.base)
    }
}

/// A file name without the suffix of virtual disks.
pub(crate) fn base_of(name: &str) -> &str {
    const SUFFIX: &str = ".vmdk";
    name.len()
        .checked_sub(SUFFIX.len())
        .and_then(|end| name.split_at_checked(end))
        .filter(|(base, suffix)| !base.is_empty() && suffix.eq_ignore_ascii_case(SUFFIX))
        .map_or(name, |(base, _)| base)
}

/// The text, if it can stand between the quotes of a descriptor, where no character can be escaped.
pub(crate) fn quotable(text: &str) -> Result<&str, NameError> {
    if text.contains(['"', '\n', '\r', '\0']) {
        return Err(NameError::NotQuotable(text.to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn extents_are_named_after_the_descriptor() {
        let name = DiskName::of(Path::new("/vm/a.b.vmdk")).expect("a name");
        assert_eq!(name.flat(), "a.b-flat.vmdk");
        assert_eq!(name.sparse_part(1), "a.b-s001.vmdk");
        assert_eq!(name.flat_part(1000), "a.b-f1000.vmdk");
        for (file, base) in [
            ("disk", "disk"),
            ("disk.img", "disk.img"),
            ("D.VMDK", "D"),
            (".vmdk", ".vmdk"),
            ("größe.vmdk", "größe"),
            ("ößße", "ößße"),
        ] {
            assert_eq!(DiskName::of(Path::new(file)).expect("a name").base, base);
        }
    }

    #[test]
    fn names_that_no_text_can_hold_are_refused() {
        for name in ["a\"b.vmdk", "a\nb.vmdk", "a\rb", "..", "a/..", ""] {
            DiskName::of(Path::new(name)).expect_err(name);
        }
        let path = Path::new(OsStr::from_bytes(b"a\xff.vmdk"));
        DiskName::of(path).expect_err("not UTF-8");
    }
}
