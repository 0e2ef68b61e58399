//! Locks that keep a second writer out, whoever it is.
//!
//! Two kinds stand side by side, since no program respects both:
//!
//! * byte-range locks of the operating system on the file itself ([`Storage::try_lock`]), which QEMU and other disks of
//!   this engine respect, and which end with the process that holds them;
//! * lock folders beside the file (`disk.vmdk.lck`), which VMware products respect, also on another machine. They
//!   stay when a process is killed; whoever comes next on the same machine recognises and removes them.
//!
//! A disk that is written has both, exclusively, on its descriptor and on every extent that it writes. Its parents have
//! both, shared. A disk that is only read leaves nothing in its folder: it looks for exclusive locks, and takes the
//! shared lock of the operating system where there is one.

mod acquire;
mod folder;
mod machine;
mod member;
mod process;

use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::gate::{GateError, OpenGate, OpenedFile};
use crate::storage::Storage;

/// What a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LockKind {
    /// Everyone: for writers.
    Exclusive,
    /// Writers: for files that must not change while another one is written, like the parents of a child.
    Shared,
    /// Nobody: for readers, who only want to know that there is no writer. Nothing stays in the folder.
    Look,
}

/// A lock, which ends when this is dropped.
pub struct FileLock(Option<Box<dyn Any + Send + Sync>>);

impl FileLock {
    /// A lock that ends when `guard` is dropped.
    #[must_use]
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(guard)))
    }

    /// What a gate gives that has no locks, and what a look leaves.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Keeps everybody else from a file that is open for writing, as an open disk keeps them from its files: for
    /// changes to files that are not open as a disk. Part of the lock lasts as long as the file is open.
    ///
    /// # Errors
    /// [`AlreadyLocked`](ErrorKind::AlreadyLocked) if somebody has it open, and what kept it from being locked.
    pub fn exclusive(gate: &dyn OpenGate, file: &OpenedFile) -> Result<Self, Error> {
        let request = LockRequest {
            kind: LockKind::Exclusive,
            patience: Duration::ZERO,
        };
        request.take(gate, file)
    }
}

impl fmt::Debug for FileLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.is_some() { "held" } else { "none" };
        formatter.debug_tuple("FileLock").field(&state).finish()
    }
}

/// Somebody else has the file.
#[derive(Debug, thiserror::Error)]
#[error("another program, or another open disk of this one, has it open")]
pub(crate) struct InUse;

impl Cause for InUse {
    fn kind(&self) -> ErrorKind {
        ErrorKind::AlreadyLocked
    }
}

/// Which lock to take, and how long to wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockRequest {
    pub(crate) kind: LockKind,
    pub(crate) patience: Duration,
}

impl LockRequest {
    /// Takes both locks of an open file. That of the operating system ends with the file, the other with what is
    /// returned.
    ///
    /// In this order: where the file is in use on this machine, nothing in its lock folder is taken for stale.
    pub(crate) fn take(self, gate: &dyn OpenGate, file: &OpenedFile) -> Result<FileLock, Error> {
        self.lock_storage(&*file.storage)
            .and_then(|()| {
                gate.lock(&file.path, self.kind, self.patience)
                    .map_err(Error::from)
            })
            .map_err(|error| error.at(&file.path))
    }

    fn lock_storage(self, storage: &dyn Storage) -> Result<(), Error> {
        /// Of several who come at once, all may find each other in the way and none get in: so each tries again.
        const TRIES: u32 = 4;
        let deadline = Instant::now().checked_add(self.patience);
        let mut tries: u32 = 0;
        loop {
            let result = match self.kind {
                LockKind::Exclusive => storage.try_lock(),
                LockKind::Shared | LockKind::Look => storage.try_lock_shared(),
            };
            match result {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    tries = tries.saturating_add(1);
                    let is_late = deadline.is_none_or(|deadline| Instant::now() >= deadline);
                    if is_late && tries >= TRIES {
                        return Err(InUse.into());
                    }
                    thread::sleep(pause(Duration::from_millis(u64::from(tries.min(50)))));
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::debug!("the file system has no locks; they keep no second writer out");
                    return Ok(());
                }
                Err(error) => return Err(IoFault::new("locking the file", error).into()),
            }
        }
    }
}

/// Takes, or looks for, the lock of a file in its lock folder; for [`FolderGate`](crate::FolderGate).
pub(crate) fn lock_in_folder(
    path: &Path,
    kind: LockKind,
    patience: Duration,
) -> Result<FileLock, GateError> {
    let folder = folder::LockFolder::of(path)?;
    match kind {
        LockKind::Look => acquire::look(&folder).map(|()| FileLock::none()),
        LockKind::Exclusive => acquire::acquire(folder, member::Share::Exclusive, patience),
        LockKind::Shared => acquire::acquire(folder, member::Share::Shared, patience),
    }
}

/// From half of `usual` to one and a half of it, so that those who wait do not all come at once again.
fn pause(usual: Duration) -> Duration {
    let mut random = [128];
    // Without randomness everybody waits equally long, which is only slower.
    let _ = getrandom::fill(&mut random);
    let [random] = random;
    usual
        .saturating_mul(u32::from(random).saturating_add(128))
        .checked_div(256)
        .unwrap_or(usual)
}
