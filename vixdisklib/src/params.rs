//! What to connect to, and as whom.

use std::ffi::{CStr, CString};
use std::fmt;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::secret::Secret;

/// Which machine or disk a connection is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spec {
    /// Disks in files of this machine; no server, no credentials.
    #[default]
    Local,
    /// A virtual machine by its managed object reference, such as `vm-16` on vCenter or `2` on ESXi.
    Vm {
        /// The managed object reference, without the prefix `moref=`.
        moref: String,
    },
    /// A first class disk. VDDK 6.7 and later.
    Fcd {
        /// The id of the disk.
        id: String,
        /// The managed object reference of its datastore, such as `datastore-11`.
        datastore: String,
        /// The id of a snapshot of the disk.
        snapshot: Option<String>,
    },
    /// A folder of a datastore. VDDK 8.0.1 and later.
    Datastore {
        /// The managed object reference of the datastore.
        datastore: String,
        /// The folder of the disk.
        folder: String,
    },
}

/// Who logs in.
#[non_exhaustive]
pub enum Credentials {
    /// A user name and a password.
    Password {
        /// The account.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// The cookie of a session that is logged in already.
    Session {
        /// The value of the cookie `vmware_soap_session`.
        cookie: Secret,
        /// The account of the session.
        user: String,
        /// The password of the account.
        key: Secret,
    },
    /// The Windows account of this process; vCenter only.
    Sspi,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => formatter
                .debug_struct("Password")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Session { user, .. } => formatter
                .debug_struct("Session")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Sspi => formatter.write_str("Sspi"),
        }
    }
}

/// The parameters of a connection, checked: what reaches the library is complete and free of NUL characters.
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
///     .thumbprint("aa:bb:cc")
///     .build()?;
/// assert!(!format!("{remote:?}").contains("secret"));
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Debug)]
pub struct ConnectParams {
    pub(crate) spec: SpecText,
    pub(crate) server: Option<CString>,
    pub(crate) thumbprint: Option<CString>,
    pub(crate) credentials: Option<CredentialText>,
    pub(crate) port: u32,
    pub(crate) nfc_port: u32,
}

/// A [`Spec`] as the C strings that the library takes.
#[derive(Debug)]
pub(crate) enum SpecText {
    Local,
    Vmx(CString),
    Fcd {
        id: CString,
        datastore: CString,
        snapshot: Option<CString>,
    },
    Datastore {
        datastore: CString,
        folder: CString,
    },
}

/// [`Credentials`] as the C strings that the library takes.
pub(crate) enum CredentialText {
    Password {
        user: CString,
        password: Secret,
    },
    Session {
        cookie: Secret,
        user: CString,
        key: Secret,
    },
    Sspi,
}

impl fmt::Debug for CredentialText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => formatter
                .debug_struct("Password")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Session { user, .. } => formatter
                .debug_struct("Session")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Sspi => formatter.write_str("Sspi"),
        }
    }
}

impl ConnectParams {
    /// Parameters for disks in files of this machine.
    #[must_use]
    pub fn local() -> Self {
        Self {
            spec: SpecText::Local,
            server: None,
            thumbprint: None,
            credentials: None,
            port: 0,
            nfc_port: 0,
        }
    }

    /// Starts parameters for `spec`.
    pub fn builder(spec: Spec) -> ConnectParamsBuilder {
        ConnectParamsBuilder {
            spec,
            server: None,
            thumbprint: None,
            credentials: None,
            port: 0,
            nfc_port: 0,
        }
    }

    /// Whether these parameters name files of this machine rather than a server.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.spec, SpecText::Local)
    }

    pub(crate) fn server(&self) -> Option<&CStr> {
        self.server.as_deref()
    }
}

/// Collects [`ConnectParams`]; see [`ConnectParams::builder`].
#[derive(Debug)]
#[must_use]
pub struct ConnectParamsBuilder {
    spec: Spec,
    server: Option<String>,
    thumbprint: Option<String>,
    credentials: Option<Credentials>,
    port: u32,
    nfc_port: u32,
}

impl ConnectParamsBuilder {
    /// The DNS name or address of the vCenter or ESXi server.
    pub fn server(mut self, name: impl Into<String>) -> Self {
        self.server = Some(name.into());
        self
    }

    /// The fingerprint of the server's certificate: hex pairs joined by colons. SHA-1 is the form that VDDK is known
    /// to compare.
    pub fn thumbprint(mut self, text: impl Into<String>) -> Self {
        self.thumbprint = Some(text.into());
        self
    }

    /// Who logs in.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The port of the server's web service; 443 if not set.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port.into();
        self
    }

    /// The port of the data service on the ESXi host; 902 if not set.
    pub fn nfc_port(mut self, port: u16) -> Self {
        self.nfc_port = port.into();
        self
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if a server, credentials or an id is missing for a remote spec or empty, if one
    /// is given for [`Spec::Local`], or if a string contains a NUL character. A null string would crash the
    /// proprietary library, so nothing is left to it.
    pub fn build(self) -> Result<ConnectParams> {
        let Self {
            spec,
            server,
            thumbprint,
            credentials,
            port,
            nfc_port,
        } = self;
        let spec = match spec {
            Spec::Local => {
                let remote = server.is_some()
                    || thumbprint.is_some()
                    || credentials.is_some()
                    || port != 0
                    || nfc_port != 0;
                if remote {
                    return Err(refused(
                        "a local connection takes no server, port, thumbprint or credentials",
                    ));
                }
                return Ok(ConnectParams::local());
            }
            Spec::Vm { moref } => SpecText::Vmx(text(
                "the VM's moref",
                format!("moref={}", given("the VM's moref", moref)?),
            )?),
            Spec::Fcd {
                id,
                datastore,
                snapshot,
            } => SpecText::Fcd {
                id: filled("the disk's id", id)?,
                datastore: filled("the datastore's moref", datastore)?,
                snapshot: snapshot
                    .map(|id| filled("the snapshot's id", id))
                    .transpose()?,
            },
            Spec::Datastore { datastore, folder } => SpecText::Datastore {
                datastore: filled("the datastore's moref", datastore)?,
                folder: filled("the disk's folder", folder)?,
            },
        };
        let credentials = match credentials {
            None => return Err(refused("a remote connection needs credentials")),
            Some(Credentials::Password { user, password }) => CredentialText::Password {
                user: filled("the user name", user)?,
                password,
            },
            Some(Credentials::Session { cookie, user, key }) => CredentialText::Session {
                cookie,
                user: filled("the user name", user)?,
                key,
            },
            Some(Credentials::Sspi) => CredentialText::Sspi,
        };
        Ok(ConnectParams {
            spec,
            server: Some(filled("the server's name", server.unwrap_or_default())?),
            thumbprint: thumbprint
                .map(|print| filled("the thumbprint", print))
                .transpose()?,
            credentials: Some(credentials),
            port,
            nfc_port,
        })
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

fn filled(what: &str, value: String) -> Result<CString> {
    text(what, given(what, value)?)
}

/// A C string, or an error that says which argument holds a NUL character.
pub(crate) fn text(what: &str, value: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(value).map_err(|_| refused(format!("{what} contains a NUL character")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password() -> Credentials {
        let password = Secret::new("geheim-0815".to_owned()).expect("no NUL");
        Credentials::Password {
            user: "backup".to_owned(),
            password,
        }
    }

    fn vm(moref: &str) -> ConnectParamsBuilder {
        ConnectParams::builder(Spec::Vm {
            moref: moref.to_owned(),
        })
        .server("vc.example.com")
        .credentials(password())
    }

    #[test]
    fn a_vm_is_named_by_moref() {
        let params = vm("vm-16").build().expect("complete");
        assert!(matches!(&params.spec, SpecText::Vmx(text) if text.as_c_str() == c"moref=vm-16"));
        assert!(!params.is_local());
    }

    #[test]
    fn what_would_reach_the_library_as_null_is_refused() {
        let message =
            |builder: ConnectParamsBuilder| builder.build().expect_err("refused").to_string();
        assert!(message(vm("")).contains("moref is missing"));
        assert!(message(vm("vm-1\0")).contains("NUL"));
        assert!(message(vm("vm-1").server("")).contains("server's name is missing"));
        let nobody = ConnectParams::builder(Spec::Vm {
            moref: "vm-1".to_owned(),
        })
        .server("vc.example.com");
        assert!(message(nobody).contains("needs credentials"));
        assert!(
            message(ConnectParams::builder(Spec::Local).port(443)).contains("local connection")
        );
    }

    #[test]
    fn debug_shows_the_user_but_no_secret() {
        let shown = format!(
            "{:?} {:?}",
            vm("vm-1"),
            vm("vm-1").build().expect("complete")
        );
        assert!(shown.contains("backup") && !shown.contains("geheim"));
    }
}
