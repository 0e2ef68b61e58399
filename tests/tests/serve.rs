//! `serve_nbd` as a command: addresses, names, `--read-only`, `--run`, signals, the sample disk.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use conformance::artefact;
use conformance::checksum;
use conformance::client::{
    checks_clean, command, convert_to_raw, nbdcopy, output, qemu_io, run, same_content,
};
use conformance::disk::{GRAIN, Kind, SECTOR};
use conformance::need;
use conformance::server::Serve;
use conformance::session::Session;
use rustix::process::Signal;
use tempfile::TempDir;

fn ready() -> bool {
    need::have(&["qemu-img", "nbdinfo", "nbdcopy"]) && need::have_libnbd()
}

/// A disk of ten grains in a folder of its own.
fn disk() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), 10 * GRAIN);
    (folder, disk)
}

fn size(uri: &str) -> u64 {
    let printed = run(command("nbdinfo").args(["--size", uri]));
    printed.trim().parse().expect("a number")
}

#[test]
fn a_free_port_is_picked_and_printed() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    let listen = ["--listen", "127.0.0.1:0"];
    let first = Serve::disk(&disk).read_only().address(listen).start();
    let second = Serve::disk(&disk).read_only().address(listen).start();
    for server in [&first, &second] {
        let address = server.uri().strip_prefix("nbd://127.0.0.1:");
        let port = address.unwrap_or_else(|| panic!("{}", server.uri()));
        let port: u16 = port.trim_end_matches('/').parse().expect("a port");
        assert_ne!(port, 0);
        assert_eq!(size(server.uri()), 10 * GRAIN);
    }
    assert_ne!(first.uri(), second.uri());
    first.stop();
    second.stop();
}

#[test]
fn ipv6_works_where_there_is_one() {
    if !ready() {
        return;
    }
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let (_folder, disk) = disk();
    let server = Serve::disk(&disk).address(["--listen", "[::1]:0"]).start();
    assert_eq!(size(server.uri()), 10 * GRAIN);
    server.stop();
}

#[test]
fn a_unix_socket_is_private_and_removed() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    for signal in [Signal::TERM, Signal::INT] {
        // A name with characters that a URI must escape.
        let socket = folder.path().join("a socket %41?&#.sock");
        let server = Serve::disk(&disk)
            .address([Path::new("--unix"), &socket])
            .start();
        assert!(server.uri().starts_with("nbd+unix:///"), "{}", server.uri());
        assert_eq!(size(server.uri()), 10 * GRAIN);
        let metadata = fs::metadata(&socket).expect("the socket is there");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o077, 0);
        let mut server = server;
        server.signal(signal);
        let status = server.wait();
        assert!(status.success(), "{signal:?}: {status}");
        assert!(!socket.exists(), "the socket outlives the server");
    }
}

#[test]
fn an_export_has_the_name_that_was_asked_for() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    for name in ["disk", "a name/with ünïcode?#%"] {
        let server = Serve::disk(&disk).arguments(["--export", name]).start();
        assert_eq!(size(server.uri()), 10 * GRAIN);
        let listed = run(command("nbdinfo").args(["--list", "--json", server.uri()]));
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        let exports = listed["exports"].as_array().expect("a list");
        assert_eq!(exports.len(), 1, "{listed}");
        assert_eq!(exports[0]["export-name"], name);
        server.stop();
    }
    // Another name is not served.
    let listen = ["--listen", "127.0.0.1:0", "--export", "disk"];
    let server = Serve::disk(&disk).address(listen).start();
    let other = server.uri().replace("/disk", "/other");
    assert_ne!(other, server.uri());
    let refused = output(command("nbdinfo").args(["--size", &other]));
    assert!(!refused.status.success());
    server.stop();
}

/// The first lines of the README: a reader may give the URI to any client as it is.
#[test]
fn the_printed_uri_works_in_every_client() {
    if !need::have(&["qemu-io"]) || !ready() {
        return;
    }
    let (folder, disk) = disk();
    let unix = || Serve::disk(&disk);
    let tcp = || unix().address(["--listen", "127.0.0.1:0"]);
    for serve in [unix(), tcp(), unix().arguments(["--export", "a disk"])] {
        let server = serve.start();
        let uri = server.uri();
        run(command("qemu-img").args(["info", uri]));
        run(command("qemu-io").args(["-f", "raw", "-c", "read 0 64k", uri]));
        run(command("nbdinfo").arg(uri));
        nbdcopy(uri, &folder.path().join("copy"));
        let _ = Session::connect(uri).read(0, 512).expect("a read works");
        server.stop();
    }
}

#[test]
fn read_only_refuses_writes_and_changes_nothing() {
    if !ready() {
        return;
    }
    for kind in Kind::ALL {
        let folder = tempfile::tempdir().expect("there is room");
        let raw = conformance::disk::raw_with_data(folder.path(), 10 * GRAIN, 3, 1);
        let disk = kind.convert(folder.path(), &raw);
        let before = checksum::folder(folder.path());
        let times = modified(folder.path());
        let server = Serve::disk(&disk).read_only().start();
        let mut session = Session::connect(server.uri());
        assert_eq!(session.facts()["read_only"], true);
        let refusals = [
            session.write(0, &[1; 512], &[]),
            session.zero(0, 512, &[]),
            session.trim(0, GRAIN, &[]),
        ];
        for refusal in refusals {
            assert_eq!(refusal, Err("EPERM".to_owned()), "{}", kind.name());
        }
        // A refusal does not end the connection.
        let found = session.read(0, 512).expect("a read works");
        assert_eq!(found, fs::read(&raw).expect("it is there")[..512]);
        drop(session);
        server.stop();
        assert_eq!(checksum::folder(folder.path()), before, "{}", kind.name());
        assert_eq!(modified(folder.path()), times, "{}", kind.name());
    }
}

/// A stop without a single write leaves the bytes as they are, too.
#[test]
fn nothing_written_nothing_changed() {
    if !ready() {
        return;
    }
    for kind in Kind::WRITABLE {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = kind.create(folder.path(), 10 * GRAIN);
        let before = checksum::folder(folder.path());
        let server = Serve::disk(&disk).start();
        let mut session = Session::connect(server.uri());
        let _ = session.read(0, GRAIN).expect("a read works");
        session.flush().expect("a flush works");
        drop(session);
        server.stop();
        assert_eq!(checksum::folder(folder.path()), before, "{}", kind.name());
    }
}

fn modified(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut times: Vec<_> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| {
            let entry = entry.expect("it is there");
            let metadata = entry.metadata().expect("it is there");
            (entry.path(), metadata.modified().expect("Linux knows"))
        })
        .collect();
    times.sort();
    times
}

#[test]
fn several_clients_at_once() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = conformance::disk::raw_with_data(folder.path(), 64 << 20, 200, 3);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let server = Serve::disk(&disk).start();
    let uri = server.uri();
    // One that connects and never says a word must not hold up the others.
    let path = uri.split("socket=").nth(1).expect("a Unix socket");
    let silent = std::os::unix::net::UnixStream::connect(path).expect("it takes connections");
    thread::scope(|scope| {
        for number in 0..6 {
            let (folder, raw) = (&folder, &raw);
            scope.spawn(move || {
                let copy = folder.path().join(format!("copy {number}"));
                let mut program = command("nbdcopy");
                program.arg(format!("--connections={}", 1 + number % 4));
                run(program.arg(uri).arg(&copy));
                assert!(same_content(raw, &copy));
            });
        }
    });
    drop(silent);
    server.stop();
}

/// nbdcopy writes an image into the export, with many requests on many connections in flight.
#[test]
fn nbdcopy_into_the_export() {
    if !ready() {
        return;
    }
    for kind in Kind::WRITABLE {
        let folder = tempfile::tempdir().expect("there is room");
        let raw = conformance::disk::raw_with_data(folder.path(), (70 << 20) + SECTOR, 100, 4);
        let disk = kind.create(folder.path(), (70 << 20) + SECTOR);
        let server = Serve::disk(&disk).start();
        let mut program = command("nbdcopy");
        program.args(["--flush", "--connections=4", "--requests=64"]);
        run(program.arg(&raw).arg(server.uri()));
        server.stop();
        let found = folder.path().join("found");
        convert_to_raw(&disk, &found);
        assert!(same_content(&raw, &found), "{}", kind.name());
        assert!(checks_clean(&disk));
    }
}

#[test]
fn a_command_gets_the_uri_and_its_status_is_the_servers() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let serve = |run: &str| {
        let serve = Serve::disk(&disk).arguments(["--run", run]);
        output(
            command("timeout")
                .arg("60")
                .arg(serve.command().get_program())
                .args(serve.command().get_args()),
        )
    };
    let done = serve("nbdinfo --size \"$uri\"");
    assert_eq!(done.status.code(), Some(0));
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    let expected = (10 * GRAIN).to_string();
    assert!(printed.lines().any(|line| line == expected), "{printed}");
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -9 $$", 137),
    ] {
        assert_eq!(serve(script).status.code(), Some(status), "{script}");
    }
    // A command that does not exist is the shell's 127.
    assert_eq!(
        serve("no-such-command 2>/dev/null").status.code(),
        Some(127)
    );
    // What the command wrote is on the disk when the server has ended.
    if need::have(&["qemu-io"]) {
        let done = serve("qemu-io -f raw -c 'write -P 9 64k 64k' \"$uri\"");
        assert_eq!(done.status.code(), Some(0));
        qemu_io("vmdk", &disk, &["read -P 9 64k 64k".to_owned()]);
    }
    drop(folder);
}

/// Someone who stops the server stops its command, too, and soon.
#[test]
fn a_signal_ends_a_server_that_runs_a_command() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    let start = Instant::now();
    let mut server = Serve::disk(&disk)
        .arguments(["--print-uri", "--run", "sleep 60"])
        .start();
    server.signal(Signal::TERM);
    server.wait();
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn without_a_disk_there_is_a_sample() {
    if !ready() {
        return;
    }
    let server = Serve::sample().start();
    let hints: Vec<String> = std::iter::from_fn(|| server.line()).take(2).collect();
    assert!(!hints.is_empty(), "nothing says what to try next");
    let mut session = Session::connect(server.uri());
    let facts = session.facts();
    assert_eq!(facts["read_only"], true);
    assert!(facts["size"].as_u64().expect("a number") > 0);
    assert_eq!(session.write(0, &[1; 512], &[]), Err("EPERM".to_owned()));
    drop(session);
    let folder = tempfile::tempdir().expect("there is room");
    let copy = folder.path().join("copy");
    nbdcopy(server.uri(), &copy);
    let content = fs::read(&copy).expect("a small disk");
    assert!(
        content.iter().any(|byte| *byte != 0),
        "an empty sample shows nothing"
    );
    server.stop();
}

/// Every hint of the sample that is a command of an installed client works as it is printed.
#[test]
fn the_hints_of_the_sample_work() {
    if !ready() {
        return;
    }
    let server = Serve::sample().start();
    let folder = tempfile::tempdir().expect("there is room");
    let hints: Vec<String> = std::iter::from_fn(|| server.line()).collect();
    let mut tried = 0;
    for hint in &hints {
        let hint = hint.trim();
        let program = hint.split_whitespace().next().unwrap_or_default();
        if ["qemu-img", "nbdinfo", "nbdcopy", "qemu-io", "nbdsh"].contains(&program) {
            run(command("sh").args(["-c", hint]).current_dir(folder.path()));
            tried += 1;
        }
    }
    assert!(tried > 0, "{hints:?}");
    server.stop();
}

/// Two programs that write to one disk would destroy it.
#[test]
fn a_second_writer_is_refused() {
    if !ready() {
        return;
    }
    for kind in Kind::WRITABLE {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = kind.create(folder.path(), 10 * GRAIN);
        let first = Serve::disk(&disk).start();
        let said = refusal(&Serve::disk(&disk));
        let name = format!("{}.vmdk", kind.name());
        assert!(said.contains(&name) && said.contains("lock"), "{said}");
        let mut session = Session::connect(first.uri());
        session.write(0, &[1; 512], &[]).expect("a write works");
        drop(session);
        first.stop();
        Serve::disk(&disk).start().stop();
    }
}

/// Runs a server that must fail at once; gives back its one line.
fn refusal(serve: &Serve) -> String {
    let command = serve.command();
    let output = output(
        Command::new("timeout")
            .arg("30")
            .arg(command.get_program())
            .args(command.get_args()),
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "no URI is printed");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn an_address_that_is_taken_is_refused() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let before = checksum::folder(folder.path());
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let said = refusal(&Serve::disk(&disk).address(["--listen", &address]));
    assert!(said.contains(&address), "{said}");

    let sockets = tempfile::tempdir().expect("there is room");
    let socket = sockets.path().join("taken");
    let live = UnixListener::bind(&socket).expect("a short path");
    let said = refusal(&Serve::disk(&disk).address([Path::new("--unix"), &socket]));
    assert!(said.contains(&*socket.to_string_lossy()), "{said}");
    assert!(socket.exists(), "another's socket is left alone");
    drop(live);

    let file = sockets.path().join("file");
    fs::write(&file, "not a socket").expect("there is room");
    let said = refusal(&Serve::disk(&disk).address([Path::new("--unix"), &file]));
    assert!(said.contains(&*file.to_string_lossy()), "{said}");
    assert_eq!(
        fs::read_to_string(&file).expect("it is left alone"),
        "not a socket"
    );

    let nowhere = sockets.path().join("no such folder/socket");
    let said = refusal(&Serve::disk(&disk).address([Path::new("--unix"), &nowhere]));
    assert!(said.contains(&*nowhere.to_string_lossy()), "{said}");
    assert_eq!(checksum::folder(folder.path()), before);
}

#[test]
fn the_default_address_is_the_port_of_nbd_on_this_machine() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    if TcpListener::bind("127.0.0.1:10809").is_err() {
        let said = refusal(&Serve::disk(&disk).address(Vec::<String>::new()));
        assert!(said.contains("127.0.0.1:10809"), "{said}");
        return;
    }
    let server = Serve::disk(&disk).address(Vec::<String>::new()).start();
    assert!(
        [
            "nbd://127.0.0.1:10809",
            "nbd://127.0.0.1:10809/",
            "nbd://127.0.0.1",
            "nbd://127.0.0.1/"
        ]
        .contains(&server.uri()),
        "{}",
        server.uri()
    );
    server.stop();
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [
        &["--no-such-option"][..],
        &["--listen", "nonsense"],
        &["--listen", "127.0.0.1:99999"],
        &["--unix", "/tmp/x", "--listen", "127.0.0.1:0"],
        &["one.vmdk", "two.vmdk"],
    ] {
        let output = output(artefact::serve_nbd().args(arguments));
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for program in [artefact::serve_nbd(), artefact::dump_extents()] {
        let mut program = program;
        let output = output(program.arg("--help"));
        assert!(output.status.success());
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(help.contains("--libdir"), "{help}");
    }
}
