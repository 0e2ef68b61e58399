//! nbdkit and its plug-in for VDDK, as Debian builds them, over our shared library.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::artefact;
use crate::need;

/// The plug-in; where it cannot be had the variable is absent.
const PLUGIN: &str = "VIXDISKLIB_TEST_PLUGIN";

/// How long nbdkit may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// nbdkit's command line, built step by step.
#[derive(Debug)]
pub struct Nbdkit {
    plugin: PathBuf,
    /// A program that nbdkit runs under.
    wrapper: Vec<OsString>,
    options: Vec<OsString>,
    parameters: Vec<OsString>,
}

impl Nbdkit {
    /// nbdkit with our library and nothing to serve; `None`, after saying so, where it is not here.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !need::have(&["nbdkit"]) {
            return None;
        }
        let Some(plugin) = env::var_os(PLUGIN) else {
            need::skip("nbdkit's plug-in for VDDK could not be fetched");
            return None;
        };
        Some(Self {
            plugin: plugin.into(),
            wrapper: Vec::new(),
            options: Vec::new(),
            parameters: Vec::new(),
        })
    }

    /// With a disk to serve, or to make.
    #[must_use]
    pub fn disk(self, disk: &Path) -> Self {
        let mut parameter = OsString::from("file=");
        parameter.push(disk);
        self.parameters([parameter])
    }

    /// With parameters of the plug-in, as `key=value`.
    #[must_use]
    pub fn parameters<I: IntoIterator<Item: Into<OsString>>>(mut self, parameters: I) -> Self {
        self.parameters
            .extend(parameters.into_iter().map(Into::into));
        self
    }

    /// With options of nbdkit itself.
    #[must_use]
    pub fn options<I: IntoIterator<Item: Into<OsString>>>(mut self, options: I) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// For reading only.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.options(["--readonly"])
    }

    /// Under another program, such as valgrind with its arguments.
    #[must_use]
    pub fn under<I: IntoIterator<Item: Into<OsString>>>(mut self, wrapper: I) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// The command line, for nbdkit to end by itself.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command_with(&[])
    }

    fn command_with(&self, options: &[OsString]) -> Command {
        let mut libdir = OsString::from("libdir=");
        libdir.push(artefact::libdir());
        // It dies with the test, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(&self.wrapper)
            .arg("nbdkit")
            .args(&self.options)
            .args(options)
            .arg(&self.plugin)
            .arg(libdir)
            .args(&self.parameters);
        command
    }

    /// Starts it, on a socket of its own, and waits until it listens.
    #[must_use]
    pub fn start(self) -> Running {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let (log, ready) = (folder.path().join("log"), folder.path().join("ready"));
        let options = crate::arguments![
            "--foreground",
            "--verbose",
            "-D",
            "vddk.datapath=0",
            "--unix",
            folder.path().join("socket"),
            "--pidfile",
            ready
        ];
        let mut command = self.command_with(&options);
        let output = File::create(&log).expect("there is room for temporary files");
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file"))
            .stderr(output);
        let child = command.spawn().expect("setpriv (util-linux) starts");
        let mut running = Running { child, folder, log };
        let start = Instant::now();
        // nbdkit writes it once it listens.
        while !ready.exists() {
            let ended = running.child.try_wait().expect("it is our child");
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "{command:?} does not listen: {ended:?}\n{}",
                running.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
        running
    }
}

/// A running nbdkit; when dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    folder: TempDir,
    log: PathBuf,
}

impl Running {
    /// Where the next client finds it. First waits until the disk of the last one is closed, which nbdkit does after
    /// that has gone: a disk open for writing cannot be opened again.
    #[must_use]
    pub fn uri(&self) -> String {
        let start = Instant::now();
        loop {
            let log = self.log();
            let lines = |text: &str| log.matches(text).count();
            if lines("VixDiskLib_ConnectEx (") == lines("VixDiskLib_Disconnect (") {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "a disk is not closed:\n{log}");
            thread::sleep(Duration::from_millis(2));
        }
        format!(
            "nbd+unix:///?socket={}",
            self.folder.path().join("socket").display()
        )
    }

    /// What it has printed so far, with nbdkit's messages for debugging.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end, and panics unless it does so cleanly; gives back what it has to complain of.
    pub fn stop(self) -> String {
        let log = self.stop_and_tell();
        let lines = log.lines().filter(|line| !line.contains(" debug: "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The same; gives back all that it printed.
    pub fn stop_and_tell(mut self) -> String {
        // Ending with a client's disk open is another matter.
        let _ = self.uri();
        let pid = i32::try_from(self.child.id()).expect("Linux has such process numbers");
        let pid = Pid::from_raw(pid).expect("a process number is not 0");
        kill_process(pid, Signal::TERM).expect("it is not reaped yet");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(status.success(), "{status}:\n{}", self.log());
                return self.log();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "nbdkit does not end:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("nbdkit's log:\n{}", self.log());
        }
    }
}
