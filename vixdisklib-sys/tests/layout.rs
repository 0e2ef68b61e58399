//! The headers and the Rust types: what the C compiler says of them.

use std::env;
use std::fs;
use std::mem::{align_of, offset_of, size_of};
use std::path::Path;
use std::process::Command;

use vixdisklib_sys::*;

const INCLUDE: &str = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// Fails with the compiler's own words.
fn compiles(compiler: &str, arguments: &[&str], source: &Path) {
    let output = Command::new(compiler)
        .args(arguments)
        .args(WARNINGS)
        .args([INCLUDE, "-fsyntax-only"])
        .arg(source)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler} {arguments:?}: {text}");
}

/// As [`compiles`]; without such a compiler it says so, and in CI it fails.
fn compiles_if_present(compiler: &str, arguments: &[&str], source: &Path) {
    let is_present = Command::new(compiler).arg("--version").output().is_ok();
    if is_present || env::var("CI").is_ok_and(|ci| ci == "true") {
        compiles(compiler, arguments, source);
    } else {
        eprintln!("SKIPPED: {compiler} is not installed");
    }
}

#[test]
fn the_headers_are_clean_c_and_cpp_each_on_its_own() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for header in [
        "vm_basic_types.h",
        "vixDiskLibErrors.h",
        "vixDiskLib.h",
        "vixDiskLibExt.h",
    ] {
        let text = format!("#include \"{header}\"\n#include \"{header}\"\nint used;\n");
        let c = folder.path().join(format!("{header}.c"));
        let cpp = folder.path().join(format!("{header}.cpp"));
        fs::write(&c, &text).expect("written");
        fs::write(&cpp, &text).expect("written");
        compiles("cc", &["-std=c11"], &c);
        compiles_if_present("c++", &["-std=c++17"], &cpp);
    }
}

#[test]
fn c_agrees_with_the_published_layouts() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/layout.c");
    compiles("cc", &["-std=c11"], source.as_ref());
}

/// The numbers come from Rust this time, and C has to agree.
#[test]
fn rust_agrees_with_c() {
    let mut text = String::from("#include \"vixDiskLibExt.h\"\n");
    macro_rules! same {
        ($type:ident { $($field:ident),* }) => {
            let name = stringify!($type);
            text += &format!("_Static_assert(sizeof({name}) == {}, \"{name}\");\n", size_of::<$type>());
            text += &format!("_Static_assert(_Alignof({name}) == {}, \"{name}\");\n", align_of::<$type>());
            $(
                let field = stringify!($field);
                let offset = offset_of!($type, $field);
                text += &format!("_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");\n");
            )*
        };
    }
    same!(VixError {});
    same!(Bool {});
    same!(VixDiskLibSectorType {});
    same!(VixDiskLibHandle {});
    same!(VixDiskLibConnection {});
    same!(VixDiskLibDiskType {});
    same!(VixDiskLibAdapterType {});
    same!(VixDiskLibCredType {});
    same!(VixDiskLibSpecType {});
    same!(VixDiskLibExtProperty {});
    same!(VixDiskLibProgressFunc {});
    same!(VixDiskLibCompletionCB {});
    same!(VixDiskLibGeometry {
        cylinders,
        heads,
        sectors
    });
    same!(VixDiskLibCreateParams {
        diskType,
        adapterType,
        hwVersion,
        capacity,
        logicalSectorSize,
        physicalSectorSize
    });
    same!(VixDiskLibInfo {
        biosGeo,
        physGeo,
        capacity,
        adapterType,
        numLinks,
        parentFileNameHint,
        uuid,
        logicalSectorSize,
        physicalSectorSize
    });
    same!(VixDiskLibBlock { offset, length });
    same!(VixDiskLibBlockList { numBlocks, blocks });
    same!(VixDiskLibUidPasswdCreds { userName, password });
    same!(VixDiskLibSessionIdCreds {
        cookie,
        userName,
        key
    });
    same!(VixDiskLibCreds {
        uid,
        sessionId,
        ticketId
    });
    same!(VixDiskLibVStorageObjectSpec {
        id,
        datastoreMoRef,
        ssId
    });
    same!(VixDiskLibDatastoreSpec {
        datastoreMoRef,
        diskFolder
    });
    same!(VixDiskLibSpec {
        vStorageObjSpec,
        dsSpec
    });
    same!(VixDiskLibConnectParams {
        vmxSpec,
        serverName,
        thumbPrint,
        privateUse,
        credType,
        creds,
        port,
        nfcHostPort,
        vimApiVer,
        reserved,
        state,
        spec,
        specType
    });
    same!(VixDiskLibExtExtent {
        offset,
        length,
        flags,
        depth
    });
    for code in VixError::all() {
        let name = code.name().expect("has a name");
        text += &format!("_Static_assert({name} == {}, \"{name}\");\n", code.code());
    }

    let folder = tempfile::tempdir().expect("a scratch folder");
    let source = folder.path().join("rust.c");
    fs::write(&source, text).expect("written");
    compiles("cc", &["-std=c11"], &source);
}

/// A function table has one word per function, and optional ones cost nothing.
#[test]
fn the_table_is_a_row_of_pointers() {
    assert_eq!(
        size_of::<FnTable>(),
        FnTable::SYMBOLS.len() * size_of::<usize>()
    );
}
