//! Folders that load like VDDK's: `lib64` with nothing but VixDiskLib, and `include`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Result;
use crate::shell::root;

/// The name that programs are linked with.
const LINKER_NAME: &str = "libvixDiskLib.so";

/// Makes the folder, with the headers and without libraries, whatever was there before.
pub(crate) fn start(folder: &Path) -> Result {
    let (lib64, include) = (folder.join("lib64"), folder.join("include"));
    for fresh in [&lib64, &include] {
        if fresh.exists() {
            fs::remove_dir_all(fresh)?;
        }
        fs::create_dir_all(fresh)?;
    }
    for header in fs::read_dir(root().join("vixdisklib-sys/include"))? {
        let header = header?;
        fs::copy(header.path(), include.join(header.file_name()))?;
    }
    Ok(())
}

/// Adds a library under the name of this release, and under the name that programs load.
///
/// The real file has all numbers, because callers read the release from them: VixDiskLib has no function that tells.
pub(crate) fn add_library(folder: &Path, library: &Path, release: &str) -> Result {
    let lib64 = folder.join("lib64");
    let file = format!("{LINKER_NAME}.{release}");
    fs::copy(library, lib64.join(&file))?;
    symlink(&file, lib64.join(soname(release)))?;
    Ok(())
}

/// Lets programs be linked with this release.
pub(crate) fn link_newest(folder: &Path, release: &str) -> Result {
    symlink(soname(release), folder.join("lib64").join(LINKER_NAME))?;
    Ok(())
}

/// The name that programs load a release by.
pub(crate) fn soname(release: &str) -> String {
    let major = release.split('.').next().unwrap_or(release);
    format!("{LINKER_NAME}.{major}")
}
