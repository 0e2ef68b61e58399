//! Which certificates the server shows, and which it wants to see.
//!
//! The folder has the layout that nbdkit, libnbd, qemu and libvirt share. TLS 1.2 and 1.3 by rustls with the
//! cryptography of ring; what is older is refused. Keys shared beforehand (PSK) are not supported, because rustls has
//! none: clients that offer nothing else fail the handshake.

mod channel;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

pub(super) use channel::TlsChannel;

/// How a server encrypts its connections; for [`Server::tls`](crate::nbd::Server::tls).
///
/// Needs the feature `nbd-tls`. The private key is in memory for as long as the server runs, and is not part of the
/// `Debug` output.
#[derive(Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) required: bool,
    verified: bool,
}

/// Who may connect by TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsClients {
    /// Everybody: the server proves who it is, clients need not.
    #[default]
    Any,
    /// Those with a certificate that was signed by the authority in `ca-cert.pem` and is not in `ca-crl.pem`, if that
    /// file is there.
    WithCertificate,
}

impl Tls {
    /// Reads PEM files from `folder`: `server-cert.pem` with the server's certificate and those between it and its
    /// authority, `server-key.pem` with the private key, and, to verify clients, `ca-cert.pem` and perhaps
    /// `ca-crl.pem`. Clients may still connect in plain text, see [`required`](Tls::required).
    ///
    /// # Errors
    /// [`TlsError`]: a file is missing or holds something else, or the key does not belong to the certificate.
    pub fn load(folder: impl AsRef<Path>, clients: TlsClients) -> Result<Self, TlsError> {
        let folder = folder.as_ref();
        let certificates = several(&folder.join("server-cert.pem"))?;
        let key_path = folder.join("server-key.pem");
        let key = PrivateKeyDer::from_pem_file(&key_path)
            .map_err(bad_file::<PrivateKeyDer<'static>>(&key_path))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError::unusable(folder, error))?;
        let builder = match clients {
            TlsClients::Any => builder.with_no_client_auth(),
            TlsClients::WithCertificate => {
                let path = folder.join("ca-cert.pem");
                let mut roots = RootCertStore::empty();
                for certificate in several::<CertificateDer<'static>>(&path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| TlsError::unusable(&path, error))?;
                }
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let revoked = folder.join("ca-crl.pem");
                if is_there(&revoked)? {
                    verifier = verifier
                        .with_crls(several::<CertificateRevocationListDer<'static>>(&revoked)?)
                        // Lists of authorities in between are rarely at hand.
                        .allow_unknown_revocation_status();
                }
                let verifier = verifier
                    .build()
                    .map_err(|error| TlsError::unusable(&path, error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| TlsError::unusable(&key_path, error))?;
        // Clients that come again are few, and remembering them takes memory for each.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            required: false,
            verified: clients == TlsClients::WithCertificate,
        })
    }

    /// Refuses clients that do not encrypt. Without it they may choose.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("required", &self.required)
            .field("clients_verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// Why certificates cannot be used. The texts name files and never quote them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file holds no PEM section of the kind that belongs in it.
    #[error("{} holds no {expected} in the PEM format", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What belongs in it.
        expected: &'static str,
    },
    /// What a file holds cannot be used, or not with what the others hold.
    #[error("cannot use {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl TlsError {
    fn unusable(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Whether there is a file, or something in its place that cannot be read: a list of revoked certificates that somebody
/// put there must not be passed over.
fn is_there(path: &Path) -> Result<bool, TlsError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(TlsError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// All PEM sections of one kind in a file; at least one.
fn several<T: PemObject + Named>(path: &Path) -> Result<Vec<T>, TlsError> {
    let all: Result<Vec<T>, _> = T::pem_file_iter(path).and_then(Iterator::collect);
    let all = all.map_err(bad_file::<T>(path))?;
    if all.is_empty() {
        return Err(bad_file::<T>(path)(pem::Error::NoItemsFound));
    }
    Ok(all)
}

/// What is missing from a file that does not have it.
trait Named {
    const NAME: &'static str;
}

impl Named for CertificateDer<'_> {
    const NAME: &'static str = "certificate";
}

impl Named for CertificateRevocationListDer<'_> {
    const NAME: &'static str = "certificate revocation list";
}

impl Named for PrivateKeyDer<'_> {
    const NAME: &'static str = "private key";
}

fn bad_file<T: Named>(path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |error| match error {
        pem::Error::Io(source) => TlsError::Read {
            path: path.to_owned(),
            source,
        },
        _ => TlsError::Content {
            path: path.to_owned(),
            expected: T::NAME,
        },
    }
}
