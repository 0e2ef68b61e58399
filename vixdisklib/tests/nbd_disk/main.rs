//! Real disks as exports: bytes on top of sectors, the map, zeros and trimming, overlays.

#![cfg(all(unix, feature = "nbd", feature = "embedded"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod clients;
mod contexts;
mod flat;
mod kinds;
mod model;
#[path = "../nbd_support/mod.rs"]
mod nbd_support;
mod overlay;
mod world;
