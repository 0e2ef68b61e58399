//! `serve_nbd` among other processes: who starts it, who is told of it, and how it ends with them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use conformance::artefact;
use conformance::client::{checks_clean, command, output, qemu_io, run};
use conformance::disk::{GRAIN, Kind};
use conformance::need::{self, PYTHON};
use conformance::server::Serve;
use conformance::session::Session;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn ready() -> bool {
    need::have(&["qemu-img", "qemu-io", "nbdinfo"]) && need::have_libnbd()
}

fn disk() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), 10 * GRAIN);
    (folder, disk)
}

/// A server that ends by itself, with these arguments before the disk.
fn serve(arguments: &[&str], disk: &Path) -> Output {
    let program = artefact::program("serve_nbd");
    output(command(program).args(arguments).arg(disk))
}

fn printed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until something is so.
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_is_told_everything() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let tell = "printf '%s\\n' \"$uri\" \"$nbd\" \"$unixsocket\" \"$port\" \"$exportname\"";
    let run = |arguments: &[&str]| {
        let mut all = vec!["-r", "--run", tell];
        all.extend(arguments);
        let lines = printed(&serve(&all, &disk));
        lines.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // A private socket, unless an address is given; nothing but the command prints.
    for arguments in [&[][..], &["-U", "-"]] {
        let told = run(arguments);
        let socket = &told[2];
        assert_eq!(told[0], format!("nbd+unix:///?socket={socket}"));
        assert_eq!(told[1], format!("nbd:unix:{socket}"));
        assert_eq!(told[3..], ["", ""]);
        let path = Path::new(socket);
        assert!(
            !path.exists() && !path.parent().expect("a folder").exists(),
            "{socket} stays"
        );
    }
    let told = run(&["-p", "0", "-e", "a disk"]);
    let port = &told[3];
    assert_eq!(told[0], format!("nbd://127.0.0.1:{port}/a%20disk"));
    assert_eq!(told[1], format!("nbd:127.0.0.1:{port}:exportname=a disk"));
    assert_eq!((told[2].as_str(), told[4].as_str()), ("", "a disk"));
    let told = run(&["--print-uri", "-i", "localhost", "-p", "0"]);
    assert_eq!(told.len(), 6);
    assert_eq!(told[0], told[1], "printed, and told to the command");
    drop(folder);
}

#[test]
fn a_pid_file_is_there_while_clients_can_connect() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let file = folder.path().join("pid");
    fs::write(&file, "99999999\n").expect("there is room");
    let server = Serve::disk(&disk)
        .arguments([Path::new("-P"), &file])
        .start();
    let text = fs::read_to_string(&file).expect("it is there");
    let number: i32 = text.trim_end().parse().expect("a number");
    let pid = Pid::from_raw(number).expect("not 0");
    kill_process(pid, Signal::CONT).expect("it is the server's");
    let mut server = server;
    kill_process(pid, Signal::TERM).expect("it is the server's");
    assert!(server.wait().success());
    assert!(!file.exists(), "the pid file outlives the server");

    let nowhere = folder.path().join("no such folder/pid");
    let nowhere = nowhere.to_string_lossy();
    let refused = serve(&["-U", "-", "-P", &nowhere], &disk);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--pidfile") && said.contains(&*nowhere),
        "{said}"
    );
    assert!(
        refused.stdout.is_empty(),
        "nobody is told of a server that does not start"
    );
}

/// Both by themselves, and with a command that would run much longer.
#[test]
fn a_server_ends_with_its_parent() {
    if !ready() {
        return;
    }
    for more in [&[][..], &["--print-uri", "--run", "exec sleep 100"]] {
        let (folder, disk) = disk();
        let socket = folder.path().join("socket");
        let pid_file = folder.path().join("pid");
        let mut parent = Command::new("sh")
            .args(["-c", "\"$@\" & wait", "sh"])
            .arg(artefact::program("serve_nbd"))
            .args(["--exit-with-parent", "-v", "-U"])
            .arg(&socket)
            .arg("-P")
            .arg(&pid_file)
            .args(more)
            .arg(&disk)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let mut stdout = BufReader::new(parent.stdout.take().expect("a pipe"));
        let mut uri = String::new();
        stdout.read_line(&mut uri).expect("it says its address");
        let mut session = Session::connect(uri.trim_end());
        session.write(5, &[7; 100], &[]).expect("a write works");
        parent.kill().expect("it runs");
        parent.wait().expect("it is our child");
        // An orderly end: what was written is there, and nothing is left behind.
        soon("the server outlives its parent", || {
            !socket.exists() && !pid_file.exists()
        });
        drop(session);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("a pipe");
        assert!(checks_clean(&disk));
        if need::have(&["qemu-io"]) {
            qemu_io("vmdk", &disk, &["read -P 7 5 100".to_owned()]);
        }
    }
}

#[test]
fn libnbd_starts_it_on_standard_input_and_output() {
    started_by("command", &["-s"]);
}

#[test]
fn libnbd_starts_it_by_socket_activation() {
    started_by("activation", &[]);
}

fn started_by(how: &str, arguments: &[&str]) {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    let script = artefact::repository().join("tests/python/start.py");
    let program = artefact::program("serve_nbd");
    let size = run(command(PYTHON)
        .args([&script, Path::new(how), &program])
        .args(arguments)
        .arg(&disk));
    assert_eq!(size.trim(), (10 * GRAIN).to_string());
    assert!(checks_clean(&disk));
    if need::have(&["qemu-io"]) {
        qemu_io("vmdk", &disk, &["read -P 255 332 1".to_owned()]);
    }
}

#[test]
fn sockets_that_are_there_exclude_addresses() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec 3<&0 \"$@\"";
    let refused = output(
        command("sh")
            .args(["-c", script, "sh"])
            .arg(artefact::program("serve_nbd"))
            .args(["-U", "-"])
            .arg(&disk)
            .stdin(Stdio::null()),
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn it_ends_after_the_last_client() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    let mut server = Serve::disk(&disk)
        .arguments(["--exit-after-last", "--stats"])
        .start();
    let mut first = Session::connect(server.uri());
    let mut second = Session::connect(server.uri());
    first.write(0, &[1; 512], &[]).expect("a write works");
    // An answer shows that it is connected.
    let _ = second.facts();
    drop(first);
    let _ = second.read(0, 4096).expect("there is a client left");
    drop(second);
    assert!(server.wait().success());
    let said = server.stderr();
    for line in [
        "connections: 2",
        "requests: ",
        "bytes written: 512",
        "bytes read: 4096",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}

#[test]
fn counters_are_told_at_a_socket() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let socket = folder.path().join("metrics");
    let server = Serve::disk(&disk)
        .arguments(["-e", "web"])
        .arguments([Path::new("--metrics"), &socket])
        .start();
    let mut session = Session::connect(server.uri());
    let _ = session.read(0, 4096).expect("a read works");
    let mut text = String::new();
    let mut stream = UnixStream::connect(&socket).expect("it takes connections");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    stream.read_to_string(&mut text).expect("it is text");
    assert!(
        text.contains("4096") && text.contains("web") && text.ends_with("# EOF\n"),
        "{text}"
    );
    drop(session);
    server.stop();
    assert!(!socket.exists());
}

/// All that the command started gets the signal, so that nothing goes on without the server.
#[test]
fn a_signal_is_for_the_whole_command() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let file = folder.path().join("pid");
    // Not the last command, which shells replace themselves by.
    let script =
        "sh -c 'echo $$ >\"$0.new\" && mv \"$0.new\" \"$0\" && exec sleep 100' \"$file\"; true";
    let mut server = Command::new("setsid")
        .arg(artefact::program("serve_nbd"))
        .args(["-r", "--run", script])
        .arg(&disk)
        .env("file", &file)
        .stdin(Stdio::null())
        .spawn()
        .expect("setsid (util-linux) starts");
    soon("the command does not start", || file.exists());
    let number = fs::read_to_string(&file).expect("it is there");
    let number: i32 = number.trim_end().parse().expect("a number");
    let command = Pid::from_raw(number).expect("not 0");
    let pid = i32::try_from(server.id()).expect("Linux has such process numbers");
    let pid = Pid::from_raw(pid).expect("not 0");
    kill_process(pid, Signal::TERM).expect("it runs");
    let status = server.wait().expect("it is our child");
    assert_eq!(status.code(), Some(143), "128 and the number of SIGTERM");
    soon("the command outlives the server", || !is_alive(command));
}

/// Whether the process runs; one that has ended and that nobody has asked about does not.
fn is_alive(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains(") Z "))
}

/// What a program at a terminal shows and how it ends, when `typed` follows on `wanted`.
fn at_terminal(wanted: &str, typed: &str, arguments: &[&str]) -> Value {
    let script = artefact::repository().join("tests/python/terminal.py");
    let printed = run(command(PYTHON)
        .arg(script)
        .args([wanted, typed])
        .arg(artefact::program("serve_nbd"))
        .args(arguments));
    serde_json::from_str(&printed).expect("JSON")
}

/// There is no such server, and so the password is all that is asked for.
#[test]
fn a_password_is_asked_for_at_the_terminal() {
    if !ready() {
        return;
    }
    let remote = ["--server", "vc.invalid", "--user", "backup"];
    let more = ["--vm", "vm-16", "--password-prompt", "-U", "-", "disk"];
    let arguments = [&remote[..], &more].concat();
    let ended = at_terminal("Password: ", r"geheim-4711\n", &arguments);
    let screen = ended["screen"].as_str().expect("text");
    assert_eq!(ended["status"], 1, "{screen}");
    assert!(screen.starts_with("Password: \r\nserve_nbd: "), "{screen}");
    assert!(screen.contains("vc.invalid"), "{screen}");
    assert!(!screen.contains("geheim"), "{screen}");
    assert_eq!(
        (&ended["echo"], &ended["echo_after"]),
        (&false.into(), &true.into())
    );

    let ended = at_terminal("Password: ", r"geh\x03", &arguments);
    assert_eq!(ended["status"], 1);
    let expected = "Password: \r\nserve_nbd: --password-prompt: interrupted";
    let screen = ended["screen"].as_str().expect("text");
    assert!(screen.starts_with(expected), "{screen}");
    assert_eq!(ended["echo_after"], true, "the terminal stays silent");

    let mut alone = command("setsid");
    let alone = alone
        .args([
            "--wait".as_ref(),
            artefact::program("serve_nbd").as_os_str(),
        ])
        .args(&arguments);
    let refused = output(alone.stdin(Stdio::null()));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let expected = "without a terminal, use --password-file or --password-fd";
    assert!(
        said.contains("--password-prompt: ") && said.contains(expected),
        "{said}"
    );
}

/// A command at a terminal may read from it, and its interrupts reach all.
#[test]
fn a_command_has_the_terminal() {
    if !ready() {
        return;
    }
    let (_folder, disk) = disk();
    let disk = disk.to_string_lossy();
    let ask = "echo ready; read word; echo \"got $word\"";
    let ended = at_terminal("ready", r"something\n", &["-r", "--run", ask, &disk]);
    let screen = ended["screen"].as_str().expect("text");
    assert!(screen.ends_with("got something\r\n"), "{screen}");
    assert_eq!(ended["status"], 0);
    // Not a program: dash loses an interrupt that comes while it starts one.
    let wait = "echo ready; read word; true";
    let ended = at_terminal("ready", r"\x03", &["-r", "--run", wait, &disk]);
    assert_eq!(ended["status"], 130, "128 and the number of SIGINT");
}

/// As root: the socket is the new user's, the disk was opened before.
#[test]
fn privileges_are_dropped_when_all_is_open() {
    if !ready() {
        return;
    }
    let (folder, disk) = disk();
    let tell = "grep -E '^(Uid|Gid|Groups):' /proc/$PPID/status; nbdinfo --size \"$uri\"";
    let arguments = ["-u", "65534", "--exit-with-parent", "--run", tell];
    let ended = serve(&arguments, &disk);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if rustix::process::geteuid().is_root() {
        let told = printed(&ended);
        let ids = "65534\t65534\t65534\t65534";
        assert!(
            told.contains(&format!("Uid:\t{ids}\nGid:\t{ids}\n")),
            "{told}"
        );
        assert!(told.contains(&(10 * GRAIN).to_string()), "{told}");
    } else {
        assert!(
            said.contains("--become-user") && said.contains("root"),
            "{said}"
        );
    }
    if rustix::process::geteuid().is_root() {
        // A temporary overlay is the new user's, too, and goes at the end.
        let tell = "qemu-io -f raw -c 'write 0 64k' \"$uri\" && ls -d \"${TMPDIR:-/tmp}\"/vixdisklib-overlay-$PPID-*";
        let told = printed(&serve(&["-u", "65534", "--overlay", "--run", tell], &disk));
        let overlay = told.lines().last().expect("it was there");
        assert!(overlay.contains("vixdisklib-overlay"), "{told}");
        assert!(!Path::new(overlay).exists(), "{overlay} stays");
    }
    let refused = serve(&["-U", "-", "-u", "no such user"], &disk);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("--become-user no such user: there is no such user"),
        "{said}"
    );
    drop(folder);
}

/// Requests that are on their way when the server is told to stop are answered.
#[test]
fn a_stop_answers_what_is_in_flight() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = conformance::disk::raw_with_data(folder.path(), 2 << 20, 20, 8);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let file = folder.path().join("pid");
    let mut server = Serve::disk(&disk)
        .read_only()
        .arguments([Path::new("-P"), &file])
        .start();
    let number = fs::read_to_string(&file).expect("it is there");
    let script = artefact::repository().join("tests/python/in_flight.py");
    run(command(PYTHON)
        .arg(script)
        .args([server.uri(), number.trim_end()]));
    assert!(server.wait().success());
    assert_eq!(server.stderr(), "");
}
