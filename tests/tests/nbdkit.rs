//! Our shared library under a program that was written for VDDK: nbdkit's plug-in, unmodified.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use conformance::artefact;
use conformance::checksum;
use conformance::client::{
    self, checks_clean, command, convert_to_raw, nbdcopy, qemu_img, qemu_io, qemu_map, run,
    same_content,
};
use conformance::disk::{GRAIN, Kind, SECTOR, raw_with_data};
use conformance::map::{self, Run};
use conformance::nbdkit::{Nbdkit, Running};
use conformance::need;
use conformance::sample::{Content, Samples};
use tempfile::TempDir;

/// What `QueryAllocatedBlocks` is asked in, and the least that the plug-in tries it on.
const CHUNK: u64 = 128 * SECTOR;

/// The end is within a chunk and within a grain.
const CAPACITY: u64 = (40 << 20) + 7 * SECTOR;

/// Above this a checksum takes long, and so does `qemu-img compare`, which asks for the map of 2 GiB for each grain.
const LARGE: u64 = 1 << 30;

fn have_clients() -> bool {
    need::have(&["nbdinfo", "nbdcopy", "qemu-img", "qemu-io"])
}

/// The runs of `nbdinfo --map`, which must cover the export and agree with its totals.
fn nbd_map(server: &Running, capacity: u64) -> Vec<Run> {
    let json = run(command("nbdinfo").args(["--map", "--json", &server.uri()]));
    let runs = map::merged(&map::of_nbdinfo(&json));
    map::assert_covers(&runs, capacity);
    let totals = run(command("nbdinfo").args(["--map", "--totals", &server.uri()]));
    for hole in [false, true] {
        let length = runs.iter().filter(|run| run.hole == hole);
        let length: u64 = length.map(|run| run.length).sum();
        let line = totals.lines().find(|line| line.ends_with("zero") == hole);
        let said = line.and_then(|line| line.split_whitespace().next());
        assert_eq!(said.unwrap_or("0"), length.to_string(), "{totals}");
    }
    runs
}

/// What the plug-in can know of a disk: its map in whole chunks, which say nothing of what is behind the last one.
fn expected_map(disk: &Path) -> Vec<Run> {
    let runs = map::merged(&qemu_map("vmdk", disk));
    let capacity = runs.last().map_or(0, Run::end);
    let asked = capacity / CHUNK * CHUNK;
    let mut whole = map::in_chunks(&runs, CHUNK);
    for run in &mut whole {
        run.length = run.end().min(asked).saturating_sub(run.offset);
    }
    whole.retain(|run| run.length > 0);
    if asked < capacity {
        whole.push(Run {
            offset: asked,
            length: capacity - asked,
            hole: false,
        });
    }
    map::merged(&whole)
}

fn same_through(uri: &str, disk: &Path) {
    qemu_img(conformance::arguments![
        "compare", "-f", "raw", "-F", "vmdk", uri, disk
    ]);
}

#[test]
fn every_function_of_the_plugin_is_found() {
    let Some(nbdkit) = Nbdkit::new() else {
        return;
    };
    let printed = run(&mut nbdkit.options(["--dump-plugin"]).command());
    let said: BTreeMap<&str, &str> = printed
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(said.get("vddk_library_version"), Some(&"8"));
    assert_eq!(said.get("vddk_transport_modes"), Some(&"file:nbdssl:nbd"));
    let library = artefact::library();
    let library = library.canonicalize().expect("the library is there");
    assert_eq!(said.get("vddk_dll").map(Path::new), Some(library.as_path()));
    let functions: Vec<_> = said
        .iter()
        .filter(|(name, _)| name.starts_with("VixDiskLib_"))
        .collect();
    assert!(functions.len() >= 23, "{printed}");
    assert!(
        functions.iter().all(|(_, found)| **found == "1"),
        "{printed}"
    );
}

#[test]
fn samples_are_what_they_are() {
    let (Some(_), Some(samples), true) = (Nbdkit::new(), Samples::copy(), have_clients()) else {
        return;
    };
    let before = checksum::folder(samples.folder());
    let mut tried = 0;
    for sample in samples.list() {
        let nbdkit = Nbdkit::new().expect("looked for above");
        let server = nbdkit.disk(&sample.disk).read_only().start();
        let Content::Checksum(expected) = &sample.content else {
            let mut info = command("nbdinfo");
            assert!(!client::output(info.arg(server.uri())).status.success());
            let log = server.stop();
            let file = sample.disk.file_name().expect("a disk has a name");
            assert!(log.contains("VixDiskLib_Open: "), "{log}");
            assert!(log.contains(&*file.to_string_lossy()), "{log}");
            continue;
        };
        let capacity = SECTOR * sample.sectors.expect("a good sample has a capacity");
        let info = run(command("nbdinfo").args(["--json", &server.uri()]));
        for line in [
            &format!("\"export-size\": {capacity},"),
            "\"block_size_minimum\": 512,",
            "\"block_size_preferred\": 4096,",
            "\"block_size_maximum\": 4294967295,",
            "\"can_multi_conn\": false,",
            "\"is_read_only\": true,",
        ] {
            assert!(info.contains(line), "{}: {info}", sample.name);
        }
        let found = nbd_map(&server, capacity);
        if capacity < CHUNK {
            assert!(found.iter().all(|run| !run.hole), "{}", sample.name);
        } else {
            assert_eq!(found, expected_map(&sample.disk), "{}", sample.name);
        }
        let folder = tempfile::tempdir().expect("there is room");
        let (copy, converted) = (folder.path().join("copy"), folder.path().join("converted"));
        nbdcopy(&server.uri(), &copy);
        qemu_img(conformance::arguments![
            "convert",
            "-f",
            "raw",
            "-O",
            "raw",
            server.uri(),
            converted
        ]);
        assert!(same_content(&copy, &converted), "{}", sample.name);
        if capacity < LARGE {
            same_through(&server.uri(), &sample.disk);
            assert_eq!(checksum::file(&copy), *expected, "{}", sample.name);
        } else {
            convert_to_raw(&sample.disk, &converted);
            assert!(same_content(&copy, &converted), "{}", sample.name);
        }
        assert_eq!(server.stop(), "", "{}", sample.name);
        tried += 1;
    }
    assert!(tried >= 10, "only {tried} samples were tried");
    assert_eq!(checksum::folder(samples.folder()), before);
}

/// Writes the same through nbdkit and to a raw file, and looks at the map on the way.
fn write_and_compare(nbdkit: Nbdkit, disk: &Path, raw: &Path, is_sparse: bool) {
    let server = nbdkit.disk(disk).start();
    let before = nbd_map(&server, CAPACITY);
    let commands = |pattern: u8| {
        let places = [
            // A hole before, over a border of grains; and the very end.
            (31 * GRAIN - SECTOR, 3 * SECTOR),
            (CAPACITY - 9 * SECTOR, 9 * SECTOR),
            (0, 200 * SECTOR),
        ];
        let writes = places.map(|(start, length)| format!("write -P {pattern} {start} {length}"));
        let checks = places.map(|(start, length)| format!("read -P {pattern} {start} {length}"));
        [&writes[..], &["flush".to_owned()], &checks[..]].concat()
    };
    for pattern in [0x61, 0x62] {
        qemu_io("raw", server.uri(), &commands(pattern));
    }
    qemu_io("raw", raw, &commands(0x62));
    let after = nbd_map(&server, CAPACITY);
    if is_sparse {
        assert_ne!(before, after, "new grains show in the map");
        assert!(after.iter().any(|run| run.hole), "{after:?}");
    }
    run(command("nbdcopy")
        .arg("--flush")
        .args([raw.as_os_str(), server.uri().as_ref()]));
    assert_eq!(server.stop(), "");
    qemu_img(conformance::arguments![
        "compare", "-f", "raw", "-F", "vmdk", raw, disk
    ]);
    assert!(checks_clean(disk));
}

#[test]
fn disks_are_created_and_written() {
    let (Some(_), true) = (Nbdkit::new(), have_clients()) else {
        return;
    };
    for (kind, name, is_sparse) in [
        ("monolithic-sparse", "monolithicSparse", true),
        ("monolithic-flat", "monolithicFlat", false),
        ("split-sparse", "twoGbMaxExtentSparse", true),
        ("split-flat", "twoGbMaxExtentFlat", false),
        ("vmfs-flat", "vmfs", false),
    ] {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = folder.path().join("disk.vmdk");
        let raw = raw_with_data(folder.path(), CAPACITY, 12, 1);
        write_and_compare(
            creating(kind).expect("looked for above"),
            &disk,
            &raw,
            is_sparse,
        );
        let text = String::from_utf8_lossy(&fs::read(&disk).expect("made")).into_owned();
        assert!(text.contains(&format!("createType=\"{name}\"")), "{kind}");
        assert!(text.contains("ddb.adapterType = \"lsilogic\""), "{kind}");
        assert!(text.contains("ddb.virtualHWVersion = \"7\""), "{kind}");
    }
}

fn creating(kind: &str) -> Option<Nbdkit> {
    Some(Nbdkit::new()?.parameters([
        "create=true".to_owned(),
        format!("create-size={CAPACITY}"),
        format!("create-type={kind}"),
        "create-adapter-type=scsi-lsilogic".to_owned(),
        "create-hwversion=esx4x".to_owned(),
    ]))
}

/// A stream is made, but not served for writing; the kinds that only ESX hosts make are refused. The log says why.
#[test]
fn what_cannot_be_created_is_explained() {
    let (Some(_), true) = (Nbdkit::new(), have_clients()) else {
        return;
    };
    for (kind, expected) in [
        ("vmfs-thin", "VixDiskLib_Create: disk type 7 (VmfsThin)"),
        ("vmfs-sparse", "VixDiskLib_Create: disk type 8 (VmfsSparse)"),
        ("stream-optimized", "can only be opened for reading"),
    ] {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = folder.path().join("disk.vmdk");
        let server = creating(kind)
            .expect("looked for above")
            .disk(&disk)
            .start();
        let mut info = command("nbdinfo");
        assert!(!client::output(info.arg(server.uri())).status.success());
        let log = server.stop();
        assert!(log.contains(expected), "{kind}: {log}");
        if kind == "stream-optimized" {
            assert!(checks_clean(&disk));
            let server = Nbdkit::new().expect("looked for above").disk(&disk);
            let server = server.read_only().start();
            same_through(&server.uri(), &disk);
            assert_eq!(server.stop(), "");
        } else {
            let left = fs::read_dir(folder.path()).expect("a folder").count();
            assert_eq!(left, 0, "{kind}: something is left");
        }
    }
}

#[test]
fn disks_of_others_are_written() {
    let (Some(_), true) = (Nbdkit::new(), have_clients()) else {
        return;
    };
    for kind in Kind::WRITABLE {
        let folder = tempfile::tempdir().expect("there is room");
        let raw = raw_with_data(folder.path(), CAPACITY, 12, 2);
        let disk = kind.convert(folder.path(), &raw);
        let nbdkit = Nbdkit::new().expect("looked for above");
        write_and_compare(nbdkit, &disk, &raw, kind.is_sparse());
    }
}

/// A base with data, and a child with one grain of its own.
fn chain() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), CAPACITY, 12, 3);
    let base = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let child = folder.path().join("child.vmdk");
    qemu_img(conformance::arguments![
        "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, child
    ]);
    let write = format!("write -P 99 {} {GRAIN}", 20 * GRAIN);
    qemu_io("vmdk", &child, &[write]);
    (folder, child)
}

#[test]
fn a_chain_is_read_whole_or_its_last_link_alone() {
    let (Some(whole), Some(alone), true) = (Nbdkit::new(), Nbdkit::new(), have_clients()) else {
        return;
    };
    let (folder, child) = chain();
    let server = whole.disk(&child).read_only().start();
    same_through(&server.uri(), &child);
    assert_eq!(nbd_map(&server, CAPACITY), expected_map(&child));
    assert_eq!(server.stop(), "");

    let server = alone.disk(&child).read_only();
    let server = server.parameters(["single-link=true"]).start();
    // What the parent may hold is a hole that need not be zero.
    let totals = run(command("nbdinfo").args(["--map", "--totals", &server.uri()]));
    let data = (GRAIN + CAPACITY % CHUNK).to_string();
    let hole = (CAPACITY / CHUNK * CHUNK - GRAIN).to_string();
    for (length, name) in [(data, "data"), (hole, "hole")] {
        let mut lines = totals.lines();
        assert!(
            lines.any(|line| line.trim().starts_with(&length) && line.ends_with(name)),
            "{totals}"
        );
    }
    let copy = folder.path().join("copy");
    nbdcopy(&server.uri(), &copy);
    assert_eq!(server.stop(), "");
    let mut expected = vec![0; usize::try_from(CAPACITY).expect("a small disk")];
    let grain = usize::try_from(GRAIN).expect("a small disk");
    expected[20 * grain..21 * grain].fill(99);
    assert_eq!(checksum::file(&copy), checksum::bytes(&expected));
}

/// Options that are about servers change nothing here, and neither does how the library is found.
#[test]
fn options_change_no_byte() {
    let (Some(_), true) = (Nbdkit::new(), have_clients()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), CAPACITY, 12, 4);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    for options in [
        &["compression=zlib"][..],
        &["compression=fastlz"],
        &["compression=skipz", "unbuffered=true"],
        &["compression=none", "transports=file", "noreexec=true"],
    ] {
        let nbdkit = Nbdkit::new().expect("looked for above").disk(&disk);
        let server = nbdkit.read_only().parameters(options).start();
        let copy = folder.path().join("copy");
        nbdcopy(&server.uri(), &copy);
        assert_eq!(server.stop(), "", "{options:?}");
        assert!(same_content(&raw, &copy), "{options:?}");
    }
    // The plug-in starts nbdkit a second time, with the library's folder in this variable; a client has its own again.
    for parameters in [&[][..], &["noreexec=true"]] {
        let nbdkit = Nbdkit::new().expect("looked for above").disk(&disk);
        let nbdkit = nbdkit.read_only().parameters(parameters);
        let client = "nbdinfo --size \"$uri\"; echo \"<$LD_LIBRARY_PATH>\"";
        let nbdkit = nbdkit.options(["--unix", "-", "--run", client]);
        let printed = run(nbdkit.command().env("LD_LIBRARY_PATH", "/nowhere"));
        assert_eq!(
            printed,
            format!("{CAPACITY}\n</nowhere>\n"),
            "{parameters:?}"
        );
    }
}

#[test]
fn the_log_has_our_lines_and_the_plugins_statistics() {
    let (Some(nbdkit), Some(absent), true) = (Nbdkit::new(), Nbdkit::new(), have_clients()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), CAPACITY, 12, 5);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let debug = ["-D", "vddk.stats=1"];
    let server = nbdkit.disk(&disk).options(debug).start();
    let read = format!("read 0 {GRAIN}");
    qemu_io(
        "raw",
        server.uri(),
        &[read, format!("write 0 {SECTOR}"), "flush".to_owned()],
    );
    let log = server.stop_and_tell();
    assert!(log.contains("debug: vixdisklib-open "), "{log}");
    assert!(
        log.contains("re-executing with updated LD_LIBRARY_PATH"),
        "{log}"
    );
    let (_, table) = log
        .split_once("VDDK function stats")
        .expect("the table comes last");
    for function in [
        "InitEx",
        "Open",
        "ReadAsync",
        "WriteAsync",
        "Flush",
        "Close",
        "Exit",
    ] {
        assert!(table.contains(&format!("  {function} ")), "{table}");
    }
    assert!(!log.contains("left open"), "{log}");

    let server = absent.disk(&folder.path().join("absent.vmdk")).start();
    let mut info = command("nbdinfo");
    assert!(!client::output(info.arg(server.uri())).status.success());
    let log = server.stop();
    assert!(
        log.contains("absent.vmdk: the file does not exist"),
        "{log}"
    );
}

/// Reads, writes, a map and a clean end, with nothing lost and nothing touched that is not there.
#[test]
fn valgrind_finds_nothing() {
    let (Some(nbdkit), true) = (Nbdkit::new(), have_clients()) else {
        return;
    };
    if !need::have(&["valgrind"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), (2 << 20) + 7 * SECTOR, 3, 6);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let known = artefact::repository().join("tests/c/valgrind.supp");
    let valgrind = [
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--error-exitcode=99".to_owned(),
        "--leak-check=full".to_owned(),
        "--errors-for-leak-kinds=definite".to_owned(),
        format!("--suppressions={}", known.display()),
    ];
    let copy = folder.path().join("copy");
    // A second start would leave valgrind behind.
    let server = nbdkit
        .disk(&disk)
        .under(valgrind)
        .parameters(["noreexec=true"]);
    let server = server.start();
    nbdcopy(&server.uri(), &copy);
    assert!(same_content(&raw, &copy));
    qemu_io(
        "raw",
        server.uri(),
        &[format!("write -P 7 {GRAIN} {GRAIN}"), "flush".to_owned()],
    );
    run(command("nbdinfo").args(["--map", &server.uri()]));
    assert_eq!(server.stop(), "");
    qemu_io("vmdk", &disk, &[format!("read -P 7 {GRAIN} {GRAIN}")]);
}
