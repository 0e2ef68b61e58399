//! Where a disk holds data: `dump_extents` and block status against QEMU's map and against what was written.

use std::fs;
use std::path::Path;
use std::time::Instant;

use conformance::artefact;
use conformance::backend::Backend;
use conformance::client::{command, dump, output, qemu_img, qemu_io, qemu_map, run};
use conformance::disk::{GRAIN, Kind, ODD_GIB, SECTOR, SPLIT, raw_with_data};
use conformance::map::{self, Run};
use conformance::need;
use conformance::random::Random;
use conformance::server::Serve;

/// Chunks to ask for, in sectors: the smallest, odd ones, a power of two, the largest.
const CHUNKS: [u64; 5] = [128, 129, 200, 1024, 131_072];
/// The smallest chunk.
const MIN_CHUNK: u64 = 128 * SECTOR;

/// The rule: a chunk is a hole if and only if every range of QEMU's map inside it reads as zero.
fn dump_agrees_with_qemu(disk: &Path, backend: &Backend, chunks: &[u64]) {
    let truth = qemu_map("vmdk", disk);
    for &chunk in chunks {
        assert_eq!(
            map::merged(&dump(disk, backend, chunk)),
            map::in_chunks(&truth, chunk * SECTOR),
            "{disk:?} through {backend:?} in chunks of {chunk}"
        );
    }
}

/// The rule without extensions: as QEMU's map, but the tail that cannot be asked for is data.
fn dump_is_right_without_extensions(disk: &Path, backend: &Backend, chunk: u64) {
    let truth = qemu_map("vmdk", disk);
    let capacity = truth.last().expect("a disk is not empty").end();
    let bytes = chunk * SECTOR;
    let asked = capacity / bytes * bytes;
    let mut expected = map::in_chunks(&truth, bytes);
    for run in &mut expected {
        run.length = run.length.min(asked.saturating_sub(run.offset));
    }
    expected.retain(|run| run.length > 0);
    if asked < capacity {
        expected.push(Run {
            offset: asked,
            length: capacity - asked,
            hole: false,
        });
    }
    assert_eq!(
        map::merged(&dump(disk, backend, chunk)),
        map::merged(&expected),
        "{disk:?} in chunks of {chunk}"
    );
}

fn disks_of_every_capacity(kind: Kind, check: impl Fn(&Path)) {
    let sizes = [1, 127, 128, 129, 255, 256, 1025, ODD_GIB];
    for sectors in sizes {
        let folder = tempfile::tempdir().expect("there is room");
        let raw = raw_with_data(folder.path(), sectors * SECTOR, sectors.min(20), sectors);
        check(&kind.convert(folder.path(), &raw));
        let folder = tempfile::tempdir().expect("there is room");
        let raw = folder.path().join("empty.raw");
        let file = fs::File::create(&raw).expect("there is room");
        file.set_len(sectors * SECTOR).expect("there is room");
        check(&kind.convert(folder.path(), &raw));
    }
}

#[test]
fn dump_agrees_with_qemu_for_every_kind_and_capacity() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let start = Instant::now();
    for kind in Kind::ALL {
        disks_of_every_capacity(kind, |disk| {
            dump_agrees_with_qemu(disk, &Backend::Embedded, &CHUNKS);
            dump_agrees_with_qemu(disk, &Backend::ours(), &CHUNKS[..2]);
        });
    }
    println!("took {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn without_extensions_the_tail_is_data() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let library = tempfile::tempdir().expect("there is room");
    let backend = Backend::without_extensions(library.path());
    for kind in Kind::ALL {
        disks_of_every_capacity(kind, |disk| {
            for chunk in CHUNKS {
                dump_is_right_without_extensions(disk, &backend, chunk);
            }
        });
    }
}

/// More extents than one reply of the library holds, and a map longer than one call of VDDK covers: 64 GiB of every
/// other grain would be too slow to write, so the data is in 3000 random grains of 48 GiB.
#[test]
fn many_extents() {
    if !need::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let library = tempfile::tempdir().expect("there is room");
    let reduced = Backend::without_extensions(library.path());
    for kind in [Kind::MonolithicSparse, Kind::MonolithicFlat] {
        let folder = tempfile::tempdir().expect("there is room");
        let capacity = (48 << 30) + 3 * SECTOR;
        let disk = kind.create(folder.path(), capacity);
        let mut random = Random::new(7);
        let writes: Vec<String> = (0..3000)
            .map(|_| {
                format!(
                    "write -P 1 {} 512",
                    random.within(0..capacity / SECTOR) * SECTOR
                )
            })
            .collect();
        qemu_io("vmdk", &disk, &writes);
        dump_agrees_with_qemu(&disk, &Backend::Embedded, &[128, 131_072]);
        dump_agrees_with_qemu(&disk, &Backend::ours(), &[128]);
        dump_is_right_without_extensions(&disk, &reduced, 128);
        dump_is_right_without_extensions(&disk, &reduced, 200);
    }
}

/// Against a model instead of QEMU's map: the chunks that were written hold data, no others do.
#[test]
fn dump_agrees_with_what_was_written() {
    if !need::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    for kind in Kind::WRITABLE {
        let mut random = Random::new(3);
        let chunks = 1000;
        let capacity = chunks * GRAIN + 77 * SECTOR;
        let folder = tempfile::tempdir().expect("there is room");
        let disk = kind.create(folder.path(), capacity);
        let mut written = vec![false; 1 + usize::try_from(chunks).expect("a small number")];
        // QEMU allocates the first block of a data file when it creates one.
        written[0] = !kind.is_sparse();
        let writes: Vec<String> = (0..60)
            .map(|_| {
                let sector = random.within(0..capacity / SECTOR);
                written[usize::try_from(sector / 128).expect("a small number")] = true;
                format!("write -P 7 {} 512", sector * SECTOR)
            })
            .collect();
        qemu_io("vmdk", &disk, &writes);
        let runs: Vec<Run> = (0..)
            .zip(&written)
            .map(|(chunk, written)| Run {
                offset: chunk * GRAIN,
                length: GRAIN.min(capacity - chunk * GRAIN),
                hole: !written,
            })
            .collect();
        for backend in Backend::all() {
            let found = map::merged(&dump(&disk, &backend, 128));
            assert_eq!(found, map::merged(&runs), "{} {backend:?}", kind.name());
        }
    }
}

/// Zeroed grains read as zero, and so are holes.
#[test]
fn zeroed_grains_are_holes() {
    if !need::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = folder.path().join("zeroed.vmdk");
    qemu_img(conformance::arguments![
        "create",
        "-q",
        "-f",
        "vmdk",
        "-o",
        "subformat=monolithicSparse,zeroed_grain=on",
        disk,
        (40 * GRAIN).to_string(),
    ]);
    let commands = ["write -P 1 0 1M", "write -z 128k 256k"].map(str::to_owned);
    qemu_io("vmdk", &disk, &commands);
    let holes = dump(&disk, &Backend::Embedded, 128);
    assert!(holes.iter().any(|run| run.hole && run.offset == 128 << 10));
    dump_agrees_with_qemu(&disk, &Backend::Embedded, &CHUNKS);
}

/// What clients see over NBD is what QEMU sees in the file.
#[test]
fn block_status_agrees_with_qemu() {
    if !need::have(&["qemu-img", "nbdinfo"]) {
        return;
    }
    for kind in Kind::ALL {
        for sectors in [129, 40_001, SPLIT / SECTOR + 1] {
            let folder = tempfile::tempdir().expect("there is room");
            let raw = raw_with_data(folder.path(), sectors * SECTOR, 12, 5);
            let disk = kind.convert(folder.path(), &raw);
            let truth = map::merged(&qemu_map("vmdk", &disk));
            let server = Serve::disk(&disk).read_only().start();
            let over_nbd = qemu_map("raw", server.uri());
            map::assert_covers(&over_nbd, sectors * SECTOR);
            assert_eq!(map::merged(&over_nbd), truth, "qemu-img, {}", kind.name());
            let printed = run(command("nbdinfo").args(["--map", "--json", server.uri()]));
            let runs = map::of_nbdinfo(&printed);
            map::assert_covers(&runs, sectors * SECTOR);
            assert_eq!(map::merged(&runs), truth, "nbdinfo, {}", kind.name());
            server.stop();
        }
    }
}

/// Without extensions block status may call holes data, never data a hole.
#[test]
fn block_status_without_extensions_hides_no_data() {
    if !need::have(&["qemu-img", "nbdinfo"]) {
        return;
    }
    let library = tempfile::tempdir().expect("there is room");
    let backend = Backend::without_extensions(library.path());
    for kind in Kind::ALL {
        let folder = tempfile::tempdir().expect("there is room");
        let capacity = 40_001 * SECTOR;
        let raw = raw_with_data(folder.path(), capacity, 12, 6);
        let disk = kind.convert(folder.path(), &raw);
        let mut expected = map::in_chunks(&qemu_map("vmdk", &disk), MIN_CHUNK);
        let tail = capacity / MIN_CHUNK * MIN_CHUNK;
        // The last sector holds data, so the chunk of the tail does not change the map.
        assert!(
            expected
                .last()
                .is_some_and(|run| !run.hole && run.offset <= tail)
        );
        expected = map::merged(&expected);
        let server = Serve::disk(&disk).backend(&backend).read_only().start();
        assert_eq!(map::merged(&qemu_map("raw", server.uri())), expected);
        server.stop();
    }
}

#[test]
fn chunks_outside_the_limits_are_refused() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), 1 << 20);
    let library = tempfile::tempdir().expect("there is room");
    for backend in [
        Backend::Embedded,
        Backend::without_extensions(library.path()),
    ] {
        for chunk in ["0", "1", "127", "131073", "18446744073709551615"] {
            let mut program = artefact::dump_extents();
            program.args(backend.arguments()).args(["--chunk", chunk]);
            let output = output(program.arg(&disk));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "--chunk {chunk}");
            assert!(output.stdout.is_empty(), "--chunk {chunk}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains(chunk), "{said}");
            assert!(said.contains("128") && said.contains("131072"), "{said}");
        }
    }
    for chunk in ["text", "-1", "", "128.0", "18446744073709551616"] {
        let mut program = artefact::dump_extents();
        let output = output(program.arg(format!("--chunk={chunk}")).arg(&disk));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "--chunk={chunk}");
        assert!(output.stdout.is_empty(), "--chunk={chunk}");
        assert!(said.contains("--chunk"), "{said}");
    }
}

/// The table is for people; its total is what the extents add up to.
#[test]
fn the_table_has_a_total() {
    if !need::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), 10 * GRAIN);
    qemu_io("vmdk", &disk, &["write -P 1 64k 128k".to_owned()]);
    let printed = run(artefact::dump_extents().arg(&disk));
    let lines: Vec<&str> = printed.lines().collect();
    let [_, body @ .., total] = lines.as_slice() else {
        panic!("{printed}");
    };
    let rows: Vec<Vec<&str>> = body
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected = [
        ["0", "65536", "hole"],
        ["65536", "131072", "data"],
        ["196608", "458752", "hole"],
    ];
    assert_eq!(rows, expected, "{printed}");
    for part in ["655360", "131072", "20.0 %", "524288", "80.0 %"] {
        assert!(total.contains(part), "{total}");
    }
}
