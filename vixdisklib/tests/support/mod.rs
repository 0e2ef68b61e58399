//! Back ends and disks for the tests of the safe API.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use vixdisklib::{Backend, Library};

/// Every back end that behaves as our engine does: the embedded engine, our shared library, and the library that checks
/// VDDK's rules and ends the process when one is broken, also without our extensions.
pub(crate) fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Embedded];
    backends.extend(folder_of("VIXDISKLIB_TEST_LIBDIR").map(Backend::Library));
    backends.extend(libraries("rule-check"));
    backends
}

/// Libraries with the shape of releases of VDDK, oldest first.
#[allow(dead_code, reason = "not every test file uses them")]
pub(crate) fn vddk_like() -> Vec<Backend> {
    libraries("vddk-")
}

/// The libraries of the tests whose names begin so.
fn libraries(prefix: &str) -> Vec<Backend> {
    let Some(folder) = folder_of("VIXDISKLIB_TEST_LIBRARIES") else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            let name = path.file_name().expect("a name");
            name.to_string_lossy().starts_with(prefix)
        })
        .collect();
    assert!(
        !found.is_empty(),
        "no library {prefix}: run `cargo xtask test`"
    );
    found.sort();
    found.into_iter().map(Backend::Library).collect()
}

/// The folder that a variable names; without it the tests skip what is in there, which fails where `CI=true`.
fn folder_of(variable: &str) -> Option<PathBuf> {
    let folder = env::var_os(variable);
    if folder.is_none() {
        let in_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!in_ci, "{variable} is not set: run `cargo xtask test`");
        eprintln!("SKIPPED: {variable} is not set; run `cargo xtask test`");
    }
    folder.map(PathBuf::from)
}

/// Runs a test on each back end, one after the other: a process initialises a library once at a time.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn on_each_backend(test: impl Fn(&Library)) {
    /// Tests that share a process take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|failed| failed.into_inner());
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
