//! What `cargo xtask bindings` makes from the C headers: types and constants per target, and the error codes.

pub(crate) mod codes;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod target;
#[cfg(windows)]
#[path = "windows.rs"]
mod target;

pub use target::*;
