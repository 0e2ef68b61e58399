//! Names of files on datastores: `[datastore] folder/file`.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// The name of a file on a datastore, such as `[datastore1] web/web.vmdk`.
///
/// The file lies in the datastore's folder or below it: the name is relative, and has no `..` in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct DatastorePath {
    datastore: String,
    file: String,
}

/// A text is not the name of a file on a datastore.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form `[datastore] folder/file`: {reason}")]
pub struct InvalidDatastorePath {
    text: String,
    reason: &'static str,
}

impl DatastorePath {
    /// The same file on another datastore.
    pub(crate) fn on(mut self, datastore: &str) -> Self {
        datastore.clone_into(&mut self.datastore);
        self
    }

    /// The name of a file on the same datastore.
    #[must_use]
    pub(crate) fn with_file(&self, file: impl Into<String>) -> Self {
        Self {
            datastore: self.datastore.clone(),
            file: file.into(),
        }
    }

    /// The name of the datastore.
    #[must_use]
    pub fn datastore(&self) -> &str {
        &self.datastore
    }

    /// The file, relative to the datastore.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where the file is, if the datastore is this folder.
    pub(crate) fn below(&self, folder: &Path) -> PathBuf {
        folder.join(&self.file)
    }

    /// The name of a file next to this one, as a descriptor says it; `None` if it leads out of the datastore.
    pub(crate) fn neighbour(&self, hint: &str) -> Option<Self> {
        let folder = Path::new(&self.file).parent()?;
        let mut file = PathBuf::new();
        for component in folder.join(hint).components() {
            match component {
                Component::Normal(name) => file.push(name),
                Component::CurDir => {}
                Component::ParentDir if file.pop() => {}
                _ => return None,
            }
        }
        Some(self.with_file(file.to_str()?))
    }
}

impl fmt::Display for DatastorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.datastore, self.file)
    }
}

impl FromStr for DatastorePath {
    type Err = InvalidDatastorePath;

    fn from_str(text: &str) -> Result<Self, InvalidDatastorePath> {
        let invalid = |reason| InvalidDatastorePath {
            text: text.to_owned(),
            reason,
        };
        let rest = text.strip_prefix('[');
        let rest = rest.ok_or_else(|| invalid("it does not begin with a bracket"))?;
        let (datastore, file) = rest
            .split_once(']')
            .ok_or_else(|| invalid("the bracket is not closed"))?;
        let file = file.trim_start();
        if datastore.is_empty() || file.is_empty() {
            return Err(invalid("a name is empty"));
        }
        if file.contains(['\0', '\r', '\n']) {
            return Err(invalid("a name has control characters"));
        }
        let is_plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        if !Path::new(file).components().all(is_plain) {
            return Err(invalid("the file lies outside of the datastore"));
        }
        Ok(Self {
            datastore: datastore.to_owned(),
            file: file.to_owned(),
        })
    }
}

impl TryFrom<String> for DatastorePath {
    type Error = InvalidDatastorePath;

    fn try_from(text: String) -> Result<Self, InvalidDatastorePath> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printed_as_it_was_read() {
        let path: DatastorePath = "[ds one] web/web 2.vmdk".parse().expect("it is valid");
        assert_eq!(
            (path.datastore(), path.file()),
            ("ds one", "web/web 2.vmdk")
        );
        assert_eq!(path.to_string(), "[ds one] web/web 2.vmdk");
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for text in [
            "web.vmdk",
            "[ds",
            "[] a",
            "[ds] ",
            "[ds] /etc/passwd",
            "[ds] a/../../b",
            "[ds] a\0b",
        ] {
            assert!(text.parse::<DatastorePath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn neighbours_stay_on_the_datastore() {
        let path: DatastorePath = "[ds] web/snap/web-1.vmdk".parse().expect("it is valid");
        let neighbour = |hint| path.neighbour(hint).map(|path| path.to_string());
        assert_eq!(
            neighbour("web.vmdk").as_deref(),
            Some("[ds] web/snap/web.vmdk")
        );
        assert_eq!(
            neighbour("../web.vmdk").as_deref(),
            Some("[ds] web/web.vmdk")
        );
        assert_eq!(neighbour("../../../web.vmdk"), None);
        assert_eq!(neighbour("/web.vmdk"), None);
    }
}
