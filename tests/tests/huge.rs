//! Disks of 3 TiB: data on both sides of every number that fits in 31 or 32 bits, written by one side and read by the
//! other, in files that stay small.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use conformance::backend::Backend;
use conformance::client::{checks_clean, dump, qemu_io};
use conformance::disk::{GRAIN, Kind, SECTOR, space_taken};
use conformance::map::{self, Run};
use conformance::need;
use conformance::random::Random;
use conformance::server::{Serve, Server};
use conformance::session::Session;

const SECTORS: u64 = 3 << 31;

/// What each chosen sector is filled with: its own byte, never zero.
fn places(seed: u64) -> BTreeMap<u64, u8> {
    let mut random = Random::new(seed);
    let borders = [0, (1 << 31) - 1, (1 << 32) - 1, (1 << 32) + 1, SECTORS - 1];
    let sectors: Vec<u64> = borders
        .into_iter()
        .chain((0..50).map(|_| random.within(0..SECTORS)))
        .collect();
    let mut bytes = (1..=u8::MAX).cycle();
    sectors
        .into_iter()
        .map(|sector| (sector, bytes.next().expect("it is endless")))
        .collect()
}

fn qemu_writes_and_we_read(disk: &Path, backend: &Backend) {
    let places = places(1);
    let written = places.iter().map(|(sector, byte)| {
        let start = sector * SECTOR;
        format!("write -P {byte} {start} {SECTOR}")
    });
    qemu_io("vmdk", disk, &written.collect::<Vec<_>>());
    let server = Serve::disk(disk).backend(backend).read_only().start();
    let mut session = Session::connect(server.uri());
    assert_eq!(session.facts()["size"], SECTORS * SECTOR);
    for (sector, byte) in &places {
        let found = session.read(sector * SECTOR, SECTOR).expect("it is inside");
        assert_eq!(found, [*byte; 512], "sector {sector}");
        let after = sector + 1;
        if after < SECTORS && !places.contains_key(&after) {
            let found = session.read(after * SECTOR, SECTOR).expect("it is inside");
            assert_eq!(found, [0; 512], "sector {after}");
        }
    }
    assert!(session.read(SECTORS * SECTOR, SECTOR).is_err());
    drop(session);
    assert_memory_is_bounded(&server);
    server.stop();
}

/// Far less than the tables of such a disk: those of the sparse one take 192 MiB.
fn assert_memory_is_bounded(server: &Server) {
    let peak = server.peak_memory();
    assert!(peak < 96 << 20, "the server took {peak} bytes");
}

fn we_write_and_qemu_reads(disk: &Path, backend: &Backend) {
    let places = places(2);
    let server = Serve::disk(disk).backend(backend).start();
    let mut session = Session::connect(server.uri());
    for (sector, byte) in &places {
        session
            .write(sector * SECTOR, &[*byte; 512], &[])
            .expect("it is inside");
    }
    assert!(session.write(SECTORS * SECTOR, &[1; 512], &[]).is_err());
    drop(session);
    assert_memory_is_bounded(&server);
    server.stop();
    let read = places.iter().map(|(sector, byte)| {
        let start = sector * SECTOR;
        format!("read -P {byte} {start} {SECTOR}")
    });
    qemu_io("vmdk", disk, &read.collect::<Vec<_>>());
    assert!(checks_clean(disk));
}

/// The map of all that either side wrote; `qemu-img map` would take half a minute for it.
fn written_chunks() -> Vec<Run> {
    let written = places(1).into_keys().chain(places(2).into_keys());
    let chunks: BTreeSet<u64> = written.map(|sector| sector / 128).collect();
    let run = |start: u64, end: u64, hole| Run {
        offset: start,
        length: end - start,
        hole,
    };
    let mut runs = Vec::new();
    let mut end = 0;
    for chunk in chunks {
        let start = chunk * GRAIN;
        runs.extend([run(end, start, true), run(start, start + GRAIN, false)]);
        end = start + GRAIN;
    }
    runs.push(run(end, SECTORS * SECTOR, true));
    runs.retain(|run| run.length > 0);
    map::merged(&runs)
}

fn three_tib(kind: Kind, data: &str) {
    if !need::have(&["qemu-img", "qemu-io"]) || !need::have_libnbd() {
        return;
    }
    let start = Instant::now();
    let library = tempfile::tempdir().expect("there is room");
    let reduced = Backend::without_extensions(library.path());
    for backend in Backend::all().into_iter().chain([reduced]) {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = kind.create(folder.path(), SECTORS * SECTOR);
        qemu_writes_and_we_read(&disk, &backend);
        we_write_and_qemu_reads(&disk, &backend);
        // Without a gap, to the last sector, and exact.
        assert_eq!(map::merged(&dump(&disk, &backend, 128)), written_chunks());
        let taken = space_taken(&folder.path().join(data));
        assert!(taken < 64 << 20, "the file took {taken} bytes");
    }
    println!(
        "{} took {:.1} s",
        kind.name(),
        start.elapsed().as_secs_f64()
    );
}

#[test]
fn monolithic_sparse() {
    three_tib(Kind::MonolithicSparse, "monolithicSparse.vmdk");
}

#[test]
fn monolithic_flat() {
    three_tib(Kind::MonolithicFlat, "monolithicFlat-flat.vmdk");
}
