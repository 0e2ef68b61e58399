//! Why a library could not be loaded.

use std::io;
use std::path::PathBuf;

use super::Shadowed;
use crate::MissingSymbols;

/// Why a library could not be loaded; each names the file and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The path that was given, or a file that it leads to, cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// The folder holds no library, neither itself nor where a distribution keeps it.
    #[error("no library in {}: looked for {}", path.display(), list(looked_for))]
    NoLibrary {
        /// The folder that was given.
        path: PathBuf,
        /// Every file that would have done.
        looked_for: Vec<PathBuf>,
    },

    /// The file is not a shared library of this system.
    #[error("{} is not a shared library: {reason}", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The library is made for another machine.
    #[error("{} is built for {found}, this process needs x86-64", path.display())]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// The machine that it is made for.
        found: String,
    },

    /// A library needs another one, which is neither beside it nor known to the system.
    #[error("{} needs {name}, which is neither beside it nor installed", path.display())]
    MissingDependency {
        /// The library that needs the other.
        path: PathBuf,
        /// The name of the other.
        name: String,
    },

    /// A private library does not give itself the name of its file (`DT_SONAME`), and the dynamic linker could not be
    /// told that it has it. A process that is started with `LD_LIBRARY_PATH` finds it all the same.
    #[error("{} cannot be made known by its file name, which is not its SONAME", path.display())]
    Nameless {
        /// The private library.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The dynamic linker refuses the library.
    #[error("cannot load {}: {message}{}", path.display(), instead(shadowed))]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the dynamic linker says.
        message: String,
        /// Private libraries that it would have to run without: often the cause.
        shadowed: Vec<Shadowed>,
    },

    /// The library lacks functions that it must have.
    #[error("{} cannot be used", path.display())]
    MissingSymbols {
        /// The file.
        path: PathBuf,
        /// All their names.
        source: MissingSymbols,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

fn instead(shadowed: &[Shadowed]) -> String {
    shadowed
        .iter()
        .map(|Shadowed { private, in_use }| {
            format!(
                "; {} was loaded before {} could be",
                in_use.display(),
                private.display()
            )
        })
        .collect()
}
