//! The servers: ours, those that it is compared with, and one that shows what the client takes.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::timing;
use crate::shell::command;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);
/// How often to look at how much memory a server has.
const MEMORY_INTERVAL: Duration = Duration::from_millis(20);

/// What was built for the benchmark.
pub(super) struct Programs {
    pub(super) serve_nbd: PathBuf,
    pub(super) measure: PathBuf,
    pub(super) client: PathBuf,
    /// The server that only answers.
    pub(super) answers: PathBuf,
    /// nbdkit's plug-in for VDDK, and the distribution of our library that it loads.
    pub(super) plugin: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    /// qemu-nbd with a driver.
    Qemu(&'static str),
    /// nbdkit's plug-in for files.
    File,
    /// nbdkit's plug-in for VDDK over our library.
    Plugin,
    /// No disk at all.
    Answers(Layout),
}

/// What a server without a disk pretends to have, in bytes: of those before `end` every second `part` is data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) size: u64,
    pub(super) part: u64,
    pub(super) end: u64,
}

/// A server and the image that it serves.
pub(super) struct Server {
    kind: Kind,
    pub(super) image: PathBuf,
    pub(super) writable: bool,
}

impl Server {
    fn new(kind: Kind, image: &Path) -> Self {
        Self {
            kind,
            image: image.to_owned(),
            writable: false,
        }
    }

    pub(super) fn ours(image: &Path) -> Self {
        Self::new(Kind::Ours, image)
    }

    pub(super) fn qemu(image: &Path, driver: &'static str) -> Self {
        Self::new(Kind::Qemu(driver), image)
    }

    pub(super) fn nbdkit(image: &Path) -> Self {
        Self::new(Kind::File, image)
    }

    pub(super) fn plugin(image: &Path) -> Self {
        Self::new(Kind::Plugin, image)
    }

    /// Answers as if it had this, and does nothing else: no server can be faster than the client with it.
    pub(super) fn answers(layout: Layout) -> Self {
        Self::new(Kind::Answers(layout), Path::new("no disk"))
    }

    /// Gets a new image each time, and takes writes.
    pub(super) fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    pub(super) fn name(&self) -> String {
        let image = self.image.file_name().unwrap_or_default().to_string_lossy();
        let program = match self.kind {
            Kind::Ours => "ours",
            Kind::Qemu(_) => "qemu-nbd",
            Kind::File => "nbdkit file",
            Kind::Plugin => "nbdkit vddk over our library",
            Kind::Answers(_) => "answers only",
        };
        format!("{program} on {image}")
    }

    fn command(&self, socket: &Path, programs: &Programs) -> Command {
        let read_only = |option: &'static str| (!self.writable).then_some(option);
        let mut server = match (self.kind, &programs.plugin) {
            (Kind::Ours, _) => {
                let mut server = command(&programs.serve_nbd);
                server.args(read_only("--read-only")).arg("--unix");
                server.arg(socket).arg(&self.image);
                server
            }
            (Kind::Qemu(driver), _) => {
                let mut server = command("qemu-nbd");
                server.args(read_only("--read-only")).arg("--socket");
                server.arg(socket).args(["--persistent", "--shared=64"]);
                server
                    .args(["--cache=writeback", "--format", driver])
                    .arg(&self.image);
                server
            }
            (Kind::File, _) | (Kind::Plugin, None) => {
                let mut server = command("nbdkit");
                server
                    .args(read_only("--readonly"))
                    .args(["--foreground", "--unix"]);
                server.arg(socket).arg("file").arg(&self.image);
                server
            }
            (Kind::Answers(Layout { size, part, end }), _) => {
                let mut server = command(&programs.answers);
                server
                    .arg(socket)
                    .args([size, part, end].map(|bytes| bytes.to_string()));
                server
            }
            (Kind::Plugin, Some((plugin, distribution))) => {
                let mut server = command("nbdkit");
                server
                    .args(read_only("--readonly"))
                    .args(["--foreground", "--unix"]);
                server.arg(socket).arg(plugin);
                server
                    .arg(format!("libdir={}", distribution.display()))
                    .arg(&self.image);
                server
            }
        };
        server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        server
    }

    /// Starts it; clients cannot connect yet.
    pub(super) fn spawn(&self, socket: &Path, programs: &Programs) -> Result<Running> {
        // One that was killed leaves its socket.
        if socket.exists() {
            fs::remove_file(socket)?;
        }
        let child = self.command(socket, programs).spawn()?;
        Ok(Running { child })
    }
}

/// A running server; it is killed when dropped.
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Waits until clients can connect.
    pub(super) fn wait_ready(&mut self, socket: &Path) -> Result {
        let deadline = Instant::now() + START;
        while UnixStream::connect(socket).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("the server does not start".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Seconds of processor time that it took so far, in the program and in the kernel.
    pub(super) fn processor(&self) -> Result<f64> {
        timing::processor(self.child.id())
    }

    /// MiB of memory that it has now, copies of files not counted.
    pub(super) fn memory(&self) -> Result<f64> {
        Ok(memory(self.child.id()).ok_or("the kernel does not tell of memory")?)
    }

    /// The most of it that was seen while `work` ran.
    pub(super) fn peak_memory<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let process = self.child.id();
        let (working, is_over) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let mut peak: f64 = 0.0;
                loop {
                    peak = peak.max(memory(process)?);
                    if is_over.recv_timeout(MEMORY_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                        return Some(peak);
                    }
                }
            });
            let result = work();
            drop(working);
            let peak = watch.join().ok().flatten();
            Ok((result?, peak.ok_or("the server ended during its work")?))
        })
    }
}

/// `None` if there is no such process, or if the kernel does not tell.
fn memory(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let mut lines = status.lines();
    let memory = lines.find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: f64 = memory.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
