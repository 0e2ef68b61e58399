//! Removing a child whose content its parent has: first the extents, in the end the descriptor, so that whoever is
//! interrupted finds the names of what is left.

use std::path::{Path, PathBuf};

use super::ids::MadeId;
use crate::chain::find_parent;
use crate::descriptor::{ContentMark, Descriptor};
use crate::disk::OpenOptions;
use crate::error::Error;
use crate::gate::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::link::{Link, read_descriptor};
use crate::lock::FileLock;

/// Marks the child as one that may go, and removes it. It is open meanwhile, so that nobody else can be.
pub(super) fn remove(child: &Link, gate: &dyn OpenGate) -> Result<(), Error> {
    let Some(parent) = child.parent() else {
        return Ok(());
    };
    if let ContentMark::Cid(parent) = parent.mark {
        let (digits, _) = child.id_digits();
        let made = MadeId::of_removal(parent, digits);
        child.set_content_id(made.id, made.long)?;
    }
    let extents = child.extent_paths().filter(|path| *path != child.path());
    remove_files(gate, extents, child.path())
}

/// Goes on with a removal that was interrupted: of a child that is marked, and has lost extents already. Returns where
/// its parent is; `None` if that is not what is at `path`.
pub(super) fn go_on(path: &Path, options: &OpenOptions) -> Result<Option<PathBuf>, Error> {
    let gate = options.open_gate();
    let file = gate.open_disk(path, FileAccess::ReadWrite)?;
    let _lock = FileLock::exclusive(gate, &file)?;
    let descriptor = read_descriptor(&*file.storage)?;
    if !is_marked(&descriptor) {
        return Ok(None);
    }
    let accepts = |link: &Link, mark| link.mark() == Some(mark);
    let place = (&*file.path, file.identity);
    let parent = find_parent(place, descriptor.parent().as_ref(), options, &accepts)?;
    let mut extents = Vec::new();
    for line in descriptor.extents() {
        let name = descriptor.file_name(line)?;
        match gate.open_extent(&file.path, &name, FileAccess::Read) {
            Ok(OpenedFile { path, .. }) => extents.push(path),
            Err(GateError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    remove_files(gate, extents.iter().map(AsRef::as_ref), &file.path)?;
    Ok(Some(parent))
}

fn is_marked(descriptor: &Descriptor) -> bool {
    let parent = descriptor.parent().map(|parent| parent.mark);
    let (Some(ContentMark::Cid(parent)), Some(ContentMark::Cid(own))) = (parent, descriptor.mark())
    else {
        return false;
    };
    let digits = descriptor.content_id_digits().unwrap_or(0);
    let long = descriptor.metadata("longContentID");
    MadeId::of_removal(parent, digits).is_that_of(own, long.as_deref(), digits)
}

fn remove_files<'a>(
    gate: &dyn OpenGate,
    extents: impl Iterator<Item = &'a Path>,
    descriptor: &Path,
) -> Result<(), Error> {
    let mut is_split = false;
    for extent in extents {
        is_split = true;
        match gate.remove(extent) {
            Err(GateError::NotFound) => Ok(()),
            result => result,
        }
        .map_err(|error| Error::from(error).at(extent))?;
    }
    let at = |error: GateError| Error::from(error).at(descriptor);
    if is_split {
        gate.sync_folder(descriptor).map_err(at)?;
    }
    gate.remove(descriptor).map_err(at)?;
    gate.sync_folder(descriptor).map_err(at)
}
