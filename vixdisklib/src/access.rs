//! Keeping vCenter from moving a virtual machine while its disks are used.

use std::ffi::CString;
use std::sync::Arc;

use crate::api::Api;
use crate::connection::{ConnectOptions, Connection};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::library::Library;
use crate::params::{self, ConnectParams, ParamsPointer, RawParams};

/// The length that the Virtual Disk Programming Guide allows in characters. Counted in bytes here, as C would.
const LONGEST_IDENTITY: usize = 50;

/// A virtual machine that vCenter does not move to other storage while this lives (`VixDiskLib_PrepareForAccess`).
///
/// The order of a backup is: prepare, take the snapshot, [`connect`](Self::connect), open, read and close disks, drop
/// the connection, delete the snapshot, [`end`](Self::end) (Virtual Disk Programming Guide). Connections that are made
/// through this, and their disks, hold it: `VixDiskLib_EndAccess` runs when this and the last of them is gone, whatever
/// happened before, also if preparing itself had failed, since it may have failed for one of several machines. Only
/// a process that dies leaves the machine locked to its storage: [`Library::end_access`] repairs that.
///
/// Dropping ends too, and logs the error that `end` returns. Calls run on the library's control thread.
///
/// ```
/// use vixdisklib::{ConnectOptions, ConnectParams, Library};
///
/// let library = Library::embedded()?;
/// let access = library.prepare_for_access_if_possible(ConnectParams::local(), "nightly backup")?;
/// let connection = access.connect(&ConnectOptions::new().read_only(true))?;
/// // ... open disks, and read them.
/// let error = access.end().expect_err("a connection is open");
/// assert_eq!(error.kind(), vixdisklib::ErrorKind::InUse);
/// drop(connection); // ends the access
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct PreparedAccess {
    guard: Arc<AccessGuard>,
    refusal: Option<Error>,
}

/// Ends the access when the last that holds it is gone.
#[derive(Debug)]
pub(crate) struct AccessGuard {
    params: Arc<RawParams>,
    identity: CString,
    ended: bool,
}

impl Library {
    /// Keeps vCenter from moving a virtual machine to other storage (`VixDiskLib_PrepareForAccess`, VDDK 5.0). Call it
    /// before the snapshot is taken, with the parameters to connect with.
    ///
    /// `identity` is free text of at most 50 bytes that vCenter shows as the reason. Only vCenter can do it: a
    /// connection to a single ESXi host fails. See [`prepare_for_access_if_possible`] for that. While the machine is
    /// being moved, or somebody else has prepared it, it fails as well; try again for some minutes then. Runs on the
    /// control thread, and blocks for the network.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an identity that is empty, too long or holds a NUL character,
    /// [`ErrorKind::Unsupported`] if the library has no such call or does not know the spec; or what the library
    /// reports, and then the access has been ended again.
    ///
    /// [`prepare_for_access_if_possible`]: Self::prepare_for_access_if_possible
    #[doc(alias = "VixDiskLib_PrepareForAccess")]
    pub fn prepare_for_access(
        &self,
        params: ConnectParams,
        identity: &str,
    ) -> Result<PreparedAccess> {
        let access = self.prepare_for_access_if_possible(params, identity)?;
        match access.refusal {
            // The guard ends before the error is out.
            Some(refusal) => Err(refusal),
            None => Ok(access),
        }
    }

    /// As [`prepare_for_access`](Self::prepare_for_access), but goes on when the library refuses, for servers that may
    /// be an ESXi host: the error is logged as a warning and kept in [`PreparedAccess::refusal`].
    ///
    /// The library does not tell "this is no vCenter" from other failures by its code, so all are treated alike.
    ///
    /// # Errors
    /// Those of `prepare_for_access` that are about the arguments, and [`ErrorKind::Forked`].
    #[doc(alias = "VixDiskLib_PrepareForAccess")]
    pub fn prepare_for_access_if_possible(
        &self,
        params: ConnectParams,
        identity: &str,
    ) -> Result<PreparedAccess> {
        let identity = checked_identity(identity)?;
        // Made before the call, so that whatever becomes of it is ended.
        let mut guard = AccessGuard {
            params: Arc::new(RawParams::new(self, params)?),
            identity,
            ended: false,
        };
        let refusal = match guard.prepare() {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::Forked => return Err(error),
            Err(error) => {
                // Without a call there is nothing to end.
                guard.ended = error.code().is_none();
                tracing::warn!(%error, "the library does not keep the machine from being moved");
                Some(error)
            }
        };
        Ok(PreparedAccess {
            guard: Arc::new(guard),
            refusal,
        })
    }

    /// Lets vCenter move a virtual machine again (`VixDiskLib_EndAccess`, VDDK 5.0), after a process that had prepared
    /// it died. Give the parameters and the identity of that process, once nobody uses the machine's disks. Where a
    /// [`PreparedAccess`] lives it does this itself.
    ///
    /// # Errors
    /// As [`prepare_for_access`](Self::prepare_for_access).
    #[doc(alias = "VixDiskLib_EndAccess")]
    pub fn end_access(&self, params: &ConnectParams, identity: &str) -> Result<()> {
        let mut guard = AccessGuard {
            identity: checked_identity(identity)?,
            params: Arc::new(RawParams::new(self, params.clone())?),
            ended: false,
        };
        guard.end()
    }
}

impl PreparedAccess {
    /// Connects with the parameters that were prepared; else as [`Library::connect`].
    ///
    /// # Errors
    /// As [`Library::connect`].
    #[doc(alias = "VixDiskLib_ConnectEx")]
    pub fn connect(&self, options: &ConnectOptions) -> Result<Connection> {
        let params = Arc::clone(&self.guard.params);
        Connection::open(params, options, Some(Arc::clone(&self.guard)))
    }

    /// Why nothing was prepared, if the library refused; only
    /// [`prepare_for_access_if_possible`](Library::prepare_for_access_if_possible) goes on then.
    #[must_use]
    pub fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// Ends the access now (`VixDiskLib_EndAccess`), and returns the error that dropping would only log. Call it after
    /// the snapshot is deleted. Runs on the control thread, and blocks for the network.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] if connections or disks that were made through this are open: then the access ends when
    /// the last is gone. Else what the library reports.
    #[doc(alias = "VixDiskLib_EndAccess")]
    pub fn end(self) -> Result<()> {
        match Arc::into_inner(self.guard) {
            Some(mut guard) => guard.end(),
            None => {
                let text = "connections made through it are open; it ends when the last is gone";
                Err(Error::new(ErrorKind::InUse, Operation::EndAccess, text))
            }
        }
    }
}

impl AccessGuard {
    fn prepare(&self) -> Result<()> {
        let library = self.params.library();
        let table = &library.api().table;
        let (Some(prepare), Some(_)) = (table.prepare_for_access, table.end_access) else {
            return Err(absent(Operation::PrepareForAccess));
        };
        let (api, params, identity) = self.call();
        let done = library.control(move || {
            // SAFETY: complete parameters, which the guard keeps, and a C string; the library is initialised.
            api.call(Operation::PrepareForAccess, |_| unsafe {
                prepare(params.get(), identity.as_ptr())
            })
        });
        done.map_err(|error| self.params.location().locate(error))
    }

    /// `VixDiskLib_EndAccess`, once.
    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let library = self.params.library();
        let Some(end) = library.api().table.end_access else {
            return Err(absent(Operation::EndAccess));
        };
        let (api, params, identity) = self.call();
        let done = library.control(move || {
            // SAFETY: as in `prepare`.
            api.call(Operation::EndAccess, |_| unsafe {
                end(params.get(), identity.as_ptr())
            })
        });
        done.map_err(|error| self.params.location().locate(error))
    }

    /// What a call on the control thread needs; the guard waits for it.
    fn call(&self) -> (&'static Api, ParamsPointer, CString) {
        let api = self.params.library().api();
        (api, self.params.pointer(), self.identity.clone())
    }
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        if let Err(error) = self.end()
            && error.kind() != ErrorKind::Forked
        {
            tracing::warn!(%error, "ending access failed on drop");
        }
    }
}

fn checked_identity(identity: &str) -> Result<CString> {
    if identity.len() > LONGEST_IDENTITY {
        let text = format!("the identity is longer than {LONGEST_IDENTITY} bytes: {identity:?}");
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            Operation::Configure,
            text,
        ));
    }
    params::filled("the identity", identity.to_owned())
}

fn absent(operation: Operation) -> Error {
    let text = "the library has no call for it, VDDK 5.0 does";
    Error::new(ErrorKind::Unsupported, operation, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send_and_sync<T: Send + Sync>() {}

    #[test]
    fn a_guard_may_be_held_anywhere() {
        is_send_and_sync::<PreparedAccess>();
    }

    #[test]
    fn an_identity_is_short_and_not_empty() {
        checked_identity(&"x".repeat(50)).expect("just short enough");
        for bad in ["", "a\0b", &"x".repeat(51), &"ä".repeat(26)] {
            let error = checked_identity(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
