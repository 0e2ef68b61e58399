//! A disk that clients write to while the one below stays as it is.

mod folder;

use std::path::{Path, PathBuf};

use self::folder::TemporaryFolder;
use crate::{Disk, DiskKind, Error, ErrorKind, OpenFlags, Operation, Result, SharedDisk};

/// A child disk that takes what clients write, on top of a base that nobody writes to.
///
/// It works for every base that the library can make a local child of, also one on a server: with the embedded engine,
/// all disks that have a content id. The child is kept for later, or goes with all that was written. Its disk is served
/// as any other; let the server go first, and [`close`](Self::close) the overlay then.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let base = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
/// # std::fs::write(&base, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use vixdisklib::nbd::{DiskExport, Export, Overlay};
/// use vixdisklib::{ByteLen, Library, OpenFlags};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let before = connection.open_disk(&base, OpenFlags::READ_ONLY)?;
/// let overlay = Overlay::temporary(before, std::env::temp_dir())?;
/// let export = DiskExport::new(overlay.disk().clone())?;
/// export.write_at(ByteLen::new(1000), b"not for long")?;
///
/// drop(export);
/// overlay.close()?;
/// # assert_eq!(std::fs::read(folder.path().join("disk-flat.vmdk"))?, vec![0; 64 * 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Overlay {
    /// There until the end.
    disk: Option<SharedDisk>,
    path: PathBuf,
    folder: Option<TemporaryFolder>,
}

impl Overlay {
    /// A new child disk at the local `path`, where nothing is, over `base`. The file stays: opened as a disk later, it
    /// finds its base by the way from its own folder, and has what clients wrote.
    ///
    /// Blocks, as [`Disk::create_child`] and [`Disk::attach`] do. If this fails, no file stays.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `base` is open for writing; else those of [`Disk::create_child`], opening, and
    /// [`Disk::attach`].
    pub fn kept(base: Disk, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let disk = child(base, path)?;
        Ok(Self {
            path: disk.name().to_owned(),
            disk: Some(disk),
            folder: None,
        })
    }

    /// A new child disk over `base` in a folder of its own inside of `folder`, both of which only this user may look
    /// into. They go when the overlay is closed or dropped. When the process is killed they stay, until the next temporary
    /// overlay of the same user is made inside of `folder`.
    ///
    /// # Errors
    /// As [`kept`](Self::kept), and what the file system says of the new folder.
    pub fn temporary(base: Disk, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = TemporaryFolder::new(folder.as_ref())?;
        let path = folder.path().join("overlay.vmdk");
        let disk = child(base, &path)?;
        Ok(Self {
            disk: Some(disk),
            path,
            folder: Some(folder),
        })
    }

    /// The disk to serve. It must be given back, with all its clones, before the overlay is closed.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "taken out only by those who consume the overlay"
    )]
    pub fn disk(&self) -> &SharedDisk {
        self.disk.as_ref().expect("there until the end")
    }

    /// Where the child disk is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the child disk, and deletes it if it is temporary. Dropping does the same, and logs what fails.
    ///
    /// # Errors
    /// As [`SharedDisk::close`], and what the file system says when the folder cannot go.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let closed = self.disk.take().map_or(Ok(()), SharedDisk::close);
        let removed = self.folder.take().map_or(Ok(()), TemporaryFolder::remove);
        closed.and(removed)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "closing an overlay failed on drop");
        }
    }
}

/// Makes a child of `base` at `path` and opens it for writing, on top of `base`.
fn child(mut base: Disk, path: &Path) -> Result<SharedDisk> {
    if !base.is_read_only() {
        let text = "what is written goes to the overlay: its base must be open for reading";
        let error = Error::new(ErrorKind::InvalidArgument, Operation::CreateChild, text);
        return Err(error.with_path(base.name()));
    }
    // The base may be on a server; the child never is.
    let local = base.library().connect_local()?;
    base.create_child(path, DiskKind::MONOLITHIC_SPARSE, |_| {})?;
    let open = || {
        let mut child = local.open_disk(path, OpenFlags::SINGLE_LINK)?;
        child.attach(base)?;
        child.into_shared()
    };
    open().inspect_err(|_| {
        if let Err(error) = local.unlink(path) {
            tracing::warn!(%error, "an overlay that cannot be used stays");
        }
    })
}
