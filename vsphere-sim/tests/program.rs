//! The program, as a user starts it.
#![cfg(feature = "program")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A program that runs, and what it printed up to `ready`.
struct Running {
    child: Child,
    told: HashMap<String, String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vsphere-sim"))
            .args(arguments)
            .arg("--exit-with-parent")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it has an output")).lines();
        let mut told = HashMap::new();
        for line in lines.map(|line| line.expect("it is text")) {
            if line == "ready" {
                return Self { child, told };
            }
            let (key, value) = line.split_once('=').expect("key=value");
            told.entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        panic!("it ended: {:?}", child.wait());
    }

    /// Ends it by SIGTERM, and gives its exit status.
    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

fn command(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    writeln!(stream, "{line}").expect("it takes commands");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    reply
}

#[test]
fn one_command_starts_a_demonstration_and_sigterm_ends_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (socket, transcript) = (
        scratch.path().join("control"),
        scratch.path().join("transcript"),
    );
    let running = Running::start(&[
        "--demo",
        "--inject",
        "delay=ms:1,times:2",
        "--control",
        socket.to_str().expect("it is text"),
        "--transcript",
        transcript.to_str().expect("it is text"),
    ]);
    for key in [
        "server",
        "port",
        "nfc-port",
        "user",
        "thumbprint",
        "vm",
        "disk",
        "snapshot",
        "fcd",
        "try",
    ] {
        assert!(
            running.told.contains_key(key),
            "{key} is missing: {:?}",
            running.told
        );
    }
    let password = Path::new(&running.told["password-file"]).to_owned();
    assert!(fs::read_to_string(&password).is_ok_and(|text| text.trim().len() == 40));

    assert_eq!(command(&socket, "list"), "delay 0\nok\n");
    assert_eq!(command(&socket, "inject bad-header=field:magic"), "ok\n");
    assert_eq!(command(&socket, "clear bad-header"), "1\nok\n");
    assert_eq!(command(&socket, "switch-host").lines().count(), 2);
    assert!(command(&socket, "help").contains("switch-host"));
    for wrong in ["inject nonsense", "nonsense"] {
        assert!(command(&socket, wrong).starts_with("error: "), "{wrong}");
    }
    // The end of a line that is too long is no command.
    let long = format!("{:4096}nfc-port", "inject nonsense");
    let reply = command(&socket, &long);
    assert!(
        reply.starts_with("error: ") && reply.lines().count() == 1,
        "{reply}"
    );

    assert_eq!(running.stop(), Some(0));
    assert!(!password.exists(), "the temporary folder is gone");
    assert!(!socket.exists(), "the socket is gone");
    assert!(transcript.exists());
}

#[test]
fn an_inventory_file_is_served() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("demo");
    let made = Running::start(&[
        "--demo",
        "--profile",
        "esxi8-direct",
        "--folder",
        folder.to_str().expect("text"),
    ]);
    assert_eq!(made.stop(), Some(0));
    let file = scratch.path().join("inventory.toml");
    let text = r#"
        profile = "esxi7-direct"
        [[user]]
        name = "root"
        password = "secret"
        [[datastore]]
        name = "datastore1"
        folder = "demo"
        [[vm]]
        name = "db"
        [[vm.disk]]
        path = "[datastore1] db/db.vmdk"
    "#;
    fs::write(&file, text).expect("a file");
    let running = Running::start(&["--inventory", file.to_str().expect("text")]);
    assert_eq!(running.told["profile"], "esxi7-direct");
    assert_eq!(running.told["vm"], "1 db off");
    assert_eq!(running.told["disk"], "2000 [datastore1] db/db.vmdk");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_wrong_command_line_is_told() {
    let program = || Command::new(env!("CARGO_BIN_EXE_vsphere-sim"));
    let output = program()
        .args(["--inventory", "/none/at/all"])
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.starts_with("vsphere-sim: inventory /none/at/all: "),
        "{told}"
    );
    for arguments in [
        &["--demo", "--inject", "nonsense"][..],
        &["--profile", "esxi9"],
        &[],
    ] {
        let status = program()
            .args(arguments)
            .stderr(Stdio::null())
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
