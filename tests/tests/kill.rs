//! A server that is killed under load, again and again: what a client was told to be safe is on the disk.
//!
//! Each run begins with a fresh disk and several clients that write, zero and flush small blocks, some of them with FUA. At a random moment
//! the server gets SIGKILL. Then QEMU and our own check must find the disk in order, or our repair must put it in order,
//! QEMU and we must read the same, and each sector must hold what it held at its client's last flush or something that
//! the client sent since. The few runs of the ordinary tests become many with
//! `cargo xtask kill`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use conformance::client::{checks_clean, convert_to_raw, nbdcopy, qemu_img, same_content};
use conformance::disk::Kind;
use conformance::need;
use conformance::random::Random;
use conformance::server::Serve;
use conformance::session::Session;
use vmdk_engine::{CheckOptions, RepairOptions, Severity, check, repair};

/// Bytes of a block; each request is about one.
const BLOCK: u64 = 4096;
/// Blocks of the disk: a third of a grain table, so that grains are shared and tables stay few.
const BLOCKS: u64 = 4096;
/// Clients, each with every so manieth block for itself.
const CLIENTS: u64 = 3;

/// What a run is about.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Alone(Kind),
    /// A sparse child over a full sparse base.
    Child,
}

impl Subject {
    const ALL: [Self; 4] = [
        Self::Alone(Kind::MonolithicSparse),
        Self::Alone(Kind::TwoGbMaxExtentSparse),
        Self::Alone(Kind::MonolithicFlat),
        Self::Child,
    ];

    /// The disk, and what each of its bytes is at the beginning.
    fn create(self, folder: &Path) -> (PathBuf, Vec<u8>) {
        let bytes = BLOCK * BLOCKS;
        let length = usize::try_from(bytes).expect("a small disk");
        match self {
            Self::Alone(kind) => (kind.create(folder, bytes), vec![0; length]),
            Self::Child => {
                let content = Random::new(1).bytes(length);
                let raw = folder.join("base.raw");
                fs::write(&raw, &content).expect("there is room");
                let base = Kind::MonolithicSparse.convert(folder, &raw);
                let child = folder.join("child.vmdk");
                let words = ["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b"];
                let paths = [base.as_os_str(), child.as_os_str()];
                qemu_img(words.map(AsRef::as_ref).into_iter().chain(paths));
                (child, content)
            }
        }
    }
}

/// What a client did to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Wrote the bytes that this number gives.
    Wrote(u64),
    Zeroed,
}

impl Change {
    fn content(self) -> Vec<u8> {
        match self {
            Self::Wrote(number) => Random::new(number).bytes(4096),
            Self::Zeroed => vec![0; 4096],
        }
    }
}

/// A block and what was sent for it, in order.
#[derive(Clone, Debug, Default)]
struct History {
    /// The last change that is known to be safe; none if the block was left alone until then.
    safe: Option<Change>,
    since: Vec<Change>,
}

impl History {
    /// `change`, the last one, is safe from now on.
    fn note_safe(&mut self, change: Change) {
        self.safe = Some(change);
        self.since.clear();
    }
}

/// What a client knows when its server is gone.
#[derive(Debug)]
struct Log {
    client: u64,
    blocks: Vec<History>,
    flushes: u64,
    answers: u64,
}

impl Log {
    fn new(client: u64) -> Self {
        let own = usize::try_from(BLOCKS / CLIENTS).expect("few blocks");
        Self {
            client,
            blocks: vec![History::default(); own],
            flushes: 0,
            answers: 0,
        }
    }

    fn place(&self, block: u64) -> u64 {
        (block * CLIENTS + self.client) * BLOCK
    }

    /// All that was answered is safe from now on.
    fn note_flush(&mut self) {
        self.flushes += 1;
        for block in &mut self.blocks {
            if let Some(last) = block.since.pop() {
                block.note_safe(last);
            }
        }
    }
}

/// Sends requests until the server is gone, and says so when it is on its way.
fn work(uri: &str, client: u64, seed: u64, on_its_way: &Sender<()>) -> Log {
    let mut session = Session::connect(uri);
    let mut random = Random::new(seed);
    let mut log = Log::new(client);
    // Half of the requests go to a few blocks, so that these change many times between two flushes.
    let own = BLOCKS / CLIENTS;
    loop {
        let block = if random.once_in(2) {
            random.within(0..16)
        } else {
            random.within(0..own)
        };
        let place = log.place(block);
        let index = usize::try_from(block).expect("few blocks");
        let answer = match random.within(0..10) {
            0 => {
                let answer = session.flush();
                if answer.is_ok() {
                    log.note_flush();
                }
                answer
            }
            1 => {
                log.blocks[index].since.push(Change::Zeroed);
                let all: [&[&str]; 4] = [&[], &["no-hole"], &["fua"], &["no-hole", "fua"]];
                let flags = *random.pick(&all);
                let answer = session.zero(place, BLOCK, flags);
                if answer.is_ok() && flags.contains(&"fua") {
                    log.blocks[index].note_safe(Change::Zeroed);
                }
                answer
            }
            kind => {
                let change = Change::Wrote(random.number());
                log.blocks[index].since.push(change);
                let flags: &[&str] = if kind == 2 { &["fua"] } else { &[] };
                let answer = session.write(place, &change.content(), flags);
                if answer.is_ok() && kind == 2 {
                    log.blocks[index].note_safe(change);
                }
                answer
            }
        };
        match answer {
            Ok(()) => log.answers += 1,
            Err(_) => return log,
        }
        if log.answers == 5 {
            on_its_way.send(()).expect("the test waits for all clients");
        }
    }
}

/// Each sector is as it was when last known to be safe, or as somebody asked for it to be since.
fn assert_kept(content: &[u8], first: &[u8], log: &Log, run: &str) {
    for (block, history) in (0..).zip(&log.blocks) {
        let start = usize::try_from(log.place(block)).expect("a small disk");
        let found = &content[start..start + 4096];
        let safe = match history.safe {
            Some(change) => change.content(),
            None => first[start..start + 4096].to_vec(),
        };
        let since: Vec<_> = history
            .since
            .iter()
            .map(|change| change.content())
            .collect();
        for sector in (0..4096).step_by(512) {
            let found = &found[sector..sector + 512];
            let may_be = std::iter::once(&safe).chain(&since);
            assert!(
                may_be
                    .map(|bytes| &bytes[sector..sector + 512])
                    .any(|bytes| bytes == found),
                "{run}: byte {} of the disk: block {block} of client {} is lost: {history:?}",
                start + sector,
                log.client
            );
        }
    }
}

/// One disk, one kill; how many requests had been answered and how many flushes.
fn kill_once(subject: Subject, seed: u64) -> (u64, u64) {
    let run = format!("{subject:?}, seed {seed}");
    let folder = tempfile::tempdir().expect("there is room");
    let (disk, first) = subject.create(folder.path());
    let server = Serve::disk(&disk).start();
    let uri = server.uri().to_owned();
    let mut random = Random::new(seed);
    let (sender, on_their_way) = mpsc::channel();
    let logs: Vec<Log> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (uri, seed, sender) = (&uri, random.number(), sender.clone());
                scope.spawn(move || work(uri, client, seed, &sender))
            })
            .collect();
        drop(sender);
        assert_eq!(
            on_their_way.iter().take(clients.len()).count(),
            clients.len()
        );
        thread::sleep(Duration::from_micros(random.within(0..300_000)));
        server.kill();
        clients
            .into_iter()
            .map(|client| client.join().expect("a client ends when the server does"))
            .collect()
    });
    let raw = folder.path().join("qemu.raw");
    convert_to_raw(&disk, &raw);
    let content = fs::read(&raw).expect("a small disk");
    for log in &logs {
        assert_kept(&content, &first, log, &run);
    }
    assert!(checks_clean(&disk), "{run}: not in order after the kill");
    assert_in_order(&disk, random.once_in(2), &run);
    assert_goes_on(&disk, &raw, &run);
    let sum = |number: fn(&Log) -> u64| logs.iter().map(number).sum();
    (sum(|log| log.answers), sum(|log| log.flushes))
}

/// Our own check finds at worst what a repair, which may not lose anything, puts in order; the next writer opens disks
/// with and without one.
fn assert_in_order(disk: &Path, is_repaired: bool, run: &str) {
    let found = check(disk, &CheckOptions::new()).expect("it can be looked at");
    if is_repaired {
        let left = repair(disk, &RepairOptions::new()).expect("it can be repaired");
        assert!(left.is_clean(), "{run}: {found:?}, repaired: {left:?}");
    } else {
        assert!(found.worst() < Some(Severity::Error), "{run}: {found:?}");
    }
}

/// We read what QEMU reads, and the disk can be written again and ends in order.
fn assert_goes_on(disk: &Path, expected: &Path, run: &str) {
    let server = Serve::disk(disk).start();
    let found = expected.with_file_name("ours.raw");
    nbdcopy(server.uri(), &found);
    assert!(
        same_content(&found, expected),
        "{run}: we and QEMU disagree"
    );
    let mut session = Session::connect(server.uri());
    let last = BLOCKS * BLOCK - BLOCK;
    session
        .write(last, &[9; 4096], &[])
        .expect("it is writable");
    drop(session);
    server.stop();
    assert!(checks_clean(disk), "{run}: not in order after the repair");
}

#[test]
fn what_was_flushed_survives_every_kill() {
    if !need::have(&["qemu-img", "nbdcopy"]) || !need::have_libnbd() {
        return;
    }
    let many = env::var("VIXDISKLIB_KILLS").ok();
    let runs = many.map_or(4, |runs| runs.parse().expect("a number of runs"));
    for number in 0..runs {
        let index = usize::try_from(number).expect("few runs") % Subject::ALL.len();
        let subject = Subject::ALL[index];
        let (answers, flushes) = kill_once(subject, number);
        eprintln!("run {number}, {subject:?}: killed after {answers} answers, {flushes} flushes");
    }
}
