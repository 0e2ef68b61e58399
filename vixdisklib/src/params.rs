//! What to connect to, and as whom.

mod credentials;
mod raw;
mod reported;
mod server;
mod spec;

use std::ffi::CString;

pub(crate) use credentials::CredentialText;
pub use credentials::Credentials;
pub(crate) use raw::{ParamsPointer, RawParams};
pub use reported::ReportedParams;
pub(crate) use reported::read_back;
pub use server::{Server, ServerBuilder};
pub use spec::Spec;
pub(crate) use spec::SpecText;

use crate::error::{Error, ErrorKind, Operation, Result};

/// The parameters of a connection, checked: what reaches the library is complete and free of NUL characters.
///
/// Clones share the server and its secrets.
///
/// ```
/// use vixdisklib::{ConnectParams, Credentials, Secret, Spec};
///
/// let local = ConnectParams::local();
/// assert!(local.is_local());
///
/// let password = Secret::new("secret".to_owned())?;
/// let remote = ConnectParams::builder(Spec::Vm { moref: "vm-16".to_owned() })
///     .server("vcenter.example.com")
///     .credentials(Credentials::Password { user: "backup".to_owned(), password })
///     .thumbprint("b8:46:b2:1b:2c:a4:f0:f2:1c:9f:56:0d:27:2d:a9:fd:ca:a2:ef:58")
///     .build()?;
/// assert!(!format!("{remote:?}").contains("secret"));
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConnectParams {
    pub(crate) spec: SpecText,
    pub(crate) server: Option<Server>,
}

impl ConnectParams {
    /// Parameters for disks in files of this machine.
    #[must_use]
    pub fn local() -> Self {
        Self {
            spec: SpecText::Nothing,
            server: None,
        }
    }

    /// Parameters for something on a server.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for [`Spec::Local`], or if a string of the spec is missing or cannot be sent.
    pub fn on(server: &Server, spec: Spec) -> Result<Self> {
        if spec == Spec::Local {
            return Err(refused("a local connection takes no server"));
        }
        Ok(Self {
            spec: SpecText::new(spec)?,
            server: Some(server.clone()),
        })
    }

    /// Starts parameters for `spec`.
    pub fn builder(spec: Spec) -> ConnectParamsBuilder {
        ConnectParamsBuilder {
            spec,
            server: ServerBuilder::default(),
        }
    }

    /// Whether these parameters name files of this machine rather than a server.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.server.is_none()
    }

    /// The server; `None` for files of this machine.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }
}

/// Collects [`ConnectParams`] of a server of their own; see [`ConnectParams::builder`].
#[derive(Debug)]
#[must_use]
pub struct ConnectParamsBuilder {
    spec: Spec,
    server: ServerBuilder,
}

impl ConnectParamsBuilder {
    /// The DNS name or address of the vCenter or ESXi server.
    pub fn server(mut self, name: impl Into<String>) -> Self {
        self.server = self.server.name(name);
        self
    }

    /// As [`ServerBuilder::thumbprint`].
    pub fn thumbprint(mut self, text: impl Into<String>) -> Self {
        self.server = self.server.thumbprint(text);
        self
    }

    /// Who logs in.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.server = self.server.credentials(credentials);
        self
    }

    /// As [`ServerBuilder::port`].
    pub fn port(mut self, port: u16) -> Self {
        self.server = self.server.port(port);
        self
    }

    /// As [`ServerBuilder::nfc_port`].
    pub fn nfc_port(mut self, port: u16) -> Self {
        self.server = self.server.nfc_port(port);
        self
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if something is given for [`Spec::Local`]; else as [`ServerBuilder::build`] and
    /// [`ConnectParams::on`].
    pub fn build(self) -> Result<ConnectParams> {
        let Self { spec, server } = self;
        if spec != Spec::Local {
            return ConnectParams::on(&server.build()?, spec);
        }
        if !server.is_untouched() {
            return Err(refused(
                "a local connection takes no server, port, thumbprint or credentials",
            ));
        }
        Ok(ConnectParams::local())
    }
}

fn refused(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, Operation::Configure, text)
}

fn given(what: &str, value: String) -> Result<String> {
    if value.is_empty() {
        Err(refused(format!("{what} is missing")))
    } else {
        Ok(value)
    }
}

/// A C string that is not empty, or an error that says which argument is.
pub(crate) fn filled(what: &str, value: String) -> Result<CString> {
    text(what, given(what, value)?)
}

/// A C string, or an error that says which argument holds a NUL character.
pub(crate) fn text(what: &str, value: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(value).map_err(|_| refused(format!("{what} contains a NUL character")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn vm(moref: &str) -> ConnectParamsBuilder {
        let password = Secret::new("geheim-0815".to_owned()).expect("no NUL");
        ConnectParams::builder(Spec::Vm {
            moref: moref.to_owned(),
        })
        .server("vc.example.com")
        .credentials(Credentials::Password {
            user: "backup".to_owned(),
            password,
        })
    }

    #[test]
    fn a_local_connection_takes_nothing() {
        assert!(
            ConnectParams::builder(Spec::Local)
                .build()
                .expect("local")
                .is_local()
        );
        let refused = |builder: ConnectParamsBuilder| {
            let error = builder.build().expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("local connection"), "{error}");
        };
        let local = || ConnectParams::builder(Spec::Local);
        refused(local().port(443));
        refused(local().nfc_port(902));
        refused(local().server(""));
        refused(local().credentials(Credentials::Sspi));
        refused(local().thumbprint("aa"));
        let server = Server::builder("vc.example.com").credentials(Credentials::Sspi);
        let server = server.build().expect("complete");
        let error = ConnectParams::on(&server, Spec::Local).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn what_would_reach_the_library_as_null_is_refused() {
        let message =
            |builder: ConnectParamsBuilder| builder.build().expect_err("refused").to_string();
        assert!(message(vm("")).contains("moref is missing"));
        assert!(message(vm("vm-1\0")).contains("NUL"));
        assert!(message(vm("vm-1").server("")).contains("server's name is missing"));
    }

    #[test]
    fn debug_shows_the_user_but_no_secret() {
        let params = vm("vm-1").build().expect("complete");
        assert!(!params.is_local());
        let shown = format!("{:?} {params:?} {:#?}", vm("vm-1"), params.server());
        assert!(shown.contains("backup") && !shown.contains("geheim"));
    }
}
