//! Opening a library on Linux: its private neighbours first, known by their names, then the library itself.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) use libloading::os::unix::Library as Handle;
use libloading::os::unix::{RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

use super::alias;
use super::elf::{self, SharedObject};
use super::neighbours::{Folders, Neighbour};
use super::{Library, LoadError, Shadowed};

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
/// As [`Library::open`].
pub(super) unsafe fn open(path: PathBuf, real_path: PathBuf) -> Result<Library, LoadError> {
    let object = elf::read(&path)?;
    let folders = Folders::of(&path, &real_path);
    let mut shadowed = Vec::new();
    // SAFETY: passed on to the caller.
    unsafe { open_chain(&folders, &object, &mut shadowed) }?;

    let mut refused = Vec::new();
    for plugin in folders.plugins() {
        let opened = plugin.and_then(|plugin| {
            // SAFETY: passed on to the caller.
            unsafe { open_chain(&folders, &plugin.object, &mut shadowed) }?;
            // SAFETY: passed on to the caller.
            unsafe { open_neighbour(&plugin, &mut shadowed) }
        });
        refused.extend(opened.err());
    }

    // SAFETY: passed on to the caller.
    let native = unsafe { open_file(&path, &object, &shadowed) }?;
    Ok(Library {
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
/// As [`Library::open`].
unsafe fn open_chain(
    folders: &Folders,
    object: &SharedObject,
    shadowed: &mut Vec<Shadowed>,
) -> Result<(), LoadError> {
    for neighbour in folders.chain(object)? {
        // SAFETY: passed on to the caller.
        unsafe { open_neighbour(&neighbour, shadowed) }?;
    }
    Ok(())
}

/// Opens a private library for good, and sees to it that it is known by its file name, unless the process has one
/// of its SONAME already.
///
/// # Safety
/// As [`Library::open`].
unsafe fn open_neighbour(
    neighbour: &Neighbour,
    shadowed: &mut Vec<Shadowed>,
) -> Result<(), LoadError> {
    let file_name = neighbour.path.file_name();
    let soname = neighbour.object.soname.as_deref().map(OsStr::new);
    match soname.or(file_name).and_then(loaded_as) {
        Some(in_use) if same_file(&neighbour.path, &in_use) => {}
        Some(in_use) => {
            // One file may have several names.
            if !shadowed.iter().any(|known| known.in_use == in_use) {
                shadowed.push(Shadowed {
                    private: neighbour.path.clone(),
                    in_use,
                });
            }
            return Ok(());
        }
        None => {
            // SAFETY: passed on to the caller.
            let library = unsafe { open_file(&neighbour.path, &neighbour.object, shadowed) }?;
            std::mem::forget(library);
        }
    }
    if file_name != soname {
        // SAFETY: the library is loaded.
        let added = unsafe { alias::add_file_name(&neighbour.path) };
        added.map_err(|source| LoadError::Nameless {
            path: neighbour.path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// # Safety
/// As [`Library::open`].
unsafe fn open_file(
    path: &Path,
    object: &SharedObject,
    shadowed: &[Shadowed],
) -> Result<Handle, LoadError> {
    // SAFETY: passed on to the caller.
    let opened = unsafe { Handle::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    opened.map_err(|error| explain(path, object, shadowed, &error))
}

/// Makes an error of what the dynamic linker says: it begins with the name of the library that it did not find.
fn explain(
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
    LoadError::MissingDependency {
        path: path.to_owned(),
        name: name.clone(),
    }
}

/// The file of the loaded library that the dynamic linker would take for this name.
fn loaded_as(name: &OsStr) -> Option<PathBuf> {
    // SAFETY: with RTLD_NOLOAD nothing is loaded, so no initialiser runs.
    let library = unsafe { Handle::open(Some(name), RTLD_LAZY | RTLD_NOLOAD) }.ok()?;
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
