//! Attaching: a child that was opened alone gets its parent.

use std::error::Error as StdError;
use std::fmt;

use super::Disk;
use crate::chain::Chain;
use crate::error::{Error, ErrorKind, Operation};

/// Why a disk could not be attached; gives both disks back, as they were.
pub struct AttachError(Box<Inner>);

struct Inner {
    error: Error,
    child: Disk,
    parent: Disk,
}

impl AttachError {
    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.error.kind()
    }

    /// The failure itself.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The child and the parent.
    #[must_use]
    pub fn into_disks(self) -> (Disk, Disk) {
        (self.0.child, self.0.parent)
    }
}

/// Closes both disks.
impl From<AttachError> for Error {
    fn from(error: AttachError) -> Self {
        error.0.error
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.error, formatter)
    }
}

impl fmt::Debug for AttachError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.error, formatter)
    }
}

impl StdError for AttachError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.error.source()
    }
}

impl Disk {
    /// Puts this disk, a child that was opened with
    /// [`OpenOptions::single_link`](crate::OpenOptions::single_link), on top of the disk that it was made from. Where
    /// the child has nothing, the parent shows from then on, in reads, in the map and in grains that are written in
    /// part.
    ///
    /// The parent may have parents of its own, and its place does not matter: the hint in the child is neither
    /// followed nor changed. A parent that was open for writing is flushed and marked as closed first, and only read
    /// from then on. It keeps the locks that it was opened with until the child is closed. If links are missing below the parent, their sectors
    /// are [`Allocation::Unknown`](crate::Allocation::Unknown). Child and parent keep the memory for grain tables that
    /// each was opened with.
    ///
    /// # Errors
    /// [`NotAChild`](ErrorKind::NotAChild) if this disk has no parent, [`HasParent`](ErrorKind::HasParent) if its
    /// parent is open already, [`CidMismatch`](ErrorKind::CidMismatch) and
    /// [`CapacityMismatch`](ErrorKind::CapacityMismatch) if it was not made from `parent` or that was changed since,
    /// [`InvalidChain`](ErrorKind::InvalidChain) if both share a file, [`TooManyLinks`](ErrorKind::TooManyLinks), and
    /// those of [`Disk::flush`]. The error gives both disks back.
    pub fn attach(mut self, mut parent: Disk) -> Result<Disk, AttachError> {
        let attachable = self.can_attach(&parent).and_then(|()| {
            let closed = parent.finish(Chain::close);
            closed.map_err(|error| error.during(Operation::Attach, None))
        });
        match attachable {
            Ok(()) => {
                self.chain.attach(&parent.chain);
                Ok(self)
            }
            Err(error) => {
                // Who closes it later has to be told, too.
                parent.is_finished = false;
                Err(AttachError(Box::new(Inner {
                    error,
                    child: self,
                    parent,
                })))
            }
        }
    }

    /// Whether [`Disk::attach`] would succeed, but for a parent that cannot be flushed. Changes nothing.
    ///
    /// # Errors
    /// As [`Disk::attach`].
    pub fn can_attach(&self, parent: &Disk) -> Result<(), Error> {
        self.chain
            .check_attach(&parent.chain)
            .map_err(|error| error.at(self.chain.path()).during(Operation::Attach, None))
    }
}
