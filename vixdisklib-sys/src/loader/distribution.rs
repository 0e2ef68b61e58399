//! Where a VDDK distribution keeps its libraries.

use std::path::{Path, PathBuf};

use super::LoadError;

/// The releases that we know, newest first: the number in the SONAME of VixDiskLib.
#[cfg(target_os = "linux")]
const NAMES: [&str; 4] = [
    "libvixDiskLib.so.9",
    "libvixDiskLib.so.8",
    "libvixDiskLib.so.7",
    "libvixDiskLib.so.6",
];
#[cfg(windows)]
const NAMES: [&str; 1] = ["vixDiskLib.dll"];

/// The folder of the libraries below the root of a distribution.
#[cfg(target_os = "linux")]
const LIBRARY_FOLDER: &str = "lib64";
#[cfg(windows)]
const LIBRARY_FOLDER: &str = "bin";

/// Where the library may be, newest first: `path` itself if it is a file; in a folder under every known name, in the
/// folder for libraries or in the folder itself.
pub(super) fn places(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let path = std::path::absolute(path).map_err(unreadable)?;
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![path]);
    }
    Ok(NAMES
        .iter()
        .flat_map(|name| [path.join(LIBRARY_FOLDER).join(name), path.join(name)])
        .collect())
}

/// The root of the distribution that `library` is in: what `VixDiskLib_InitEx` takes as `libDir`.
pub(super) fn root(library: &Path) -> PathBuf {
    let folder = library.parent().unwrap_or(library);
    if folder
        .file_name()
        .is_some_and(|name| name == LIBRARY_FOLDER)
        && let Some(root) = folder.parent()
    {
        return root.to_owned();
    }
    folder.to_owned()
}
