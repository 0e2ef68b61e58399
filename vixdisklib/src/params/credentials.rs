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

/// Shows the kind and the account, never a secret.
macro_rules! debug_without_secrets {
    ($($credentials:ty),*) => {$(
        impl fmt::Debug for $credentials {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (kind, user) = match self {
                    Self::Password { user, .. } => ("Password", user),
                    Self::Session { user, .. } => ("Session", user),
                    Self::Sspi => return formatter.write_str("Sspi"),
                };
                let mut shown = formatter.debug_struct(kind);
                shown.field("user", user).finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_secrets!(Credentials, CredentialText);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_show_the_account_and_no_secret() {
        let secret = |text: &str| Secret::new(text.to_owned()).expect("no NUL");
        let user = || "backup".to_owned();
        let password = Credentials::Password {
            user: user(),
            password: secret("hidden-1"),
        };
        let session = Credentials::Session {
            cookie: secret("hidden-2"),
            user: user(),
            key: secret("hidden-3"),
        };
        for (credentials, shown) in [
            (password, r#"Password { user: "backup", .. }"#),
            (session, r#"Session { user: "backup", .. }"#),
            (Credentials::Sspi, "Sspi"),
        ] {
            assert_eq!(format!("{credentials:?}"), shown);
            let text = CredentialText::new(credentials).expect("complete");
            assert_eq!(format!("{text:?}"), shown);
        }
    }
}
