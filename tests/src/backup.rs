//! `copy` while it runs, ended at a chosen place.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::artefact;

/// How long a copy may take to get where it is wanted.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder in which a backup is made before it gets its name.
#[must_use]
pub fn partial(backup: &Path) -> PathBuf {
    backup.with_added_extension("partial")
}

/// The complete lines of its journal; none if there is none yet.
#[must_use]
pub fn journal(backup: &Path) -> String {
    let mut text = fs::read_to_string(partial(backup).join("journal")).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}

/// A running `copy`.
#[derive(Debug)]
pub struct Copying(Child);

impl Copying {
    /// Starts it. It dies with the test, however that ends.
    #[must_use]
    pub fn start(options: &[impl AsRef<OsStr>], paths: &[&Path]) -> Self {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(artefact::program("copy"))
            .args(options)
            .args(paths)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.expect("setpriv (util-linux) starts"))
    }

    /// Kills it when its journal has so many entries; gives back up to which sector it is done then.
    pub fn kill_after(mut self, entries: usize, backup: &Path) -> u64 {
        self.wait_for(entries, backup);
        self.signal(Signal::KILL);
        self.0.wait().expect("it is our child");
        let text = journal(backup);
        let last = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("done "));
        let last = last.unwrap_or_else(|| panic!("{text}"));
        last.parse().expect("a sector")
    }

    /// Sends it Ctrl-C when its journal has so many entries, and waits for its end.
    #[must_use]
    pub fn interrupt_after(self, entries: usize, backup: &Path) -> Output {
        self.signal_after(Signal::INT, entries, backup)
    }

    /// Sends it a signal when its journal has so many entries, and waits for its end.
    #[must_use]
    pub fn signal_after(mut self, signal: Signal, entries: usize, backup: &Path) -> Output {
        self.wait_for(entries, backup);
        self.signal(signal);
        self.0.wait_with_output().expect("it is our child")
    }

    /// Has it stand still when its journal has so many entries.
    pub fn stop_after(&mut self, entries: usize, backup: &Path) {
        self.wait_for(entries, backup);
        self.signal(Signal::STOP);
    }

    /// Has it go on, and waits for its end.
    #[must_use]
    pub fn go_on(self) -> Output {
        self.signal(Signal::CONT);
        self.0.wait_with_output().expect("it is our child")
    }

    fn wait_for(&mut self, entries: usize, backup: &Path) {
        let start = Instant::now();
        while journal(backup).matches("\ndone ").count() < entries {
            let ended = self.0.try_wait().expect("it is our child");
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "not so many entries: {ended:?}\n{}",
                journal(backup)
            );
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("Linux has such process numbers");
        let pid = Pid::from_raw(pid).expect("a process number is not 0");
        kill_process(pid, signal).expect("it is not reaped yet");
    }
}
