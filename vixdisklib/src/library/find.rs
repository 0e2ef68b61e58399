//! Finding a library and its function table.

#[cfg(feature = "loader")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "loader")]
use parking_lot::Mutex;
#[cfg(feature = "loader")]
use vixdisklib_sys::FnTable;

use super::Backend;
use crate::api::Api;
use crate::error::Result;
#[cfg(feature = "loader")]
use crate::error::{Error, ErrorKind, Operation};

/// A library that is in the process.
pub(super) struct Found {
    pub(super) api: &'static Api,
    /// The folder to name as `libDir`.
    pub(super) root: Option<PathBuf>,
    /// The file that was loaded.
    pub(super) file: Option<PathBuf>,
    /// The numbers of its release; none if they are not known.
    pub(super) release: Vec<u32>,
}

/// Finds the library of a back end.
pub(super) fn find(backend: &Backend) -> Result<Found> {
    match *backend {
        #[cfg(feature = "embedded")]
        Backend::Embedded => {
            static EMBEDDED: Api = Api {
                table: vixdisklib_open::TABLE,
                major: Some(8),
            };
            Ok(Found {
                api: &EMBEDDED,
                root: None,
                file: None,
                release: Vec::new(),
            })
        }
        #[cfg(feature = "loader")]
        Backend::Library(ref path) => load(path),
    }
}

/// Loads a library once, whatever paths lead to it; it is kept for the life of the process.
#[cfg(feature = "loader")]
fn load(path: &Path) -> Result<Found> {
    static LOADED: Mutex<Vec<&'static Api>> = Mutex::new(Vec::new());

    let failed = |cause| {
        Error::new(ErrorKind::Load, Operation::Load, "it is not usable")
            .with_path(path)
            .with_cause(cause)
    };
    let mut loaded = LOADED.lock();
    // SAFETY: whoever names a library vouches for it, as whoever starts a program does; `Library::load` says so.
    let library = unsafe { vixdisklib_sys::loader::load(path) }.map_err(failed)?;
    for shadowed in &library.shadowed {
        tracing::warn!(
            ?shadowed,
            "a private library is not used, the process has another of its name"
        );
    }
    for error in &library.refused {
        tracing::debug!(%error, "a library beside VixDiskLib was not loaded");
    }
    // Two paths may lead to one library, by a hard link for example: its functions tell.
    let image = |table: &FnTable| (table.init_ex as *const ()).addr();
    let known = loaded
        .iter()
        .find(|known| image(&known.table) == image(&library.table));
    let api = match known {
        Some(known) => *known,
        None => {
            let major = library.version.as_ref().map(|version| version.major());
            let api: &'static Api = Box::leak(Box::new(Api {
                table: library.table,
                major,
            }));
            loaded.push(api);
            api
        }
    };
    let release = library
        .version
        .map(|version| version.numbers().to_vec())
        .unwrap_or_default();
    Ok(Found {
        api,
        root: Some(library.root),
        file: Some(library.path),
        release,
    })
}
