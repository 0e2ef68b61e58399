//! What `serve_nbd` puts between a disk and its clients: windows, overlays, changed areas, rates, and less of the
//! protocol.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::artefact;
use conformance::checksum;
use conformance::client::{checks_clean, command, nbdcopy, output, qemu_img, run, same_content};
use conformance::disk::{GRAIN, Kind, raw_with_data};
use conformance::need;
use conformance::server::Serve;
use conformance::session::Session;
use tempfile::TempDir;

fn ready() -> bool {
    need::have(&["qemu-img", "nbdinfo", "nbdcopy"]) && need::have_libnbd()
}

fn disk(kind: Kind) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), 40 * GRAIN, 20, 7);
    let disk = kind.convert(folder.path(), &raw);
    (folder, raw, disk)
}

fn refused(arguments: &[&str], disks: &[&Path]) -> String {
    let mut program = command(artefact::program("serve_nbd"));
    let output = output(program.args(["-U", "-"]).args(arguments).args(disks));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(output.stdout.is_empty());
    said
}

#[test]
fn a_window_is_a_part_of_the_disk() {
    if !ready() {
        return;
    }
    let (folder, raw, disk) = disk(Kind::MonolithicSparse);
    let content = fs::read(&raw).expect("it is there");
    let server = Serve::disk(&disk)
        .arguments(["--window", "100001,1M"])
        .start();
    let copy = folder.path().join("copy");
    nbdcopy(server.uri(), &copy);
    let found = fs::read(&copy).expect("nbdcopy made it");
    assert!(found == content[100_001..][..1 << 20]);
    let mut session = Session::connect(server.uri());
    session.write(0, &[7; 5], &[]).expect("a write works");
    drop(session);
    server.stop();
    let server = Serve::disk(&disk).read_only().start();
    let mut session = Session::connect(server.uri());
    let mut expected = content[100_000..100_010].to_vec();
    expected[1..6].fill(7);
    assert_eq!(session.read(100_000, 10), Ok(expected));
    drop(session);
    server.stop();
    let said = refused(&["--window", "1M,1T"], &[&disk]);
    assert!(said.contains("--window 1048576,1099511627776"), "{said}");
    let said = refused(&["--window", "5"], &[&disk]);
    assert!(said.contains("OFFSET,SIZE"), "{said}");
}

#[test]
fn an_overlay_leaves_the_disk_as_it_is() {
    if !ready() {
        return;
    }
    for kind in Kind::ALL {
        let (folder, raw, disk) = disk(kind);
        let before = checksum::folder(folder.path());
        let server = Serve::disk(&disk).arguments(["--overlay"]).start();
        let mut session = Session::connect(server.uri());
        session
            .write(5, &[7; 100_000], &["fua"])
            .expect("a write works");
        session.zero(3 * GRAIN, GRAIN, &[]).expect("zeroes work");
        assert_eq!(
            session.read(4, 10).map(|bytes| bytes[1..].to_vec()),
            Ok(vec![7; 9])
        );
        drop(session);
        server.stop();
        assert_eq!(checksum::folder(folder.path()), before, "{}", kind.name());

        let kept = tempfile::tempdir().expect("there is room");
        let child = kept.path().join("child.vmdk");
        let keep = format!("--overlay=keep={}", child.display());
        let server = Serve::disk(&disk).arguments([&keep]).start();
        let other = raw_with_data(kept.path(), 40 * GRAIN, 30, 8);
        run(command("nbdcopy")
            .args(["--flush", "--connections=4"])
            .arg(&other)
            .arg(server.uri()));
        server.stop();
        assert_eq!(checksum::folder(folder.path()), before, "{}", kind.name());
        assert!(checks_clean(&child));
        qemu_img(conformance::arguments![
            "compare", "-f", "raw", "-F", "vmdk", other, child
        ]);
        // It is there already.
        let said = refused(&[&keep], &[&disk]);
        assert!(
            said.contains("--overlay") && said.contains("child.vmdk"),
            "{said}"
        );
        assert!(raw.exists());
    }
    let (folder, _, disk) = disk(Kind::MonolithicFlat);
    let said = refused(&["--overlay"], &[folder.path()]);
    assert!(
        said.contains("--overlay is for disks that are named one by one"),
        "{said}"
    );
    let said = refused(&["--overlay", "-r"], &[&disk]);
    assert!(
        said.contains("--overlay") && said.contains("--read-only"),
        "{said}"
    );
    let said = refused(&["--overlay=elsewhere"], &[&disk]);
    assert!(said.contains("--overlay=keep=PATH"), "{said}");
}

/// The folder of a killed server stays until the next server of the same user starts.
#[test]
fn a_killed_server_leaves_its_overlay_to_the_next_one() {
    if !ready() {
        return;
    }
    let (_folder, _, disk) = disk(Kind::MonolithicFlat);
    let temporary = tempfile::tempdir().expect("there is room");
    let serve = || {
        let program = artefact::program("serve_nbd");
        let mut command = command("env");
        let place = format!("TMPDIR={}", temporary.path().display());
        command
            .arg(place)
            .arg(program)
            .args(["-U", "-", "--overlay"]);
        command
    };
    let overlays = || {
        let entries = fs::read_dir(temporary.path()).expect("it is there");
        let names = entries.map(|entry| entry.expect("a name").file_name());
        let is_overlay = |name: &std::ffi::OsString| name.to_string_lossy().contains("overlay");
        names.filter(is_overlay).count()
    };
    let kill = "qemu-io -f raw -c 'write 0 1M' \"$uri\" >&2 && kill -KILL $PPID";
    let killed = output(serve().args(["--run", kill]).arg(&disk));
    assert!(!killed.status.success());
    assert_eq!(overlays(), 1);
    // Two at once: the second one leaves that of the first one alone.
    let list = "ls -d \"$TMPDIR\"/*overlay* | wc -l";
    let inner = "\"$program\" -U - --overlay --run \"$list\" \"$disk\"; eval \"$list\"";
    let printed = run(serve()
        .args(["--run", inner])
        .arg(&disk)
        .env("program", artefact::program("serve_nbd"))
        .env("disk", &disk)
        .env("list", list));
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ["2", "1"]);
    assert_eq!(overlays(), 0);
}

#[test]
fn changed_areas_are_a_bitmap() {
    if !ready() {
        return;
    }
    let (folder, _, disk) = disk(Kind::MonolithicSparse);
    let file = folder.path().join("changed");
    fs::write(&file, "# of a backup\n65536 131072\n\n1048576\t512\n").expect("there is room");
    let bitmap = format!("backup={}", file.display());
    let server = Serve::disk(&disk)
        .read_only()
        .arguments(["--bitmap", &bitmap])
        .start();
    let printed = run(command("nbdinfo").args(["--map=qemu:dirty-bitmap:backup", server.uri()]));
    let rows = printed.lines().map(|line| {
        let mut words = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let mut next = || words.next().flatten().expect("a number");
        (next(), next(), next())
    });
    let size = 40 * GRAIN;
    let expected = [
        (0, 65_536, 0),
        (65_536, 131_072, 1),
        (196_608, 851_968, 0),
        (1_048_576, 512, 1),
        (1_049_088, size - 1_049_088, 0),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    server.stop();
    fs::write(&file, "65536 131072\n1 2 3\n").expect("there is room");
    let said = refused(&["--bitmap", &bitmap], &[&disk]);
    assert!(
        said.contains("--bitmap backup=") && said.contains("line 2"),
        "{said}"
    );
    let said = refused(&["--bitmap", "backup=/no/such/file"], &[&disk]);
    assert!(
        said.contains("--bitmap backup=/no/such/file: No such file"),
        "{said}"
    );
}

#[test]
fn without_extents_all_is_data() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), 4 * GRAIN);
    let map = |arguments: &[&str]| {
        let server = Serve::disk(&disk).read_only().arguments(arguments).start();
        let printed = run(command("nbdinfo").args(["--map", "--totals", server.uri()]));
        server.stop();
        printed
            .split_whitespace()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(map(&[]), "hole,zero");
    assert_eq!(map(&["--no-extents"]), "data");
}

#[test]
fn a_rate_holds_readers_back() {
    if !ready() {
        return;
    }
    let (folder, raw, disk) = disk(Kind::MonolithicFlat);
    let copy = folder.path().join("copy");
    let server = Serve::disk(&disk)
        .read_only()
        .arguments(["--rate", "1M"])
        .start();
    let start = Instant::now();
    nbdcopy(server.uri(), &copy);
    // 2.5 MiB, of which those of the first second may come at once.
    assert!(
        start.elapsed() > Duration::from_millis(1300),
        "{:?}",
        start.elapsed()
    );
    assert!(same_content(&raw, &copy));
    server.stop();
}

#[test]
fn parts_of_the_protocol_can_be_left_out() {
    if !ready() {
        return;
    }
    let (_folder, _, disk) = disk(Kind::MonolithicSparse);
    for (switch, structured, multi_conn) in [
        ("--no-sr", false, true),
        ("--no-mc", true, false),
        ("--no-eh", true, true),
    ] {
        let server = Serve::disk(&disk).arguments([switch]).start();
        let facts = Session::connect(server.uri()).facts();
        assert_eq!(facts["structured"], structured, "{switch}");
        assert_eq!(facts["multi_conn"], multi_conn, "{switch}");
        server.stop();
    }
}

/// With certificates made here: who must encrypt, and prove who it is, does or is refused.
#[test]
fn connections_are_encrypted() {
    if !ready() || !need::have(&["openssl"]) {
        return;
    }
    let (folder, raw, disk) = disk(Kind::MonolithicSparse);
    let certificates = folder.path().join("tls");
    fs::create_dir(&certificates).expect("there is room");
    let script = "set -e
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1-key.pem -subj /CN=$2 \"${@:3}\"; }
        new ca authority -x509 -out ca-cert.pem -days 2
        for name in server client; do
            new $name localhost -out $name.csr
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext
            openssl x509 -req -in $name.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -out $name-cert.pem -days 2 \
                -extfile ext
        done";
    run(command("bash")
        .args(["-c", script])
        .current_dir(&certificates));
    let places = ["--tls-certificates".as_ref(), certificates.as_os_str()];
    let server = Serve::disk(&disk)
        .read_only()
        .address(["-i", "localhost", "-p", "0"])
        .arguments(places)
        .arguments(["--tls-verify-peer"])
        .start();
    let uri = server.uri().replace("127.0.0.1", "localhost");
    assert!(uri.starts_with("nbds://"), "{uri}");
    let with = |uri: &str| format!("{uri}?tls-certificates={}", certificates.display());
    let copy = folder.path().join("copy");
    nbdcopy(&with(&uri), &copy);
    assert!(same_content(&raw, &copy));
    let plain = uri.replace("nbds:", "nbd:");
    for client in [&plain, &uri] {
        assert!(
            !output(command("nbdinfo").args(["--size", client]))
                .status
                .success(),
            "{client}"
        );
    }
    drop(server);

    let server = Serve::disk(&disk)
        .read_only()
        .arguments(places)
        .arguments(["--tls", "on"])
        .start();
    assert!(
        Session::connect(server.uri()).read(0, 1).is_ok(),
        "plain text is allowed"
    );
    server.stop();
    let said = refused(&["--tls", "require"], &[&disk]);
    assert!(said.contains("--tls-certificates"), "{said}");
    let said = refused(&["--tls-certificates", "/no/such/folder"], &[&disk]);
    assert!(
        said.contains("--tls-certificates: ") && said.contains("/no/such/folder"),
        "{said}"
    );
}
