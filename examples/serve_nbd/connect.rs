//! The library, and the machine that the disks are on.

use vixdisklib::{Backend, Connection, Library, OpenFlags};

use crate::Result;
use crate::options::Options;

/// Starts the library of `--libdir`, or the embedded engine.
pub(crate) fn library(options: &Options) -> Result<Library> {
    let backend = match &options.library.libdir {
        Some(folder) => Backend::Library(folder.clone()),
        None => Backend::Embedded,
    };
    let mut builder = Library::builder(backend);
    if let Some(path) = &options.library.config {
        builder = builder.config_file(path);
    }
    Ok(builder.open()?)
}

/// Connects to the server of `--server`, or to the files of this machine.
pub(crate) fn connect(options: &Options, library: &Library) -> Result<Connection> {
    let remote = &options.remote;
    let connect = remote.connect_options(options.disk.read_only);
    Ok(library.connect(remote.params()?, &connect)?)
}

/// How disks are opened, apart from reading or writing.
pub(crate) fn open_flags(options: &Options) -> OpenFlags {
    let mut flags = options.remote.open_flags();
    flags.set(OpenFlags::SINGLE_LINK, options.disk.single_link);
    flags.set(OpenFlags::UNBUFFERED, options.disk.unbuffered);
    flags
}
