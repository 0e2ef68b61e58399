//! Link arguments of the shared library.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        // Threads that it started may still run its code when a program closes it.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
