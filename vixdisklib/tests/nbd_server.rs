//! The server on real sockets: who gets in, who is thrown out, and how it ends.

#![cfg(all(unix, feature = "nbd"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod nbd_support;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nbd_support::{Client, Ram, pattern};
use vixdisklib::ByteLen;
use vixdisklib::nbd::{
    Export, ExportError, Limits, Server, ServerError, ServerHandle, ZeroRequest,
};

fn address(server: &ServerHandle, index: usize) -> SocketAddr {
    let uri = &server.uris()[index];
    let rest = uri.strip_prefix("nbd://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

fn connect(path: &Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    Client::greet(stream)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn serves_tcp_and_unix_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.sock");
    let ram = Ram::new(pattern(2));
    let server = Server::new()
        .export("disk", "", ram.clone())
        .listen_unix(&path)
        .listen_tcp(local(0))
        .start()
        .unwrap();
    let unix = format!("nbd+unix:///disk?socket={}", path.display());
    assert_eq!(server.uris()[0], unix);
    let tcp = address(&server, 1);
    assert_ne!(tcp.port(), 0);
    let mut one = connect(&path).go("disk");
    let mut two = Client::greet(TcpStream::connect(tcp).unwrap()).go("");
    one.request(1, 7, 65_536, 5);
    one.send(b"hello");
    assert_eq!(one.reply(), (0, 7));
    two.request(0, 8, 65_535, 7);
    assert_eq!(two.reply(), (0, 8));
    assert_eq!(two.read(7)[1..6], *b"hello");
    assert_eq!(server.counters().connections_open, 2);
    two.request(2, 9, 0, 0);
    assert!(two.is_over());
    server.stop();
    server.wait().unwrap();
    assert!(one.is_over());
    assert!(!path.exists());
    assert_eq!(ram.flushed(), ram.bytes(), "the end flushes");
}

#[test]
fn a_port_in_use_is_named() {
    let first = Server::new()
        .export("", "", Ram::new(vec![0; 512]))
        .listen_tcp(local(0))
        .start()
        .unwrap();
    let taken = address(&first, 0);
    let second = Server::new()
        .export("", "", Ram::new(vec![0; 512]))
        .listen_tcp(taken)
        .start();
    let error = second.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen at {taken}"));
    assert!(error.source().unwrap().to_string().contains("in use"));
}

#[test]
fn a_failed_start_leaves_no_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let failed = Server::new()
        .export("", "", Ram::new(vec![0; 512]))
        .listen_unix(&path)
        .listen_unix("/nonexistent/dir/s")
        .start();
    assert!(matches!(failed, Err(ServerError::Listen { .. })));
    assert!(!path.exists());
}

#[test]
fn senseless_servers_do_not_start() {
    let ram = || Ram::new(vec![0; 512]);
    let nothing = Server::new().listen_tcp(local(0)).start();
    assert!(matches!(nothing, Err(ServerError::Nothing)));
    let nowhere = Server::new().export("", "", ram()).start();
    assert!(matches!(nowhere, Err(ServerError::Nothing)));
    let same = Server::new()
        .export("a", "", ram())
        .export("a", "", ram())
        .listen_tcp(local(0))
        .start();
    assert!(matches!(same, Err(ServerError::SameName { .. })));
    let long = Server::new()
        .export("x".repeat(4097), "", ram())
        .listen_tcp(local(0))
        .start();
    assert!(matches!(long, Err(ServerError::BadText)));
}

/// An export, and what it calls its metadata contexts.
struct WithContexts(Ram, Vec<String>);

impl Export for WithContexts {
    fn size(&self) -> ByteLen {
        self.0.size()
    }
    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        self.0.write_at(offset, buf)
    }
    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        self.0.write_zeroes(offset, length, request)
    }
    fn flush(&self) -> Result<(), ExportError> {
        self.0.flush()
    }
    fn contexts(&self) -> &[String] {
        &self.1
    }
}

#[test]
fn contexts_that_clients_cannot_ask_for_are_refused() {
    let started = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let export = WithContexts(Ram::new(vec![0; 512]), names);
        Server::new()
            .export("disk", "", export)
            .listen_tcp(local(0))
            .start()
    };
    assert!(started(&["x-own:a", "qemu:dirty-bitmap:b"]).is_ok());
    for (names, said) in [
        (["x-own:a", "depth"], "context \"depth\" has no namespace"),
        (["x-own:a", "x-own:a"], "context \"x-own:a\" is there twice"),
        (
            ["base:allocation", "x-own:a"],
            "context \"base:allocation\" is in the namespace",
        ),
    ] {
        let error = started(&names).unwrap_err();
        assert!(matches!(error, ServerError::BadContext { .. }));
        let text = error.to_string();
        assert!(
            text.starts_with("export \"disk\": ") && text.contains(said),
            "{text}"
        );
    }
}

#[test]
fn slow_handshakes_are_cut_off_and_slow_clients_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_millis(300);
    let server = Server::new()
        .export("", "", Ram::new(vec![1; 512]))
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let begin = Instant::now();
    let mut patient = connect(&path).go("");
    let mut silent = UnixStream::connect(&path).unwrap();
    let patience = Some(Duration::from_secs(20));
    silent.set_read_timeout(patience).unwrap();
    let mut slow = connect(&path);
    let mut chatty = connect(&path);
    let trickle = std::thread::spawn(move || {
        // One byte now and then: each is progress, but the whole takes too long.
        for byte in b"IHAVEOPT\0\0\0\x03\0\0\0\0" {
            if chatty.0.write_all(&[*byte]).is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        chatty.is_over()
    });
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 18);
    assert!(slow.is_over());
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(trickle.join().unwrap());
    patient.request(0, 1, 0, 1);
    assert_eq!(patient.reply(), (0, 1));
    drop(server);
}

#[test]
fn one_connection_too_many_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.connections = 2;
    let server = Server::new()
        .export("", "", Ram::new(vec![1; 512]))
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let one = connect(&path).go("");
    let two = connect(&path).go("");
    let mut three = UnixStream::connect(&path).unwrap();
    assert_eq!(three.read(&mut [0; 18]).unwrap_or(0), 0);
    drop(one);
    let freed = Instant::now();
    loop {
        let mut again = UnixStream::connect(&path).unwrap();
        if again.read(&mut [0; 18]).unwrap_or(0) == 18 {
            break;
        }
        assert!(freed.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(two);
    assert!(server.counters().connections >= 4);
}

#[test]
fn stopping_finishes_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let ram = Ram::new(vec![7; 4096]);
    let server = Server::new()
        .export("", "", ram.clone())
        .listen_unix(&path)
        .start()
        .unwrap();
    let mut idle = connect(&path).go("");
    let mut greeting = connect(&path);
    let mut busy = connect(&path).go("");
    ram.door(false);
    for cookie in 0..64 {
        busy.request(0, cookie, cookie, 1);
    }
    while server.counters().requests < 16 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    assert!(idle.is_over());
    assert!(greeting.is_over());
    ram.door(true);
    let mut answers = [None; 64];
    for _ in 0..64 {
        let (error, cookie) = busy.reply();
        assert!(error == 0 || error == 108, "{error}");
        if error == 0 {
            assert_eq!(busy.read(1), [7]);
        }
        answers[usize::try_from(cookie).unwrap()] = Some(error);
    }
    assert!(answers.iter().all(Option::is_some), "each is answered");
    assert!(busy.is_over());
    server.wait().unwrap();
    assert!(UnixStream::connect(&path).is_err());
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.grace = Duration::from_millis(200);
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 8 << 20]))
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let mut greedy = connect(&path).go("");
    for cookie in 0..100 {
        greedy.request(0, cookie, 0, 8 << 20);
    }
    std::thread::sleep(Duration::from_millis(100));
    // It costs only its own connection.
    let mut other = connect(&path).go("");
    other.request(0, 1, 0, 4);
    assert_eq!(other.reply(), (0, 1));
    assert!(
        server.counters().bytes_read <= 80 << 20,
        "what is in flight is bounded"
    );
    let begin = Instant::now();
    server.stop();
    server.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10));
}

/// A client that sends all it has to say before it takes what it asked for: nobody may wait for the other one for ever.
#[test]
fn a_client_may_send_before_it_receives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.sock");
    let bytes = vec![1; 16 << 20];
    let mut limits = Limits::default();
    limits.write_timeout = Some(Duration::from_secs(10));
    let server = Server::new()
        .export("disk", "", Ram::new(bytes.clone()))
        .limits(limits)
        .listen_unix(&path)
        .start()
        .unwrap();
    let mut client = connect(&path).go("disk");
    // Until the server knows that reads are quick here, and carries them out itself.
    for cookie in 0..200 {
        client.request(0, cookie, 0, 4096);
        assert_eq!(client.reply(), (0, cookie));
        client.read(4096);
    }
    for cookie in 0..4 {
        client.request(0, cookie, 0, 8 << 20);
    }
    client.request(1, 4, 8 << 20, 8 << 20);
    client.send(&vec![7; 8 << 20]);
    let mut answered = [false; 5];
    while answered != [true; 5] {
        let (error, cookie) = client.reply();
        assert_eq!(error, 0);
        if cookie < 4 {
            assert!(client.read(8 << 20) == bytes[..8 << 20]);
        }
        answered[usize::try_from(cookie).unwrap()] = true;
    }
    server.stop();
    server.wait().unwrap();
}

/// Writes that are announced and do not come keep memory only for a while.
#[test]
fn writes_that_do_not_come_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.sock");
    let mut limits = Limits::default();
    limits.memory = 64 << 20;
    limits.payload_timeout = Some(Duration::from_millis(500));
    let server = Server::new()
        .export("disk", "", Ram::new(vec![0; 32 << 20]))
        .limits(limits)
        .listen_unix(&path)
        .start()
        .unwrap();
    let mut stalled: Vec<_> = (0..3)
        .map(|_| {
            let mut client = connect(&path).go("disk");
            client.request(1, 1, 0, 32 << 20);
            client.send(b"a beginning");
            client
        })
        .collect();
    let mut client = connect(&path).go("disk");
    client.request(0, 2, 0, 32 << 20);
    assert_eq!(client.reply(), (0, 2));
    client.read(32 << 20);
    assert!(stalled.iter_mut().all(Client::is_over));
    // Who has nothing announced may be silent for longer.
    std::thread::sleep(Duration::from_millis(600));
    client.request(0, 3, 0, 1);
    assert_eq!(client.reply(), (0, 3));
    drop(stalled);
    server.stop();
    server.wait().unwrap();
}

#[test]
fn many_clients_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let ram = Ram::new(vec![0; 64 * 4096]);
    let server = Server::new()
        .export("", "", ram.clone())
        .listen_unix(&path)
        .start()
        .unwrap();
    std::thread::scope(|scope| {
        for number in 0..32_u8 {
            let path = &path;
            scope.spawn(move || {
                let mut client = connect(path).go("");
                for round in 0..100_u64 {
                    let at = u64::from(number) * 8192 + round * 64;
                    client.request(1, round, at, 64);
                    client.send(&[number + 1; 64]);
                    client.request(0, 1000 + round, 0, 4096);
                    for _ in 0..2 {
                        match client.reply() {
                            (0, cookie) if cookie >= 1000 => drop(client.read(4096)),
                            (0, cookie) => assert_eq!(cookie, round),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                client.request(2, 0, 0, 0);
                assert!(client.is_over());
            });
        }
    });
    let counters = server.counters();
    assert_eq!(counters.bytes_written, 32 * 6400);
    assert_eq!(counters.errors, 0);
    let bytes = ram.bytes();
    for number in 0..32_u8 {
        let start = usize::from(number) * 8192;
        assert!(
            bytes[start..start + 6400]
                .iter()
                .all(|byte| *byte == number + 1)
        );
    }
}

#[test]
fn a_flood_of_clients_does_not_keep_it_from_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let server = Server::new()
        .export("", "", Ram::new(vec![0; 512]))
        .listen_unix(&path)
        .start()
        .unwrap();
    let begin = Instant::now();
    let patience = Duration::from_secs(20);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(
                || while begin.elapsed() < patience && UnixStream::connect(&path).is_ok() {},
            );
        }
        std::thread::sleep(Duration::from_millis(300));
        server.stop();
        server.wait().unwrap();
    });
    assert!(
        begin.elapsed() < patience,
        "it stopped only when the flood did"
    );
}
