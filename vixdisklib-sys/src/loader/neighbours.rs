//! The private libraries beside a library, and the order in which to open them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::LoadError;
use super::elf::{self, SharedObject};

/// Libraries that are loaded when a caller asks for them, never as somebody's neighbour: there may be several releases.
const ENTRY_LIBRARIES: [&str; 2] = ["libvixDiskLib", "libvixMntapi"];

/// Folders of everybody's libraries, none of them private. Sources: Filesystem Hierarchy Standard, Debian's multiarch.
const SYSTEM_FOLDERS: [&str; 9] = [
    "/lib",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/lib/x86_64-linux-gnu",
];

/// A private library, to be opened before those that need it.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) path: PathBuf,
    pub(super) object: SharedObject,
}

/// The folders in which a library's neighbours are: that of its path, and that of the file behind it.
pub(super) struct Folders(Vec<PathBuf>);

impl Folders {
    pub(super) fn of(library: &Path, real: &Path) -> Self {
        let mut folders: Vec<PathBuf> = Vec::new();
        for path in [library, real] {
            if let Some(folder) = path.parent()
                && !folders.iter().any(|known| known == folder)
            {
                folders.push(folder.to_owned());
            }
        }
        Self(folders)
    }

    /// The file beside the library that has this name.
    fn find(&self, name: &str) -> Option<PathBuf> {
        self.0
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    }

    /// Every private library that `object` needs, directly or through others, dependencies first.
    ///
    /// A name that no file beside the library has is left to the system.
    pub(super) fn chain(&self, object: &SharedObject) -> Result<Vec<Neighbour>, LoadError> {
        let mut chain = Vec::new();
        self.visit(object, &mut HashSet::new(), &mut chain)?;
        Ok(chain)
    }

    fn visit(
        &self,
        object: &SharedObject,
        seen: &mut HashSet<String>,
        chain: &mut Vec<Neighbour>,
    ) -> Result<(), LoadError> {
        for name in &object.needed {
            if !seen.insert(name.clone()) {
                continue;
            }
            if let Some(path) = self.find(name) {
                let object = elf::read(&path)?;
                self.visit(&object, seen, chain)?;
                chain.push(Neighbour { path, object });
            }
        }
        Ok(())
    }

    /// Every other library beside it that code may ask for by its bare name, in the order of the names. None in a
    /// folder of the system: there the dynamic linker looks by itself, and most of what it holds has nothing to do
    /// with the library.
    pub(super) fn plugins(&self) -> impl Iterator<Item = Result<Neighbour, LoadError>> {
        let mut paths: Vec<PathBuf> = self
            .0
            .iter()
            .filter(|folder| !is_system_folder(folder))
            .filter_map(|folder| folder.read_dir().ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file() && is_plugin_name(path))
            .collect();
        paths.sort();
        paths.into_iter().map(|path| {
            let object = elf::read(&path)?;
            Ok(Neighbour { path, object })
        })
    }
}

fn is_system_folder(folder: &Path) -> bool {
    // By their real paths: `/lib` is `/usr/lib` on most systems.
    let folder = folder.canonicalize();
    folder.is_ok_and(|folder| {
        let mut known = SYSTEM_FOLDERS.iter().map(Path::new);
        known.any(|known| known.canonicalize().is_ok_and(|known| known == folder))
    })
}

fn is_plugin_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("lib")
        && (name.ends_with(".so") || name.contains(".so."))
        && !ENTRY_LIBRARIES.iter().any(|entry| name.starts_with(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_system_have_no_plugins() {
        let mut seen = 0;
        for folder in SYSTEM_FOLDERS.map(Path::new) {
            let entries = folder.read_dir().into_iter().flatten().flatten();
            seen += entries
                .filter(|entry| is_plugin_name(&entry.path()))
                .count();
            let library = folder.join("libvixDiskLib.so.8");
            assert_eq!(Folders::of(&library, &library).plugins().count(), 0);
        }
        assert!(seen > 0, "no library in any of them");
    }

    #[test]
    fn any_other_folder_has() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        for name in [
            "libplugin.so",
            "libother.so.1",
            "libvixDiskLib.so.8",
            "readme",
        ] {
            std::fs::write(folder.path().join(name), "no library").expect("written");
        }
        let library = folder.path().join("libvixDiskLib.so.8");
        let errors: Vec<_> = Folders::of(&library, &library).plugins().collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
    }
}
