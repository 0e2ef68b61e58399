//! Finds a VDDK, or anything else with its ABI, and loads it for good.
//!
//! A distribution is a folder with the library and a dozen private ones in `lib64`. The usual advice is to start the
//! process with `LD_LIBRARY_PATH`, or to have it execute itself again. This loader needs neither: it reads from the
//! ELF files what needs what, and opens the private libraries by absolute path, dependencies first. From then on the
//! dynamic linker knows them by their names, and finds them for the library itself, and for plug-ins that the library
//! opens later by bare name. Limits, all of them the dynamic linker's:
//!
//! * A private library of whose name the process has loaded another is not used: [`Loaded::shadowed`].
//! * Once loaded, the private libraries serve everybody in the process who asks for their names later.
//! * In a distribution whose path contains `:`, `;` or `$`, private libraries without a SONAME cannot be used.
//! * It rests on how glibc matches names (observed with 2.36). VDDK needs glibc anyway.
//!
//! ```
//! use vixdisklib_sys::loader::{self, LoadError};
//!
//! // SAFETY: there is nothing in this folder to run.
//! let result = unsafe { loader::load("/nonexistent".as_ref()) };
//! let error = result.expect_err("there is no such folder");
//! assert!(matches!(error, LoadError::Unreadable { .. }));
//! assert_eq!(error.to_string(), "cannot read /nonexistent");
//! ```

#[cfg(target_os = "linux")]
mod alias;
mod distribution;
#[cfg(target_os = "linux")]
mod elf;
mod error;
mod library;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod neighbours;
mod version;
#[cfg(windows)]
mod windows;

use std::path::{Path, PathBuf};

use crate::FnTable;

pub use error::LoadError;
pub use library::{Library, Shadowed};
pub use version::Version;

/// A library that has been loaded, with its function table.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// Its functions.
    pub table: FnTable,
    /// The file that was loaded, with no symbolic link left.
    pub path: PathBuf,
    /// The root of its distribution: the `libDir` of `VixDiskLib_InitEx`.
    pub root: PathBuf,
    /// Its release, if its file name tells.
    pub version: Option<Version>,
    /// Private libraries that are not used, because the process had others of the same names.
    pub shadowed: Vec<Shadowed>,
    /// Why libraries beside it, which it can do without, were not loaded.
    pub refused: Vec<LoadError>,
}

/// Loads VixDiskLib from a distribution folder (its root, or its `lib64`), or from the library's own path.
///
/// In a folder the newest release that loads is taken, by the number of its SONAME, 9 to 6. The library stays loaded
/// until the process ends.
///
/// # Errors
/// If none loads: why the newest did not. [`LoadError::MissingSymbols`] names every required function that is missing.
///
/// # Safety
/// The library, and those beside it, are sound to load and initialise in this process, and what it exports under the
/// names of the headers has their signatures.
pub unsafe fn load(path: &Path) -> Result<Loaded, LoadError> {
    let places = distribution::places(path)?;
    let mut first_error = None;
    // A symbolic link that leads nowhere counts as found, so that the error is about it.
    for place in places
        .iter()
        .filter(|place| place.symlink_metadata().is_ok())
    {
        // SAFETY: passed on to the caller.
        match unsafe { load_file(place) } {
            Ok(loaded) => return Ok(loaded),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| LoadError::NoLibrary {
        path: path.to_owned(),
        looked_for: places,
    }))
}

/// # Safety
/// As [`load`].
unsafe fn load_file(path: &Path) -> Result<Loaded, LoadError> {
    // SAFETY: passed on to the caller.
    let library = unsafe { Library::open(path) }?;
    // SAFETY: the library stays loaded; the caller vouches for its signatures.
    let table = unsafe { FnTable::resolve(|name| library.find(name)) }.map_err(|source| {
        LoadError::MissingSymbols {
            path: path.to_owned(),
            source,
        }
    })?;
    Ok(Loaded {
        table,
        root: distribution::root(library.path()),
        version: library
            .real_path()
            .file_name()
            .and_then(Version::from_file_name),
        path: library.real_path().to_owned(),
        shadowed: library.shadowed,
        refused: library.refused,
    })
}
