//! Back ends and disks for the tests of the safe API.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use vixdisklib::{Backend, Library};

/// Every back end that this process can use: the embedded engine, and the library that a distribution folder holds.
pub(crate) fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Embedded];
    match env::var_os("VIXDISKLIB_TEST_LIBDIR") {
        Some(folder) => backends.push(Backend::Library(folder.into())),
        None if env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("VIXDISKLIB_TEST_LIBDIR is not set: run `cargo xtask test`")
        }
        None => eprintln!("SKIPPED: a loaded library; run `cargo xtask test`"),
    }
    backends
}

/// Runs a test on each back end, one after the other: a process initialises a library once at a time.
pub(crate) fn on_each_backend(test: impl Fn(&Library)) {
    for backend in backends() {
        eprintln!("back end: {backend:?}");
        let library = Library::builder(backend).open().expect("a library");
        test(&library);
    }
}

/// Sectors whose bytes tell where they belong.
pub(crate) fn pattern(sectors: usize) -> Vec<u8> {
    (0..sectors * 512)
        .map(|at| u8::try_from(((at / 512) * 31 + at % 251) % 256).expect("a byte"))
        .collect()
}

/// A flat disk in `folder` with the given contents.
pub(crate) fn flat_disk(folder: &Path, contents: &[u8]) -> PathBuf {
    let path = folder.join("disk.vmdk");
    let sectors = contents.len() / 512;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
         # Extent description\nRW {sectors} FLAT \"disk-flat.vmdk\" 0\n\n\
         # The Disk Data Base \n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.virtualHWVersion = \"14\"\n"
    );
    fs::write(folder.join("disk-flat.vmdk"), contents).expect("a flat extent");
    fs::write(&path, text).expect("a descriptor");
    path
}
