//! One suite over every back end: the embedded engine, our shared library, the library that checks VDDK's rules, and
//! libraries with the shape of VDDK 6.5, 6.7, 7, 8 and 9, and the embedded engine with disks on simulated servers.
//!
//! A case is a test that calls [`on_every_backend`](subject::on_every_backend). What must be the same on all of them is
//! asserted as it is; what differs, by what the back end says of itself ([`Subject`](subject::Subject)).
//!
//! ```text
//! #[test]
//! fn a_disk_has_a_capacity() {
//!     on_every_backend(|subject| {
//!         let (_folder, disk) = subject.disk(&pattern(8));
//!         assert_eq!(disk.capacity().get(), 8);
//!     });
//! }
//! ```

#![cfg(all(feature = "embedded", feature = "loader"))]

#[path = "../support/mod.rs"]
mod support;

mod asynchronous;
mod close;
mod data;
mod error;
mod extents;
mod facts;
mod subject;
mod threads;
