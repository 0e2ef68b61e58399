//! Creating a child of a disk.

use std::path::Path;

use super::Disk;
use crate::error::Result;
use crate::kind::DiskKind;
use crate::progress::Progress;

impl Disk {
    /// Creates a child of this disk at a local path where nothing is: a disk that reads as this one until it is
    /// written (`VixDiskLib_CreateChild`).
    ///
    /// The disk may be one on a server: the child is then a local redo log over it, which
    /// [`attach`](Self::attach) joins to it. A relative path is made absolute. `kind` is
    /// [`DiskKind::MONOLITHIC_SPARSE`] or [`DiskKind::SPLIT_SPARSE`] (Virtual Disk Programming Guide). Once a disk has
    /// a child, writing to it destroys the child.
    ///
    /// Blocks, on the control thread: no other disk is opened or closed meanwhile. `progress` hears on this thread
    /// how far it is; VDDK ignores what it is told, so nothing can be cancelled. It cannot use this disk, which is busy:
    /// for that this takes `&mut self`.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists),
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call or kind, or what it
    /// reports.
    #[doc(alias = "VixDiskLib_CreateChild")]
    pub fn create_child(
        &mut self,
        path: impl AsRef<Path>,
        kind: DiskKind,
        mut progress: impl FnMut(Progress),
    ) -> Result<()> {
        self.open.create_child(path.as_ref(), kind, &mut progress)
    }
}
