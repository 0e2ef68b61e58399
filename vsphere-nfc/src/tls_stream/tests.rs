use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::stream::read_exact;
use crate::tls::{self, Pin};

type Server = StreamOwned<ServerConnection, UnixStream>;

/// A session, and a thread that is the server at its other end.
fn session<T: Send + 'static>(
    server: impl FnOnce(Server) -> T + Send + 'static,
) -> (TlsStream<UnixStream>, JoinHandle<T>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["host.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let der = certificate.der().clone();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], private)
        .unwrap();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let host = thread::spawn(move || {
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut theirs).unwrap();
        }
        server(StreamOwned::new(session, theirs))
    });
    let config = tls::pinned(Pin::Certificate(der)).unwrap();
    let (session, _) = tls::handshake(config, "host.example", &mut ours).unwrap();
    (TlsStream::new(ours, session), host)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 253).to_le_bytes()[0]).collect()
}

/// The server sends everything back, and takes nothing more while it sends.
#[test]
fn one_thread_reads_while_another_writes() {
    let (stream, server) = session(|mut server| {
        let mut buffer = vec![0; 100_000];
        loop {
            match server.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => server.write_all(&buffer[..count]).unwrap(),
            }
        }
    });
    let data = pattern(6 << 20);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (number, piece) in data.chunks(700_000).enumerate() {
                let (first, second) = piece.split_at(number * 1000);
                write_all(&stream, &mut [IoSlice::new(first), IoSlice::new(second)]).unwrap();
            }
        });
        let mut back = vec![0; data.len()];
        for piece in back.chunks_mut(90_001) {
            read_exact(&stream, piece).unwrap();
        }
        assert!(back == data);
    });
    stream.say_goodbye().unwrap();
    stream.shut_down();
    server.join().unwrap();
}

/// Records are numbered: what is encrypted first must be sent first.
#[test]
fn two_threads_may_write() {
    let (stream, server) = session(|mut server| {
        let mut all = vec![0; 2 * 2000 * 300];
        server.read_exact(&mut all).unwrap();
        all
    });
    thread::scope(|scope| {
        for letter in [b'a', b'b'] {
            let stream = &stream;
            scope.spawn(move || {
                for _ in 0..2000 {
                    write_all(stream, &mut [IoSlice::new(&[letter; 300])]).unwrap();
                }
            });
        }
    });
    let all = server.join().unwrap();
    let pieces: Vec<_> = all.chunks(300).collect();
    assert!(
        pieces
            .iter()
            .all(|piece| piece.iter().all(|byte| *byte == piece[0]))
    );
    assert_eq!(pieces.iter().filter(|piece| piece[0] == b'a').count(), 2000);
}

/// A host takes one classic message from a record, and leaves what follows it there.
#[test]
fn every_write_is_a_record_of_its_own() {
    let (stream, server) = session(|mut server| {
        // What comes, still encrypted.
        let mut raw = Vec::new();
        server.sock.read_to_end(&mut raw).unwrap();
        raw
    });
    for _ in 0..3 {
        write_all(&stream, &mut [IoSlice::new(&[7; 264])]).unwrap();
    }
    stream.inner.shutdown(Shutdown::Both).unwrap();
    let raw = server.join().unwrap();
    let mut records = Vec::new();
    let mut rest = raw.as_slice();
    while let [kind, _, _, high, low, after @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        records.push((*kind, length));
        rest = &after[length..];
    }
    assert_eq!(records.len(), 3);
    for (kind, length) in records {
        assert_eq!(kind, 23, "application data");
        // The message, and a nonce and a tag.
        assert!((264..300).contains(&length), "{length}");
    }
}

#[test]
fn a_time_out_loses_nothing() {
    let (stream, server) = session(|mut server| {
        let mut byte = [0];
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(60));
            server.write_all(&pattern(50_000)).unwrap();
        }
        let _ = server.read(&mut byte);
    });
    let soon = Some(Duration::from_millis(10));
    stream.set_timeouts(soon, soon).unwrap();
    let mut got: Vec<u8> = Vec::new();
    let mut waited = 0;
    while got.len() < 250_000 {
        let mut buffer = vec![0; 7000];
        match stream.read(&mut buffer) {
            Ok(count) => got.extend(&buffer[..count]),
            Err(error) => {
                assert!(crate::stream::is_timeout(&error), "{error}");
                waited += 1;
            }
        }
    }
    assert!(waited > 5);
    assert!(got == pattern(50_000).repeat(5));
    stream.shut_down();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    server.join().unwrap();
}

#[test]
fn a_broken_record_is_an_error() {
    let (stream, server) = session(|mut server| {
        // The handshake must be over at the other end.
        server.read_exact(&mut [0]).unwrap();
        server.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
        server.sock.write_all(&[9; 40]).unwrap();
        let _ = server.sock.read(&mut [0; 100]);
    });
    write_all(&stream, &mut [IoSlice::new(b"x")]).unwrap();
    let error = stream.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    stream.shut_down();
    server.join().unwrap();
}
