//! The libraries that the tests of the safe API run on, besides the embedded engine and our shared library.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::dist::layout;
use crate::shell::{cargo, run, target};

/// Our extensions, which no release of VDDK has.
const EXTENSIONS: &str = "VixDiskLibExt_";

/// The folder of each library, the file that it is made from, its version, and the symbols that it lacks: a whole name,
/// or the beginning of several that ends in an underscore.
const LIBRARIES: &[(&str, &str, &str, &[&str])] = &[
    ("rule-check", RULE_CHECK, "8.0.0", &[]),
    ("rule-check-plain", RULE_CHECK, "8.0.0", &[EXTENSIONS]),
    (
        "vddk-6.5",
        VDDK_LIKE,
        "6.5.0",
        &[
            EXTENSIONS,
            "VixDiskLib_QueryAllocatedBlocks",
            "VixDiskLib_FreeBlockList",
            "VixDiskLib_AllocateConnectParams",
        ],
    ),
    ("vddk-6.7", VDDK_LIKE, "6.7.0", &[EXTENSIONS]),
    ("vddk-7.0", VDDK_LIKE, "7.0.3", &[EXTENSIONS]),
    ("vddk-8.0", VDDK_LIKE, "8.0.3", &[EXTENSIONS]),
    ("vddk-9.0", VDDK_LIKE, "9.0.0.0", &[EXTENSIONS]),
];

const RULE_CHECK: &str = "libvixdisklib_rule_check.so";
const VDDK_LIKE: &str = "libvddk_like.so";

/// Builds them, with the checks of an unoptimised build, and gives back the folder that has one distribution of each.
pub(crate) fn build() -> Result<PathBuf> {
    run(cargo().args(["build", "-p", "vixdisklib-rule-check", "-p", "vddk-like"]))?;
    let folder = target().join("libraries");
    for (name, file, version, missing) in LIBRARIES {
        let distribution = folder.join(name);
        layout::start(&distribution)?;
        layout::add_library(&distribution, &target().join("debug").join(file), version)?;
        layout::link_newest(&distribution, version)?;
        hide(
            &distribution.join(format!("lib64/libvixDiskLib.so.{version}")),
            missing,
        )?;
    }
    Ok(folder)
}

/// The library that checks rules, as [`build`] made it.
pub(crate) fn rule_check() -> PathBuf {
    target().join("debug").join(RULE_CHECK)
}

/// Hides symbols of a library.
///
/// A dynamic symbol is found by the hash of the name asked for and then by comparing the name: one byte changed in the
/// library's copy of the name hides it, and nothing else moves.
fn hide(library: &Path, names: &[&str]) -> Result {
    let mut bytes = fs::read(library)?;
    for name in names {
        // A whole name is surrounded by the zero bytes of the table of strings.
        let whole = format!("\0{name}{}", if name.ends_with('_') { "" } else { "\0" });
        let mut places = Vec::new();
        for (place, window) in bytes.windows(whole.len()).enumerate() {
            if window == whole.as_bytes() {
                places.push(place + 1);
            }
        }
        if places.is_empty() {
            return Err(format!("{} has no symbol {name}", library.display()).into());
        }
        for place in places {
            bytes[place] = b'_';
        }
    }
    fs::write(library, bytes)?;
    Ok(())
}
