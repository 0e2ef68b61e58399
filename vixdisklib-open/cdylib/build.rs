//! Link arguments of the shared library.

use std::path::PathBuf;
use std::{env, fs};

/// Says which major version of VDDK the library stands in for.
const VARIABLE: &str = "VIXDISKLIB_MAJOR";

/// The one that the embedded engine has, too.
const DEFAULT: &str = "8";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let major = env::var(VARIABLE).unwrap_or_else(|_| DEFAULT.to_owned());
    println!("cargo::rustc-env={VARIABLE}={major}");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        // Programs look the library up by this name.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libvixDiskLib.so.{major}");
        // The code must stay after a program closes the library: destructors of what it keeps per thread run when the
        // program's threads end.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,noexecstack,-z,relro,-z,now");
        link_unwinder_in();
    }
}

/// Lets the library need nothing besides the C library.
///
/// The standard library unwinds with `libgcc_s.so.1`, which is GCC's. The linker finds a script of that name first, which
/// puts in the same code from GCC's static libraries.
fn link_unwinder_in() {
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")
        .expect("cargo made the folder");
    println!("cargo::rustc-link-search=native={}", folder.display());
}
