//! Removing disks.

mod removal;

use std::path::Path;

use self::removal::remove;
use crate::closed::ClosedDisk;
use crate::draft::{draft_of, open_left_behind};
use crate::error::{Error, ErrorKind, Operation};
use crate::gate::{FileAccess, GateError, OpenGate};
use crate::lock::FileLock;

pub(crate) use self::removal::{Removal, companions};

/// Removes a disk: the files of its extents, those that track its changes, and last its descriptor, so that after a crash
/// doing it again removes the rest. What an interrupted [`Disk::create`](crate::Disk::create) has left is removed too.
///
/// Nothing else goes: no device, no file outside the folders that a descriptor may name, no parent, and no file that is
/// a disk by itself; but a flat extent under a usual name, `disk-flat.vmdk` of `disk.vmdk`, goes whatever a guest has
/// written into it. An extent that is missing does not matter. Children of the disk become useless. The disk must not
/// be open.
///
/// # Errors
/// By [`kind`](Error::kind): [`NotFound`](ErrorKind::NotFound); [`AlreadyLocked`](ErrorKind::AlreadyLocked) if it is
/// open; [`InvalidDisk`](ErrorKind::InvalidDisk) and its like for what is no disk, which stays;
/// [`PermissionDenied`](ErrorKind::PermissionDenied) and [`Io`](ErrorKind::Io).
///
/// ```
/// use vmdk_engine::{CreateOptions, Disk, DiskKind, FolderGate, SectorCount, unlink, unwatched};
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("disk.vmdk");
/// let options = CreateOptions::new(DiskKind::SplitSparse, SectorCount::new(2048));
/// Disk::create(&path, &options, &mut unwatched)?.close()?;
/// unlink(&path, &FolderGate)?;
/// assert_eq!(std::fs::read_dir(scratch.path())?.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unlink(path: impl AsRef<Path>, gate: &dyn OpenGate) -> Result<(), Error> {
    let path = path.as_ref();
    remove_all(path, gate).map_err(|error| error.at(path).during(Operation::Unlink, None))
}

fn remove_all(path: &Path, gate: &dyn OpenGate) -> Result<(), Error> {
    let left_behind = remove_left_behind(path, gate)?;
    match ClosedDisk::open(gate, path) {
        Ok(disk) => Removal::of(disk)?.run(),
        Err(error) if left_behind && error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the draft of a disk; and all that it names, where the disk itself never came to be.
fn remove_left_behind(path: &Path, gate: &dyn OpenGate) -> Result<bool, Error> {
    let draft = draft_of(path);
    let file = match open_left_behind(gate, &draft) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.at(&draft)),
    };
    let is_alone = matches!(
        gate.open_disk(path, FileAccess::Read),
        Err(GateError::NotFound)
    );
    // Its lock lasts until it is gone.
    match ClosedDisk::of(gate, file.clone(), FileLock::none()) {
        Ok(disk) if is_alone => Removal::of(disk)?.run()?,
        // Nothing comes to be before its draft is whole.
        _ => remove(gate, &file.path)?,
    }
    Ok(true)
}
