//! What lets a client into a host, once.

use std::fmt;

use crate::secret::Secret;
use crate::tls::Pin;

/// The usual port of a host's authentication daemon.
pub(crate) const USUAL_PORT: u16 = 902;

/// What a ticket permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// To read any disk of a virtual machine, also a parent of the one that the machine writes to.
    ReadOnly,
    /// To read one disk of a virtual machine.
    ReadOnlyDisk,
    /// To read and write one disk of a virtual machine.
    Writable,
}

/// A ticket for one connection to a host: where it is, which certificate it will present, and a secret that it knows.
///
/// A ticket that was presented is used up. One that was not stays good for a minute or more.
pub struct Ticket {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) pin: Pin,
    pub(crate) service: String,
    pub(crate) session: Secret,
}

impl Ticket {
    /// The host to connect to, as a name or an address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to, 902 as a rule.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The service to ask for, such as `vpxa-nfc`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ticket")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
