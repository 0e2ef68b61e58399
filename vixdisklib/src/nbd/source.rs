//! Exports that are found when a client asks for them.

use std::sync::Arc;

use super::export::{Export, ExportError};

/// Finds exports by the names that clients ask for: a folder of disks, or a wildcard.
///
/// An export is opened when the first client asks about it and closed (flushed and dropped) when the last one that uses
/// it has left; clients that come in between share it. Names come from the network: match them against what there is,
/// and never make a path of one.
///
/// Calls come from several threads at the same time, but never two for the same name.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use vixdisklib::nbd::{Export, ExportError, ExportSource, Found, Listed};
///
/// struct Numbered(Vec<Arc<dyn Export>>);
///
/// impl ExportSource for Numbered {
///     fn list(&self) -> Vec<Listed> {
///         (0..self.0.len()).map(|number| Listed::new(number.to_string(), "")).collect()
///     }
///     fn find(&self, name: &str) -> Result<Option<Found>, ExportError> {
///         let found = name.parse().ok().and_then(|number: usize| self.0.get(number));
///         Ok(found.map(|export| Found::new("", Arc::clone(export))))
///     }
/// }
/// ```
pub trait ExportSource: Send + Sync {
    /// What clients are told when they ask for a list; it need not be complete. None unless overridden.
    fn list(&self) -> Vec<Listed> {
        Vec::new()
    }

    /// Opens the export that clients call `name`; `None` if there is none. The name has at most 4096 bytes and no NUL. It
    /// is empty if the client wants the default export and the server has none of its own.
    ///
    /// # Errors
    /// Any error; the client sees its text.
    fn find(&self, name: &str) -> Result<Option<Found>, ExportError>;
}

/// A closure finds exports that are not listed.
impl<F> ExportSource for F
where
    F: Fn(&str) -> Result<Option<Found>, ExportError> + Send + Sync,
{
    fn find(&self, name: &str) -> Result<Option<Found>, ExportError> {
        self(name)
    }
}

/// An export as clients see it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// By which clients ask for it.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
}

impl Listed {
    /// A line of the list. Texts of more than 4096 bytes or with a NUL are left out of the answer.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
        }
    }
}

/// An export that a source has opened.
pub struct Found {
    pub(super) description: String,
    pub(super) export: Arc<dyn Export>,
}

impl Found {
    /// The `description` is for people and may be empty.
    pub fn new(description: impl Into<String>, export: Arc<dyn Export>) -> Self {
        Self {
            description: description.into(),
            export,
        }
    }
}

impl std::fmt::Debug for Found {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Found")
            .field("description", &self.description)
            .field("size", &self.export.size())
            .finish_non_exhaustive()
    }
}
