//! A server that ends while clients write: what it promised is on the disk.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use conformance::backend::Backend;
use conformance::client::{checks_clean, convert_to_raw};
use conformance::disk::Kind;
use conformance::need;
use conformance::random::Random;
use conformance::server::{Serve, Server};
use conformance::session::Session;

fn ready() -> bool {
    need::have(&["qemu-img"]) && need::have_libnbd()
}

/// Bytes of a block.
const BLOCK: u64 = 4096;
/// More blocks than any client comes to write.
const BLOCKS: u64 = 1500;

/// What one client of a server that is to go away has written: blocks of 4 KiB, one after the other.
struct Log {
    /// Blocks whose write was acknowledged.
    written: u64,
    /// Blocks that were written when the last flush was acknowledged.
    flushed: u64,
}

/// The content of a block, different for each.
fn block(client: u64, number: u64) -> Vec<u8> {
    Random::new(client << 32 | number).bytes(4096)
}

/// Blocks of one client lie apart, so that grains are shared by all clients.
fn place(clients: u64, client: u64, number: u64) -> u64 {
    (number * clients + client) * BLOCK
}

/// Writes until the server is gone; every seventh block with FUA, which makes that block safe, every tenth step a flush.
/// Says so when it is well on its way.
fn write_until_gone(uri: &str, clients: u64, client: u64, on_its_way: &Sender<()>) -> Log {
    let mut session = Session::connect(uri);
    let mut log = Log {
        written: 0,
        flushed: 0,
    };
    for number in 0..BLOCKS {
        let fua: &[&str] = if number % 7 == 0 { &["fua"] } else { &[] };
        let bytes = block(client, number);
        if session
            .write(place(clients, client, number), &bytes, fua)
            .is_err()
        {
            return log;
        }
        log.written += 1;
        if number % 10 == 9 {
            if session.flush().is_err() {
                return log;
            }
            log.flushed = log.written;
        }
        if number == 25 {
            on_its_way.send(()).expect("the test waits for all clients");
        }
    }
    panic!("the server outlived {BLOCKS} writes");
}

/// Clients write while the server is ended by `end`; gives back what they know.
fn end_in_the_middle(
    disk: &Path,
    backend: &Backend,
    clients: u64,
    end: impl FnOnce(Server),
) -> Vec<Log> {
    let server = Serve::disk(disk).backend(backend).start();
    let uri = server.uri().to_owned();
    let (sender, on_their_way) = mpsc::channel();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|client| {
                let (uri, sender) = (&uri, sender.clone());
                scope.spawn(move || write_until_gone(uri, clients, client, &sender))
            })
            .collect();
        drop(sender);
        assert_eq!(
            on_their_way.iter().take(workers.len()).count(),
            workers.len()
        );
        let start = Instant::now();
        end(server);
        assert!(start.elapsed() < Duration::from_secs(10), "a slow end");
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a client ends when the server does"))
            .collect()
    })
}

/// Every safe block is there; every other one is there, or zero, or a mix of both by sector.
fn assert_holds(disk: &Path, logs: &[Log], is_safe: impl Fn(&Log, u64) -> bool) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = folder.path().join("raw");
    convert_to_raw(disk, &raw);
    let raw = fs::read(&raw).expect("a disk of some megabytes");
    let clients = logs.len() as u64;
    for (client, log) in (0..).zip(logs) {
        assert!(log.flushed > 0, "every client has flushed");
        for number in 0..BLOCKS {
            let start = usize::try_from(place(clients, client, number)).expect("a small disk");
            let found = &raw[start..][..4096];
            if number > log.written {
                assert!(found == [0; 4096], "nobody wrote {number}");
                continue;
            }
            let written = block(client, number);
            if is_safe(log, number) {
                assert!(
                    found == written,
                    "block {number} of client {client} is lost"
                );
                continue;
            }
            for (found, written) in found.chunks(512).zip(written.chunks(512)) {
                let zero = found == [0; 512];
                assert!(zero || found == written, "foreign bytes in block {number}");
            }
        }
    }
}

/// How many sparse extents are marked as not closed (header byte 72, "VMware Virtual Disk Format 5.0").
fn unclean(folder: &Path) -> usize {
    let files = fs::read_dir(folder).expect("it is there");
    files
        .filter(|file| {
            let path = file.as_ref().expect("it is there").path();
            let mut header = [0; 73];
            let file = File::open(path).expect("it is ours");
            file.read_exact_at(&mut header, 0).is_ok()
                && header.starts_with(b"KDMV")
                && header[72] != 0
        })
        .count()
}

/// The disk is in order, and goes on working.
fn assert_goes_on(disk: &Path, backend: &Backend) {
    let server = Serve::disk(disk).backend(backend).start();
    let mut session = Session::connect(server.uri());
    let size = session.facts()["size"].as_u64().expect("a number");
    session
        .write(size - BLOCK, &[9; 4096], &["fua"])
        .expect("a write works");
    let found = session.read(size - BLOCK, BLOCK).expect("a read works");
    assert_eq!(found, [9; 4096]);
    drop(session);
    server.stop();
    assert!(checks_clean(disk));
}

#[test]
fn a_stop_in_the_middle_loses_nothing_that_was_acknowledged() {
    if !ready() {
        return;
    }
    for kind in Kind::WRITABLE {
        for backend in [Backend::Embedded, Backend::ours()] {
            let folder = tempfile::tempdir().expect("there is room");
            let disk = kind.create(folder.path(), (4 * BLOCKS + 1) * BLOCK);
            let logs = end_in_the_middle(&disk, &backend, 4, Server::stop);
            assert!(checks_clean(&disk));
            assert_eq!(unclean(folder.path()), 0, "{}", kind.name());
            assert_holds(&disk, &logs, |log, number| number < log.written);
            assert_goes_on(&disk, &backend);
        }
    }
}

#[test]
fn a_kill_loses_nothing_that_was_flushed() {
    if !ready() {
        return;
    }
    for kind in Kind::WRITABLE {
        for backend in [Backend::Embedded, Backend::ours()] {
            let folder = tempfile::tempdir().expect("there is room");
            let disk = kind.create(folder.path(), (4 * BLOCKS + 1) * BLOCK);
            let logs = end_in_the_middle(&disk, &backend, 4, Server::kill);
            let marked = if kind.is_sparse() { 1 } else { 0 };
            assert_eq!(unclean(folder.path()), marked, "{}", kind.name());
            assert_holds(&disk, &logs, |log, number| {
                number < log.flushed || number < log.written && number % 7 == 0
            });
            assert_goes_on(&disk, &backend);
            assert_holds(&disk, &logs, |log, number| number < log.flushed);
        }
    }
}
