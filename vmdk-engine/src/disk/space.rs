//! Operations on the space of an open disk.

use super::Disk;
use crate::error::{Error, Operation};
use crate::progress::Watcher;

impl Disk {
    /// Gives back space: that of grains which hold only zeros, and what lies unused between others.
    ///
    /// In sparse disks, grains of zeros are freed; where a parent has data in their place, they become entries for
    /// zeros if the format has those, and stay otherwise. Then grains and tables from the end of the file move into the
    /// holes, and the file is cut behind the last one. In thin flat files, zeros become holes. The content of the disk and its
    /// content id stay the same; parents are not touched.
    ///
    /// The disk is borrowed exclusively, so that nobody can read what is being moved. Stopped at any moment, by a crash
    /// too, it is a valid disk of the same content. All is durable on return. It takes memory of 4 bytes for each grain
    /// that the file has room for. The watcher is told of bytes looked through and moved, and is asked about every
    /// 32 MiB; cancelling leaves the space that was freed so far inside the file.
    ///
    /// # Errors
    /// [`CannotShrink`](crate::ErrorKind::CannotShrink) for disks of other kinds (fully allocated flat, `vmfsSparse`),
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Cancelled`](crate::ErrorKind::Cancelled), those of
    /// [`Disk::read_at`] and [`Disk::flush`], and [`FileTooBig`](crate::ErrorKind::FileTooBig) for a file whose grains
    /// lie at odd distances and that has no room left to move them.
    pub fn shrink(&mut self, watcher: Watcher<'_>) -> Result<(), Error> {
        self.check_writable()
            .and_then(|()| self.chain.shrink(watcher))
            .map_err(|error| error.at(self.chain.path()).during(Operation::Shrink, None))
    }

    /// Puts the grains of a sparse disk in the order of the guest, from the beginning of the file, and cuts the file
    /// behind the last one. The content of the disk and its content id stay the same; parents are not touched. Flat
    /// disks are in order by their nature.
    ///
    /// The disk is borrowed exclusively, so that nobody can read what is being moved. It happens in place; the file
    /// grows by 256 grains at most meanwhile. Stopped at any moment, by a crash too, it is a valid disk of the same
    /// content. All is durable on return. It takes memory of 4 bytes for each grain that the file has room for. The
    /// watcher is told of bytes put in order, and is asked every 256 grains.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for `vmfsSparse` disks, [`ReadOnly`](crate::ErrorKind::ReadOnly),
    /// [`Cancelled`](crate::ErrorKind::Cancelled), [`DiskFull`](crate::ErrorKind::DiskFull),
    /// [`FileTooBig`](crate::ErrorKind::FileTooBig) if the file would have to grow past 2 TiB meanwhile, and those of
    /// [`Disk::read_at`] and [`Disk::flush`].
    pub fn defragment(&mut self, watcher: Watcher<'_>) -> Result<(), Error> {
        self.check_writable()
            .and_then(|()| self.chain.defragment(watcher))
            .map_err(|error| {
                error
                    .at(self.chain.path())
                    .during(Operation::Defragment, None)
            })
    }
}
