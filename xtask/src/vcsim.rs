//! vcsim, a simulator of the vSphere API by others. Debian packages its library; the program around it is ours.

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::shell::{command, root, run, target, works};

/// The package with the library.
const PACKAGE: &str = "golang-github-vmware-govmomi-dev";
/// Where Debian keeps the sources of Go libraries, as Go sees it.
const GOPATH: &str = "/usr/share/gocode";
/// Where the library is.
const LIBRARY: &str = "src/github.com/vmware/govmomi/simulator";

/// The program, if it was built.
pub(crate) fn built() -> Option<PathBuf> {
    Some(path()).filter(|path| path.exists())
}

fn path() -> PathBuf {
    target().join("peers/vcsim")
}

fn source() -> PathBuf {
    root().join("tests/vcsim/main.go")
}

/// Builds the program, once for each state of its source.
pub(crate) fn provide() -> Result {
    let modified = |path: PathBuf| fs::metadata(path)?.modified();
    if let (Ok(program), Ok(source)) = (modified(path()), modified(source()))
        && source < program
    {
        return Ok(());
    }
    if !works(command("go").arg("version")) || !PathBuf::from(GOPATH).join(LIBRARY).is_dir() {
        return Err(format!("Debian: apt-get install golang-go {PACKAGE}").into());
    }
    fs::create_dir_all(target().join("peers"))?;
    // Outside of any module, Go builds with what Debian has installed and fetches nothing.
    run(command("go")
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .env("GOCACHE", target().join("peers/go"))
        .args(["build", "-o"])
        .arg(path())
        .arg(source()))
}
