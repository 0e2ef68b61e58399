//! Everything that the fuzzer of the simulator began with, and everything that it ever found, once more.

mod support;

use fuzz_harness::sim::{run, seeds};
use support::{Inputs, cut_and_change};

const INPUTS: Inputs = Inputs("sim");

#[test]
fn seeds_and_regressions() {
    INPUTS.replay(run);
}

#[test]
fn seeds_are_up_to_date() {
    for (name, bytes) in seeds() {
        INPUTS.compare(name, &bytes);
    }
}

/// In many places.
#[test]
fn seeds_that_are_cut_and_changed() {
    for (_, seed) in seeds() {
        cut_and_change(&seed, 23, run);
    }
}

/// Seeds are only of use if they are understood.
#[test]
fn seeds_are_understood() {
    for (name, seed) in seeds() {
        let answers = fuzz_harness::sim::answers(&seed);
        let told = String::from_utf8_lossy(&answers);
        let is_call = name.starts_with("soap");
        assert!(!is_call || !told.contains("Fault>"), "{name}: {told}");
        match name {
            "authd" => assert!(told.ends_with("200 Connect ha-nfcssl\r\n"), "{told}"),
            // What was read is among the answers.
            "session" => assert!(answers.len() > 66048, "{} bytes", answers.len()),
            _ => assert!(
                told.contains("200 OK") || told.contains("Response"),
                "{name}: {told}"
            ),
        }
    }
}
