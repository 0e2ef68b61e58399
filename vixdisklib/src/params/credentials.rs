//! Who logs in.

use std::ffi::CString;
use std::fmt;

use super::{filled, refused};
use crate::error::Result;
use crate::secret::Secret;

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
    /// The Windows account of this process; vCenter only (Virtual Disk Programming Guide).
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

impl CredentialText {
    pub(super) fn new(credentials: Credentials) -> Result<Self> {
        Ok(match credentials {
            Credentials::Password { user, password } => Self::Password {
                user: filled("the user name", user)?,
                password,
            },
            Credentials::Session { cookie, user, key } => {
                if cookie.expose().is_empty() {
                    return Err(refused("the session's cookie is missing"));
                }
                Self::Session {
                    cookie,
                    user: filled("the user name", user)?,
                    key,
                }
            }
            Credentials::Sspi => Self::Sspi,
        })
    }
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
