//! Certificates that are made at the start and thrown away, and what they are known by.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("no certificate was made")]
    Certificate(#[from] rcgen::Error),
    #[error("the certificate is not usable")]
    Config(#[from] rustls::Error),
}

impl Identity {
    /// For the management port: TLS 1.2 and 1.3.
    pub(crate) fn for_management() -> Result<Self, IdentityError> {
        Self::generate(&[&TLS13, &TLS12])
    }

    /// For the data port: TLS 1.2, because after the handshake of 1.3 a server sends session tickets, which would get into
    /// what follows the first TLS session.
    pub(crate) fn for_data() -> Result<Self, IdentityError> {
        Self::generate(&[&TLS12])
    }

    fn generate(
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<Self, IdentityError> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)?;
        // A second session with the same client is a new one, as on a host.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self {
            certificate,
            config: Arc::new(config),
        })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The SHA-1 of the certificate: 20 pairs of upper-case hex digits, joined by colons.
    pub(crate) fn sha1(&self) -> String {
        colons(&Sha1::digest(&self.certificate))
    }

    /// The SHA-256 of the certificate, likewise 32 pairs.
    pub(crate) fn sha256(&self) -> String {
        colons(&Sha256::digest(&self.certificate))
    }
}

fn colons(digest: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest {
        if !text.is_empty() {
            text.push(':');
        }
        write!(text, "{byte:02X}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_have_their_shape() {
        let identity = Identity::for_data().expect("it is made");
        assert_eq!(identity.sha1().len(), 59);
        assert_eq!(identity.sha256().len(), 95);
        let other = Identity::for_data().expect("it is made");
        assert_ne!(identity.sha1(), other.sha1());
        assert_eq!(colons(&[0xab, 0x01]), "AB:01");
    }
}
