//! Putting a child on top of its parent.

use super::Disk;
use crate::error::Result;

impl Disk {
    /// Whether [`attach`](Self::attach) would work (`VixDiskLib_IsAttachPossible`). Changes nothing. Blocks.
    ///
    /// # Errors
    /// The reason why not: [`ErrorKind::InvalidChain`](crate::ErrorKind::InvalidChain) if the two do not fit together,
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for disks of two libraries,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_IsAttachPossible")]
    pub fn can_attach(&self, parent: &Disk) -> Result<()> {
        self.open.can_attach(&parent.open)
    }

    /// Puts this disk, a child that was opened with [`OpenFlags::SINGLE_LINK`](crate::OpenFlags::SINGLE_LINK), on top
    /// of its parent (`VixDiskLib_Attach`): where the child has no data, the parent shows from then on. So a local redo
    /// log joins a disk on a server, from [`create_child`](Self::create_child).
    ///
    /// The parent is not used for I/O again, even if this fails (Virtual Disk Programming Guide), and so it is consumed.
    /// It is closed after the child; by VDDK itself before 6.7.1, where closing it was an error, and so it is left to a
    /// library whose file does not tell its version. If this fails, the parent is closed at once, and the child is what it
    /// was.
    ///
    /// Waits for what is in flight on both disks and blocks, on the control thread.
    ///
    /// # Errors
    /// As [`can_attach`](Self::can_attach), which is asked first where the library has it.
    #[doc(alias = "VixDiskLib_Attach")]
    pub fn attach(&mut self, parent: Disk) -> Result<()> {
        self.open.attach(parent.open)
    }
}
