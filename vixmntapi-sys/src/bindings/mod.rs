//! What `cargo xtask bindings` makes from the C header: types and constants per target.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod target;
#[cfg(windows)]
#[path = "windows.rs"]
mod target;

pub use target::*;
