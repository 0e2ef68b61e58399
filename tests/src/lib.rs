//! What the conformance tests share: the built programs, the outside clients, disks to try them on.
//!
//! The tests drive finished artefacts, never the crates themselves: the examples as a user runs them, the shared
//! library as a C program loads it. `cargo xtask test` builds them and says by environment variable where they are:
//!
//! | Variable | Meaning |
//! |---|---|
//! | `VIXDISKLIB_TEST_BIN` | folder with the examples |
//! | `VIXDISKLIB_TEST_LIBDIR` | our shared library laid out as a VDDK distribution: `lib64/`, `include/` |
//! | `VIXDISKLIB_TEST_LIBRARIES` | distributions of libraries for tests: `rule-check/`, `vddk-6.7/` and so on |
//! | `VIXDISKLIB_TEST_PLUGIN` | nbdkit's plug-in for VDDK; absent where it cannot be fetched |
//! | `VIXDISKLIB_TEST_SIM` | the program `vsphere-sim` |
//! | `VIXDISKLIB_TEST_NODE` | a copy of the example for Node.js, with the packages that it needs |
//! | `VIXDISKLIB_SAMPLES` | public sample disks; `../shared/samples` beside the repository by default |
//! | `VIXDISKLIB_PATH` | optional: a real VDDK, tried as one more back end |
//! | `CI` | `true`: a test that would be skipped fails |
//!
//! Every helper panics when it cannot do its work, for a test can do nothing better.
#![allow(
    clippy::missing_panics_doc,
    reason = "test helpers: to panic is how they report"
)]

pub mod artefact;
pub mod backend;
pub mod backup;
pub mod checksum;
pub mod client;
pub mod disk;
pub mod map;
pub mod native;
pub mod nbdkit;
pub mod need;
pub mod oracle;
pub mod random;
pub mod sample;
pub mod server;
pub mod session;
pub mod vsphere;
