//! Link arguments of the shared library.

use std::env;

/// The major version of VDDK that the library stands in for: programs look it up by this name.
const SONAME: &str = "libvixDiskLib.so.8";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
        // The code must stay after a program closes the library: destructors of what it keeps per thread run when the
        // program's threads end.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
