//! A shared library that stays loaded, with its private neighbours.

use std::ffi::{CStr, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use super::LoadError;
#[cfg(target_os = "linux")]
use super::linux as native;
#[cfg(windows)]
use super::windows as native;

/// A private library which is not used, because the process had one of the same name before.
///
/// The dynamic linker knows a library by its SONAME, and the first one with that name serves everybody who needs it
/// from then on. That keeps the rest of the process as it was; it also means that this library runs with the other
/// copy. To avoid it, load VixDiskLib before whatever brings the other copy in, or start the process with
/// `LD_LIBRARY_PATH`. (Observed with glibc 2.36.)
///
/// Programs in Rust have `libgcc_s.so.1` from the start, so that one is always among them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shadowed {
    /// The private library.
    pub private: PathBuf,
    /// The one in use.
    pub in_use: PathBuf,
}

/// A shared library that has been loaded together with its private neighbours, and stays loaded.
///
/// It is never closed: threads which it started may outlive everything that could tell us so.
#[derive(Debug)]
pub struct Library {
    pub(super) native: ManuallyDrop<native::Handle>,
    pub(super) path: PathBuf,
    pub(super) real_path: PathBuf,
    pub(super) shadowed: Vec<Shadowed>,
    pub(super) refused: Vec<LoadError>,
}

impl Library {
    /// Loads the file at `path`.
    ///
    /// On Linux the libraries that it needs, and those which it may ask for later by their bare names, are opened
    /// first, by absolute path, where they lie beside it. The latter are all others in its folder, unless that is a
    /// folder of the system such as `/usr/lib`, where the dynamic linker looks anyway. Their symbols stay out of the way of other libraries
    /// (`RTLD_LOCAL`), but whoever asks for one of them by SONAME later gets it.
    ///
    /// # Errors
    /// Any [`LoadError`] but [`NoLibrary`](LoadError::NoLibrary) and [`MissingSymbols`](LoadError::MissingSymbols).
    ///
    /// # Safety
    /// The initialisers of the library, and of everything that it brings along, are sound to run in this process.
    pub unsafe fn open(path: &Path) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let real_path = absolute.canonicalize().map_err(unreadable)?;
        // SAFETY: passed on to the caller.
        unsafe { native::open(absolute, real_path) }
    }

    /// The address of a symbol, or null.
    #[must_use]
    pub fn find(&self, symbol: &CStr) -> *const c_void {
        // SAFETY: nobody reads through the symbol as if it were a value of this type; only its address is taken.
        let found = unsafe { self.native.get::<*const c_void>(symbol) };
        found.map_or(std::ptr::null(), |symbol| symbol.as_raw_ptr().cast_const())
    }

    /// The absolute path that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file behind the path, with no symbolic link left.
    #[must_use]
    pub fn real_path(&self) -> &Path {
        &self.real_path
    }

    /// Private libraries for which the process had another of the same name already.
    #[must_use]
    pub fn shadowed(&self) -> &[Shadowed] {
        &self.shadowed
    }

    /// Why libraries beside it, which it can do without, were not loaded.
    #[must_use]
    pub fn refused(&self) -> &[LoadError] {
        &self.refused
    }
}
