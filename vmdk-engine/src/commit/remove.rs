//! Removing a child whose content its parent has. It is marked as one that may go, and then removed as
//! [every disk](crate::unlink()) is, the descriptor last, so that whoever is interrupted finds the mark and the names of
//! what is left.

use std::path::{Path, PathBuf};

use super::ids::MadeId;
use crate::chain::find_parent;
use crate::closed::ClosedDisk;
use crate::descriptor::{ContentMark, Descriptor};
use crate::disk::OpenOptions;
use crate::error::{Cause, Error, ErrorKind};
use crate::gate::OpenGate;
use crate::link::Link;
use crate::unlink::Removal;

/// The child was written again before it was removed.
#[derive(Debug, thiserror::Error)]
#[error("the child was changed by somebody else just now, and stays")]
struct ChildChanged;

impl Cause for ChildChanged {
    fn kind(&self) -> ErrorKind {
        ErrorKind::CidMismatch
    }
}

/// Marks the child as one that may go, until it is written again.
pub(super) fn mark(child: &Link) -> Result<(), Error> {
    if let Some(ContentMark::Cid(parent)) = child.parent().map(|parent| parent.mark) {
        let (digits, _) = child.id_digits();
        let made = MadeId::of_removal(parent, digits);
        child.set_content_id(made.id, made.long)?;
    }
    Ok(())
}

/// Removes the child at `path`, which got the content id `marked` and is not open any more.
pub(super) fn remove(
    path: &Path,
    marked: Option<ContentMark>,
    gate: &dyn OpenGate,
) -> Result<(), Error> {
    let disk = ClosedDisk::open(gate, path)?;
    if disk.descriptor.mark() != marked {
        return Err(ChildChanged.into());
    }
    Removal::of(disk)?.run()
}

/// Goes on with a removal that was interrupted: of a child that is marked, and has lost extents already. Returns where
/// its parent is; `None` if that is not what is at `path`.
pub(super) fn go_on(path: &Path, options: &OpenOptions) -> Result<Option<PathBuf>, Error> {
    let disk = ClosedDisk::open(options.open_gate(), path)?;
    if !is_marked(&disk.descriptor) {
        return Ok(None);
    }
    let accepts = |link: &Link, mark| link.mark() == Some(mark);
    let place = (&*disk.file().path, disk.file().identity);
    let parent = find_parent(place, disk.descriptor.parent().as_ref(), options, &accepts)?;
    Removal::of(disk)?.run()?;
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
