//! `cargo xtask dist DIR`: our library as a VDDK distribution, for programs in any language.

pub(crate) mod layout;
mod notices;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{cargo, reproducible_cargo, run, target};
use crate::{Result, linkage, symbols};

pub(crate) use verify::run_twice;

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
        linkage::check(&library, &layout::soname(release))?;
        layout::add_library(folder, &library, release)?;
    }
    let newest = RELEASES[RELEASES.len() - 1];
    layout::link_newest(folder, newest)?;
    let package_config = folder.join("share/pkgconfig");
    fs::create_dir_all(&package_config)?;
    let description = include_str!("dist/vixDiskLib.pc").replace("@VERSION@", newest);
    fs::write(package_config.join("vixDiskLib.pc"), description)?;
    fs::write(folder.join("README.md"), include_str!("dist/README.md"))?;
    notices::write(folder)
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
    run(reproducible_cargo()?
        .args(["build", "--release", "-p", "vixdisklib-open-cdylib"])
        .env("VIXDISKLIB_MAJOR", major))?;
    Ok(target().join("release/libvixDiskLib.so"))
}
