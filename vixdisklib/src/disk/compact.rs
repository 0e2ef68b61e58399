//! Making a disk take less space, and putting it in order.

use disk_units::ByteLen;

use super::Disk;
use crate::error::Result;
use crate::kind::DiskKind;
use crate::progress::Progress;

impl Disk {
    /// Gives back the space of zeroes in a local sparse disk (`VixDiskLib_Shrink`).
    ///
    /// Waits for what is in flight and blocks, on a thread of its own; other disks go on. `progress` hears on this
    /// thread how far it is, of no known total; VDDK ignores what it is told, so nothing can be cancelled. It cannot use
    /// this disk, which is busy: for that this takes `&mut self`.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly),
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a kind that cannot shrink, or if the library has no
    /// such call, or what it reports.
    #[doc(alias = "VixDiskLib_Shrink")]
    pub fn shrink(&mut self, mut progress: impl FnMut(Progress)) -> Result<()> {
        self.open.shrink(&mut progress)
    }

    /// Puts the data of a local sparse disk in the order of its sectors (`VixDiskLib_Defragment`); does nothing to a
    /// flat one. Else as [`shrink`](Self::shrink).
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly),
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_Defragment")]
    pub fn defragment(&mut self, mut progress: impl FnMut(Progress)) -> Result<()> {
        self.open.defragment(&mut progress)
    }

    /// The bytes that a clone of another kind, or of the same where `kind` is `None`, takes on its file system
    /// (`VixDiskLib_SpaceNeededForClone`). For [`DiskKind::VMFS_THIN`] VDDK may be wrong, or refuse. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a kind that no clone has,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_SpaceNeededForClone")]
    pub fn space_needed_for_clone(&self, kind: Option<DiskKind>) -> Result<ByteLen> {
        self.open.space_needed_for_clone(kind)
    }
}
