//! The Python of the tests: a virtual environment in the target folder, with pyVmomi, which drives the simulator, and
//! FastLZ, which the compression of the client is compared with.

use std::path::PathBuf;

use crate::Result;
use crate::shell::{command, root, run, target, works};

/// The program of the environment.
pub(crate) fn program() -> PathBuf {
    target().join("python/bin/python")
}

/// Makes the environment unless it is there and works.
pub(crate) fn provide() -> Result {
    let works_there =
        || works(command(program()).args(["-c", "import pyVmomi, pyVim.connect, fastlz"]));
    if works_there() {
        return Ok(());
    }
    run(command("python3")
        .args(["-m", "venv"])
        .arg(target().join("python")))?;
    run(command(program())
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--requirement")
        .arg(root().join("vsphere-sim/tests/requirements.txt"))
        .arg("--requirement")
        .arg(root().join("vsphere-nfc/tests/requirements.txt")))?;
    if works_there() {
        Ok(())
    } else {
        Err("what is installed does not work".into())
    }
}
