//! What the examples share: opening a disk, and one line for an error.

use std::error::Error;
use std::path::{Path, PathBuf};

use vixdisklib::{Connection, Disk, Library, OpenFlags};

/// Opens a local disk with the library in `libdir`, or with the embedded engine.
pub(crate) fn open_disk(
    libdir: Option<&PathBuf>,
    disk: &Path,
    flags: OpenFlags,
) -> vixdisklib::Result<Disk> {
    connect(libdir)?.open_disk(disk, flags)
}

fn connect(libdir: Option<&PathBuf>) -> vixdisklib::Result<Connection> {
    let library = match libdir {
        Some(folder) => Library::load(folder)?,
        None => Library::embedded()?,
    };
    library.connect_local()
}

/// An error, what caused it, and what is likely behind it, in one line.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> String {
    let hint = error
        .downcast_ref::<vixdisklib::Error>()
        .and_then(vixdisklib::Error::hint);
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    if let Some(hint) = hint {
        line = format!("{line} (hint: {hint})");
    }
    line.replace('\n', " ")
}
