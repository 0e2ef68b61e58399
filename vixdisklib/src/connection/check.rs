//! Checking a disk, and repairing it.

use std::ffi::{CString, OsStr};
use std::path::PathBuf;

use vixdisklib_sys::VixError;

use super::Connection;
use crate::api::required;
use crate::error::{Error, Operation, Result};
use crate::log::{LogLine, Window};

/// What a check or a repair found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// The disk is in order, or has been repaired.
    Good,
    /// [`repair`](Connection::repair) can mend the disk (`VIX_E_DISK_NEEDSREPAIR`).
    NeedsRepair,
    /// The disk is damaged, and the library cannot mend it (`VIX_E_DISK_CANTREPAIR`).
    CannotRepair,
}

/// The outcome of [`Connection::check`] and [`Connection::repair`].
#[derive(Clone, Debug)]
pub struct CheckReport {
    health: Health,
    log_lines: Vec<LogLine>,
}

impl CheckReport {
    /// What state the disk is in now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether the disk is in order now.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.health == Health::Good
    }

    /// What the library logged meanwhile, at most 32 lines: where it finds something, they say what.
    #[must_use]
    pub fn log_lines(&self) -> &[LogLine] {
        &self.log_lines
    }
}

impl Connection {
    /// Checks the metadata of a local sparse disk, and changes nothing (`VixDiskLib_CheckRepair`).
    ///
    /// A disk that needs repair is no error but a [`Health`]. The disk must not be open for writing. Blocks, on the
    /// control thread: no other disk is opened or closed meanwhile.
    ///
    /// # Errors
    /// What keeps the disk from being checked: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::Locked`](crate::ErrorKind::Locked),
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_CheckRepair")]
    pub fn check(&self, path: impl AsRef<OsStr>) -> Result<CheckReport> {
        self.check_repair(
            Operation::Check,
            self.name(Operation::Check, path.as_ref())?,
        )
    }

    /// Checks a local sparse disk and mends what it can (`VixDiskLib_CheckRepair`); else as [`check`](Self::check).
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) on a connection for reading.
    #[doc(alias = "VixDiskLib_CheckRepair")]
    pub fn repair(&self, path: impl AsRef<OsStr>) -> Result<CheckReport> {
        let name = self.writable_name(Operation::Repair, path.as_ref())?;
        self.check_repair(Operation::Repair, name)
    }

    fn check_repair(
        &self,
        operation: Operation,
        (path, name): (PathBuf, CString),
    ) -> Result<CheckReport> {
        let api = self.library().api();
        let failed = |error: Error| self.locate(error, &path);
        let check = required(operation, api.table.check_repair).map_err(failed)?;
        let repair = operation == Operation::Repair;
        let connection = self.clone();
        let checked = self.library().control(move || {
            let window = Window::open();
            // SAFETY: the connection is live, the name a C string.
            let code = unsafe { check(connection.handle(), name.as_ptr(), repair.into()) };
            let health = match code.without_detail() {
                VixError::OK => Health::Good,
                VixError::DISK_NEEDSREPAIR => Health::NeedsRepair,
                VixError::DISK_CANTREPAIR => Health::CannotRepair,
                _ => return Err(api.error(operation, code, window)),
            };
            let log_lines = window.collect();
            Ok(CheckReport { health, log_lines })
        });
        checked.map_err(failed)
    }
}
