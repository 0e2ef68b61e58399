//! What a caller allows beyond the folder of the descriptor: other folders, and devices.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::{FolderGate, open_device, open_regular};
use super::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::lock::{FileLock, LockKind};

/// [`FolderGate`], and beyond it what the caller lists.
///
/// A listed folder, with all that is in it, may hold extents and parents of the disks that are opened. A listed device
/// may be an extent: that is what disks of the types `fullDevice` and `partitionedDevice` need, and `vmfsRaw` and raw
/// device mappings where their names lead to devices of this host. Both are named by their real place or by a symbolic
/// link to it. Nothing is locked beside a device; only byte-range locks keep others out, who may well ignore them.
///
/// ```
/// use std::sync::Arc;
///
/// use vmdk_engine::{ListGate, OpenOptions};
///
/// let gate = ListGate::new()
///     .allow_folder("/srv/templates")
///     .allow_devices(["/dev/disk/by-id/usb-stick", "/dev/sdx1"]);
/// let options = OpenOptions::new().gate(Arc::new(gate));
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct ListGate {
    folders: Vec<PathBuf>,
    devices: Vec<PathBuf>,
}

impl ListGate {
    /// A gate that allows what [`FolderGate`] does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows regular files anywhere in a folder, as extents and as parents.
    #[must_use]
    pub fn allow_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Allows block devices as extents, by their absolute paths; regular files in their place, too.
    #[must_use]
    pub fn allow_devices<P: Into<PathBuf>>(mut self, devices: impl IntoIterator<Item = P>) -> Self {
        self.devices.extend(devices.into_iter().map(Into::into));
        self
    }

    /// The real path of a listed device.
    fn device(&self, name: &OsStr) -> Option<PathBuf> {
        let name = Path::new(name);
        if !name.is_absolute() || name.as_os_str().as_bytes().contains(&0) {
            return None;
        }
        let path = fs::canonicalize(name).ok()?;
        let is_listed = |device: &PathBuf| {
            device.is_absolute() && fs::canonicalize(device).is_ok_and(|device| device == path)
        };
        self.devices.iter().any(is_listed).then_some(path)
    }

    /// Opens a file that lies outside the folder of the descriptor.
    fn open_listed(&self, path: PathBuf, access: FileAccess) -> Result<OpenedFile, GateError> {
        for folder in &self.folders {
            match fs::canonicalize(folder) {
                Ok(folder) if path.starts_with(&folder) => {
                    return open_regular(&folder, path, access);
                }
                _ => {}
            }
        }
        Err(GateError::Outside(path))
    }
}

impl OpenGate for ListGate {
    fn open_disk(&self, path: &Path, access: FileAccess) -> Result<OpenedFile, GateError> {
        FolderGate.open_disk(path, access)
    }

    fn open_extent(
        &self,
        descriptor: &Path,
        name: &OsStr,
        access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        if let Some(device) = self.device(name) {
            return open_device(device, access);
        }
        match FolderGate.open_extent(descriptor, name, access) {
            Err(GateError::Outside(path)) => self.open_listed(path, access),
            result => result,
        }
    }

    fn open_parent(&self, child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        match FolderGate.open_parent(child, name) {
            Err(GateError::Outside(path)) => self.open_listed(path, FileAccess::Read),
            result => result,
        }
    }

    fn allows_device(&self, name: &OsStr) -> bool {
        self.device(name).is_some()
    }

    fn create(&self, path: &Path) -> Result<OpenedFile, GateError> {
        FolderGate.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        FolderGate.rename(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        FolderGate.replace(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), GateError> {
        FolderGate.remove(path)
    }

    fn lock(&self, path: &Path, kind: LockKind, patience: Duration) -> Result<FileLock, GateError> {
        if self.device(path.as_os_str()).is_some() {
            return Ok(FileLock::none());
        }
        FolderGate.lock(path, kind, patience)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), GateError> {
        FolderGate.sync_folder(path)
    }
}
