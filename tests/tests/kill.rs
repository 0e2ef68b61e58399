//! A server that is killed under load, again and again: what a client was told to be safe is on the disk.
//!
//! Each run begins with a fresh disk and several connections at once. Most write, zero and flush small blocks, some of them
//! with FUA; one does nothing but flush. A flush on one covers what was answered on any, as the server promises by
//! multi-conn. At a random moment the server gets SIGKILL. Then QEMU and our own check must find the disk in order, or our
//! repair must put it in order, QEMU and we must read the same, and each sector must hold what it held at the last flush,
//! or something that was sent since. The few runs of the ordinary tests become many with `cargo xtask kill`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use conformance::client::{checks_clean, convert_to_raw, nbdcopy, qemu_img, same_content};
use conformance::disk::Kind;
use conformance::need;
use conformance::random::Random;
use conformance::server::Serve;
use conformance::session::{Refusal, Session};
use rustix::process::Signal;
use vmdk_engine::{CheckOptions, RepairOptions, Severity, check, repair};

/// Bytes of a block; each request is about one.
const BLOCK: u64 = 4096;
/// Blocks of the disk: a third of a grain table, so that grains are shared and tables stay few.
const BLOCKS: u64 = 4096;
/// Clients that write, each with every so manieth block for itself.
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

/// A block and what was sent for it, in order. Its client sends the next change when the last one was answered.
#[derive(Clone, Debug, Default)]
struct History {
    /// The last change that is known to be safe; none if the block was left alone until then.
    safe: Option<Change>,
    /// Changes since, with their numbers.
    since: Vec<(u64, Change)>,
    /// The number of the last change that was answered.
    answered: u64,
}

impl History {
    /// All changes up to this one are safe from now on.
    fn note_safe(&mut self, number: u64) {
        let safe = self.since.iter().take_while(|(sent, _)| *sent <= number);
        if let Some((_, last)) = self.since.drain(..safe.count()).next_back() {
            self.safe = Some(last);
        }
    }
}

/// What all clients know of the server.
#[derive(Debug)]
struct Log {
    blocks: Vec<Mutex<History>>,
}

impl Log {
    fn new() -> Self {
        Self {
            blocks: (0..BLOCKS).map(|_| Mutex::default()).collect(),
        }
    }

    fn histories(&self) -> impl Iterator<Item = MutexGuard<'_, History>> {
        self.blocks
            .iter()
            .map(|block| block.lock().expect("no client panics"))
    }

    fn history(&self, block: u64) -> MutexGuard<'_, History> {
        let index = usize::try_from(block).expect("few blocks");
        self.blocks[index].lock().expect("no client panics")
    }

    /// Notes that a change is on its way.
    fn send(&self, block: u64, change: Change) -> u64 {
        let mut history = self.history(block);
        let number = history.answered + 1;
        history.since.push((number, change));
        number
    }

    /// Notes the answer.
    fn answer(&self, block: u64, number: u64, fua: bool) {
        let mut history = self.history(block);
        history.answered = number;
        if fua {
            history.note_safe(number);
        }
    }

    /// Flushes. What was answered on any connection before is safe then.
    fn flush(&self, session: &mut Session) -> Result<(), Refusal> {
        let answered: Vec<u64> = self.histories().map(|history| history.answered).collect();
        session.flush()?;
        for (mut history, answered) in self.histories().zip(answered) {
            history.note_safe(answered);
        }
        Ok(())
    }
}

/// How much a client did.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    answers: u64,
    flushes: u64,
}

/// Sends requests until the server is gone, and says so when it is on its way.
fn work(uri: &str, client: u64, seed: u64, log: &Log, on_its_way: &Sender<()>) -> Done {
    let mut session = Session::connect(uri);
    let mut random = Random::new(seed);
    let mut done = Done::default();
    loop {
        let flushes = client == CLIENTS || random.once_in(10);
        let answer = if flushes {
            log.flush(&mut session)
        } else {
            change(&mut session, client, &mut random, log)
        };
        if answer.is_err() {
            return done;
        }
        done.answers += 1;
        done.flushes += u64::from(flushes);
        if done.answers == 5 {
            on_its_way.send(()).expect("the test waits for all clients");
        }
    }
}

/// Changes a block of the client.
fn change(
    session: &mut Session,
    client: u64,
    random: &mut Random,
    log: &Log,
) -> Result<(), Refusal> {
    // Half of the requests go to a few blocks, so that these change many times between two flushes.
    let few = random.once_in(2);
    let block = random.within(0..if few { 16 } else { BLOCKS / CLIENTS }) * CLIENTS + client;
    let fua = random.once_in(6);
    let place = block * BLOCK;
    let number;
    if random.once_in(9) {
        let all: [&[&str]; 4] = [&[], &["no-hole"], &["fua"], &["no-hole", "fua"]];
        let flags = all[usize::from(fua) * 2 + usize::from(random.once_in(2))];
        number = log.send(block, Change::Zeroed);
        session.zero(place, BLOCK, flags)?;
    } else {
        let change = Change::Wrote(random.number());
        let flags: &[&str] = if fua { &["fua"] } else { &[] };
        number = log.send(block, change);
        session.write(place, &change.content(), flags)?;
    }
    log.answer(block, number, fua);
    Ok(())
}

/// Each sector is as it was when last known to be safe, or as somebody asked for it to be since.
fn assert_kept(content: &[u8], first: &[u8], log: &Log, run: &str) {
    for (block, history) in log.histories().enumerate() {
        let start = block * 4096;
        let found = &content[start..start + 4096];
        let safe = match history.safe {
            Some(change) => change.content(),
            None => first[start..start + 4096].to_vec(),
        };
        let since: Vec<_> = history
            .since
            .iter()
            .map(|(_, change)| change.content())
            .collect();
        for sector in (0..4096).step_by(512) {
            let found = &found[sector..sector + 512];
            let may_be = std::iter::once(&safe).chain(&since);
            assert!(
                may_be
                    .map(|bytes| &bytes[sector..sector + 512])
                    .any(|bytes| bytes == found),
                "{run}: byte {} of the disk: block {block} is lost: {history:?}",
                start + sector,
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
    let facts = Session::connect(&uri).facts();
    assert_eq!(facts["multi_conn"], true, "{run}");
    let log = Log::new();
    let done: Vec<Done> = thread::scope(|scope| {
        let clients: Vec<_> = (0..=CLIENTS)
            .map(|client| {
                let (uri, seed, sender, log) = (&uri, random.number(), sender.clone(), &log);
                scope.spawn(move || work(uri, client, seed, log, &sender))
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
    assert_kept(&content, &first, &log, &run);
    assert!(checks_clean(&disk), "{run}: not in order after the kill");
    let is_repaired = random.once_in(2);
    assert_in_order(&disk, is_repaired, &run);
    assert_goes_on(&disk, &raw, is_repaired, &run);
    let sum = |number: fn(&Done) -> u64| done.iter().map(number).sum();
    (sum(|done| done.answers), sum(|done| done.flushes))
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

/// We read what QEMU reads, and the disk can be written again and ends in order. The server may say that it put copies of
/// tables in order, unless a repair has done that.
fn assert_goes_on(disk: &Path, expected: &Path, is_repaired: bool, run: &str) {
    let mut server = Serve::disk(disk).start();
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
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{run}: {}", server.stderr());
    if is_repaired {
        assert_eq!(server.stderr(), "", "{run}: repaired");
    }
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
