//! What the examples share: finding the library, and one line for an error.

use std::error::Error;
use std::path::PathBuf;

use vixdisklib::{Backend, Connection, Library};

/// Connects to the disks of this machine with the library in `libdir`, or with the embedded engine; `statistics` has its
/// calls counted.
pub(crate) fn connect(
    libdir: Option<&PathBuf>,
    statistics: bool,
) -> vixdisklib::Result<Connection> {
    let backend = match libdir {
        Some(folder) => Backend::Library(folder.clone()),
        None => Backend::Embedded,
    };
    let library = Library::builder(backend).statistics(statistics).open()?;
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
