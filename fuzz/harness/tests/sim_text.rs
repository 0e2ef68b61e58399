//! Everything that the fuzzer of the simulator's texts began with, and everything that it ever found, once more.

mod support;

use fuzz_harness::sim_text::{refusal, run, seeds};
use support::{Inputs, cut_and_change};

const INPUTS: Inputs = Inputs("sim_text");

#[test]
fn seeds_and_regressions() {
    INPUTS.replay(run);
}

/// Each is taken.
#[test]
fn seeds_are_up_to_date() {
    for (name, bytes) in seeds() {
        INPUTS.compare(name, &bytes);
        assert_eq!(refusal(&bytes), None, "{name}");
    }
}

/// At each place.
#[test]
fn seeds_that_are_cut_and_changed() {
    for (_, seed) in seeds() {
        cut_and_change(&seed, 1, run);
    }
}
