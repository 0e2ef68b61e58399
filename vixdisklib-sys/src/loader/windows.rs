//! Opening a library on Windows, where the system finds private libraries beside it.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use libloading::os::windows::LOAD_WITH_ALTERED_SEARCH_PATH;
pub(super) use libloading::os::windows::Library as Handle;

use super::{Library, LoadError};

/// # Safety
/// As [`Library::open`].
pub(super) unsafe fn open(path: PathBuf, real_path: PathBuf) -> Result<Library, LoadError> {
    // The flag makes the loader look for private libraries beside the file.
    // SAFETY: passed on to the caller.
    let opened = unsafe { Handle::load_with_flags(&path, LOAD_WITH_ALTERED_SEARCH_PATH) };
    let native = opened.map_err(|error| LoadError::Refused {
        path: path.clone(),
        message: error.to_string(),
        shadowed: Vec::new(),
    })?;
    Ok(Library {
        native: ManuallyDrop::new(native),
        path,
        real_path,
        shadowed: Vec::new(),
        refused: Vec::new(),
    })
}
