//! What it takes to connect.

use std::fmt;

use crate::authd::TagKind;
use crate::soap::Credentials;
use crate::timeouts::Timeouts;
use crate::tls::TrustedCertificate;

/// The usual port of the management plane.
const USUAL_PORT: u16 = 443;

/// Where to connect to, as whom, and whom to trust.
///
/// ```
/// use vsphere_nfc::{ConnectOptions, Credentials, Secret, TrustedCertificate};
///
/// let password = Secret::new("correct horse".to_owned());
/// let credentials = Credentials::Password { user: "backup@vsphere.local".to_owned(), password };
/// let thumbprint = "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09".parse()?;
/// let options = ConnectOptions::new("vcenter.example", credentials)
///     .trusted(TrustedCertificate::Thumbprint(thumbprint));
/// assert!(!format!("{options:?}").contains("horse"));
/// # Ok::<(), vsphere_nfc::InvalidThumbprint>(())
/// ```
#[must_use]
pub struct ConnectOptions {
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) nfc_port: Option<u16>,
    pub(super) tag: TagKind,
    pub(super) credentials: Credentials,
    pub(super) trusted: TrustedCertificate,
    pub(super) timeouts: Timeouts,
}

impl ConnectOptions {
    /// A server, by name or address, on port 443, whose certificate an authority of the operating system has signed.
    pub fn new(server: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            server: server.into(),
            port: USUAL_PORT,
            nfc_port: None,
            tag: TagKind::Random,
            credentials,
            trusted: TrustedCertificate::System,
            timeouts: Timeouts::default(),
        }
    }

    /// Another port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Another port of the hosts that have the disks than the one that their tickets name.
    pub fn nfc_port(mut self, port: u16) -> Self {
        self.nfc_port = Some(port);
        self
    }

    /// Says the same word to all hosts, as VMware's own library does, instead of a random one that ties the disk service's
    /// answers to this client. Only for hosts that take no other.
    pub fn constant_tag(mut self, constant: bool) -> Self {
        self.tag = if constant {
            TagKind::Constant
        } else {
            TagKind::Random
        };
        self
    }

    /// Whose word is taken for who the server is.
    pub fn trusted(mut self, trusted: TrustedCertificate) -> Self {
        self.trusted = trusted;
        self
    }

    /// How long the server is waited for, and the hosts that its tickets are for.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("nfc_port", &self.nfc_port)
            .field("trusted", &self.trusted)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}
