//! Certificates made for one test, and TLS sessions whose records are kept.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use vsphere_nfc::Thumbprint;

pub(crate) const BOTH: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];
pub(crate) const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(crate) const ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// A self-signed certificate and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    key: Arc<KeyPair>,
}

impl Identity {
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            key: Arc::new(key),
        }
    }

    pub(crate) fn sha1(&self) -> Thumbprint {
        Thumbprint::sha1_of(&self.der)
    }

    pub(crate) fn sha256(&self) -> Thumbprint {
        Thumbprint::sha256_of(&self.der)
    }

    pub(crate) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .expect("a certificate and its key");
        Arc::new(config)
    }
}

/// All bytes that came, before they were decrypted.
pub(crate) type Raw = Arc<Mutex<Vec<u8>>>;

/// A connection that keeps what it receives.
pub(crate) struct Recorded {
    pub(crate) tcp: TcpStream,
    raw: Raw,
}

impl Recorded {
    pub(crate) fn new(tcp: TcpStream, raw: Raw) -> Self {
        Self { tcp, raw }
    }
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tcp.read(buffer)?;
        self.raw.lock().expect("no panic").extend(&buffer[..count]);
        Ok(count)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

pub(crate) type Session = StreamOwned<ServerConnection, Recorded>;

/// Shakes hands as a server.
pub(crate) fn accept(config: Arc<ServerConfig>, mut stream: Recorded) -> io::Result<Session> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    // Tickets of TLS 1.3 go out now, and not in the middle of something else.
    while session.wants_write() {
        session.write_tls(&mut stream)?;
    }
    Ok(StreamOwned::new(session, stream))
}

/// The types and lengths of the records that a client sent.
pub(crate) fn records(raw: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    let mut rest = raw;
    while let [kind, _, _, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        records.push((*kind, length));
        rest = body.get(length..).unwrap_or_default();
    }
    records
}

/// The longest record of a client that can hold data. TLS 1.3 hides alerts, which are two bytes, in such records too.
pub(crate) fn most_hidden(raw: &[u8]) -> usize {
    let hidden = records(raw).into_iter().filter(|(kind, _)| *kind == 23);
    hidden.map(|(_, length)| length).max().unwrap_or(0)
}
