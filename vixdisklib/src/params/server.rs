//! The server of a connection, and who logs in there.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::credentials::{CredentialText, Credentials};
use super::{filled, given, refused, text};
use crate::error::Result;

/// A vCenter or ESXi server, and who logs in there: checked, and complete.
///
/// It is a cheap handle: clones share the secrets, which are wiped when the last clone is gone. So one login serves the
/// connections to many virtual machines.
///
/// ```
/// use vixdisklib::{ConnectParams, Credentials, Secret, Server, Spec};
///
/// let password = Secret::new("secret".to_owned())?;
/// let server = Server::builder("vcenter.example.com")
///     .credentials(Credentials::Password { user: "backup".to_owned(), password })
///     .thumbprint("b8:46:b2:1b:2c:a4:f0:f2:1c:9f:56:0d:27:2d:a9:fd:ca:a2:ef:58")
///     .build()?;
/// for moref in ["vm-16", "vm-17"] {
///     let params = ConnectParams::on(&server, Spec::Vm { moref: moref.to_owned() })?;
///     assert_eq!(params.server().map(Server::name), Some("vcenter.example.com"));
/// }
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    c_name: CString,
    thumbprint: Option<CString>,
    credentials: CredentialText,
    port: u16,
    nfc_port: u16,
}

impl Server {
    /// Starts the description of the server with this DNS name or address.
    pub fn builder(name: impl Into<String>) -> ServerBuilder {
        ServerBuilder::default().name(name)
    }

    /// The DNS name or address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn c_name(&self) -> &CStr {
        &self.0.c_name
    }

    pub(super) fn thumbprint(&self) -> Option<&CStr> {
        self.0.thumbprint.as_deref()
    }

    pub(super) fn credentials(&self) -> &CredentialText {
        &self.0.credentials
    }

    /// The ports of the web service and of the data service; 0 for the usual one.
    pub(super) fn ports(&self) -> (u16, u16) {
        (self.0.port, self.0.nfc_port)
    }
}

/// Collects a [`Server`]; see [`Server::builder`].
#[derive(Debug, Default)]
#[must_use]
pub struct ServerBuilder {
    name: Option<String>,
    thumbprint: Option<String>,
    credentials: Option<Credentials>,
    port: u16,
    nfc_port: u16,
}

impl ServerBuilder {
    pub(super) fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The fingerprint of the server's certificate: 20 pairs of hex digits joined by colons for SHA-1, the form that
    /// VDDK is known to compare (manual of nbdkit's VDDK plugin). 32 pairs, for SHA-256, are passed on too; that VDDK
    /// accepts them is not confirmed by any public source.
    pub fn thumbprint(mut self, text: impl Into<String>) -> Self {
        self.thumbprint = Some(text.into());
        self
    }

    /// Who logs in.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The port of the server's web service; 443 if not set, or 0.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The port of the data service on the ESXi host; 902 if not set, or 0.
    pub fn nfc_port(mut self, port: u16) -> Self {
        self.nfc_port = port;
        self
    }

    /// Whether nothing was set: no server is meant.
    pub(super) fn is_untouched(&self) -> bool {
        let Self {
            name,
            thumbprint,
            credentials,
            port,
            nfc_port,
        } = self;
        name.is_none()
            && thumbprint.is_none()
            && credentials.is_none()
            && (*port, *nfc_port) == (0, 0)
    }

    /// Checks the description.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the name, the credentials or a string in
    /// them is missing, a string contains a NUL character, or the thumbprint is none. A null string would crash the
    /// proprietary library, so nothing is left to it.
    pub fn build(self) -> Result<Server> {
        let Self {
            name,
            thumbprint,
            credentials,
            port,
            nfc_port,
        } = self;
        let Some(credentials) = credentials else {
            return Err(refused("a remote connection needs credentials"));
        };
        let name = name.unwrap_or_default();
        Ok(Server(Arc::new(Inner {
            c_name: filled("the server's name", name.clone())?,
            name,
            thumbprint: thumbprint.map(checked_thumbprint).transpose()?,
            credentials: CredentialText::new(credentials)?,
            port,
            nfc_port,
        })))
    }
}

/// A SHA-1 or SHA-256 fingerprint as text.
fn checked_thumbprint(print: String) -> Result<CString> {
    let what = "the thumbprint";
    let print = given(what, print)?;
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = print.split(':').count();
    if !print.split(':').all(pair) || ![20, 32].contains(&pairs) {
        return Err(refused(format!(
            "{what} is not 20 (SHA-1) or 32 (SHA-256) pairs of hex digits joined by colons"
        )));
    }
    text(what, print)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::secret::Secret;

    fn thumbprint(text: &str) -> Result<Server> {
        Server::builder("vc.example.com")
            .credentials(Credentials::Sspi)
            .thumbprint(text)
            .build()
    }

    #[test]
    fn a_thumbprint_is_sha_1_or_sha_256() {
        for pairs in [20, 32] {
            let print = vec!["aB"; pairs].join(":");
            let server = thumbprint(&print).expect("a thumbprint");
            let sent = server.thumbprint().expect("given");
            assert_eq!(sent.to_str(), Ok(print.as_str()));
        }
    }

    #[test]
    fn what_is_no_thumbprint_is_refused() {
        let twenty = |pair: &str| vec![pair; 20].join(":");
        let bad = [
            String::new(),
            "aa:bb:cc".to_owned(),
            "aa".repeat(20),
            twenty("a"),
            twenty("ag"),
            twenty("aa") + ":",
            twenty("aa").replacen("aa", "aä", 1),
            twenty("aa") + "\n",
            twenty("aa") + "\0",
            twenty(" a"),
            vec!["aa"; 19].join(":"),
            vec!["aa"; 33].join(":"),
        ];
        for print in bad {
            let error = thumbprint(&print).expect_err(&print);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn what_would_reach_the_library_as_null_is_refused() {
        let refused = |builder: ServerBuilder| {
            let error = builder.build().expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            error.to_string()
        };
        let nobody = Server::builder("vc.example.com");
        assert!(refused(nobody).contains("needs credentials"));
        let nowhere = Server::builder("").credentials(Credentials::Sspi);
        assert!(refused(nowhere).contains("server's name is missing"));
        let secret = |text: &str| Secret::new(text.to_owned()).expect("no NUL");
        let session = |user: &str, cookie: &str| {
            Server::builder("vc.example.com").credentials(Credentials::Session {
                cookie: secret(cookie),
                user: user.to_owned(),
                key: secret("key-1"),
            })
        };
        assert!(refused(session("", "cookie-1")).contains("user name is missing"));
        assert!(refused(session("root", "")).contains("cookie is missing"));
        assert!(refused(session("ro\0ot", "cookie-1")).contains("NUL"));
    }
}
