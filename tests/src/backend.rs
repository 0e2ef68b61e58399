//! The libraries that the programs can stand on.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::artefact;

/// Which library a program uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The engine inside the program.
    Embedded,
    /// The library of a distribution folder.
    Library(PathBuf),
}

impl Backend {
    /// Every back end that a disk must be the same through: the embedded engine, our shared library, and the real
    /// library where there is one.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Embedded, Self::ours()];
        all.extend(env::var_os("VIXDISKLIB_PATH").map(|path| Self::Library(path.into())));
        all
    }

    /// Our shared library, loaded as VDDK is.
    #[must_use]
    pub fn ours() -> Self {
        Self::Library(artefact::libdir())
    }

    /// Our shared library as VDDK would be: without the functions that only we have. It is laid out in `folder`.
    #[must_use]
    pub fn without_extensions(folder: &Path) -> Self {
        Self::Library(distribution_without(folder, "VixDiskLibExt_"))
    }

    /// The arguments that choose this back end.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Library(folder) => vec!["--libdir".into(), folder.into()],
        }
    }
}

/// Lays our library out in `folder` with every symbol hidden that begins with `prefix`; gives back `folder`.
///
/// A dynamic symbol is found by the hash of the name asked for and then by comparing the name: one byte changed in the
/// library's copy of the name hides it, and nothing else moves.
#[must_use]
pub fn distribution_without(folder: &Path, prefix: &str) -> PathBuf {
    let mut library = fs::read(artefact::library()).expect("our library is readable");
    let places: Vec<usize> = library
        .windows(prefix.len())
        .enumerate()
        .filter_map(|(place, window)| (window == prefix.as_bytes()).then_some(place))
        .collect();
    assert!(!places.is_empty(), "our library has no symbol {prefix}");
    for place in places {
        library[place] = b'_';
    }
    let lib64 = folder.join("lib64");
    fs::create_dir_all(&lib64).expect("a temporary folder takes files");
    fs::write(lib64.join("libvixDiskLib.so.8.0.0"), library)
        .expect("a temporary folder takes files");
    std::os::unix::fs::symlink("libvixDiskLib.so.8.0.0", lib64.join("libvixDiskLib.so.8"))
        .expect("a temporary folder takes links");
    folder.to_owned()
}
