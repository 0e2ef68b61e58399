//! TLS on 443 and 902: whom to trust, and the handshake.
//!
//! The certificate is checked during the handshake, so nothing secret has been sent when the check fails. The keys of
//! old sessions are never reused: each handshake shows a certificate.

mod pin;
mod record;
mod thumbprint;

use std::io;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use crate::error::{Cause, ErrorKind, connection_kind};
pub(crate) use pin::Pin;
use pin::PinVerifier;
pub(crate) use pin::WrongCertificate;
pub(crate) use record::Records;
pub use thumbprint::{InvalidThumbprint, Thumbprint};

/// Whose word is taken for who the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedCertificate {
    /// The authorities that the operating system trusts; the certificate must carry the server's name.
    #[default]
    System,
    /// These authorities, in PEM form, and no others; the certificate must carry the server's name.
    Ca(Vec<u8>),
    /// The certificate with this digest, whatever name it carries and whoever signed it.
    Thumbprint(Thumbprint),
}

/// Why there is no TLS session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The server is not the expected one.
    #[error(transparent)]
    WrongCertificate(WrongCertificate),
    /// No trusted authority signed the certificate, it carries another name, or its time is over.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(CertificateError),
    /// The operating system has no authorities to trust.
    #[error("the operating system names no trusted certificate authorities: {0}")]
    NoSystemAuthorities(String),
    /// The PEM text holds no certificate, or a broken one.
    #[error("the certificate authorities given cannot be used: {0}")]
    BadAuthorities(String),
    /// The server's name can be in no certificate.
    #[error("the name of the server is no host name and no IP address")]
    BadName(#[source] InvalidDnsNameError),
    /// Client and server cannot agree, or one of them breaks the protocol.
    #[error("the TLS handshake failed")]
    Protocol(#[source] rustls::Error),
    /// The connection broke during the handshake.
    #[error("the connection failed during the TLS handshake")]
    Io(#[source] io::Error),
}

impl Cause for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongCertificate(_) | Self::Untrusted(_) => ErrorKind::Certificate,
            Self::NoSystemAuthorities(_) | Self::BadAuthorities(_) | Self::BadName(_) => {
                ErrorKind::InvalidArgument
            }
            Self::Protocol(_) => ErrorKind::Protocol,
            Self::Io(error) => connection_kind(error),
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(fault) = &error else {
            return Self::Protocol(error);
        };
        let wrong = match fault {
            CertificateError::Other(other) => other.0.downcast_ref::<WrongCertificate>(),
            _ => None,
        };
        match wrong {
            Some(wrong) => Self::WrongCertificate(*wrong),
            None => Self::Untrusted(fault.clone()),
        }
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::Io(error),
        }
    }
}

/// The configuration for the management plane.
///
/// # Errors
/// [`TlsError::BadAuthorities`] and [`TlsError::NoSystemAuthorities`].
pub(crate) fn trusting(trusted: &TrustedCertificate) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match trusted {
        TrustedCertificate::Thumbprint(thumbprint) => {
            return pinned(Pin::Thumbprint(*thumbprint));
        }
        TrustedCertificate::Ca(pem) => authorities(pem)?,
        TrustedCertificate::System => system_authorities()?,
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| TlsError::BadAuthorities(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_webpki_verifier(verifier);
    Ok(without_resumption(builder.with_no_client_auth()))
}

/// The configuration for a server whose certificate is known.
pub(crate) fn pinned(pin: Pin) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(PinVerifier::new(pin, provider.clone()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(without_resumption(builder.with_no_client_auth()))
}

fn without_resumption(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| TlsError::BadAuthorities(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| TlsError::BadAuthorities(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(TlsError::BadAuthorities("no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One certificate that rustls does not understand must not lock out the servers of all others.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemAuthorities(reasons.join("; ")));
    }
    Ok(roots)
}

/// Carries out a whole handshake on a connected stream; gives the session and the server's own certificate.
///
/// Blocks as long as the stream does.
pub(crate) fn handshake(
    config: Arc<ClientConfig>,
    server: &str,
    stream: &mut (impl io::Read + io::Write),
) -> Result<(ClientConnection, CertificateDer<'static>), TlsError> {
    let name = ServerName::try_from(server)
        .map_err(TlsError::BadName)?
        .to_owned();
    let mut session = ClientConnection::new(config, name)?;
    while session.is_handshaking() {
        session.complete_io(stream)?;
    }
    let certificate = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| certificate.clone().into_owned())
        .ok_or(rustls::Error::NoCertificatesPresented)?;
    Ok((session, certificate))
}
