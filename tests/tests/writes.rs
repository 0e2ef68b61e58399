//! Writing over NBD: whatever a real client did, QEMU reads it back from the disk, and finds the disk in order.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use conformance::backend::Backend;
use conformance::checksum;
use conformance::client::{checks_clean, convert_to_raw, nbdcopy, same_content};
use conformance::disk::{GRAIN, Kind, SECTOR, SPLIT, TABLE, space_taken};
use conformance::need;
use conformance::random::Random;
use conformance::server::Serve;
use conformance::session::Session;

/// The part of a disk that a test writes to; the rest stays zero.
#[derive(Clone, Copy)]
struct Window {
    start: u64,
    length: u64,
    capacity: u64,
}

impl Window {
    /// Across the border that the kind has: of a grain table, or of an extent. The disk ends in the window, within a
    /// grain.
    fn of(kind: Kind) -> Self {
        let (border, before) = match kind {
            Kind::TwoGbMaxExtentSparse | Kind::TwoGbMaxExtentFlat => (SPLIT, 20 * GRAIN),
            _ => (TABLE, TABLE),
        };
        let length = before + 30 * GRAIN + 7 * SECTOR;
        Self {
            start: border - before,
            length,
            capacity: border - before + length,
        }
    }
}

/// What the window must hold.
struct Model {
    window: Window,
    bytes: Vec<u8>,
}

impl Model {
    fn new(window: Window) -> Self {
        let length = usize::try_from(window.length).expect("a window fits in memory");
        Self {
            window,
            bytes: vec![0; length],
        }
    }

    fn slice(&mut self, offset: u64, count: u64) -> &mut [u8] {
        let index = |place: u64| usize::try_from(place).expect("a window fits in memory");
        let start = index(offset - self.window.start);
        &mut self.bytes[start..start + index(count)]
    }

    /// The disk must hold the window and nothing else, for QEMU and for a server that opens it again.
    fn assert_is_on(&self, disk: &Path, backend: &Backend, what: &str) {
        assert!(checks_clean(disk), "{what}: qemu-img check");
        let folder = tempfile::tempdir().expect("there is room");
        let (model, found) = (folder.path().join("model"), folder.path().join("found"));
        let file = File::create(&model).expect("there is room");
        file.set_len(self.window.capacity).expect("there is room");
        for (index, piece) in (0..).zip(self.bytes.chunks(1 << 16)) {
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(piece, self.window.start + (index << 16))
                    .expect("there is room");
            }
        }
        convert_to_raw(disk, &found);
        assert!(same_content(&model, &found), "{what}: QEMU reads otherwise");
        if self.window.start == 0 {
            assert_eq!(checksum::file(&found), checksum::file(&model), "{what}");
        }
        std::fs::remove_file(&found).expect("it is there");
        let server = Serve::disk(disk).backend(backend).read_only().start();
        nbdcopy(server.uri(), &found);
        server.stop();
        assert!(same_content(&model, &found), "{what}: we read otherwise");
    }
}

/// A stretch that only one client writes to. Odd lengths put the borders between clients within a sector.
#[derive(Clone, Copy)]
struct Stripe {
    offset: u64,
    length: u64,
}

/// One client at work on its stripes, and on blocks that all clients share.
struct Worker {
    session: Session,
    random: Random,
    model: Model,
    stripes: Vec<Stripe>,
    /// Requests begin and end at multiples of this.
    unit: u64,
    /// Every client writes whole blocks of its own byte here.
    shared: Stripe,
    byte: u8,
    kind: Kind,
    trims: bool,
}

impl Worker {
    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            let (offset, count) = self.range();
            match self.random.within(0..12) {
                0..5 => self.write(offset, count),
                5..7 => self.zero(offset, count, &[]),
                7 => self.zero(offset, count, &["no-hole"]),
                8 => self.zero(offset, count, &["fast-zero"]),
                9 if self.trims => self.trim(offset, count),
                9 | 10 => self.session.flush().expect("a flush works"),
                _ => self.write_shared(),
            }
            let (offset, count) = self.range();
            let found = self.session.read(offset, count).expect("a read works");
            assert!(found == self.model.slice(offset, count), "{offset}+{count}");
        }
    }

    fn range(&mut self) -> (u64, u64) {
        let stripe = *self.random.pick(&self.stripes);
        let units = stripe.length / self.unit;
        let first = self.random.within(0..units);
        // Now and then a whole stripe, with whole grains in it.
        let (first, count) = if self.random.once_in(6) {
            (0, units)
        } else {
            (first, self.random.within(1..units - first + 1))
        };
        (stripe.offset + first * self.unit, count * self.unit)
    }

    fn write(&mut self, offset: u64, count: u64) {
        let length = usize::try_from(count).expect("a stripe fits in memory");
        let bytes = if self.random.once_in(8) {
            vec![0; length]
        } else {
            self.random.bytes(length)
        };
        let fua: &[&str] = if self.random.once_in(8) {
            &["fua"]
        } else {
            &[]
        };
        self.session
            .write(offset, &bytes, fua)
            .expect("a write works");
        self.model.slice(offset, count).copy_from_slice(&bytes);
    }

    fn zero(&mut self, offset: u64, count: u64, flags: &[&str]) {
        match self.session.zero(offset, count, flags) {
            Ok(()) => self.model.slice(offset, count).fill(0),
            // A fast zero may be refused at any time, and then changes nothing.
            Err(error) if flags == ["fast-zero"] => {
                assert!(error == "ENOTSUP" || error == "EOPNOTSUPP", "{error}");
            }
            Err(error) => panic!("zeroing {offset}+{count} {flags:?}: {error}"),
        }
        // In a data file space without content is a hole for the file system, allocated or not.
        if flags == ["no-hole"] && self.kind.is_sparse() {
            let runs = self.session.extents(offset, count).expect("a query works");
            assert!(runs.iter().all(|run| !run.hole), "{runs:?}");
        }
    }

    /// What was trimmed is as it was or zero, byte by byte; whole grains are zero, and holes.
    fn trim(&mut self, offset: u64, count: u64) {
        self.session.trim(offset, count, &[]).expect("a trim works");
        let found = self.session.read(offset, count).expect("a read works");
        let model = self.model.slice(offset, count);
        let lawful = |(found, old): (&u8, &u8)| found == old || *found == 0;
        assert!(
            found.iter().zip(model.iter()).all(lawful),
            "{offset}+{count}"
        );
        model.copy_from_slice(&found);
        let (first, end) = (
            offset.next_multiple_of(GRAIN),
            (offset + count) / GRAIN * GRAIN,
        );
        if self.kind.is_sparse() && first < end {
            let grains = self.model.slice(first, end - first);
            assert!(grains.iter().all(|byte| *byte == 0), "{first}..{end}");
            let runs = self
                .session
                .extents(first, end - first)
                .expect("a query works");
            assert!(runs.iter().all(|run| run.hole), "{runs:?}");
        }
    }

    fn write_shared(&mut self) {
        let block = self.random.within(0..self.shared.length / 4096);
        let offset = self.shared.offset + block * 4096;
        self.session
            .write(offset, &[self.byte; 4096], &[])
            .expect("a write works");
    }
}

/// Four clients at once, each with its own stripes and all with the shared blocks.
fn random_writes(kind: Kind, backend: &Backend, steps: u32, trims: bool) {
    const CLIENTS: u64 = 4;
    let start = Instant::now();
    let folder = tempfile::tempdir().expect("there is room");
    let window = Window::of(kind);
    let disk = kind.create(folder.path(), window.capacity);
    let server = Serve::disk(&disk).backend(backend).start();
    let facts = Session::connect(server.uri()).facts();
    for ability in [
        "flush",
        "fua",
        "zero",
        "multi_conn",
        "structured",
        "allocation",
    ] {
        assert_eq!(facts[ability], true, "{ability}: {facts}");
    }
    assert_eq!(facts["trim"], trims, "{facts}");
    assert_eq!(facts["read_only"], false, "{facts}");
    let unit = facts["minimum"].as_u64().expect("a number");

    let shared = Stripe {
        offset: (window.start + window.length / 2).next_multiple_of(GRAIN),
        length: 8 * 4096,
    };
    let stripe = (3 * GRAIN + GRAIN / 2 + 11) / unit * unit;
    let stripes: Vec<Stripe> = (0..window.length / stripe)
        .map(|number| Stripe {
            offset: window.start + number * stripe,
            length: stripe,
        })
        .chain([Stripe {
            offset: window.start + window.length / stripe * stripe,
            length: window.length % stripe,
        }])
        .filter(|stripe| {
            let end = stripe.offset + stripe.length;
            stripe.length > 0
                && (end <= shared.offset || shared.offset + shared.length <= stripe.offset)
        })
        .collect();
    let mut workers: Vec<Worker> = (0..CLIENTS)
        .map(|client| Worker {
            session: Session::connect(server.uri()),
            random: Random::new(client),
            model: Model::new(window),
            stripes: (client..)
                .step_by(4)
                .map_while(|index| stripes.get(usize::try_from(index).ok()?).copied())
                .collect(),
            unit,
            shared,
            byte: u8::try_from(client + 1).expect("few clients"),
            kind,
            trims,
        })
        .collect();
    thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(move || worker.run(steps));
        }
    });

    let mut model = Model::new(window);
    for worker in &mut workers {
        for Stripe { offset, length } in worker.stripes.clone() {
            let bytes = worker.model.slice(offset, length).to_vec();
            model.slice(offset, length).copy_from_slice(&bytes);
        }
    }
    let found = workers[0]
        .session
        .read(shared.offset, shared.length)
        .expect("a read works");
    for sector in found.chunks(512) {
        assert!(u64::from(sector[0]) <= CLIENTS, "foreign bytes");
        assert!(
            sector.iter().all(|byte| *byte == sector[0]),
            "a torn sector"
        );
    }
    model
        .slice(shared.offset, shared.length)
        .copy_from_slice(&found);
    drop(workers);
    server.stop();
    model.assert_is_on(&disk, backend, &format!("{} {backend:?}", kind.name()));
    println!(
        "{} took {:.1} s",
        kind.name(),
        start.elapsed().as_secs_f64()
    );
}

fn ready() -> bool {
    need::have(&["qemu-img", "nbdcopy"]) && need::have_libnbd()
}

fn random_writes_on(kind: Kind) {
    if !ready() {
        return;
    }
    random_writes(kind, &Backend::Embedded, 120, true);
    random_writes(kind, &Backend::ours(), 40, true);
}

#[test]
fn random_writes_monolithic_sparse() {
    random_writes_on(Kind::MonolithicSparse);
}

#[test]
fn random_writes_monolithic_flat() {
    random_writes_on(Kind::MonolithicFlat);
}

#[test]
fn random_writes_two_gb_max_extent_sparse() {
    random_writes_on(Kind::TwoGbMaxExtentSparse);
}

#[test]
fn random_writes_two_gb_max_extent_flat() {
    random_writes_on(Kind::TwoGbMaxExtentFlat);
}

/// A library that has neither zeroes nor trim: zeroes are written, trim is not offered.
#[test]
fn random_writes_without_extensions() {
    if !ready() {
        return;
    }
    let library = tempfile::tempdir().expect("there is room");
    let backend = Backend::without_extensions(library.path());
    for kind in Kind::WRITABLE {
        random_writes(kind, &backend, 30, false);
    }
}

/// Unaligned neighbours of one sector, written by two clients at once: neither may undo the other's bytes.
#[test]
fn neighbours_in_one_sector() {
    if !ready() {
        return;
    }
    for kind in [Kind::MonolithicSparse, Kind::MonolithicFlat] {
        for backend in Backend::all() {
            let folder = tempfile::tempdir().expect("there is room");
            let disk = kind.create(folder.path(), 4 * GRAIN);
            let server = Serve::disk(&disk).backend(&backend).start();
            let minimum = Session::connect(server.uri()).facts()["minimum"].clone();
            assert_eq!(minimum, 1, "any byte can be written");
            let uri = server.uri();
            thread::scope(|scope| {
                for client in 0..4_u64 {
                    scope.spawn(move || {
                        let mut session = Session::connect(uri);
                        let byte = u8::try_from(client + 1).expect("few clients");
                        for number in 0..100 {
                            let offset = GRAIN - 200 + 4 * number + client;
                            session.write(offset, &[byte], &[]).expect("a write works");
                        }
                    });
                }
            });
            let mut session = Session::connect(uri);
            let found = session.read(GRAIN - 200, 400).expect("a read works");
            drop(session);
            server.stop();
            assert_eq!(
                found,
                [1, 2, 3, 4].repeat(100),
                "{} {backend:?}",
                kind.name()
            );
        }
    }
}

/// Zeroes that must not be a hole take space, so that a later write cannot run out of it.
#[test]
fn zeroes_without_a_hole_take_space() {
    if !ready() {
        return;
    }
    for kind in Kind::WRITABLE {
        for backend in Backend::all() {
            let folder = tempfile::tempdir().expect("there is room");
            let capacity = 64 * GRAIN + 5 * SECTOR;
            let disk = kind.create(folder.path(), capacity);
            let taken = || -> u64 {
                let files = std::fs::read_dir(folder.path()).expect("it is there");
                files
                    .map(|file| space_taken(&file.expect("it is there").path()))
                    .sum()
            };
            assert!(taken() < capacity / 4);
            let server = Serve::disk(&disk).backend(&backend).start();
            let mut session = Session::connect(server.uri());
            session.zero(0, capacity, &[]).expect("zeroing works");
            session.flush().expect("a flush works");
            assert!(taken() < capacity / 4, "{} {backend:?}", kind.name());
            session
                .zero(0, capacity, &["no-hole"])
                .expect("zeroing works");
            session.flush().expect("a flush works");
            drop(session);
            server.stop();
            assert!(taken() >= capacity, "{} {backend:?}", kind.name());
            Model::new(Window {
                start: 0,
                length: capacity,
                capacity,
            })
            .assert_is_on(&disk, &backend, kind.name());
        }
    }
}
