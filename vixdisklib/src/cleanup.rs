//! Removing what processes that died have left behind.

use std::sync::Arc;

use crate::error::{Context, Error, ErrorKind, Operation, Result};
use crate::library::Library;
use crate::params::{RawParams, Server};

/// What [`Library::cleanup`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// How many virtual machines were cleaned up.
    pub cleaned_up: u32,
    /// How many virtual machines are left to be cleaned up.
    pub remaining: u32,
}

impl Library {
    /// Removes what processes that died have left behind on a server: attached disks, and the files that tell of them
    /// (`VixDiskLib_Cleanup`, VDDK 1.1).
    ///
    /// VDDK finds what is left by files in its temporary directory, which is another one for each process unless
    /// [`Configuration::temporary_directory`](crate::Configuration::temporary_directory) sets it: set it to the same
    /// path in all processes. With HotAdd call it before the snapshot is deleted (Virtual Disk Programming Guide). Runs
    /// on the control thread, and blocks for the network.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the library has no such call; or what the library reports, also if not all could
    /// be cleaned up: then [`Error::context`] has a [`Context::Cleaned`].
    #[doc(alias = "VixDiskLib_Cleanup")]
    pub fn cleanup(&self, server: &Server) -> Result<Cleaned> {
        let operation = Operation::Cleanup;
        let api = self.api();
        let Some(cleanup) = api.table.cleanup else {
            let text = "the library has no call for it, VDDK 1.1 does";
            return Err(Error::new(ErrorKind::Unsupported, operation, text));
        };
        let params = Arc::new(RawParams::of_server(self, server)?);
        let pointer = params.pointer();
        let (done, cleaned) = self.control(move || {
            let mut cleaned = Cleaned::default();
            let done = api.call(operation, |_| {
                // SAFETY: complete parameters, which the caller keeps meanwhile; the outputs are writable; the library
                // is initialised.
                unsafe {
                    cleanup(
                        pointer.get(),
                        &raw mut cleaned.cleaned_up,
                        &raw mut cleaned.remaining,
                    )
                }
            });
            Ok((done, cleaned))
        })?;
        match done {
            Ok(()) => Ok(cleaned),
            Err(error) => {
                let error = params.location().locate(error);
                Err(match cleaned {
                    Cleaned {
                        cleaned_up: 0,
                        remaining: 0,
                    } => error,
                    cleaned => error.with_context(Context::Cleaned(cleaned)),
                })
            }
        }
    }
}
