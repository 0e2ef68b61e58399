//! Everything that the fuzzer of the management plane began with, and everything that it ever found, once more.

mod support;

use fuzz_harness::nfc_soap::{run, seeds};
use support::{Inputs, cut_and_change};

const INPUTS: Inputs = Inputs("nfc_soap");

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

/// Seeds are only of use if they are understood.
#[test]
fn seeds_are_understood() {
    use vsphere_nfc::fuzzing::{body, read};
    for (name, seed) in seeds() {
        let document = match seed[0] & 0x80 {
            0 => seed[1..].to_vec(),
            _ => body(&seed[1..]).expect(name),
        };
        assert!(
            read(usize::from(seed[0] & 0x7f), &document).is_some(),
            "{name}"
        );
    }
}
