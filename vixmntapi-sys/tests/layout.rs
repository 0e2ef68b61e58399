//! The header and the Rust types: what the C compiler says of them.

use std::env;
use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use vixmntapi_sys::*;

/// Fails with the compiler's own words.
fn compiles(compiler: &str, standard: &str, source: &Path) {
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg(concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg(concat!(
            "-I",
            env!("CARGO_MANIFEST_DIR"),
            "/../vixdisklib-sys/include"
        ))
        .arg("-fsyntax-only")
        .arg(source)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler}: {text}");
}

/// As [`compiles`]; without such a compiler it says so, and in CI it fails.
fn compiles_if_present(compiler: &str, standard: &str, source: &Path) {
    let is_present = Command::new(compiler).arg("--version").output().is_ok();
    if is_present || env::var("CI").is_ok_and(|ci| ci == "true") {
        compiles(compiler, standard, source);
    } else {
        eprintln!("SKIPPED: {compiler} is not installed");
    }
}

#[test]
fn the_header_is_clean_c_and_cpp() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let text = "#include \"vixMntapi.h\"\n#include \"vixMntapi.h\"\nint used;\n";
    let c = folder.path().join("header.c");
    let cpp = folder.path().join("header.cpp");
    fs::write(&c, text).expect("written");
    fs::write(&cpp, text).expect("written");
    compiles("cc", "-std=c11", &c);
    compiles_if_present("c++", "-std=c++17", &cpp);
}

#[test]
fn c_agrees_with_the_published_layouts() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/layout.c");
    compiles("cc", "-std=c11", source.as_ref());
}

/// The numbers come from Rust this time, and C has to agree.
#[test]
fn rust_agrees_with_c() {
    let mut text = String::from("#include \"vixMntapi.h\"\n");
    macro_rules! same {
        ($type:ident { $($field:ident),* }) => {
            let name = stringify!($type);
            text += &format!("_Static_assert(sizeof({name}) == {}, \"{name}\");\n", size_of::<$type>());
            $(
                let field = stringify!($field);
                let offset = offset_of!($type, $field);
                text += &format!("_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");\n");
            )*
        };
    }
    same!(VixOsFamily {});
    same!(VixVolumeType {});
    same!(VixDiskSetHandle {});
    same!(VixVolumeHandle {});
    same!(VixOsInfo {
        family,
        majorVersion,
        minorVersion,
        osIs64Bit,
        vendor,
        edition,
        osFolder
    });
    same!(VixVolumeInfo {
        type_,
        isMounted,
        symbolicLink,
        numGuestMountPoints,
        inGuestMountPoints
    });
    same!(VixDiskSetInfo {
        openFlags,
        mountPath
    });
    let text = text.replace("type_", "type");

    let folder = tempfile::tempdir().expect("a scratch folder");
    let source = folder.path().join("rust.c");
    fs::write(&source, text).expect("written");
    compiles("cc", "-std=c11", &source);
}
