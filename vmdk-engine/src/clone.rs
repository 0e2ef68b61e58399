//! Copying a disk, as it reads through all its parents, into a new one of any kind.
//!
//! ```text
//!   Disk::clone_to                which disk comes to be where     clone.rs
//!    ├─ windows                   what of the source is worth it   clone/window.rs
//!    └─ copy                      reading and writing at once      clone/copy.rs
//!   Disk::space_needed_for_clone                                   clone/space.rs
//! ```

mod copy;
mod space;
mod window;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use disk_units::{ByteLen, SectorCount};

use crate::create::{CreateOptions, DraftDisk};
use crate::disk::{Disk, OpenOptions};
use crate::error::{Cause, Error, ErrorKind, Operation};
use crate::gate::{FileAccess, FileIdentity, GateError, OpenGate};
use crate::progress::{Progress, Watcher, Work};
use crate::unlink::unlink;

/// What of the disk data base of the source is that of the clone too. The rest says where the disk is, which disk it
/// is, or what a host does with it.
const COPIED_KEYS: [&str; 3] = ["comment", "toolsInstallType", "toolsVersion"];

/// What a clone does with a disk that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Existing {
    /// It stays, and the clone fails with [`AlreadyExists`](ErrorKind::AlreadyExists).
    Keep,
    /// It is removed, with all its files, before the clone is made, unless it shares one with the source.
    Replace,
}

/// Why there can be no such clone.
#[derive(Debug, thiserror::Error)]
enum CloneError {
    #[error("a clone has the size of its source, {source_size} sectors, and not {clone}")]
    Capacity { source_size: u64, clone: u64 },
    #[error("the disk that the clone would replace shares a file with its source")]
    SharedFile,
}

impl Cause for CloneError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Disk {
    /// Copies the disk, as it reads through all its parents, into a new one: of the kind, with the metadata and through
    /// the gate of `options`, whose capacity is that of this disk.
    ///
    /// Zeros take no space in the clone but where its kind gives all sectors their own. The clone is a disk of its own,
    /// without parents and with ids of its own; of the disk data base it gets `comment`, `toolsVersion` and
    /// `toolsInstallType`, and everything else from `options`.
    ///
    /// Reading, compressing and writing overlap, on all cores, in at most 32 MiB and a few grains for each core.
    /// The `watcher` is called on the caller's thread, at least once for each MiB of data. Bytes that it counts are
    /// those of the new files and of the whole disk.
    ///
    /// The clone gets its name when it is complete and durable. If the process or the machine fails before, no disk of
    /// that name is there, but files may be: [`unlink`](crate::unlink()) removes them. After an error or a cancellation
    /// nothing is left. With [`Existing::Replace`] the old disk is gone in all these cases.
    ///
    /// What is written to this disk meanwhile may or may not be in the clone.
    ///
    /// # Errors
    /// By [`kind`](Error::kind): [`InvalidArgument`](ErrorKind::InvalidArgument) for another capacity and for replacing
    /// what belongs to this disk, [`Cancelled`](ErrorKind::Cancelled), all of [`Disk::create`] and [`crate::unlink()`] for
    /// the clone, and all of [`Disk::read_at`] for this disk.
    ///
    /// ```
    /// use vmdk_engine::{CreateOptions, Disk, DiskKind, Existing, OpenOptions, Sector, SectorCount, unwatched};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let folder = scratch.path();
    /// let capacity = SectorCount::new(20_480);
    /// let options = CreateOptions::new(DiskKind::MonolithicSparse, capacity);
    /// let disk = Disk::create(folder.join("disk.vmdk"), &options, &mut unwatched)?;
    /// disk.write_at(Sector::new(7), &[7; 512])?;
    ///
    /// let options = CreateOptions::new(DiskKind::StreamOptimized, capacity);
    /// disk.clone_to(folder.join("export.vmdk"), &options, Existing::Keep, &mut unwatched)?;
    ///
    /// let export = Disk::open(folder.join("export.vmdk"), &OpenOptions::new())?;
    /// let mut sector = [0; 512];
    /// export.read_at(Sector::new(7), &mut sector)?;
    /// assert_eq!(sector, [7; 512]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clone_to(
        &self,
        path: impl AsRef<Path>,
        options: &CreateOptions,
        existing: Existing,
        watcher: Watcher<'_>,
    ) -> Result<(), Error> {
        let path = path.as_ref();
        self.copy_to(path, options, existing, watcher)
            .map_err(|error| error.at(path).during(Operation::Clone, None))
    }

    fn copy_to(
        &self,
        path: &Path,
        options: &CreateOptions,
        existing: Existing,
        watcher: Watcher<'_>,
    ) -> Result<(), Error> {
        if options.capacity() != self.capacity() {
            return Err(CloneError::Capacity {
                source_size: self.capacity().get(),
                clone: options.capacity().get(),
            }
            .into());
        }
        if existing == Existing::Replace {
            self.remove_old(path, options.gate_ref())?;
        }
        let to_copy = bytes_of(self.capacity());
        let mut made = ByteLen::ZERO;
        let draft = DraftDisk::make(path, options, self.copied_metadata(), &mut |progress| {
            made = progress.total;
            let total = made.checked_add(to_copy).unwrap_or(made);
            watcher(Progress::new(progress.done, total))
        })?;
        let total = made.checked_add(to_copy).unwrap_or(made);
        let clone = draft.open(options.gate_ref())?;
        let mut work = Work::begin_behind(made, total, watcher)?;
        copy::copy(self, &clone, &mut work)?;
        clone.close()?;
        draft.publish()?.keep();
        Ok(())
    }

    fn copied_metadata(&self) -> Vec<(String, String)> {
        let entry = |key: &str| Some((key.to_owned(), self.metadata(key)?));
        COPIED_KEYS.into_iter().filter_map(entry).collect()
    }

    /// Removes the disk that the clone is to replace, if there is one.
    fn remove_old(&self, path: &Path, gate: &Arc<dyn OpenGate>) -> Result<(), Error> {
        let file = match gate.open_disk(path, FileAccess::Read) {
            Err(GateError::NotFound) => return Ok(()),
            file => file?,
        };
        let own: BTreeSet<FileIdentity> = self.chain().files().collect();
        let options = OpenOptions::new()
            .single_link(true)
            .ignore_locks(true)
            .gate(Arc::clone(gate));
        // One that cannot be opened has at least its descriptor.
        let others = match Disk::open(path, &options) {
            Ok(old) => old.chain().files().collect(),
            Err(_) => BTreeSet::from([file.identity]),
        };
        if !own.is_disjoint(&others) {
            return Err(CloneError::SharedFile.into());
        }
        drop(file);
        unlink(path, &**gate)
    }
}

/// Bytes of so many sectors; disks never have 2^64.
fn bytes_of(sectors: SectorCount) -> ByteLen {
    sectors.bytes().unwrap_or(ByteLen::new(u64::MAX))
}
