//! Removing disks.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::closed::{ClosedDisk, Named};
use crate::create::base_of;
use crate::descriptor::ExtentKind;
use crate::draft::{draft_of, open_left_behind};
use crate::error::{Error, ErrorKind, Operation};
use crate::gate::{FileAccess, GateError, OpenGate};
use crate::lock::FileLock;

/// Removes a disk: the files of its extents, those that track its changes, and last its descriptor, so that after a crash
/// doing it again removes the rest. What an interrupted [`Disk::create`](crate::Disk::create) has left is removed too.
///
/// Nothing else goes: no device, no file outside the folders that a descriptor may name, no parent, and no file that is
/// a disk by itself. An extent that is missing does not matter. Children of the disk become useless. The disk must not
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
        Ok(disk) => remove_disk(&disk),
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
        Ok(disk) if is_alone => remove_disk(&disk)?,
        // Nothing comes to be before its draft is whole.
        _ => remove(gate, &file.path)?,
    }
    Ok(true)
}

/// Removes all files of a disk, that of the descriptor last.
pub(crate) fn remove_disk(disk: &ClosedDisk<'_>) -> Result<(), Error> {
    let gate = disk.gate;
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
                ExtentKind::Flat | ExtentKind::Vmfs => false,
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
    for name in companions(disk) {
        match disk.named_file(&name)? {
            Named::Own(file) if !file.is_disk() => files.push(file),
            _ => {}
        }
    }
    let paths: BTreeSet<PathBuf> = files.iter().map(|file| file.file.path.clone()).collect();
    for path in &paths {
        remove(gate, path)?;
    }
    let own = &disk.file().path;
    gate.sync_folder(own)?;
    remove(gate, own)?;
    Ok(gate.sync_folder(own)?)
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

fn remove(gate: &dyn OpenGate, path: &Path) -> Result<(), Error> {
    match gate.remove(path) {
        Ok(()) | Err(GateError::NotFound) => Ok(()),
        Err(error) => Err(Error::from(error).at(path)),
    }
}
