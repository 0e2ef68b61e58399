//! The Python that the tests of the simulator drive it with: a virtual environment with pyVmomi, in the target folder.

use std::path::PathBuf;

use crate::Result;
use crate::shell::{command, root, run, target, works};

/// The program of the environment.
pub(crate) fn program() -> PathBuf {
    target().join("python/bin/python")
}

/// Makes the environment unless it is there and works.
pub(crate) fn provide() -> Result {
    let works_there = || works(command(program()).args(["-c", "import pyVmomi, pyVim.connect"]));
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
            "--requirement",
        ])
        .arg(root().join("vsphere-sim/tests/requirements.txt")))?;
    if works_there() {
        Ok(())
    } else {
        Err("pyVmomi is installed, and does not work".into())
    }
}
