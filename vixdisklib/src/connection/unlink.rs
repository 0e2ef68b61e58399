//! Removing a disk.

use std::ffi::OsStr;

use super::Connection;
use crate::api::required;
use crate::error::{Error, Operation, Result};

impl Connection {
    /// Deletes a local disk with all its files (`VixDiskLib_Unlink`).
    ///
    /// The disk must not be open. Its children lose their parent, and with it most of their content. Blocks, on the
    /// control thread.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Locked`](crate::ErrorKind::Locked),
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) on a connection for reading,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_Unlink")]
    pub fn unlink(&self, path: impl AsRef<OsStr>) -> Result<()> {
        let operation = Operation::Unlink;
        let api = self.library().api();
        let (path, name) = self.writable_name(operation, path.as_ref())?;
        let failed = |error: Error| self.locate(error, &path);
        let unlink = required(operation, api.table.unlink).map_err(failed)?;
        let connection = self.clone();
        let removed = self.library().control(move || {
            api.call(operation, |_| {
                // SAFETY: the connection is live, the name a C string.
                unsafe { unlink(connection.handle(), name.as_ptr()) }
            })
        });
        removed.map_err(failed)
    }
}
