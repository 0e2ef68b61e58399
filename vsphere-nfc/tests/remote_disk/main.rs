//! Disks on a host that is a thread at the other end of a socket pair, and does what a test tells it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "the host and its helpers are outside of test functions"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "the disks of these tests are small"
)]

mod faults;
mod host;
mod limits;
mod loss;
mod opening;
mod reading;
mod writing;
