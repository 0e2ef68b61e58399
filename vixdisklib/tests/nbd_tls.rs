//! Encrypted connections: who gets in, who does not, and what passes.

#![cfg(all(unix, feature = "nbd-tls"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod nbd_support;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nbd_support::certificates::{Authority, possible};
use nbd_support::{Client, Ram, pattern};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use vixdisklib::nbd::{Limits, Server, ServerHandle, Tls, TlsClients, TlsError};

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

const STARTTLS: &[u8] = b"IHAVEOPT\0\0\0\x05\0\0\0\0";

fn serve(ram: &Ram, tls: Tls) -> ServerHandle {
    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_secs(2);
    Server::new()
        .export("disk", "", ram.clone())
        .listen_tcp(([127, 0, 0, 1], 0).into())
        .tls(tls)
        .limits(limits)
        .start()
        .unwrap()
}

fn connect(server: &ServerHandle) -> Client<TcpStream> {
    let stream = TcpStream::connect(server.tcp_addresses()[0]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    Client::greet(stream)
}

/// What a client of `authority` uses: one version, and perhaps its certificate.
fn settings(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    identity: Option<&Authority>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = |path| CertificateDer::from_pem_file(path).unwrap();
    roots
        .add(certificate(authority.file("ca-cert.pem")))
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_file(identity.file("client-key.pem")).unwrap();
            let chain = vec![certificate(identity.file("client-cert.pem"))];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// Asks for encryption and does the client's part.
fn encrypt(
    mut client: Client<TcpStream>,
    settings: Arc<ClientConfig>,
) -> io::Result<Client<Encrypted>> {
    client.send(STARTTLS);
    let answer = client.read(20);
    assert_eq!(answer[8..], [0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0]);
    let name = "localhost".try_into().unwrap();
    let mut state = ClientConnection::new(settings, name).unwrap();
    while state.is_handshaking() || state.wants_write() {
        state.complete_io(&mut client.0)?;
    }
    Ok(Client(StreamOwned::new(state, client.0)))
}

/// Whether a client with these settings can use the export. With TLS 1.3 the server's refusal comes after the client
/// thinks that it is through.
fn gets_in(server: &ServerHandle, settings: Arc<ClientConfig>) -> bool {
    let Ok(mut client) = encrypt(connect(server), settings) else {
        return false;
    };
    let go = b"IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x04disk\0\0";
    client.0.write_all(go).is_ok() && client.0.read_exact(&mut [0; 32]).is_ok()
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn data_passes_both_ways_in_either_version() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    for version in VERSIONS {
        let ram = Ram::new(pattern(40));
        let tls = Tls::load(authority.folder(), TlsClients::Any)
            .unwrap()
            .required();
        let server = serve(&ram, tls);
        assert!(server.uris()[0].starts_with("nbds://"));
        let client = encrypt(connect(&server), settings(&authority, version, None)).unwrap();
        let mut client = client.go("disk");
        let before = ram.bytes();
        // Large requests in both directions at once: each side sends while the other does.
        for cookie in 0..8_u64 {
            client.request(0, cookie, 0, 1 << 20);
            client.request(1, 100 + cookie, (1 << 20) + (cookie << 16), 1 << 16);
            client.send(&vec![u8::try_from(cookie).unwrap() + 1; 1 << 16]);
        }
        for _ in 0..16 {
            match client.reply() {
                (0, cookie) if cookie < 8 => assert!(client.read(1 << 20) == before[..1 << 20]),
                (0, cookie) => assert!((100..108).contains(&cookie)),
                other => panic!("{other:?}"),
            }
        }
        for cookie in 0..8_usize {
            let at = (1 << 20) + (cookie << 16);
            let written = &ram.bytes()[at..at + (1 << 16)];
            assert!(written.iter().all(|byte| usize::from(*byte) == cookie + 1));
        }
        client.request(2, 0, 0, 0);
        // A farewell, not just an end: otherwise this is an error.
        assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "{version:?}");
    }
}

/// While a client takes none of its answers, the server still reads what it sends.
#[test]
fn reading_goes_on_while_writing_waits() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let ram = Ram::new(pattern(100));
    let server = serve(
        &ram,
        Tls::load(authority.folder(), TlsClients::Any).unwrap(),
    );
    let settings = settings(&authority, &rustls::version::TLS13, None);
    let mut client = encrypt(connect(&server), settings).unwrap().go("disk");
    // Far more than the buffers of both sockets hold.
    for cookie in 0..4 {
        client.request(0, cookie, 0, 6 << 20);
    }
    client.request(1, 4, 0, 3);
    client.send(b"abc");
    let begin = Instant::now();
    while !ram.bytes().starts_with(b"abc") {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "it does not read"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..5 {
        match client.reply() {
            (0, 4) => {}
            (0, _) => drop(client.read(6 << 20)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_clients_of_the_authority_get_in() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let stranger = Authority::new();
    let tls = Tls::load(authority.folder(), TlsClients::WithCertificate).unwrap();
    let server = serve(&Ram::new(vec![7; 512]), tls.required());
    for version in VERSIONS {
        let with = |identity| settings(&authority, version, identity);
        assert!(gets_in(&server, with(Some(&authority))), "{version:?}");
        assert!(!gets_in(&server, with(None)), "{version:?}");
        assert!(!gets_in(&server, with(Some(&stranger))), "{version:?}");
        // It does not trust us, and says so.
        let distrustful = settings(&stranger, version, Some(&authority));
        assert!(!gets_in(&server, distrustful), "{version:?}");
        assert!(gets_in(&server, with(Some(&authority))), "{version:?}");
    }
}

#[test]
fn revoked_certificates_do_not_count() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let tls = || Tls::load(authority.folder(), TlsClients::WithCertificate).unwrap();
    let identity = || settings(&authority, &rustls::version::TLS13, Some(&authority));
    let server = serve(&Ram::new(vec![7; 512]), tls());
    assert!(gets_in(&server, identity()));
    authority.revoke_client();
    let server = serve(&Ram::new(vec![7; 512]), tls());
    assert!(!gets_in(&server, identity()));
    // A list that cannot be read is not the same as none.
    let list = authority.file("ca-crl.pem");
    std::fs::remove_file(&list).unwrap();
    std::os::unix::fs::symlink("not mounted", &list).unwrap();
    let error = Tls::load(authority.folder(), TlsClients::WithCertificate).unwrap_err();
    assert!(matches!(&error, TlsError::Read { path, .. } if *path == list));
}

/// A client may ask for new keys at any time. The answer is the server's reader's to give, while another thread sends.
#[test]
fn keys_change_while_data_passes() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let ram = Ram::new(pattern(40));
    let server = serve(
        &ram,
        Tls::load(authority.folder(), TlsClients::Any).unwrap(),
    );
    let settings = settings(&authority, &rustls::version::TLS13, None);
    let mut client = encrypt(connect(&server), settings).unwrap().go("disk");
    let before = ram.bytes();
    for round in 0..50_u64 {
        for cookie in 0..3 {
            client.request(0, 3 * round + cookie, 0, 300_000);
            client.0.conn.refresh_traffic_keys().unwrap();
        }
        for _ in 0..3 {
            let (error, cookie) = client.reply();
            assert_eq!((error, cookie / 3), (0, round));
            assert!(client.read(300_000) == before[..300_000]);
        }
    }
    // An end without farewell, as of a client that was killed, leaves nothing behind.
    client.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = client.0.read(&mut [0]);
    let begin = Instant::now();
    while server.counters().connections_open > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it stays");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn plain_clients_may_come_unless_they_must_not() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let tls = || Tls::load(authority.folder(), TlsClients::Any).unwrap();
    let offered = serve(&Ram::new(vec![7; 512]), tls());
    assert!(offered.uris()[0].starts_with("nbd://"));
    drop(connect(&offered).go("disk"));
    assert!(gets_in(
        &offered,
        settings(&authority, &rustls::version::TLS12, None)
    ));
    let required = serve(&Ram::new(vec![7; 512]), tls().required());
    let mut plain = connect(&required);
    plain.send(b"IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x04disk\0\0");
    assert_eq!(plain.read(20)[12..16], [0x80, 0, 0, 5], "TLS_REQD");
    let mut oldest = connect(&required);
    oldest.send(b"IHAVEOPT\0\0\0\x01\0\0\0\x04disk");
    assert!(oldest.is_over());
}

/// What somebody in between adds in plain text must never count as said by the client inside.
#[test]
fn nothing_is_smuggled_in_before_the_encryption() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let server = serve(
        &Ram::new(vec![7; 512]),
        Tls::load(authority.folder(), TlsClients::Any).unwrap(),
    );
    let mut client = connect(&server);
    let mut both = STARTTLS.to_vec();
    both.extend(b"IHAVEOPT\0\0\0\x08\0\0\0\0");
    client.send(&both);
    // It may answer the first, but never goes on.
    let mut rest = Vec::new();
    let _ = client.0.read_to_end(&mut rest);
    assert!(rest.len() <= 20, "{rest:?}");

    // Structured replies that were negotiated before do not hold inside.
    let mut client = connect(&server);
    client.send(b"IHAVEOPT\0\0\0\x08\0\0\0\0");
    assert_eq!(client.read(20)[12..16], [0, 0, 0, 1]);
    let inside = encrypt(client, settings(&authority, &rustls::version::TLS13, None));
    let mut inside = inside.unwrap().go("disk");
    inside.request(0, 9, 0, 2);
    assert_eq!(inside.reply(), (0, 9), "a simple reply");
    assert_eq!(inside.read(2), [7, 7]);
}

#[test]
fn a_handshake_that_stalls_is_cut_off() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let server = serve(
        &Ram::new(vec![7; 512]),
        Tls::load(authority.folder(), TlsClients::Any).unwrap(),
    );
    let begin = Instant::now();
    let mut client = connect(&server);
    client.send(STARTTLS);
    assert_eq!(client.read(20)[12..16], [0, 0, 0, 1]);
    client.send(&[22, 3, 1]);
    assert!(client.is_over());
    assert!(begin.elapsed() > Duration::from_secs(1));
    let mut rubbish = connect(&server);
    rubbish.send(STARTTLS);
    assert_eq!(rubbish.read(20)[12..16], [0, 0, 0, 1]);
    rubbish.send(&[0x55; 2000]);
    // An alert, then the end.
    let mut rest = Vec::new();
    let _ = rubbish.0.read_to_end(&mut rest);
    assert!(rest.len() < 100, "{}", rest.len());
    assert!(gets_in(
        &server,
        settings(&authority, &rustls::version::TLS13, None)
    ));
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let load = |clients| Tls::load(authority.folder(), clients).unwrap_err();
    std::fs::rename(authority.file("ca-cert.pem"), authority.file("ca")).unwrap();
    assert!(Tls::load(authority.folder(), TlsClients::Any).is_ok());
    let error = load(TlsClients::WithCertificate);
    assert!(matches!(&error, TlsError::Read { path, .. } if path.ends_with("ca-cert.pem")));
    std::fs::copy(
        authority.file("client-key.pem"),
        authority.file("server-key.pem"),
    )
    .unwrap();
    assert!(matches!(load(TlsClients::Any), TlsError::Unusable { .. }));
    std::fs::copy(
        authority.file("server-cert.pem"),
        authority.file("server-key.pem"),
    )
    .unwrap();
    let error = load(TlsClients::Any);
    let said = error.to_string();
    assert!(
        said.ends_with("server-key.pem holds no private key in the PEM format"),
        "{said}"
    );
    std::fs::write(authority.file("server-cert.pem"), "-----BEGIN nonsense").unwrap();
    assert!(matches!(
        load(TlsClients::Any),
        TlsError::Content {
            expected: "certificate",
            ..
        }
    ));
    let missing = Tls::load("/nonexistent", TlsClients::Any).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "cannot read /nonexistent/server-cert.pem"
    );
}

/// libnbd's programs, if they are here.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            eprintln!("SKIPPED: {program} is not installed");
            None
        }
    }
}

#[test]
fn libnbd_copies_with_certificates_and_not_without() {
    if !possible() {
        return;
    }
    let authority = Authority::new();
    let stranger = Authority::new();
    let ram = Ram::read_only(pattern(50));
    let tls = Tls::load(authority.folder(), TlsClients::WithCertificate).unwrap();
    let server = serve(&ram, tls.required());
    let port = server.tcp_addresses()[0].port();
    let uri = |folder: &Path| {
        let folder = folder.display();
        format!("nbds://localhost:{port}/disk?tls-certificates={folder}")
    };
    let good = uri(authority.folder());
    let Some(size) = run("nbdinfo", &["--size", &good]) else {
        return;
    };
    let said = String::from_utf8_lossy(&size.stderr);
    assert!(size.status.success(), "{said}");
    assert_eq!(
        size.stdout.trim_ascii(),
        ram.bytes().len().to_string().as_bytes()
    );
    let copy = authority.file("copy");
    for connections in ["--connections=1", "--connections=4"] {
        let arguments = [connections, &good, copy.to_str().unwrap()];
        let copied = run("nbdcopy", &arguments).unwrap();
        assert!(copied.status.success(), "{copied:?}");
        assert!(std::fs::read(&copy).unwrap() == ram.bytes());
    }
    // Neither another authority, nor a folder without a client's certificate, nor plain text.
    let without = tempfile::tempdir().unwrap();
    std::fs::copy(
        authority.file("ca-cert.pem"),
        without.path().join("ca-cert.pem"),
    )
    .unwrap();
    let plain = format!("nbd://localhost:{port}/disk");
    for bad in [uri(stranger.folder()), uri(without.path()), plain] {
        let refused = run("nbdinfo", &["--size", &bad]).unwrap();
        assert!(!refused.status.success(), "{bad}");
    }
    assert!(run("nbdinfo", &["--size", &good]).unwrap().status.success());
}
