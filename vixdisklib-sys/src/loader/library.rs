//! A shared library that stays loaded, with its private neighbours.

use std::ffi::{CStr, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use super::LoadError;

/// A private library which is not used, because the process had one of the same name before.
///
/// The dynamic linker knows a library by its SONAME, and the first one with that name serves everybody who needs it
/// from then on. That keeps the rest of the process as it was; it also means that this library runs with the other
/// copy. To avoid it, load VixDiskLib before whatever brings the other copy in, or start the process with
/// `LD_LIBRARY_PATH`. (Observed with glibc 2.36.)
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
    native: ManuallyDrop<native::Library>,
    path: PathBuf,
    real_path: PathBuf,
    pub(super) shadowed: Vec<Shadowed>,
    pub(super) refused: Vec<LoadError>,
}

impl Library {
    /// Loads the file at `path`.
    ///
    /// On Linux the libraries that it needs, and those which it may ask for later by their bare names, are opened
    /// first, by absolute path, where they lie beside it. Their symbols stay out of the way of other libraries
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

#[cfg(target_os = "linux")]
mod native {
    use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
    use std::mem::ManuallyDrop;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    pub(super) use libloading::os::unix::Library;
    use libloading::os::unix::{RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

    use super::super::LoadError;
    use super::super::elf::{self, SharedObject};
    use super::super::neighbours::{Folders, Neighbour};
    use super::Shadowed;

    /// `RTLD_NOLOAD` and `RTLD_DI_LINKMAP` of glibc's `dlfcn.h` on x86-64.
    const RTLD_NOLOAD: c_int = 4;
    const RTLD_DI_LINKMAP: c_int = 2;

    /// The head of glibc's `struct link_map`, which `link.h` makes public.
    #[repr(C)]
    struct LinkMap {
        address: usize,
        name: *const c_char,
    }

    unsafe extern "C" {
        fn dlinfo(handle: *mut c_void, request: c_int, result: *mut c_void) -> c_int;
    }

    /// # Safety
    /// As [`super::Library::open`].
    pub(super) unsafe fn open(
        path: PathBuf,
        real_path: PathBuf,
    ) -> Result<super::Library, LoadError> {
        let object = elf::read(&path)?;
        let folders = Folders::of(&path, &real_path);
        let mut shadowed = Vec::new();
        // SAFETY: passed on to the caller.
        unsafe { open_chain(&folders, &object, &mut shadowed) }?;

        let mut refused = Vec::new();
        for plugin in folders.plugins() {
            // SAFETY: passed on to the caller.
            let chain = unsafe { open_chain(&folders, &plugin.object, &mut shadowed) };
            let opened = chain.and_then(|()| {
                // SAFETY: passed on to the caller.
                unsafe { open_neighbour(&folders, &plugin, &mut shadowed) }
            });
            refused.extend(opened.err());
        }

        // SAFETY: passed on to the caller.
        let native = unsafe { open_file(&folders, &path, &object, &shadowed) }?;
        Ok(super::Library {
            native: ManuallyDrop::new(native),
            path,
            real_path,
            shadowed,
            refused,
        })
    }

    /// Opens every private library that `object` needs.
    ///
    /// # Safety
    /// As [`super::Library::open`].
    unsafe fn open_chain(
        folders: &Folders,
        object: &SharedObject,
        shadowed: &mut Vec<Shadowed>,
    ) -> Result<(), LoadError> {
        for neighbour in folders.chain(object)? {
            // SAFETY: passed on to the caller.
            unsafe { open_neighbour(folders, &neighbour, shadowed) }?;
        }
        Ok(())
    }

    /// Opens a private library for good, unless the process has one of its name.
    ///
    /// # Safety
    /// As [`super::Library::open`].
    unsafe fn open_neighbour(
        folders: &Folders,
        neighbour: &Neighbour,
        shadowed: &mut Vec<Shadowed>,
    ) -> Result<(), LoadError> {
        let in_use = neighbour.object.soname.as_deref().and_then(loaded_as);
        if let Some(in_use) = in_use {
            let report = Shadowed {
                private: neighbour.path.clone(),
                in_use,
            };
            if !same_file(&report.private, &report.in_use) && !shadowed.contains(&report) {
                shadowed.push(report);
            }
            return Ok(());
        }
        // SAFETY: passed on to the caller.
        let library = unsafe { open_file(folders, &neighbour.path, &neighbour.object, shadowed) }?;
        std::mem::forget(library);
        Ok(())
    }

    /// # Safety
    /// As [`super::Library::open`].
    unsafe fn open_file(
        folders: &Folders,
        path: &Path,
        object: &SharedObject,
        shadowed: &[Shadowed],
    ) -> Result<Library, LoadError> {
        // SAFETY: passed on to the caller.
        let opened = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        opened.map_err(|error| explain(folders, path, object, shadowed, &error))
    }

    /// Makes an error of what the dynamic linker says: it begins with the name of the library that it did not find.
    fn explain(
        folders: &Folders,
        path: &Path,
        object: &SharedObject,
        shadowed: &[Shadowed],
        error: &libloading::Error,
    ) -> LoadError {
        let message = match error {
            libloading::Error::DlOpen { source } => source.to_string(),
            other => other.to_string(),
        };
        let subject = message.split_once(": ").map(|(subject, _)| subject);
        let Some(name) = object
            .needed
            .iter()
            .find(|name| Some(name.as_str()) == subject)
        else {
            return LoadError::Refused {
                path: path.to_owned(),
                message,
                shadowed: shadowed.to_owned(),
            };
        };
        match folders.find(name) {
            Some(neighbour) => LoadError::WrongSoname {
                soname: elf::read(&neighbour).ok().and_then(|object| object.soname),
                path: neighbour,
                name: name.clone(),
            },
            None => LoadError::MissingDependency {
                path: path.to_owned(),
                name: name.clone(),
            },
        }
    }

    /// The file of the loaded library that the dynamic linker would take for this name.
    fn loaded_as(name: &str) -> Option<PathBuf> {
        // SAFETY: with RTLD_NOLOAD nothing is loaded, so no initialiser runs.
        let library = unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_NOLOAD) }.ok()?;
        let handle = library.into_raw();
        let mut map: *const LinkMap = std::ptr::null();
        // SAFETY: the handle is open, and this request writes one pointer to a link map.
        let code = unsafe { dlinfo(handle, RTLD_DI_LINKMAP, (&raw mut map).cast()) };
        // The reference that this took is kept: a library that serves as a neighbour must not go away either.
        if code != 0 || map.is_null() {
            return None;
        }
        // SAFETY: `dlinfo` gave the link map of a library that stays loaded.
        let name = unsafe { (*map).name };
        // SAFETY: the name of a link map is a string with a final zero byte, which lives as long as the map.
        let name = unsafe { CStr::from_ptr(name) };
        Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
    }

    fn same_file(one: &Path, other: &Path) -> bool {
        match (one.canonicalize(), other.canonicalize()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }
}

#[cfg(windows)]
mod native {
    use std::mem::ManuallyDrop;
    use std::path::PathBuf;

    use libloading::os::windows::LOAD_WITH_ALTERED_SEARCH_PATH;
    pub(super) use libloading::os::windows::Library;

    use super::super::LoadError;

    /// # Safety
    /// As [`super::Library::open`].
    pub(super) unsafe fn open(
        path: PathBuf,
        real_path: PathBuf,
    ) -> Result<super::Library, LoadError> {
        // The flag makes the loader look for private libraries beside the file.
        // SAFETY: passed on to the caller.
        let opened = unsafe { Library::load_with_flags(&path, LOAD_WITH_ALTERED_SEARCH_PATH) };
        let native = opened.map_err(|error| LoadError::Refused {
            path: path.clone(),
            message: error.to_string(),
            shadowed: Vec::new(),
        })?;
        Ok(super::Library {
            native: ManuallyDrop::new(native),
            path,
            real_path,
            shadowed: Vec::new(),
            refused: Vec::new(),
        })
    }
}
