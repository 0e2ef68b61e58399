//! A check for one certificate that is known beforehand, instead of a chain of signatures.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::Thumbprint;

/// The one certificate that a server may present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    Thumbprint(Thumbprint),
    /// Byte for byte.
    Certificate(CertificateDer<'static>),
}

/// The server presented a certificate other than the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate has the thumbprint {presented}, not {expected}")]
pub(crate) struct WrongCertificate {
    /// The thumbprint that the caller, or the ticket, gave.
    pub(crate) expected: Thumbprint,
    /// The digest, of the same kind, of the certificate that came.
    pub(crate) presented: Thumbprint,
}

impl Pin {
    fn check(&self, certificate: &[u8]) -> Result<(), WrongCertificate> {
        let expected = match self {
            Self::Thumbprint(thumbprint) => *thumbprint,
            Self::Certificate(der) => Thumbprint::sha256_of(der),
        };
        let presented = expected.same_kind_of(certificate);
        if presented == expected {
            Ok(())
        } else {
            Err(WrongCertificate {
                expected,
                presented,
            })
        }
    }
}

/// Accepts the pinned certificate whatever its name, its age and its issuer. That the server holds the key of it is
/// verified as ever.
pub(crate) struct PinVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    pub(crate) fn new(pin: Pin, provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }
}

impl fmt::Debug for PinVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("PinVerifier")
            .field(&self.pin)
            .finish()
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.pin
            .check(end_entity)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|wrong| CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
