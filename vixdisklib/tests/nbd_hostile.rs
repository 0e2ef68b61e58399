//! A server among clients that want it no good: others go on, and memory stays bounded.

#![cfg(all(target_os = "linux", feature = "nbd"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod nbd_support;

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nbd_support::{Client, Ram, pattern};
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
    let server = Server::new()
        .export("", "", Ram::new(vec![7; 512]))
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
