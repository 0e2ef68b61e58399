//! The fuse of an open disk: blown by a failed write of metadata or a failed sync, it stops all further writes.
//!
//! After such a failure nobody knows what the file holds, so that another write could turn one lost update into a
//! damaged disk, and another flush could report as durable what is lost. Reads go on.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Refusal};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fuse(AtomicBool);

impl Fuse {
    /// Refuses if a protected write has failed before.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.0.load(Ordering::Acquire) {
            Err(Refusal::WritesSuspended)
        } else {
            Ok(())
        }
    }

    /// Runs a write of metadata or a sync; if it fails, there will be no other.
    pub(crate) fn protect<T>(&self, write: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        write().inspect_err(|error| {
            self.0.store(true, Ordering::Release);
            tracing::warn!(%error, "writing metadata or making data durable failed; the disk takes no more writes until it is opened again");
        })
    }
}
