//! `cargo xtask dist DIR`: our library as a VDDK distribution, for programs in any language.

pub(crate) mod layout;

use std::path::{Path, PathBuf};

use crate::shell::{cargo, run, target};
use crate::{Result, symbols};

/// The releases whose place the library takes, oldest first: the last of each major version, whose functions it has.
const RELEASES: [&str; 4] = ["6.7.0", "7.0.3", "8.0.3", "9.1.0.0"];

/// The one whose structures the library that checks rules has.
const RULE_CHECK_RELEASE: &str = "8.0.3";

/// Builds the library once for each release, and makes the folder.
pub(crate) fn make(folder: &Path) -> Result {
    layout::start(folder)?;
    for release in RELEASES {
        let library = build(release)?;
        symbols::check(&library)?;
        layout::add_library(folder, &library, release)?;
    }
    layout::link_newest(folder, RELEASES[RELEASES.len() - 1])
}

/// The same with the library that checks rules.
pub(crate) fn make_rule_check(folder: &Path) -> Result {
    run(cargo().args(["build", "--release", "-p", "vixdisklib-rule-check"]))?;
    let library = target().join("release/libvixdisklib_rule_check.so");
    layout::start(folder)?;
    layout::add_library(folder, &library, RULE_CHECK_RELEASE)?;
    layout::link_newest(folder, RULE_CHECK_RELEASE)
}

/// Builds the library for one release. Only the package that exports the functions is compiled anew, and linked.
fn build(release: &str) -> Result<PathBuf> {
    let major = release.split('.').next().unwrap_or(release);
    run(cargo()
        .args(["build", "--release", "-p", "vixdisklib-open-cdylib"])
        .env("VIXDISKLIB_MAJOR", major))?;
    Ok(target().join("release/libvixDiskLib.so"))
}
