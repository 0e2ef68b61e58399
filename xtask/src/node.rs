//! What the example for Node.js needs, beside a copy of it, in the target folder: the repository holds no packages.

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::shell::{command, root, run, target, works};

/// What `npm ci` reads.
const INPUTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
/// The program.
const PROGRAM: &str = "copy.mjs";

/// The folder of the copy.
pub(crate) fn folder() -> PathBuf {
    target().join("node")
}

/// Copies the example, and installs its packages unless the same ones are there.
pub(crate) fn provide() -> Result {
    let (source, folder) = (root().join("examples/node"), folder());
    fs::create_dir_all(&folder)?;
    fs::copy(source.join(PROGRAM), folder.join(PROGRAM))?;
    let same = |name: &&str| {
        let read = |place: &PathBuf| fs::read(place.join(name)).ok();
        read(&source) == read(&folder)
    };
    if INPUTS.iter().all(same) && works_there() {
        return Ok(());
    }
    for name in INPUTS {
        fs::copy(source.join(name), folder.join(name))?;
    }
    install()?;
    if works_there() {
        Ok(())
    } else {
        Err("koffi is installed, and does not work".into())
    }
}

/// Nothing that a package brings is run meanwhile.
fn install() -> Result {
    run(command("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder()))
}

/// Whether the program finds its package.
fn works_there() -> bool {
    works(
        command("node")
            .args(["-e", "require('koffi')"])
            .current_dir(folder()),
    )
}
