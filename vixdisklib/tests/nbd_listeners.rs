//! Ways to reach a server, exports that are found on demand, and ends that nobody asked for.

#![cfg(all(unix, feature = "nbd"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod nbd_support;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nbd_support::{Client, Ram};
use rustix::pipe::pipe;
use vixdisklib::nbd::{
    ExportError, Found, Limits, Server, ServerError, ServerHandle, inherited_sockets,
};

fn client(stream: UnixStream) -> Client<UnixStream> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    Client::greet(stream)
}

fn reads_one(client: &mut Client<impl Read + std::io::Write>, byte: u8) {
    client.request(0, 5, 0, 1);
    assert_eq!(client.reply(), (0, 5));
    assert_eq!(client.read(1), [byte]);
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_connection_made_elsewhere_is_served_and_then_it_is_over() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ram = Ram::new(vec![7; 512]);
    let server = Server::new()
        .export("", "", ram.clone())
        .connection(theirs)
        .start()
        .unwrap();
    assert!(server.uris().is_empty());
    let mut client = client(ours).go("");
    reads_one(&mut client, 7);
    assert!(!server.is_stopped());
    client.request(2, 0, 0, 0);
    assert!(client.is_over());
    server.wait().unwrap();
    assert!(server.is_stopped());
    assert_eq!(ram.flushed(), ram.bytes());
}

/// As `inetd` and programs that start a server for themselves do it: by pipes, or by one socket twice.
#[test]
fn two_descriptors_are_one_connection() {
    struct Pipes(OwnedFd, OwnedFd);
    impl Read for Pipes {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            Ok(rustix::io::read(&self.0, buf)?)
        }
    }
    impl std::io::Write for Pipes {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            Ok(rustix::io::write(&self.1, buf)?)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let start = |input: OwnedFd, output: OwnedFd| {
        Server::new()
            .export("", "", Ram::new(vec![7; 1 << 20]))
            .connection_pair(input, output)
            .start()
            .unwrap()
    };
    let (server_in, client_out) = pipe().unwrap();
    let (client_in, server_out) = pipe().unwrap();
    let server = start(server_in, server_out);
    let mut client = Client::greet(Pipes(client_in, client_out)).go("");
    client.request(0, 1, 0, 1 << 20);
    assert_eq!(client.reply(), (0, 1));
    assert!(client.read(1 << 20).iter().all(|byte| *byte == 7));
    // A pipe cannot be shut down, and still the server can stop.
    server.stop();
    server.wait().unwrap();
    drop(server);
    assert!(client.is_over());

    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = start(theirs.try_clone().unwrap().into(), theirs.into());
    let mut client = Client::greet(ours).go("");
    reads_one(&mut client, 7);
    drop(client);
    server.wait().unwrap();
}

#[test]
fn sockets_that_listen_already_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let server = Server::new()
        .export("x", "", Ram::new(vec![7; 512]))
        .listen_socket(unix)
        .listen_socket(tcp)
        .start()
        .unwrap();
    let expected = [
        format!("nbd+unix:///x?socket={}", path.display()),
        format!("nbd://{address}/x"),
    ];
    assert_eq!(server.uris(), expected);
    assert_eq!(server.tcp_addresses(), [address]);
    reads_one(&mut client(UnixStream::connect(&path).unwrap()).go("x"), 7);
    let tcp = TcpStream::connect(address).unwrap();
    reads_one(&mut Client::greet(tcp).go("x"), 7);
    drop(server);
    assert!(path.exists(), "it belongs to somebody else");
}

#[test]
fn descriptors_of_the_wrong_kind_are_refused() {
    let start = |server: Server| server.export("", "", Ram::new(vec![7; 512])).start();
    let (stream, _other) = UnixStream::pair().unwrap();
    let connected = start(Server::new().listen_socket(stream));
    assert!(matches!(connected, Err(ServerError::Inherited { .. })));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listening = start(Server::new().connection(listener));
    assert!(matches!(listening, Err(ServerError::Inherited { .. })));
    let (pipe, _end) = pipe().unwrap();
    let error = start(Server::new().connection(pipe)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot use an inherited descriptor: it is no connection"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn vsock_is_listened_at_where_there_is_one() {
    let started = Server::new()
        .export("x", "", Ram::new(vec![7; 512]))
        .listen_vsock(u32::MAX)
        .start();
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            eprintln!("SKIPPED: this kernel has no vsock");
            return;
        }
    };
    let uri = &server.uris()[0];
    let port = uri.strip_prefix("nbd+vsock://2:").unwrap();
    let port: u32 = port.strip_suffix("/x").unwrap().parse().unwrap();
    assert_ne!(port, u32::MAX);
}

#[test]
fn the_last_client_ends_a_server_that_should() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .listen_unix(&path)
        .stop_after_last_client()
        .start()
        .unwrap();
    let connect = || client(UnixStream::connect(&path).unwrap());
    // Those that choose no export do not count.
    drop(connect());
    wait_until("it never notices", || {
        server.counters().connections_open == 0
    });
    std::thread::sleep(Duration::from_millis(20));
    let one = connect().go("");
    let mut two = connect().go("");
    drop(one);
    wait_until("it never notices", || {
        server.counters().connections_open == 1
    });
    reads_one(&mut two, 7);
    assert!(!server.is_stopped());
    drop(two);
    server.wait().unwrap();
    assert!(server.is_stopped());
    assert!(UnixStream::connect(&path).is_err());
}

fn source(server: Server, rams: [Ram; 2]) -> Server {
    server.source(move |name: &str| -> Result<Option<Found>, ExportError> {
        let ram = match name {
            "zero" => &rams[0],
            "one" => &rams[1],
            _ => return Ok(None),
        };
        Ok(Some(Found::new("found", Arc::new(ram.clone()))))
    })
}

#[test]
fn exports_are_found_flushed_and_counted_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let rams = [Ram::new(vec![0; 512]), Ram::new(vec![1; 512])];
    let server = source(Server::new(), rams.clone())
        .export("fixed", "", Ram::new(vec![9; 512]))
        .default_export("one")
        .listen_unix(&path)
        .start()
        .unwrap();
    let connect = || client(UnixStream::connect(&path).unwrap());
    let reads = |server: &ServerHandle, name| server.export_counters(name).map(|c| c.bytes_read);
    assert_eq!(reads(&server, "zero"), None);
    let mut zero = connect().go("zero");
    reads_one(&mut zero, 0);
    reads_one(&mut connect().go(""), 1);
    let mut fixed = connect().go("fixed");
    reads_one(&mut fixed, 9);
    reads_one(&mut fixed, 9);
    assert_eq!(reads(&server, "zero"), Some(1));
    assert_eq!(reads(&server, "fixed"), Some(2));
    assert_eq!(server.counters().bytes_read, 4);
    zero.request(1, 3, 0, 2);
    zero.send(b"hi");
    assert_eq!(zero.reply(), (0, 3));
    assert!(rams[0].flushed().is_empty());
    drop(zero);
    wait_until("it stays open", || reads(&server, "zero").is_none());
    wait_until("it is not flushed", || rams[0].flushed().starts_with(b"hi"));
}

#[test]
fn a_default_must_exist() {
    let server = Server::new().export("a", "", Ram::new(vec![7; 512]));
    let (stream, _other) = UnixStream::pair().unwrap();
    let failed = server.default_export("b").connection(stream).start();
    assert!(matches!(failed, Err(ServerError::NoSuchDefault { name }) if name == "b"));
}

/// Clients that say nothing must not keep others out, and those that work must not lose their places.
#[test]
fn the_silent_give_way_to_newcomers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.connections = 4;
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let connect = || client(UnixStream::connect(&path).unwrap());
    let mut worker = connect().go("");
    let mut silent: Vec<_> = (0..3).map(|_| connect()).collect();
    let mut newcomer = connect().go("");
    reads_one(&mut newcomer, 7);
    reads_one(&mut worker, 7);
    assert!(silent[0].is_over(), "the oldest has gone");
    for _ in 0..50 {
        // A flood.
        silent.push(connect());
    }
    reads_one(&mut connect().go(""), 7);
    reads_one(&mut worker, 7);
    assert!(server.counters().connections_open <= 4 + 32);
}

#[test]
fn one_machine_does_not_take_all_places() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.connections_per_address = 2;
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .listen_tcp(([127, 0, 0, 1], 0).into())
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let address = server.tcp_addresses()[0];
    let _held: Vec<_> = (0..2)
        .map(|_| Client::greet(TcpStream::connect(address).unwrap()).go(""))
        .collect();
    let mut third = TcpStream::connect(address).unwrap();
    assert_eq!(third.read(&mut [0; 18]).unwrap_or(0), 0);
    reads_one(&mut client(UnixStream::connect(&path).unwrap()).go(""), 7);
}

/// A client that takes nothing, and one that says nothing.
#[test]
fn dead_clients_are_cut_off_when_their_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let start = |limits| {
        Server::new()
            .export("", "", Ram::new(vec![7; 8 << 20]))
            .listen_unix(&path)
            .limits(limits)
            .start()
            .unwrap()
    };
    let connect = || client(UnixStream::connect(&path).unwrap()).go("");
    let mut limits = Limits::default();
    limits.write_timeout = Some(Duration::from_millis(100));
    let server = start(limits);
    let mut greedy = connect();
    let mut idle = connect();
    for cookie in 0..8 {
        greedy.request(0, cookie, 0, 8 << 20);
    }
    wait_until("it waits for ever", || {
        server.counters().connections_open == 1
    });
    reads_one(&mut idle, 7);
    drop(server);

    let mut limits = Limits::default();
    limits.idle_timeout = Some(Duration::from_millis(100));
    let server = start(limits);
    let mut busy = connect();
    let mut idle = connect();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) {
        reads_one(&mut busy, 7);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(idle.is_over());
    drop(server);
}

#[test]
fn counters_are_told_at_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Server::new()
        .export("a \"disk\"", "", Ram::new(vec![7; 512]))
        .connection(theirs)
        .metrics_unix(&path)
        .start()
        .unwrap();
    let mut reader = client(ours).go("");
    reads_one(&mut reader, 7);
    let told = || {
        let mut text = String::new();
        let mut socket = UnixStream::connect(&path).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        socket.read_to_string(&mut text).unwrap();
        text
    };
    let text = told();
    assert_eq!(text, server.metrics());
    for line in [
        "# TYPE nbd_requests counter",
        "nbd_requests_total 1",
        "# UNIT nbd_read_bytes bytes",
        "nbd_read_bytes_total 1",
        "nbd_connections_open 1",
        "nbd_export_read_bytes_total{export=\"a \\\"disk\\\"\"} 1",
        "nbd_export_size_bytes{export=\"a \\\"disk\\\"\"} 512",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
    reads_one(&mut reader, 7);
    assert!(told().contains("\nnbd_requests_total 2\n"));
    drop(reader);
    server.wait().unwrap();
    assert!(!path.exists());
}

/// The other half of the test below, in a process that was started with a socket.
#[test]
#[ignore = "is started by the test of socket activation"]
fn serves_what_it_was_started_with() {
    let mut sockets = inherited_sockets().unwrap();
    assert_eq!(sockets.len(), 1);
    assert!(inherited_sockets().unwrap().is_empty(), "taken once");
    let socket = sockets.remove(0);
    assert_eq!(socket.name, "disk");
    let flags = rustix::io::fcntl_getfd(&socket.socket).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .listen_socket(socket.socket)
        .stop_after_last_client()
        .start()
        .unwrap();
    server.wait().unwrap();
}

#[test]
fn a_process_is_started_with_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    // Descriptor 3 and the process id, which only the shell can set before the program runs.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=disk; \
        exec \"$0\" --exact serves_what_it_was_started_with --ignored --nocapture";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .stdin(OwnedFd::from(listener))
        .spawn()
        .unwrap();
    reads_one(&mut client(UnixStream::connect(&path).unwrap()).go(""), 7);
    assert!(child.wait().unwrap().success());
    assert!(path.exists());
    // Without the variables, or with those of another process, there is nothing to take.
    assert!(inherited_sockets().unwrap().is_empty());
}
