//! Everything that the fuzzer of the NBD server began with, and everything that it ever found, once more.

mod support;

use fuzz_harness::nbd::{run, seeds};
use support::{Inputs, cut_and_change};

const INPUTS: Inputs = Inputs("nbd");

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
        cut_and_change(&seed, 7, run);
    }
}
