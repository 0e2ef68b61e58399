//! The private libraries beside a library, and the order in which to open them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::LoadError;
use super::elf::{self, SharedObject};

/// Libraries that are loaded when a caller asks for them, never as somebody's neighbour: there may be several releases.
const ENTRY_LIBRARIES: [&str; 2] = ["libvixDiskLib", "libvixMntapi"];

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

    /// Every other library beside it that code may ask for by its bare name, in the order of the names.
    pub(super) fn plugins(&self) -> impl Iterator<Item = Result<Neighbour, LoadError>> {
        let mut paths: Vec<PathBuf> = self
            .0
            .iter()
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

fn is_plugin_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("lib")
        && (name.ends_with(".so") || name.contains(".so."))
        && !ENTRY_LIBRARIES.iter().any(|entry| name.starts_with(entry))
}
