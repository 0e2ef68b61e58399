//! A server among clients that want it no good: others go on, and memory stays bounded.

#![cfg(all(target_os = "linux", feature = "nbd"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod nbd_support;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nbd_support::{Client, Ram, pattern};
use rustix::process::{Resource, Rlimit, setrlimit};
use vixdisklib::nbd::{Limits, Server};

const MIB: usize = 1 << 20;

fn connect(path: &Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    Client::greet(stream)
}

/// Memory that this process has to itself, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

/// Time for a client's reads of 64 KiB, a few at a time.
fn work(path: &Path) -> Duration {
    let mut client = connect(path).go("");
    let begin = Instant::now();
    for round in 0..300_u64 {
        for cookie in 0..4 {
            client.request(0, cookie, (round * 4 + cookie) % 16 * 65_536, 65_536);
        }
        for _ in 0..4 {
            assert_eq!(client.reply().0, 0);
            drop(client.read(65_536));
        }
    }
    begin.elapsed()
}

/// A hundred clients never negotiate and a hundred never take their answers.
#[test]
fn two_hundred_bad_clients_leave_the_good_ones_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.connections = 256;
    limits.memory = 64 * MIB;
    limits.payload = u32::try_from(4 * MIB).unwrap();
    limits.threads = 4;
    let memory = limits.memory;
    let ram = Ram::read_only(pattern(80));
    let server = Server::new()
        .export("", "", ram)
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let alone = work(&path).min(work(&path));
    let before = resident();
    let silent: Vec<_> = (0..100).map(|_| connect(&path)).collect();
    let greedy: Vec<_> = (0..100)
        .map(|_| {
            let mut client = connect(&path).go("");
            for cookie in 0..100 {
                client.request(0, cookie, 0, 4 << 20);
            }
            client
        })
        .collect();
    let among = work(&path).min(work(&path));
    // For who runs this by hand on a quiet machine; elsewhere times say little.
    eprintln!(
        "speed among bad clients: {:.0} % of that alone",
        100.0 * alone.as_secs_f64() / among.as_secs_f64()
    );
    let grown = resident().saturating_sub(before);
    eprintln!("memory: {} MiB more", grown / MIB);
    // What the limit allows, and for each client its stack pages and its buffer for what it sends.
    let allowed = memory + 200 * 320 * 1024;
    assert!(grown < allowed, "{} MiB", grown / MIB);
    let counters = server.counters();
    assert_eq!(counters.errors, 0);
    assert!(counters.connections_open >= 200, "they are all still there");
    drop((silent, greedy));
}

/// Options without end cost a client its connection, and nobody else anything.
#[test]
fn floods_of_options_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.options = 5;
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .listen_unix(&path)
        .limits(limits)
        .start()
        .unwrap();
    let mut flood = connect(&path);
    let mut answered = 0;
    // LIST, unknown to none and allowed as often as any other.
    while answered < 100 {
        let sent = std::io::Write::write_all(&mut flood.0, b"IHAVEOPT\0\0\0\x03\0\0\0\0");
        let got = std::io::Read::read(&mut flood.0, &mut [0; 4096]);
        if sent.is_err() || !matches!(got, Ok(1..)) {
            break;
        }
        answered += 1;
    }
    // Those of the limit, and four for each export.
    assert!((5..=9).contains(&answered), "{answered}");
    drop(connect(&path).go(""));
    drop(server);
}

/// Thousands of connections, one after the other and from several sides, leave nothing behind.
#[test]
fn thousands_of_connects_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.connection_interval = Duration::ZERO;
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .limits(limits)
        .listen_unix(&path)
        .listen_tcp(([127, 0, 0, 1], 0).into())
        .start()
        .unwrap();
    let address = server.tcp_addresses()[0];
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..1000).for_each(|_| drop(UnixStream::connect(&path).unwrap())));
            scope.spawn(|| (0..500).for_each(|_| drop(TcpStream::connect(address).unwrap())));
        }
    });
    let mut last = connect(&path).go("");
    last.request(0, 1, 0, 1);
    assert_eq!(last.reply(), (0, 1));
    let begin = Instant::now();
    let all_came = || server.counters().connections >= 3001;
    while !all_came() || server.counters().connections_open > 1 || descriptors() > before + 2 {
        assert!(begin.elapsed() < Duration::from_secs(20), "something stays");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Who comes again and again waits; who is there does not, and the stop does not either.
#[test]
fn clients_are_let_in_at_a_measured_pace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default();
    limits.connections = 2;
    limits.connection_interval = Duration::from_millis(300);
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .limits(limits)
        .listen_unix(&path)
        .start()
        .unwrap();
    let begin = Instant::now();
    let mut first = connect(&path).go("");
    drop(connect(&path));
    drop(connect(&path));
    assert!(begin.elapsed() >= Duration::from_millis(290));
    drop(connect(&path));
    assert!(begin.elapsed() >= Duration::from_millis(590));
    let _waits = UnixStream::connect(&path).unwrap();
    first.request(0, 1, 0, 512);
    assert_eq!((first.reply(), first.read(512)), ((0, 1), vec![7; 512]));
    server.stop();
    server.wait().unwrap();
}

/// Tells the child of the next test where to listen.
const SOCKET: &str = "VIXDISKLIB_TEST_FEW_DESCRIPTORS";

/// A server that runs out of descriptors serves those that it has, lets in others as soon as somebody leaves, and does
/// not let silent clients keep them out. A process of its own is the server.
#[test]
fn few_descriptors_are_enough() {
    const FEW: usize = 40;
    if let Some(path) = env::var_os(SOCKET) {
        return serve_with_descriptors(FEW, &path);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut server = Command::new(env::current_exe().unwrap())
        .args(["--exact", "few_descriptors_are_enough"])
        .env(SOCKET, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while UnixStream::connect(&path).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "no server");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut good = connect(&path).go("");
    let mut still_served = || {
        good.request(0, 1, 0, 512);
        assert_eq!(good.reply(), (0, 1));
        assert_eq!(good.read(512), [7; 512]);
    };
    still_served();
    // More than there can be.
    let silent: Vec<_> = (0..2 * FEW)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    still_served();
    let begin = Instant::now();
    let mut settled = vec![connect(&path).go("")];
    // Long before silence becomes a reason to be cut off.
    assert!(begin.elapsed() < Duration::from_secs(5));
    // Who has an export keeps it, until there is nothing left for the next one.
    let mut waiting = loop {
        let mut next = UnixStream::connect(&path).unwrap();
        next.set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut greeting = [0; 18];
        if next.read_exact(&mut greeting).is_err() {
            break next;
        }
        let mut client = Client(next);
        client.send(&[0, 0, 0, 3]);
        settled.push(client.go(""));
        assert!(settled.len() < FEW, "that many descriptors are not allowed");
    };
    still_served();
    assert!(settled.len() > FEW / 4, "only {}", settled.len());
    settled.pop();
    waiting
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    waiting.read_exact(&mut [0; 18]).unwrap();
    still_served();
    drop((silent, settled, waiting, good));
    drop(connect(&path).go(""));
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

/// Serves until standard input ends.
fn serve_with_descriptors(count: usize, path: &OsStr) {
    let count = u64::try_from(count).ok();
    let limit = Rlimit {
        current: count,
        maximum: count,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
        .listen_unix(path)
        .start()
        .unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.stop();
    server.wait().unwrap();
}
