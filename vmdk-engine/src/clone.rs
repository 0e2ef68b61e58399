//! Copying a disk, as it reads through all its parents, into a new one of any kind.
//!
//! ```text
//!   Disk::clone_to                which disk comes to be where     clone.rs
//!    ├─ windows                   what of the source is worth it   clone/window.rs
//!    ├─ copy                      reading and writing at once      clone/copy.rs
//!    └─ write behind              and storing                      clone/write_behind.rs
//!   Disk::space_needed_for_clone                                   clone/space.rs
//! ```

mod copy;
mod space;
mod window;
mod write_behind;

use std::collections::BTreeSet;
use std::path::Path;

use disk_units::{ByteLen, SectorCount};

use crate::closed::ClosedDisk;
use crate::create::{CreateOptions, DraftDisk};
use crate::disk::Disk;
use crate::error::{Cause, Error, ErrorKind, Operation};
use crate::gate::{FileAccess, FileIdentity, GateError, OpenGate};
use crate::progress::{Progress, Watcher, Work};
use crate::unlink::{Removal, unlink};

/// What of the disk data base of the source is that of the clone too. The rest says where the disk is, which disk it
/// is, or what a host does with it.
const COPIED_KEYS: [&str; 3] = ["comment", "toolsInstallType", "toolsVersion"];

/// What a clone does with a disk that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Existing {
    /// It stays, and the clone fails with [`AlreadyExists`](ErrorKind::AlreadyExists).
    Keep,
    /// The clone takes its place, unless they share a file. A link to a disk is none, and fails as with `Keep`.
    ///
    /// A clone in one file (sparse, or stream-optimised) does so at once when it is complete: until then the old disk
    /// is there, and after a failure, a cancellation or a crash it still is, so that there must be space for both. Any
    /// other clone needs the names of its files first: the old disk is removed once it is clear that the clone can be
    /// made, and the watcher was asked for the first time.
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
    /// those of the new files and of the whole disk; all are done when the clone has its name, where it is too late to cancel.
    ///
    /// The clone gets its name when it is complete and durable. If the process or the machine fails before, no disk of
    /// that name is there, but files may be: [`unlink`](crate::unlink()) removes them. After an error or a cancellation
    /// nothing is left of it; what becomes of a disk that had the name, [`Existing`] says.
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
        let old = match existing {
            Existing::Keep => None,
            Existing::Replace => self.find_old(path, &**options.gate_ref())?,
        };
        let to_copy = bytes_of(self.capacity());
        let mut made = ByteLen::ZERO;
        let draft = DraftDisk::make(
            path,
            options,
            self.copied_metadata(),
            old,
            &mut |progress| {
                made = progress.total;
                let total = made.checked_add(to_copy).unwrap_or(made);
                watcher(Progress::new(progress.done, total))
            },
        )?;
        let total = made.checked_add(to_copy).unwrap_or(made);
        let clone = draft.open(options.gate_ref())?;
        let mut work = Work::begin_behind(made, total, watcher)?;
        copy::copy(self, &clone, &mut work)?;
        clone.close()?;
        draft.publish()?.keep();
        work.finish();
        Ok(())
    }

    fn copied_metadata(&self) -> Vec<(String, String)> {
        let entry = |key: &str| Some((key.to_owned(), self.metadata(key)?));
        COPIED_KEYS.into_iter().filter_map(entry).collect()
    }

    /// The disk that the clone is to replace, if there is one. What is left of one that never came to be goes.
    fn find_old<'a>(
        &self,
        path: &Path,
        gate: &'a dyn OpenGate,
    ) -> Result<Option<Removal<'a>>, Error> {
        let own: BTreeSet<FileIdentity> = self.chain().files().collect();
        match gate.open_disk(path, FileAccess::Read) {
            Err(GateError::NotFound) => {
                return match unlink(path, gate) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                    _ => Ok(None),
                };
            }
            // Said before it is found to be locked.
            Ok(file) if own.contains(&file.identity) => return Err(CloneError::SharedFile.into()),
            file => drop(file?),
        }
        let old = ClosedDisk::open(gate, path)?;
        for line in old.descriptor.extents() {
            let name = old.descriptor.file_name(line)?;
            let file = gate.open_extent(&old.file().path, &name, FileAccess::Read);
            if file.is_ok_and(|file| own.contains(&file.identity)) {
                return Err(CloneError::SharedFile.into());
            }
        }
        let old = Removal::of(old)?;
        if old.identities().any(|file| own.contains(&file)) {
            return Err(CloneError::SharedFile.into());
        }
        Ok(Some(old))
    }
}

/// Bytes of so many sectors; disks never have 2^64.
fn bytes_of(sectors: SectorCount) -> ByteLen {
    sectors.bytes().unwrap_or(ByteLen::new(u64::MAX))
}
