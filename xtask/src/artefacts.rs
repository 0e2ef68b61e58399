//! What tests run: the examples, the simulator, and our shared libraries laid out as VDDK distributions.

use std::path::PathBuf;

use crate::shell::{reproducible_cargo, run, target};
use crate::{Result, dist, libraries};

/// What was built.
pub(crate) struct Artefacts {
    /// The folder of the example programs.
    pub(crate) examples: PathBuf,
    /// The program `vsphere-sim`.
    pub(crate) simulator: PathBuf,
    /// The root of a distribution with our library.
    pub(crate) distribution: PathBuf,
    /// A folder of distributions: the rule-checking library, and libraries with the shape of releases of VDDK.
    pub(crate) libraries: PathBuf,
}

/// Builds the examples, the simulator and the shared library, optimised, and lays the library out.
pub(crate) fn build() -> Result<Artefacts> {
    run(reproducible_cargo()?.args([
        "build",
        "--release",
        "-p",
        "vixdisklib-examples",
        "--examples",
    ]))?;
    run(reproducible_cargo()?.args(["build", "--release", "-p", "vsphere-sim", "--bins"]))?;
    let distribution = target().join("distribution");
    dist::make(&distribution)?;
    Ok(Artefacts {
        examples: target().join("release/examples"),
        simulator: target().join("release/vsphere-sim"),
        distribution,
        libraries: libraries::build()?,
    })
}
