//! A running `serve_nbd`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::artefact;
use crate::backend::Backend;

/// How long a server may take to say its address, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to start a server.
#[derive(Debug)]
pub struct Serve {
    backend: Backend,
    disk: Option<PathBuf>,
    /// The folder of the socket and of what the server prints.
    folder: TempDir,
    arguments: Vec<OsString>,
    own_address: bool,
}

impl Serve {
    /// A server of one disk, on a Unix socket of its own.
    #[must_use]
    pub fn disk(disk: &Path) -> Self {
        Self {
            disk: Some(disk.to_owned()),
            ..Self::sample()
        }
    }

    /// A server of the sample disk that comes with the program.
    #[must_use]
    pub fn sample() -> Self {
        Self {
            backend: Backend::Embedded,
            disk: None,
            folder: tempfile::tempdir().expect("there is room for temporary files"),
            arguments: Vec::new(),
            own_address: true,
        }
    }

    /// Through this library.
    #[must_use]
    pub fn backend(mut self, backend: &Backend) -> Self {
        self.backend = backend.clone();
        self
    }

    /// With `--read-only`.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.arguments(["--read-only"])
    }

    /// With more arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item: Into<OsString>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// On the address that these arguments give, or on the default one.
    #[must_use]
    pub fn address<I: IntoIterator<Item: Into<OsString>>>(mut self, arguments: I) -> Self {
        self.own_address = false;
        self.arguments(arguments)
    }

    /// The command line, for a server that is to fail or to end by itself.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = artefact::serve_nbd();
        command.args(self.backend.arguments());
        if self.own_address {
            command.arg("--unix").arg(self.folder.path().join("socket"));
        }
        command.args(&self.arguments).args(&self.disk);
        command
    }

    /// Starts it and waits for its first line.
    #[must_use]
    pub fn start(self) -> Server {
        let errors = self.folder.path().join("stderr");
        let command = self.command();
        // The server dies with the test, however that ends.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("there is room for temporary files"))
            .process_group(0)
            .spawn()
            .expect("setpriv (util-linux) starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut server = Server {
            child,
            uri: String::new(),
            lines,
            errors,
            _folder: self.folder,
        };
        server.uri = server.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("{command:?} did not say its address:\n{}", server.stderr())
        });
        server
    }
}

/// A server; when dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    uri: String,
    lines: Receiver<String>,
    errors: PathBuf,
    _folder: TempDir,
}

impl Server {
    /// What it printed as its first line.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The next line of its standard output, if one comes soon.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        self.lines.recv_timeout(Duration::from_secs(5)).ok()
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("Linux has such process numbers");
        let pid = Pid::from_raw(pid).expect("a process number is not 0");
        kill_process(pid, signal).expect("the server is not reaped yet");
    }

    /// The most memory that it has used at once so far, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(status).expect("the server is not reaped yet");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok());
        peak.expect("Linux says it in this form") << 10
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the server does not end:\n{}",
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and panics unless it does so cleanly and without a word on standard error.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.stderr());
        assert_eq!(self.stderr(), "", "a clean run has no complaints");
    }

    /// Ends it at once, as a crash does.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's standard error:\n{}", self.stderr());
        }
    }
}
