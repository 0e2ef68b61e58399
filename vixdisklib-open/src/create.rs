//! Making disks: new ones, and copies of others.

use std::path::Path;

use disk_units::SectorCount;
use vmdk_engine::{Adapter, CreateOptions, Disk, DiskKind, Existing, OpenOptions};

use crate::error::Failure;
use crate::log::Log;
use crate::progress::{Listener, followed};

/// What a caller wants a new disk to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewDisk {
    pub(crate) kind: DiskKind,
    pub(crate) adapter: Adapter,
    pub(crate) hardware_version: u16,
    pub(crate) capacity: SectorCount,
    /// Bytes; 0 for the usual size.
    pub(crate) logical_sector_size: u32,
    /// Bytes; 0 for the usual size.
    pub(crate) physical_sector_size: u32,
}

impl NewDisk {
    fn options(&self, capacity: SectorCount) -> CreateOptions {
        let or_usual = |size: u32, usual: u32| if size == 0 { usual } else { size };
        let logical = or_usual(self.logical_sector_size, 512);
        let physical = or_usual(self.physical_sector_size, logical);
        CreateOptions::new(self.kind, capacity)
            .adapter(self.adapter)
            .hardware_version(self.hardware_version)
            .sector_sizes(logical, physical)
    }
}

/// Makes a disk of zeros at `path`, where nothing is yet.
pub(crate) fn create(path: &Path, new: &NewDisk, listener: Listener<'_>) -> Result<(), Failure> {
    followed(listener, |watcher| {
        Disk::create(path, &new.options(new.capacity), watcher)
            .and_then(Disk::close)
            .map_err(|error| Failure::engine(path, &error))
    })
}

/// Copies the disk at `source`, as it reads through its parents, into a new one at `path`. That has the capacity of the
/// source; another one in `new` is said to be ignored.
pub(crate) fn copy(
    source: &Path,
    path: &Path,
    new: &NewDisk,
    existing: Existing,
    log: &Log,
    listener: Listener<'_>,
) -> Result<(), Failure> {
    let disk =
        Disk::open(source, &OpenOptions::new()).map_err(|error| Failure::engine(source, &error))?;
    let capacity = disk.capacity();
    if !new.capacity.is_zero() && new.capacity != capacity {
        log.note(&format!(
            "VixDiskLib_Clone: the parameters ask for {} sectors; the clone has the {capacity} of {source:?}",
            new.capacity
        ));
    }
    followed(listener, |watcher| {
        disk.clone_to(path, &new.options(capacity), existing, watcher)
            .map_err(|error| Failure::engine(path, &error))
    })
}
