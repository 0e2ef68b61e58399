//! Renaming a disk.

use std::path::Path;

use super::{Library, c_path};
use crate::api::required;
use crate::connection::absolute;
use crate::error::{Context, Error, Operation, Result};

impl Library {
    /// Renames a local disk with all its files, and what they say of each other (`VixDiskLib_Rename`).
    ///
    /// Relative paths are made absolute, as VDDK wants them. The disk must not be open, nor its virtual machine run.
    /// Children of the disk keep its old name and lose their parent. Blocks, on the control thread.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists),
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_Rename")]
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.rename_paths(from, to).map_err(|error: Error| {
            error
                .with_path(from)
                .with_context(Context::Target(to.to_owned()))
        })
    }

    fn rename_paths(&self, from: &Path, to: &Path) -> Result<()> {
        let operation = Operation::Rename;
        let api = self.api();
        let rename = required(operation, api.table.rename)?;
        let name = |path| c_path("the disk's name", &absolute(operation, path)?);
        let (from, to) = (name(from)?, name(to)?);
        self.control(move || {
            // SAFETY: both names are C strings that live during the call; the library is initialised.
            api.call(operation, |_| unsafe { rename(from.as_ptr(), to.as_ptr()) })
        })
    }
}
