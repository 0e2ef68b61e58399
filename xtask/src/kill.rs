//! Many kills of a server under load: the test `kill`, with more runs than the ordinary tests have time for.

use crate::shell::{cargo, run};
use crate::{Result, artefacts};

const USAGE: &str = "usage: cargo xtask kill [--runs N]";

/// `cargo xtask kill [--runs N]`.
pub(crate) fn run_many(arguments: &[String]) -> Result {
    let runs = match arguments {
        [] => 200,
        [option, number] if option == "--runs" => number.parse::<u64>()?,
        _ => return Err(USAGE.into()),
    };
    let built = artefacts::build()?;
    run(cargo()
        .args([
            "test",
            "-p",
            "conformance",
            "--test",
            "kill",
            "--",
            "--nocapture",
        ])
        .env("VIXDISKLIB_TEST_BIN", &built.examples)
        .env("VIXDISKLIB_TEST_LIBDIR", &built.distribution)
        .env("VIXDISKLIB_KILLS", runs.to_string()))
}
