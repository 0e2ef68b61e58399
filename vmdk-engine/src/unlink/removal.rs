//! What goes when a disk is removed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::closed::{ClosedDisk, Named, OwnFile};
use crate::create::base_of;
use crate::descriptor::ExtentKind;
use crate::error::Error;
use crate::gate::{FileIdentity, GateError, OpenGate, OpenedFile};

/// A disk that is to be removed, and its files, everybody else kept out.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    disk: ClosedDisk<'a>,
    /// Those beside the descriptor.
    files: Vec<OwnFile>,
}

impl<'a> Removal<'a> {
    /// Finds the files of a disk.
    pub(crate) fn of(disk: ClosedDisk<'a>) -> Result<Self, Error> {
        let mut files = Vec::new();
        if !disk.is_one_file() {
            let mut names = BTreeSet::new();
            for line in disk.descriptor.extents() {
                let name = disk.descriptor.file_name(line)?;
                if name.is_empty() || !names.insert(name.clone()) {
                    continue;
                }
                let Named::Own(file) = disk.named_file(&name)? else {
                    continue;
                };
                let is_disk = match line.kind {
                    // The guest wrote what is in there, and could keep the file with it, but not under its usual name.
                    ExtentKind::Flat | ExtentKind::Vmfs => {
                        !is_usual(&disk, &name) && file.is_disk()
                    }
                    ExtentKind::VmfsSparse => file.is_disk_and_no_delta(),
                    _ => file.is_disk(),
                };
                if is_disk {
                    tracing::warn!(?name, "an extent that is a disk by itself is left alone");
                } else {
                    files.push(file);
                }
            }
        }
        for name in companions(&disk) {
            match disk.named_file(&name)? {
                Named::Own(file) if !file.is_disk() => files.push(file),
                _ => {}
            }
        }
        Ok(Self { disk, files })
    }

    /// Where the descriptor is.
    pub(crate) fn path(&self) -> &Path {
        &self.disk.file().path
    }

    /// The files that go.
    pub(crate) fn identities(&self) -> impl Iterator<Item = FileIdentity> + '_ {
        let files = self.files.iter().map(|file| file.file.identity);
        std::iter::once(self.disk.file().identity).chain(files)
    }

    /// Whether a name beside the descriptor, which led to `file`, is free afterwards.
    pub(crate) fn frees(&self, name: &OsStr, file: &OpenedFile) -> bool {
        // A link would stay.
        file.path == self.path().with_file_name(name)
            && self.identities().any(|own| own == file.identity)
    }

    /// Removes all files, the descriptor last.
    pub(crate) fn run(self) -> Result<(), Error> {
        self.run_but_descriptor()?;
        let (gate, own) = (self.disk.gate, self.path());
        gate.sync_folder(own)?;
        remove(gate, own)?;
        Ok(gate.sync_folder(own)?)
    }

    /// Removes the files beside the descriptor.
    pub(crate) fn run_but_descriptor(&self) -> Result<(), Error> {
        let files = self.files.iter().map(|file| file.file.path.clone());
        let paths: BTreeSet<PathBuf> = files.collect();
        let mut paths = paths.iter();
        paths.try_for_each(|path| remove(self.disk.gate, path))
    }
}

/// The files that other programs keep beside a disk: the list of its changes, as named and as usual, and its digest.
pub(crate) fn companions(disk: &ClosedDisk<'_>) -> Vec<OsString> {
    let mut names: Vec<OsString> = disk.descriptor.change_list().into_iter().collect();
    let name = disk.file().path.file_name().and_then(OsStr::to_str);
    if let Some(base) = name.map(base_of) {
        for suffix in ["ctk", "digest"] {
            let name = OsString::from(format!("{base}-{suffix}.vmdk"));
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Whether the file of an extent has a name that begins with that of its disk.
fn is_usual(disk: &ClosedDisk<'_>, name: &OsStr) -> bool {
    let own = disk.file().path.file_name().and_then(OsStr::to_str);
    own.zip(name.to_str())
        .is_some_and(|(own, name)| name.starts_with(&format!("{}-", base_of(own))))
}

/// Removes a file, which may be gone already.
pub(super) fn remove(gate: &dyn OpenGate, path: &Path) -> Result<(), Error> {
    match gate.remove(path) {
        Ok(()) | Err(GateError::NotFound) => Ok(()),
        Err(error) => Err(Error::from(error).at(path)),
    }
}
