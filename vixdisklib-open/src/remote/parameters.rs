//! From connection parameters to what the NFC client wants to know.

use std::ffi::CString;

use vixdisklib_sys::{VixDiskLibCredType, VixError};
use vsphere_nfc::{ConnectOptions, Secret, Timeouts, TrustedCertificate};

use crate::config::Network;
use crate::error::Failure;
use crate::params::{self, ConnectParams, Credentials};

/// The user name that stands for the account which the process runs as.
const SSPI: &str = "__sspi__";

/// Where to connect to, as whom, and whom to trust.
pub(super) fn options(
    params: &ConnectParams,
    network: &Network,
) -> Result<ConnectOptions, Failure> {
    let server = required(&params.server, "serverName")?;
    let mut options =
        ConnectOptions::new(server, credentials(&params.credentials)?).timeouts(timeouts(network));
    if let Some(port) = port(params.port, "port")? {
        options = options.port(port);
    }
    if let Some(port) = port(params.nfc_port, "nfcHostPort")? {
        options = options.nfc_port(port);
    }
    if let Some(text) = optional(&params.thumbprint, "thumbPrint")? {
        let thumbprint = text.parse().map_err(|error| {
            Failure::new(
                VixError::INVALID_ARG,
                format!("thumbPrint {text:?}: {error}"),
            )
        })?;
        options = options.trusted(TrustedCertificate::Thumbprint(thumbprint));
    }
    Ok(options)
}

/// How long a server and its hosts are waited for.
pub(super) fn timeouts(network: &Network) -> Timeouts {
    let mut timeouts = Timeouts::default();
    for (place, set) in [
        (&mut timeouts.accept, network.accept),
        (&mut timeouts.request, network.request),
        (&mut timeouts.read, network.read),
        (&mut timeouts.write, network.write),
    ] {
        *place = set.unwrap_or(*place);
    }
    timeouts
}

fn credentials(credentials: &Credentials) -> Result<vsphere_nfc::Credentials, Failure> {
    match credentials {
        Credentials::Password { user, password } => {
            let user = required(user, "creds.uid.userName")?;
            if user == SSPI {
                return Err(unsupported(
                    "logging in as the account of the process (SSPI)",
                ));
            }
            Ok(vsphere_nfc::Credentials::Password {
                user: user.to_owned(),
                password: secret(password, "creds.uid.password")?,
            })
        }
        // The session lives already, so the user's name and the key are not needed.
        Credentials::Session { cookie, .. } => Ok(vsphere_nfc::Credentials::SessionCookie(secret(
            cookie,
            "creds.sessionId.cookie",
        )?)),
        Credentials::Other(VixDiskLibCredType::VIXDISKLIB_CRED_SSPI) => Err(unsupported(
            "logging in as the account of the process (SSPI)",
        )),
        Credentials::Other(VixDiskLibCredType(0)) => Err(Failure::new(
            VixError::INVALID_ARG,
            "credType is not set: a server wants credentials",
        )),
        Credentials::Other(VixDiskLibCredType(kind)) => Err(unsupported(&format!(
            "credentials of kind {kind} (credType)"
        ))),
    }
}

fn unsupported(what: &str) -> Failure {
    Failure::new(
        VixError::NOT_SUPPORTED,
        format!("{what}: not implemented; there are passwords and session cookies"),
    )
}

/// A secret that must be there. What it is does not get into the failure.
fn secret(text: &Option<params::Secret>, name: &str) -> Result<Secret, Failure> {
    let text = text.as_ref().ok_or_else(|| missing(name))?.expose();
    let text = text.to_str().map_err(|_| {
        Failure::new(
            VixError::INVALID_UTF8_STRING,
            format!("{name} is not UTF-8"),
        )
    })?;
    if text.is_empty() {
        return Err(missing(name));
    }
    Ok(Secret::new(text.to_owned()))
}

fn port(number: u32, name: &str) -> Result<Option<u16>, Failure> {
    match u16::try_from(number) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(Failure::new(
            VixError::INVALID_ARG,
            format!("{name} {number} is no port"),
        )),
    }
}

/// A text that must be there.
pub(super) fn required<'a>(text: &'a Option<CString>, name: &str) -> Result<&'a str, Failure> {
    optional(text, name)?.ok_or_else(|| missing(name))
}

/// A text; an empty one is as good as none.
pub(super) fn optional<'a>(
    text: &'a Option<CString>,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let text = text.to_str().map_err(|error| {
        Failure::new(
            VixError::INVALID_UTF8_STRING,
            format!("{name} {text:?} is not UTF-8: {error}"),
        )
    })?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn missing(name: &str) -> Failure {
    Failure::new(
        VixError::INVALID_ARG,
        format!("{name} is missing: a server wants it"),
    )
}

/// Checks parameters for `Cleanup`, which names a server but no virtual machine. Over a network nothing is left behind:
/// hosts close the disks of clients that are gone.
pub(crate) fn check_cleanup(params: &ConnectParams) -> Result<(), Failure> {
    if optional(&params.vmx_spec, "vmxSpec")?.is_some() {
        return Err(Failure::new(
            VixError::INVALID_ARG,
            "vmxSpec must be null: it is for all virtual machines of a server",
        ));
    }
    options(params, &Network::default()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(cookie: Option<params::Secret>) -> Credentials {
        Credentials::Session {
            cookie,
            user: None,
            key: None,
        }
    }

    #[test]
    fn a_session_is_its_cookie() {
        let cookie = params::Secret::new(c"52-geheim");
        let made = credentials(&session(Some(cookie))).expect("complete");
        assert!(matches!(made, vsphere_nfc::Credentials::SessionCookie(_)));
        assert!(!format!("{made:?}").contains("geheim"));
    }

    #[test]
    fn secrets_that_cannot_be_are_refused_without_being_told() {
        for (cookie, code) in [
            (None, VixError::INVALID_ARG),
            (Some(params::Secret::new(c"")), VixError::INVALID_ARG),
            (
                Some(params::Secret::new(c"geheim\xFF")),
                VixError::INVALID_UTF8_STRING,
            ),
        ] {
            let failure = credentials(&session(cookie)).expect_err("no secret");
            assert_eq!(failure.code(), code);
            assert!(!format!("{failure:?}").contains("geheim"), "{failure:?}");
        }
    }

    #[test]
    fn times_that_are_not_set_are_the_usual_ones() {
        let network = Network {
            read: Some(std::time::Duration::from_secs(7)),
            ..Network::default()
        };
        let (set, usual) = (timeouts(&network), Timeouts::default());
        assert_eq!(set.read, std::time::Duration::from_secs(7));
        assert_eq!(
            (set.accept, set.request, set.write),
            (usual.accept, usual.request, usual.write)
        );
    }
}
