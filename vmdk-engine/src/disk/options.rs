//! How to open a disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::gate::{FileIdentity, FolderGate, OpenGate, OpenedFile};
use crate::lock::{FileLock, LockKind, LockRequest};

/// How to open a disk. The default: for reading, with all that it needs, under [`FolderGate`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    writable: bool,
    single_link: bool,
    tolerate_missing_parent: bool,
    tolerate_smaller_parent: bool,
    /// For the parents of a disk that is written: its files.
    below_writer: Option<Arc<BTreeSet<FileIdentity>>>,
    ignore_locks: bool,
    lock_patience: Duration,
    gate: Arc<dyn OpenGate>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            writable: false,
            single_link: false,
            tolerate_missing_parent: false,
            tolerate_smaller_parent: false,
            below_writer: None,
            ignore_locks: false,
            lock_patience: Duration::ZERO,
            gate: Arc::new(FolderGate),
        }
    }
}

impl OpenOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to open for writing too.
    ///
    /// Then nobody else may have the disk open, for reading neither: all its files are locked against other disks of
    /// this engine, QEMU, and VMware products. Its parents are locked against others that write to them.
    ///
    /// Where changes are tracked (`changeTrackPath` in the descriptor), the first one ends that for good, and the list
    /// of changed blocks is no longer looked at: how to keep it up to date is not public.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Whether to open the named link of a snapshot chain alone: what it does not hold itself reads as zeros.
    ///
    /// Opened for writing, too, whole grains of it can be written. Writing, or zeroing, a part of a grain that it does
    /// not hold would need the rest from the parent, and fails with
    /// [`ParentNotFound`](crate::ErrorKind::ParentNotFound).
    #[must_use]
    pub fn single_link(mut self, single_link: bool) -> Self {
        self.single_link = single_link;
        self
    }

    /// Whether to go on when a parent in a snapshot chain is missing.
    ///
    /// Sectors that would come from it are then [`Allocation::Unknown`](crate::Allocation::Unknown) in the map, and
    /// reading them fails with [`ParentNotFound`](crate::ErrorKind::ParentNotFound); so does writing a part of a grain
    /// that would need the rest of it. A parent that is there but does not fit is an error all the same.
    #[must_use]
    pub fn tolerate_missing_parent(mut self, tolerate_missing_parent: bool) -> Self {
        self.tolerate_missing_parent = tolerate_missing_parent;
        self
    }

    /// Whether to read a disk that somebody else writes. What is read may then be neither old nor new, and a part of
    /// the metadata that was read once may be out of date. By default, such a disk does not open; without effect on
    /// opening for writing.
    #[must_use]
    pub fn ignore_locks(mut self, ignore_locks: bool) -> Self {
        self.ignore_locks = ignore_locks;
        self
    }

    /// How long to wait, for each file of the disk, until others let go of it. By default not at all.
    #[must_use]
    pub fn lock_patience(mut self, lock_patience: Duration) -> Self {
        self.lock_patience = lock_patience;
        self
    }

    /// Whether a parent in a snapshot chain may be smaller than its child: what is behind its end then reads as zeros.
    ///
    /// QEMU makes such children; VMware products refuse them, and so does the engine unless this is set.
    #[must_use]
    pub fn tolerate_smaller_parent(mut self, tolerate_smaller_parent: bool) -> Self {
        self.tolerate_smaller_parent = tolerate_smaller_parent;
        self
    }

    /// Who decides which files may be opened, and opens them.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn OpenGate>) -> Self {
        self.gate = gate;
        self
    }

    /// The same for the parents of a disk that was opened with these, and consists of `files`.
    pub(crate) fn for_parents(&self, files: impl Iterator<Item = FileIdentity>) -> Self {
        Self {
            writable: false,
            below_writer: self.writable.then(|| Arc::new(files.collect())),
            ..self.clone()
        }
    }

    /// Locks a file of the disk as it is needed, for as long as the result and the file live.
    pub(crate) fn lock(&self, file: &OpenedFile, is_written: bool) -> Result<FileLock, Error> {
        let kind = match &self.below_writer {
            _ if is_written => LockKind::Exclusive,
            // That a disk uses a file of its parents is found out later.
            Some(files) if files.contains(&file.identity) => return Ok(FileLock::none()),
            Some(_) => LockKind::Shared,
            None if self.writable => LockKind::Shared,
            None if self.ignore_locks => return Ok(FileLock::none()),
            None => LockKind::Look,
        };
        let patience = self.lock_patience;
        LockRequest { kind, patience }.take(&*self.gate, file)
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(crate) fn is_single_link(&self) -> bool {
        self.single_link
    }

    pub(crate) fn tolerates_missing_parent(&self) -> bool {
        self.tolerate_missing_parent
    }

    pub(crate) fn tolerates_smaller_parent(&self) -> bool {
        self.tolerate_smaller_parent
    }

    pub(crate) fn open_gate(&self) -> &dyn OpenGate {
        &*self.gate
    }

    pub(crate) fn shared_gate(&self) -> Arc<dyn OpenGate> {
        Arc::clone(&self.gate)
    }
}
