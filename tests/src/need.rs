//! What a test needs from outside, and what happens without it: a loud skip, or a failure where `CI=true`.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

/// The interpreter that has libnbd's module on Debian; the first `python3` on the path may be another.
pub const PYTHON: &str = "/usr/bin/python3";

/// Whether all these programs are there. If not, says so; the test then returns.
#[must_use]
pub fn have(programs: &[&str]) -> bool {
    programs
        .iter()
        .all(|program| on_path(program) || skip(&format!("{program} is not installed")))
}

/// Whether Python has libnbd's module. If not, says so; the test then returns.
#[must_use]
pub fn have_libnbd() -> bool {
    let found = Command::new(PYTHON)
        .args(["-c", "import nbd"])
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
        || skip("the Python module of libnbd is not installed")
}

/// Whether Python has libvmdk's module. If not, says so.
#[must_use]
pub fn have_libvmdk() -> bool {
    let found = Command::new(PYTHON)
        .args(["-c", "import pyvmdk"])
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
        || skip("the Python module of libvmdk is not installed")
}

/// Reports a test, or a part of one, as left out. Always false.
pub fn skip(reason: &str) -> bool {
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "nothing may be left out when CI=true: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
    false
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
        || Path::new(program).is_absolute() && Path::new(program).is_file()
}
