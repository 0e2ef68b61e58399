//! All tests, with what they need.

use std::process::Command;

use crate::Result;
use crate::shell::{self, cargo, in_ci, works};
use crate::{artefacts, node, peers, plugin, python, vcsim};

/// Installs, builds, and runs every test; arguments go to the test runner.
fn run_all(arguments: &[String]) -> Result {
    let missing = peers::provide()?;
    let built = artefacts::build()?;
    let mut runner = cargo();
    if works(cargo().args(["nextest", "--version"])) {
        runner.args(["nextest", "run", "--workspace", "--all-features"]);
        if in_ci() {
            runner.args(["--profile", "ci"]);
        }
    } else {
        runner.args([
            "test",
            "--workspace",
            "--all-features",
            "--lib",
            "--bins",
            "--tests",
        ]);
    }
    shell::run(set_environment(runner.args(arguments), &built))?;
    shell::run(cargo().args(["test", "--workspace", "--all-features", "--doc"]))?;
    peers::report(&missing);
    Ok(())
}

/// Tells tests where what they run is, and what the library that checks rules is to overlook.
pub(crate) fn set_environment<'a>(
    runner: &'a mut Command,
    built: &artefacts::Artefacts,
) -> &'a mut Command {
    if let Some(plugin) = plugin::fetched() {
        runner.env("VIXDISKLIB_TEST_PLUGIN", plugin);
    }
    if let Some(vcsim) = vcsim::built() {
        runner.env("VIXDISKLIB_TEST_VCSIM", vcsim);
    }
    runner
        .env("VIXDISKLIB_TEST_BIN", &built.examples)
        .env("VIXDISKLIB_TEST_SIM", &built.simulator)
        .env("VIXDISKLIB_TEST_LIBDIR", &built.distribution)
        .env("VIXDISKLIB_TEST_LIBRARIES", &built.libraries)
        .env("VIXDISKLIB_TEST_NODE", node::folder())
        .env("VSPHERE_SIM_PYTHON", python::program())
        .env("VSPHERE_NFC_PYTHON", python::program())
        // The safe API gives a new library after the last user of one is gone, and warns of that for VDDK; tests ask
        // on purpose what happens to open disks. And it keeps a rule that is only advice.
        .env("VIXDISKLIB_RULES_OFF", "init-after-exit,disk-is-open")
        .env("VIXDISKLIB_RULES_ON", "access-thread")
}

/// `cargo xtask test [-- ARGUMENTS]`.
pub(crate) fn run(arguments: &[String]) -> Result {
    match arguments {
        [] => run_all(&[]),
        [dashes, rest @ ..] if dashes == "--" => run_all(rest),
        _ => Err("usage: cargo xtask test [-- ARGUMENTS OF THE TEST RUNNER]".into()),
    }
}
