//! Loads VixMntapi from beside a VixDiskLib that is loaded already.
//!
//! ```no_run
//! use vixdisklib_sys::loader;
//!
//! // SAFETY: this folder holds a VDDK as VMware delivers it.
//! let disk_lib = unsafe { loader::load("/usr/lib/vmware-vix-disklib".as_ref()) }?;
//! // SAFETY: as above.
//! let mount_api = unsafe { vixmntapi_sys::loader::load_beside(&disk_lib) }?;
//! println!("mounts with {}", mount_api.path.display());
//! # Ok::<(), loader::LoadError>(())
//! ```

use std::path::{Path, PathBuf};

use vixdisklib_sys::loader::{Library, LoadError, Loaded, Shadowed};

use crate::FnTable;

/// The name that all releases up to 8.0 use, and what any other begins with.
#[cfg(target_os = "linux")]
const NAMES: [&str; 2] = ["libvixMntapi.so.1", "libvixMntapi.so."];
#[cfg(windows)]
const NAMES: [&str; 2] = ["vixMntapi.dll", "vixMntapi.dll"];

/// A mount library that has been loaded, with its function table.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedMountApi {
    /// Its functions.
    pub table: FnTable,
    /// The file that was loaded, with no symbolic link left.
    pub path: PathBuf,
    /// Private libraries that are not used, because the process had others of the same names; among them may be
    /// VixDiskLib itself, if two of the same release are loaded.
    pub shadowed: Vec<Shadowed>,
}

/// Loads the mount library that lies beside a loaded VixDiskLib: `libvixMntapi.so.1`, or failing that the highest
/// number. It stays loaded until the process ends.
///
/// # Errors
/// [`LoadError::NoLibrary`] if there is none, [`LoadError::MissingSymbols`] with the name of every required function
/// that is missing, otherwise what [`Library::open`] says.
///
/// # Safety
/// As [`vixdisklib_sys::loader::load`].
pub unsafe fn load_beside(disk_lib: &Loaded) -> Result<LoadedMountApi, LoadError> {
    let folder = disk_lib.path.parent().unwrap_or(&disk_lib.path);
    let path = find(folder)?;
    // SAFETY: passed on to the caller.
    let library = unsafe { Library::open(&path) }?;
    // SAFETY: the library stays loaded; the caller vouches for its signatures.
    let table = unsafe { FnTable::resolve(|name| library.find(name)) }
        .map_err(|source| LoadError::MissingSymbols { path, source })?;
    Ok(LoadedMountApi {
        table,
        path: library.real_path().to_owned(),
        shadowed: library.shadowed().to_owned(),
    })
}

fn find(folder: &Path) -> Result<PathBuf, LoadError> {
    let [usual, prefix] = NAMES;
    let usual = folder.join(usual);
    if usual.exists() {
        return Ok(usual);
    }
    let entries = folder.read_dir().map_err(|source| LoadError::Unreadable {
        path: folder.to_owned(),
        source,
    })?;
    let numbered = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let numbers = name.to_str()?.strip_prefix(prefix)?;
        let numbers: Result<Vec<u32>, _> = numbers.split('.').map(str::parse).collect();
        Some((numbers.ok()?, name))
    });
    match numbered.max() {
        Some((_, name)) => Ok(folder.join(name)),
        None => Err(LoadError::NoLibrary {
            path: folder.to_owned(),
            looked_for: vec![usual, folder.join(format!("{prefix}*"))],
        }),
    }
}
