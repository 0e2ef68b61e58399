//! A client of vSphere's network disk protocol (NFC): reads and writes the virtual disks of vCenter and ESXi.
//!
//! ```text
//!   wire       every message in both directions, as bytes    wire/{authd,classic,aio}
//! ```
//!
//! Everything here blocks; there is no asynchronous runtime. What a server sends is checked before it is believed:
//! every length has a limit, and nothing is allocated from a length that was not checked.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod wire;
