//! Everything that the fuzzers of the network disk protocol began with, and everything that they ever found, once more.

mod support;

use fuzz_harness::nfc;
use support::Inputs;

#[test]
fn messages() {
    let inputs = Inputs("nfc_wire");
    for (name, bytes) in nfc::wire_seeds() {
        inputs.compare(name, &bytes);
    }
    inputs.replay(nfc::wire);
}

#[test]
fn compressed_data() {
    let inputs = Inputs("nfc_compress");
    for (name, bytes) in nfc::compress_seeds() {
        inputs.compare(&name, &bytes);
    }
    inputs.replay(nfc::compress);
}
