//! What tests and users run: the examples, and our shared library laid out as a VDDK distribution.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::shell::{cargo, root, run, target};
use crate::{Result, libraries};

/// The version whose ABI the library has: it decides the file's name and the size of some structs.
const ABI_VERSION: &str = "8.0.0";

/// What was built.
pub(crate) struct Artefacts {
    /// The folder of the example programs.
    pub(crate) examples: PathBuf,
    /// The root of a distribution with our library.
    pub(crate) distribution: PathBuf,
    /// A folder of distributions: the rule-checking library, and libraries with the shape of releases of VDDK.
    pub(crate) libraries: PathBuf,
}

/// Builds the examples and the shared library, optimised, and lays the library out.
pub(crate) fn build() -> Result<Artefacts> {
    run(cargo().args([
        "build",
        "--release",
        "-p",
        "vixdisklib-examples",
        "--examples",
    ]))?;
    let distribution = target().join("distribution");
    dist(&distribution)?;
    Ok(Artefacts {
        examples: target().join("release/examples"),
        distribution,
        libraries: libraries::build()?,
    })
}

/// Builds the shared library and makes a folder that loads like VDDK's.
pub(crate) fn dist(folder: &Path) -> Result {
    run(cargo().args(["build", "--release", "-p", "vixdisklib-open-cdylib"]))?;
    lay_out(folder, &shared_library(), ABI_VERSION)
}

/// The same with the library that checks rules.
pub(crate) fn dist_rule_check(folder: &Path) -> Result {
    run(cargo().args(["build", "--release", "-p", "vixdisklib-rule-check"]))?;
    let library = target().join("release/libvixdisklib_rule_check.so");
    lay_out(folder, &library, ABI_VERSION)
}

/// Makes a folder that loads like VDDK's of this version.
pub(crate) fn lay_out(folder: &Path, library: &Path, version: &str) -> Result {
    let (lib64, include) = (folder.join("lib64"), folder.join("include"));
    for fresh in [&lib64, &include] {
        if fresh.exists() {
            fs::remove_dir_all(fresh)?;
        }
        fs::create_dir_all(fresh)?;
    }
    let file = format!("libvixDiskLib.so.{version}");
    let major = version.split('.').next().unwrap_or(version);
    let soname = format!("libvixDiskLib.so.{major}");
    fs::copy(library, lib64.join(&file))?;
    symlink(&file, lib64.join(&soname))?;
    symlink(&soname, lib64.join("libvixDiskLib.so"))?;
    for header in fs::read_dir(root().join("vixdisklib-sys/include"))? {
        let header = header?.path();
        fs::copy(
            &header,
            include.join(header.file_name().expect("a file has a name")),
        )?;
    }
    Ok(())
}

/// The shared library as cargo builds it.
pub(crate) fn shared_library() -> PathBuf {
    target().join("release/libvixDiskLib.so")
}
