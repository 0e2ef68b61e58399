//! What a child's text says of its parent.

use std::ffi::OsString;

use super::{Charset, ContentMark, DescriptorError, file_name};

/// What a child says of its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParentReference {
    /// What the parent's content had when the child was made.
    pub(crate) mark: ContentMark,
    /// Where the parent may be, in the bytes of the text.
    pub(super) hint: Option<Vec<u8>>,
    /// The character set of these bytes.
    pub(super) encoding: String,
}

impl ParentReference {
    /// The hint as text, to show it.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = self.hint.as_deref()?;
        Some(Charset::named(&self.encoding).decode_lossy(hint))
    }

    /// The hint as this system would write it.
    pub(crate) fn file_name(&self) -> Result<Option<OsString>, DescriptorError> {
        let hint = self.hint.as_deref();
        hint.map(|hint| file_name(hint, &self.encoding)).transpose()
    }
}
