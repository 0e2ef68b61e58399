//! The server and clients that others wrote: libnbd's tools and Python module, and qemu's.

#![cfg(all(unix, feature = "nbd"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod nbd_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nbd_support::{Ram, pattern};
use vixdisklib::nbd::{Server, ServerHandle};

/// The program, if it is installed. Its absence skips the test, loudly, and fails it where `CI=true`.
fn program(name: &str) -> Option<PathBuf> {
    let path = if name.starts_with('/') {
        vec![PathBuf::from(name)]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .collect()
    };
    let found = path.into_iter().find(|path| path.is_file());
    if found.is_none() {
        skip(name);
    }
    found
}

fn skip(what: &str) {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "{what} is not installed, and CI skips nothing");
    eprintln!("SKIPPED: {what} is not installed");
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    let name = program.display();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {}\n{errors}",
        output.status
    );
    output
}

fn text(program: &Path, arguments: &[&str]) -> String {
    String::from_utf8(run(program, arguments).stdout).unwrap()
}

struct Fixture {
    ram: Ram,
    server: ServerHandle,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(ram: Ram) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new()
            .export("disk é", "a disk in memory", ram.clone())
            .listen_unix(dir.path().join("s"))
            .start()
            .unwrap();
        Self { ram, server, dir }
    }

    fn uri(&self) -> &str {
        &self.server.uris()[0]
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A size that qemu can work with: whole sectors.
fn whole_sectors(grains: usize) -> Vec<u8> {
    let mut bytes = pattern(grains);
    bytes.truncate(bytes.len() / 512 * 512);
    bytes
}

#[test]
fn nbdinfo_tells_all() {
    let Some(nbdinfo) = program("nbdinfo") else {
        return;
    };
    let fixture = Fixture::new(Ram::read_only(pattern(4)));
    let uri = fixture.uri();
    let json = text(&nbdinfo, &["--json", uri]);
    for expected in [
        r#""protocol": "newstyle-fixed""#,
        r#""TLS": false"#,
        r#""structured": true"#,
        r#""export-name": "disk é""#,
        r#""description": "a disk in memory""#,
        r#""base:allocation""#,
        r#""is_read_only": true"#,
        r#""can_cache": true"#,
        r#""can_df": true"#,
        r#""can_flush": true"#,
        r#""can_fua": false"#,
        r#""can_multi_conn": true"#,
        r#""can_trim": false"#,
        r#""can_zero": false"#,
        r#""block_size_minimum": 1"#,
        r#""block_size_preferred": 65536"#,
        r#""block_size_maximum": 33554432"#,
        r#""export-size": 263144"#,
    ] {
        assert!(json.contains(expected), "{expected} is not in {json}");
    }
    assert_eq!(text(&nbdinfo, &["--size", uri]), "263144\n");
    let map = text(&nbdinfo, &["--map", uri]);
    let lines: Vec<Vec<_>> = map
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines,
        [
            vec!["0", "65536", "3", "hole,zero"],
            vec!["65536", "131072", "0", "data"],
            vec!["196608", "65536", "3", "hole,zero"],
            vec!["262144", "1000", "0", "data"],
        ]
    );
    let list = text(&nbdinfo, &["--list", uri]);
    assert!(list.contains("export=\"disk é\""), "{list}");

    let writable = Fixture::new(Ram::new(pattern(1)));
    let json = text(&nbdinfo, &["--json", writable.uri()]);
    for expected in [
        r#""is_read_only": false"#,
        r#""can_fast_zero": true"#,
        r#""can_fua": true"#,
        r#""can_trim": true"#,
        r#""can_zero": true"#,
    ] {
        assert!(json.contains(expected), "{expected} is not in {json}");
    }
}

#[test]
fn nbdinfo_lists_many_exports() {
    let Some(nbdinfo) = program("nbdinfo") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new().listen_unix(dir.path().join("s"));
    for number in 0..40 {
        let ram = Ram::read_only(vec![0; 512]);
        server = server.export(format!("disk {number}"), "", ram);
    }
    let server = server.start().unwrap();
    let list = text(&nbdinfo, &["--list", "--json", &server.uris()[0]]);
    for number in 0..40 {
        let name = format!("\"export-name\": \"disk {number}\"");
        assert!(list.contains(&name), "{name} is not in {list}");
    }
}

#[test]
fn nbdcopy_reads_every_byte_however_it_asks() {
    let Some(nbdcopy) = program("nbdcopy") else {
        return;
    };
    let bytes = pattern(40);
    let fixture = Fixture::new(Ram::read_only(bytes.clone()));
    let target = fixture.file("copy");
    for options in [
        &[][..],
        &["--connections=1", "--requests=1"],
        &["--connections=4", "--requests=64"],
        &["--request-size=4096", "--requests=64"],
        &["--request-size=33554432"],
        &["--no-extents"],
        &["--allocated"],
        &["--synchronous"],
    ] {
        let mut arguments = options.to_vec();
        arguments.extend([fixture.uri(), &target]);
        run(&nbdcopy, &arguments);
        assert!(fs::read(&target).unwrap() == bytes, "{options:?}");
        fs::remove_file(&target).unwrap();
    }
}

#[test]
fn nbdcopy_writes_every_byte() {
    let Some(nbdcopy) = program("nbdcopy") else {
        return;
    };
    let bytes = pattern(40);
    for options in [
        &["--flush"][..],
        &["--flush", "--destination-is-zero"],
        &["--flush", "--allocated"],
    ] {
        let zero = options.contains(&"--destination-is-zero");
        let before = if zero { 0 } else { 0x55 };
        let fixture = Fixture::new(Ram::new(vec![before; bytes.len()]));
        let source = fixture.file("source");
        fs::write(&source, &bytes).unwrap();
        let mut arguments = options.to_vec();
        arguments.extend([&source, fixture.uri()]);
        run(&nbdcopy, &arguments);
        assert!(fixture.ram.bytes() == bytes, "{options:?}");
        assert!(fixture.ram.flushed() == bytes, "{options:?}");
    }
}

#[test]
fn qemu_img_converts_compares_and_maps() {
    let Some(qemu_img) = program("qemu-img") else {
        return;
    };
    let bytes = whole_sectors(20);
    let fixture = Fixture::new(Ram::read_only(bytes.clone()));
    let (uri, target) = (fixture.uri(), fixture.file("copy"));
    run(
        &qemu_img,
        &["convert", "-f", "raw", "-O", "raw", uri, &target],
    );
    assert!(fs::read(&target).unwrap() == bytes);
    run(
        &qemu_img,
        &["compare", "-f", "raw", "-F", "raw", uri, &target],
    );
    let map = text(&qemu_img, &["map", "--output=json", "-f", "raw", uri]);
    // Grains 0, 3, 6, … are holes, the two between are data; the last is short.
    for (grain, zero) in [(0, true), (1, false), (3, true), (18, true), (19, false)] {
        let length = if zero { 65_536 } else { 131_072 };
        let start = grain * 65_536;
        let length = u64::min(length, bytes.len() as u64 - start);
        let expected = format!(
            "\"start\": {start}, \"length\": {length}, \"depth\": 0, \"present\": true, \"zero\": {zero}"
        );
        assert!(map.contains(&expected), "{expected} is not in {map}");
    }
    let writable = Fixture::new(Ram::new(vec![0x77; bytes.len()]));
    run(
        &qemu_img,
        &[
            "convert",
            "-n",
            "-f",
            "raw",
            "-O",
            "raw",
            &target,
            writable.uri(),
        ],
    );
    assert!(writable.ram.bytes() == bytes);
}

#[test]
fn qemu_io_writes_zeroes_and_discards() {
    let Some(qemu_io) = program("qemu-io") else {
        return;
    };
    let mut model = vec![0x33; 1 << 20];
    let fixture = Fixture::new(Ram::new(model.clone()));
    let steps: [(&str, std::ops::Range<usize>, u8); 7] = [
        ("write -P 0x11 65535 3", 65_535..65_538, 0x11),
        ("write -f -P 0x22 1 1", 1..2, 0x22),
        ("write -z 100000 5000", 100_000..105_000, 0),
        ("write -z -u 131072 65536", 131_072..196_608, 0),
        ("write -z -n 262144 65536", 262_144..327_680, 0),
        ("discard 393216 65536", 393_216..458_752, 0),
        ("write -P 0x44 1048575 1", 1_048_575..1_048_576, 0x44),
    ];
    for (step, range, byte) in steps {
        run(
            &qemu_io,
            &["-f", "raw", "-c", step, "-c", "flush", fixture.uri()],
        );
        model[range].fill(byte);
        assert!(fixture.ram.bytes() == model, "{step}");
    }
    let verify = "read -P 0x11 65535 3";
    let output = text(&qemu_io, &["-f", "raw", "-c", verify, fixture.uri()]);
    assert!(output.contains("read 3/3 bytes"), "{output}");
}

#[test]
fn fio_verifies_what_it_wrote() {
    let Some(fio) = program("fio") else {
        return;
    };
    let fixture = Fixture::new(Ram::new(vec![0; 16 << 20]));
    let uri = format!("--uri={}", fixture.uri());
    let help = Command::new(&fio).arg("--enghelp=nbd").output().unwrap();
    if !help.status.success() {
        skip("fio's engine for nbd");
        return;
    }
    // fio leaves the state of its verification in the working directory.
    let output = Command::new(&fio)
        .current_dir(fixture.dir.path())
        .args([
            "--name=test",
            "--ioengine=nbd",
            &uri,
            "--rw=randrw",
            "--bsrange=512-64k",
            "--bs_unaligned=1",
            "--size=1m",
            "--offset_increment=1m",
            "--numjobs=16",
            "--iodepth=16",
            "--verify=crc32c",
            "--do_verify=1",
            "--verify_fatal=1",
        ])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
}

#[test]
fn libnbd_checks_each_command_and_flag() {
    let Some(python) = program("/usr/bin/python3") else {
        return;
    };
    let has_module = Command::new(&python).args(["-c", "import nbd"]).output();
    if !has_module.is_ok_and(|output| output.status.success()) {
        skip("libnbd's Python module");
        return;
    }
    let fixture = Fixture::new(Ram::new(vec![0; 1 << 20]));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nbd_support/libnbd.py");
    run(&python, &[script, fixture.uri()]);
}
