//! What people use NBD with, each client with what it is best at: nbdcopy in all its sizes, nbdinfo, qemu, fio, nbdfuse,
//! nbdkit, and clients that know little of the protocol.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use conformance::artefact;
use conformance::checksum;
use conformance::client::{
    checks_clean, command, convert_to_raw, output, qemu_img, qemu_io, run, same_content,
};
use conformance::disk::{GRAIN, Kind, SECTOR, raw_with_data};
use conformance::need::{self, PYTHON};
use conformance::server::Serve;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A raw file, and a disk with its content.
fn disk(kind: Kind, bytes: u64, seed: u64) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), bytes, 40, seed);
    let disk = kind.convert(folder.path(), &raw);
    (folder, raw, disk)
}

#[test]
fn nbdcopy_with_connections_and_sizes() {
    if !need::have(&["qemu-img", "nbdcopy"]) {
        return;
    }
    let (folder, raw, disk) = disk(Kind::MonolithicSparse, (33 << 20) + SECTOR, 1);
    let server = Serve::disk(&disk).read_only().start();
    let copy = folder.path().join("copy");
    let mut cases = Vec::new();
    for connections in [1, 2, 4, 8] {
        for size in ["4096", "262144", "33554432"] {
            cases.push(format!(
                "--connections={connections} --requests=64 --request-size={size}"
            ));
        }
    }
    cases.extend(
        [
            "--requests=1",
            "--no-extents",
            "--allocated",
            "--synchronous",
            "--no-extents --connections=8",
        ]
        .map(str::to_owned),
    );
    for case in cases {
        run(command("nbdcopy")
            .args(case.split(' '))
            .arg(server.uri())
            .arg(&copy));
        assert!(same_content(&raw, &copy), "{case}");
        fs::remove_file(&copy).expect("nbdcopy made it");
    }
    run(command("nbdcopy").args([server.uri(), "null:"]));
    server.stop();
}

/// Several exports with names and descriptions in UTF-8, as people see them.
#[test]
fn nbdinfo_tells_of_several_exports() {
    if !need::have(&["qemu-img", "nbdinfo"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = |name: &str, bytes: u64| {
        let path = folder.path().join(name);
        let arguments =
            conformance::arguments!["create", "-q", "-f", "vmdk", path, bytes.to_string()];
        qemu_img(arguments);
        path
    };
    let (first, second) = (disk("первый.vmdk", 1 << 20), disk("b.vmdk", 3 << 20));
    let server = Serve::disk(&second)
        .read_only()
        .arguments(["-e", "ディスク", "-e", "b/2"])
        .arguments([&first])
        .start();
    let (_, socket) = server.uri().split_once("?socket=").expect("a Unix socket");
    let printed = run(command("nbdinfo").args(["--list", server.uri()]));
    // Which contexts there are depends on the disk, which other tests look at.
    let lines = printed
        .lines()
        .filter(|line| !line.starts_with("\t\t") && *line != "\tcontexts:");
    let printed = lines.map(|line| format!("{line}\n")).collect::<String>();
    let rest = "\tis_rotational: false\n\tis_read_only: true\n\tcan_cache: true\n\tcan_df: true\n\
                \tcan_fast_zero: false\n\tcan_flush: true\n\tcan_fua: false\n\tcan_multi_conn: true\n\
                \tcan_trim: false\n\tcan_zero: false\n\tblock_size_minimum: 1\n\tblock_size_preferred: 65536\n\
                \tblock_size_maximum: 33554432\n";
    let (_, exports) = printed.split_once('\n').expect("more than the protocol");
    let expected = format!(
        "export=\"ディスク\":\n\tdescription: первый.vmdk\n\texport-size: 1048576 (1M)\n\
         \turi: nbd+unix:///%E3%83%87%E3%82%A3%E3%82%B9%E3%82%AF?socket={socket}\n{rest}\
         export=\"b/2\":\n\tdescription: b.vmdk\n\texport-size: 3145728 (3M)\n\
         \turi: nbd+unix:///b/2?socket={socket}\n{rest}"
    );
    assert_eq!(exports, expected);
    let told = |arguments: &[&str]| run(command("nbdinfo").args(arguments).arg(server.uri()));
    let totals = told(&["--map", "--totals"]);
    let words: Vec<_> = totals.split_whitespace().collect();
    assert_eq!(words, ["1048576", "100.0%", "3", "hole,zero"], "{totals}");
    for can in ["read", "flush", "df", "cache", "multi-conn"] {
        told(&["--can", can]);
    }
    for cannot in ["write", "trim", "zero"] {
        let answer = output(command("nbdinfo").args(["--can", cannot, server.uri()]));
        assert_eq!(answer.status.code(), Some(2), "{cannot}");
    }
    server.stop();
}

#[test]
fn qemu_img_sees_the_disk() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    for kind in Kind::ALL {
        let (folder, raw, disk) = disk(kind, (9 << 20) + SECTOR, 2);
        let server = Serve::disk(&disk).read_only().start();
        let uri = server.uri();
        let info = qemu_img(["info", "--output=json", "-f", "raw", uri]);
        let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
        assert_eq!(info["virtual-size"], (9 << 20) + SECTOR, "{}", kind.name());
        qemu_img(conformance::arguments![
            "compare", "-f", "raw", "-F", "vmdk", uri, disk
        ]);
        let copy = folder.path().join("copy");
        qemu_img(conformance::arguments![
            "convert", "-f", "raw", "-O", "raw", uri, copy
        ]);
        assert!(same_content(&raw, &copy), "{}", kind.name());
        server.stop();
    }
}

/// The same commands on the export and on a raw file: the same bytes.
#[test]
fn qemu_io_at_odd_places() {
    if !need::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let commands: Vec<String> = [
        "write -P 1 65535 1",
        "write -P 2 65536 1",
        "write -P 3 131071 2",
        "write -f -P 4 196600 70000",
        "write -z 262100 100",
        "write -z -u 327600 200000",
        "write -z -u 524288 65536",
        "flush",
        "write -P 5 1048575 3",
        "write -f -P 6 0 1",
        "discard 589824 65536",
        "write -z 1000 1",
        "aio_write -P 7 700001 30000",
        "aio_write -P 8 800001 30000",
        "aio_flush",
        "read -P 4 196600 65500",
        "read -P 0 262100 100",
        "read -P 0 327600 200000",
        "read -P 0 589824 65536",
        "read -P 5 1048575 3",
        "read -P 2 65536 1",
        "read -P 7 700001 30000",
    ]
    .map(str::to_owned)
    .into();
    for kind in Kind::WRITABLE {
        let (folder, raw, disk) = disk(kind, 2 << 20, 3);
        let server = Serve::disk(&disk).start();
        qemu_io("raw", server.uri(), &commands);
        server.stop();
        qemu_io("raw", &raw, &commands);
        let found = folder.path().join("found");
        convert_to_raw(&disk, &found);
        assert!(same_content(&raw, &found), "{}", kind.name());
        assert!(checks_clean(&disk), "{}", kind.name());
    }
}

#[test]
fn fio_verifies_what_it_wrote() {
    if !need::have(&["qemu-img", "fio"]) {
        return;
    }
    let engines = output(command("fio").arg("--enghelp"));
    if !String::from_utf8_lossy(&engines.stdout).contains("nbd") {
        need::skip("fio has no engine for NBD");
        return;
    }
    for kind in [Kind::MonolithicSparse, Kind::TwoGbMaxExtentFlat] {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = kind.create(folder.path(), 16 << 20);
        let server = Serve::disk(&disk).start();
        let mut fio = command("fio");
        fio.current_dir(folder.path()).args([
            "--name=verify",
            "--ioengine=nbd",
            "--rw=randrw",
            "--bssplit=512/30:4k/40:68k/30",
        ]);
        fio.args([
            "--size=1m",
            "--numjobs=16",
            "--offset_increment=1m",
            "--iodepth=16",
            "--fsync=20",
        ]);
        fio.args([
            "--verify=crc32c",
            "--verify_fatal=1",
            "--do_verify=1",
            "--thread",
            "--group_reporting",
        ]);
        run(fio.arg(format!("--uri={}", server.uri())));
        server.stop();
        assert!(checks_clean(&disk), "{}", kind.name());
    }
}

/// A folder that nbdfuse mounts an export at, until it is dropped.
struct Mounted {
    place: PathBuf,
    nbdfuse: std::process::Child,
}

impl Mounted {
    fn new(place: PathBuf, uri: &str) -> Option<Self> {
        fs::write(&place, "").expect("there is room");
        let nbdfuse = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "nbdfuse"])
            .args([place.as_os_str(), uri.as_ref()])
            .spawn()
            .expect("it starts");
        let mut mounted = Self { place, nbdfuse };
        let start = Instant::now();
        while mounted
            .place
            .metadata()
            .map_or(0, |metadata| metadata.len())
            == 0
        {
            let ended = mounted.nbdfuse.try_wait().expect("it is our child");
            if ended.is_some() || start.elapsed() > Duration::from_secs(20) {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Some(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It unmounts and ends.
        let pid = i32::try_from(self.nbdfuse.id())
            .ok()
            .and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.nbdfuse.wait();
    }
}

#[test]
fn nbdfuse_makes_it_a_file() {
    if !need::have(&["qemu-img", "nbdfuse"]) {
        return;
    }
    if !Path::new("/dev/fuse").exists() {
        need::skip("this machine has no FUSE");
        return;
    }
    let (folder, raw, disk) = disk(Kind::MonolithicSparse, 5 << 20, 4);
    let server = Serve::disk(&disk).start();
    let Some(mounted) = Mounted::new(folder.path().join("mounted"), server.uri()) else {
        need::skip("nbdfuse cannot mount here");
        return;
    };
    assert_eq!(checksum::file(&mounted.place), checksum::file(&raw));
    for file in [&mounted.place, &raw] {
        let script = "printf 'across a border' | dd of=\"$0\" bs=1 seek=65530 conv=notrunc,fsync status=none";
        run(command("sh").args(["-c", script]).arg(file));
    }
    assert_eq!(checksum::file(&mounted.place), checksum::file(&raw));
    drop(mounted);
    server.stop();
    let found = folder.path().join("found");
    convert_to_raw(&disk, &found);
    assert!(same_content(&raw, &found));
}

/// nbdkit as a client of ours and, without structured replies and with filters, as the server of others.
#[test]
fn nbdkit_stands_between() {
    if !need::have(&["qemu-img", "nbdkit", "nbdcopy"]) {
        return;
    }
    if !output(command("nbdkit").args(["nbd", "--dump-plugin"]))
        .status
        .success()
    {
        need::skip("nbdkit has no plug-in for NBD");
        return;
    }
    let (folder, raw, disk) = disk(Kind::MonolithicSparse, 4 << 20, 5);
    let server = Serve::disk(&disk).start();
    let copy = folder.path().join("copy");
    // Parameters come behind the plug-in.
    let through = |options: &str, script: &str| {
        let words = options.split_whitespace();
        let (options, parameters): (Vec<_>, Vec<_>) =
            words.partition(|word| word.starts_with("--"));
        let mut nbdkit = command("nbdkit");
        nbdkit
            .args(options)
            .args(["-U", "-", "nbd"])
            .args(parameters);
        nbdkit.arg(format!("uri={}", server.uri()));
        run(nbdkit
            .args(["--run", script])
            .env("raw", &raw)
            .env("copy", &copy));
    };
    for options in [
        "",
        "--no-sr",
        "--no-sr --filter=delay rdelay=1ms",
        "--filter=blocksize minblock=4k",
    ] {
        through(options, "nbdcopy \"$uri\" \"$copy\"");
        assert_eq!(copy.metadata().expect("nbdcopy made it").len(), 4 << 20);
        assert!(same_content(&raw, &copy));
        fs::remove_file(&copy).expect("nbdcopy made it");
    }
    // Other content, written through it.
    let other = raw_with_data(folder.path(), 4 << 20, 30, 6);
    assert_eq!(other, raw);
    through("--no-sr", "nbdcopy --flush \"$raw\" \"$uri\"");
    server.stop();
    convert_to_raw(&disk, &copy);
    assert!(same_content(&raw, &copy));
    assert!(checks_clean(&disk));
}

/// As the kernel's client: no structured replies; or not even options.
#[test]
fn clients_that_negotiate_little() {
    if !need::have(&["qemu-img"]) || !need::have_libnbd() {
        return;
    }
    for kind in Kind::WRITABLE {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = kind.create(folder.path(), 10 * GRAIN);
        let server = Serve::disk(&disk).start();
        let script = artefact::repository().join("tests/python/plain.py");
        run(command(PYTHON).arg(script).arg(server.uri()));
        server.stop();
        assert!(checks_clean(&disk));
    }
}
