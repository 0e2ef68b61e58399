//! The things under test, built beforehand.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the programs.
const BIN: &str = "VIXDISKLIB_TEST_BIN";
/// The root of the distribution with our shared library.
const LIBDIR: &str = "VIXDISKLIB_TEST_LIBDIR";
/// The folder of distributions with libraries for tests.
const LIBRARIES: &str = "VIXDISKLIB_TEST_LIBRARIES";
/// The simulator.
const SIM: &str = "VIXDISKLIB_TEST_SIM";
/// The folder of the example for Node.js.
const NODE: &str = "VIXDISKLIB_TEST_NODE";

/// The example program `name`.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    existing(BIN, name)
}

/// A command for the program `dump_extents`.
#[must_use]
pub fn dump_extents() -> Command {
    Command::new(program("dump_extents"))
}

/// A command for the program `copy`.
#[must_use]
pub fn copy() -> Command {
    Command::new(program("copy"))
}

/// A command for the program `serve_nbd`.
#[must_use]
pub fn serve_nbd() -> Command {
    Command::new(program("serve_nbd"))
}

/// The root of the distribution with our shared library: `lib64` and `include`.
#[must_use]
pub fn libdir() -> PathBuf {
    existing(LIBDIR, "")
}

/// Our shared library, by the name that programs link to.
#[must_use]
pub fn library() -> PathBuf {
    existing(LIBDIR, "lib64/libvixDiskLib.so.8")
}

/// The library that checks VDDK's rules, by the name that programs link to.
#[must_use]
pub fn rule_check() -> PathBuf {
    existing(LIBRARIES, "rule-check/lib64/libvixDiskLib.so.8")
}

/// The program that simulates vSphere.
#[must_use]
pub fn simulator() -> PathBuf {
    existing(SIM, "")
}

/// The example for Node.js, if the packages that it needs could be installed.
#[must_use]
pub fn node_program() -> Option<PathBuf> {
    let program = existing(NODE, "copy.mjs");
    let packages = program.with_file_name("node_modules/koffi");
    packages.is_dir().then_some(program)
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is a folder of the repository")
}

fn existing(variable: &str, name: &str) -> PathBuf {
    let folder = env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test`"));
    // Nothing joined would leave a slash behind.
    let path = match name {
        "" => PathBuf::from(folder),
        name => Path::new(&folder).join(name),
    };
    assert!(
        path.exists(),
        "{} does not exist: run `cargo xtask test`",
        path.display()
    );
    path
}
