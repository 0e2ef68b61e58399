//! Connection parameters as the library keeps them: a deep copy, whose secrets are wiped with it.

use std::ffi::{CStr, CString, c_char};
use std::fmt;

use vixdisklib_sys::{VixDiskLibCredType, VixDiskLibSpecType};
use zeroize::Zeroizing;

/// A string that never shows up in a log or in `Debug` output, and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn new(text: &CStr) -> Self {
        Self(Zeroizing::new(text.to_bytes_with_nul().to_vec()))
    }

    pub(crate) fn expose(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("it was made with a NUL, which nobody removes")
    }

    /// For callers, who may overwrite what they are given.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Who connects. Strings that the caller left null are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// `VIXDISKLIB_CRED_UID`.
    Password {
        user: Option<CString>,
        password: Option<Secret>,
    },
    /// `VIXDISKLIB_CRED_SESSIONID`.
    Session {
        cookie: Option<Secret>,
        user: Option<CString>,
        key: Option<Secret>,
    },
    /// A kind without data, such as the 0 of zeroed parameters, or with data that this library cannot read.
    Other(VixDiskLibCredType),
}

/// What the connection is for, besides `vmxSpec`. Only read from memory that the library allocated: callers built for
/// versions before 6.7 pass a shorter structure that ends before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// `VIXDISKLIB_SPEC_VSTORAGE_OBJECT`: a First Class Disk.
    StorageObject {
        id: Option<CString>,
        datastore: Option<CString>,
        snapshot: Option<CString>,
    },
    /// `VIXDISKLIB_SPEC_VMX`, where `vmxSpec` says it all, or a kind with data that this library cannot read.
    Other(VixDiskLibSpecType),
}

/// Everything that `VixDiskLibConnectParams` can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectParams {
    pub(crate) vmx_spec: Option<CString>,
    pub(crate) server: Option<CString>,
    pub(crate) thumbprint: Option<CString>,
    pub(crate) credentials: Credentials,
    pub(crate) port: u32,
    pub(crate) nfc_port: u32,
    pub(crate) api_version: Option<CString>,
    pub(crate) spec: Spec,
}

impl Default for ConnectParams {
    /// The parameters of a local connection.
    fn default() -> Self {
        Self {
            vmx_spec: None,
            server: None,
            thumbprint: None,
            credentials: Credentials::Other(VixDiskLibCredType(0)),
            port: 0,
            nfc_port: 0,
            api_version: None,
            spec: Spec::Other(VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX),
        }
    }
}

impl ConnectParams {
    /// Whether they name nothing but the local file system.
    pub(crate) fn is_local(&self) -> bool {
        self.remote_field().is_none()
    }

    /// The first field, by its C name, that makes no sense for a local connection; `None` if the connection is local.
    /// An empty string counts as none, and a kind of credentials or spec without any data says nothing.
    fn remote_field(&self) -> Option<&'static str> {
        let credentials = match &self.credentials {
            Credentials::Password { user, password } => is_set(user) || is_set_secret(password),
            Credentials::Session { cookie, user, key } => {
                is_set_secret(cookie) || is_set(user) || is_set_secret(key)
            }
            Credentials::Other(_) => false,
        };
        let spec = match &self.spec {
            Spec::StorageObject {
                id,
                datastore,
                snapshot,
            } => is_set(id) || is_set(datastore) || is_set(snapshot),
            Spec::Other(kind) => *kind != VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX,
        };
        [
            (is_set(&self.server), "serverName"),
            (is_set(&self.vmx_spec), "vmxSpec"),
            (is_set(&self.thumbprint), "thumbPrint"),
            (credentials, "creds"),
            (self.port != 0, "port"),
            (self.nfc_port != 0, "nfcHostPort"),
            (spec, "spec"),
        ]
        .into_iter()
        .find_map(|(set, field)| set.then_some(field))
    }
}

fn is_set(text: &Option<CString>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn is_set_secret(text: &Option<Secret>) -> bool {
    text.as_ref().is_some_and(|text| !text.expose().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_server_or_an_account_makes_a_connection_remote() {
        assert_eq!(ConnectParams::default().remote_field(), None);
        let empty = ConnectParams {
            server: Some(c"".to_owned()),
            credentials: Credentials::Password {
                user: None,
                password: Some(Secret::new(c"")),
            },
            ..ConnectParams::default()
        };
        assert_eq!(empty.remote_field(), None);
        let named = ConnectParams {
            server: Some(c"vcenter.example".to_owned()),
            ..empty.clone()
        };
        assert_eq!(named.remote_field(), Some("serverName"));
        let account = ConnectParams {
            credentials: Credentials::Session {
                cookie: Some(Secret::new(c"52-cookie")),
                user: None,
                key: None,
            },
            ..empty
        };
        assert_eq!(account.remote_field(), Some("creds"));
        let port = ConnectParams {
            nfc_port: 902,
            ..ConnectParams::default()
        };
        assert_eq!(port.remote_field(), Some("nfcHostPort"));
        let disk = ConnectParams {
            spec: Spec::StorageObject {
                id: Some(c"fcd".to_owned()),
                datastore: None,
                snapshot: None,
            },
            ..ConnectParams::default()
        };
        assert_eq!(disk.remote_field(), Some("spec"));
    }

    #[test]
    fn secrets_do_not_show() {
        let params = ConnectParams {
            credentials: Credentials::Password {
                user: Some(c"root".to_owned()),
                password: Some(Secret::new(c"hunter2")),
            },
            ..ConnectParams::default()
        };
        let shown = format!("{params:?}");
        assert!(shown.contains("root"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
