//! What a connection is for, besides its parameters.

use std::ffi::CString;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::params::{self, ConnectParams, SpecText};
use crate::transport::TransportModes;

/// What a connection is for, besides its [`ConnectParams`].
///
/// ```
/// use vixdisklib::{ConnectOptions, Transport};
///
/// let options = ConnectOptions::new()
///     .read_only(true)
///     .snapshot("snapshot-27")
///     .transport_modes([Transport::NBDSSL, Transport::NBD]);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConnectOptions {
    pub(super) read_only: bool,
    snapshot: Option<String>,
    transport_modes: TransportModes,
}

impl ConnectOptions {
    /// For reading and writing, of the disks as they are now, over any transport.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether every disk of the connection is opened for reading, whatever its flags say. The library may then take a
    /// cheaper path.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The managed object reference of the snapshot whose disks are opened, such as `snapshot-27`; for connections to
    /// a virtual machine only.
    pub fn snapshot(mut self, moref: impl Into<String>) -> Self {
        self.snapshot = Some(moref.into());
        self
    }

    /// The transports to try, the preferred one first; without any, the library's own order.
    pub fn transport_modes(mut self, modes: impl Into<TransportModes>) -> Self {
        self.transport_modes = modes.into();
        self
    }

    /// The snapshot and the transports as C strings for a connection with these parameters.
    pub(super) fn strings(
        &self,
        params: &ConnectParams,
    ) -> Result<(Option<CString>, Option<CString>)> {
        let snapshot = self
            .snapshot
            .clone()
            .map(|moref| params::filled("the snapshot's moref", moref))
            .transpose()?;
        let modes = match self.transport_modes.is_empty() {
            true => None,
            false => Some(params::text(
                "the list of transports",
                self.transport_modes.to_string(),
            )?),
        };
        if snapshot.is_some() && !matches!(params.spec, SpecText::Vmx(_)) {
            let text = match params.spec {
                SpecText::Fcd { .. } => {
                    "the snapshot of a first class disk is a part of its Spec, not of the options"
                }
                _ => "only a connection to a virtual machine takes a snapshot",
            };
            let error = Error::new(ErrorKind::InvalidArgument, Operation::Connect, text);
            return Err(error);
        }
        Ok((snapshot, modes))
    }
}
