//! Disks as files: what changes them as a whole, and is refused while anybody has them open.

use std::path::Path;

use disk_units::SectorCount;
use vmdk_engine::{FolderGate, GrowOptions};

use crate::error::Failure;
use crate::progress::{Listener, followed};

/// Removes a disk with all its files.
pub(crate) fn unlink(path: &Path) -> Result<(), Failure> {
    vmdk_engine::unlink(path, &FolderGate).map_err(|error| Failure::engine(path, &error))
}

/// Gives a disk with all its files another name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    vmdk_engine::rename(from, to, &[], &FolderGate).map_err(|error| Failure::engine(from, &error))
}

/// Makes a disk larger: `capacity` is what it has afterwards.
pub(crate) fn grow(
    path: &Path,
    capacity: SectorCount,
    update_geometry: bool,
    listener: Listener<'_>,
) -> Result<(), Failure> {
    let options = GrowOptions::new().update_geometry(update_geometry);
    followed(listener, |watcher| {
        vmdk_engine::grow(path, capacity, &options, watcher)
            .map_err(|error| Failure::engine(path, &error))
    })
}
