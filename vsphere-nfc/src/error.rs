//! The one error type of the crate.
//!
//! Each module says what went wrong in an enum of its own ([`Cause`] gives its kind); [`Error`] adds what was being
//! done and to what. No error holds a secret.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// What class of failure an [`Error`] is, for `match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is malformed, as this client or the server sees it.
    InvalidArgument,
    /// The server, or this client, does not offer it.
    Unsupported,
    /// No address is known for the server's name.
    ServerNotFound,
    /// Nothing listens on the server's port.
    ConnectionRefused,
    /// The server cannot be reached, or what answers there is no vSphere.
    CannotConnect,
    /// The server's certificate is not the expected one, or nobody trusted vouches for it; nothing secret was sent.
    Certificate,
    /// The server does not let this user in.
    LoginFailed,
    /// The login has ended, and cannot be renewed with the credentials given.
    NotAuthenticated,
    /// The user lacks the right to do it.
    PermissionDenied,
    /// The host did not take the ticket: it was used before, or has expired. A new one may be taken.
    TicketRejected,
    /// There is no such virtual machine.
    VmNotFound,
    /// There is no such object.
    ObjectNotFound,
    /// There is no such file, or the virtual machine has no such disk.
    FileNotFound,
    /// The ticket, or the open disk, is good for reading only.
    ReadOnly,
    /// The ticket does not cover the file.
    AccessRefused,
    /// Somebody else holds a lock on the file.
    AlreadyLocked,
    /// Somebody else is at work on the object; trying again later may help.
    Busy,
    /// A request of the server's own to change a virtual machine failed, or does not fit its state.
    Failed,
    /// vCenter has no connection to the host.
    HostNotConnected,
    /// The host is in maintenance.
    HostInMaintenance,
    /// The host is about to enter maintenance.
    HostEnteringMaintenance,
    /// The host has no memory left for the request; smaller requests may succeed.
    OutOfMemory,
    /// The host failed to read or write the disk.
    DiskFault,
    /// The range lies, at least in part, past the end of the disk.
    OutOfRange,
    /// The server broke the protocol, or refused a step that no client can do without.
    Protocol,
    /// The connection broke.
    ConnectionLost,
    /// The server did not answer in time.
    TimedOut,
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Connecting to a server and logging in.
    Connect,
    /// Keeping a login alive, or asking for its state.
    KeepAlive,
    /// Making a ticket for somebody else's session.
    CloneTicket,
    /// Logging out.
    Close,
    /// Looking for a virtual machine or another object.
    Find,
    /// Reading what is known of a virtual machine.
    Inspect,
    /// Taking a ticket for a disk.
    Ticket,
    /// Forbidding or permitting the migration of a virtual machine.
    Access,
    /// Making or removing a snapshot.
    Snapshot,
    /// Asking for the changed areas of a disk.
    ChangedAreas,
    /// Looking up a first class disk.
    FirstClassDisk,
    /// Presenting a ticket to a host.
    Authorize,
    /// Opening a disk.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Asking for metadata.
    Metadata,
    /// Asking for what is allocated.
    Allocated,
    /// Waiting until what was written has been acknowledged.
    Flush,
    /// Closing a disk.
    CloseDisk,
}

impl Operation {
    const fn gerund(self) -> &'static str {
        match self {
            Self::Connect => "connecting to",
            Self::KeepAlive => "keeping the login alive at",
            Self::CloneTicket => "making a ticket to share the login at",
            Self::Close => "logging out from",
            Self::Find => "finding",
            Self::Inspect => "inspecting",
            Self::Ticket => "taking a ticket for",
            Self::Access => "preparing the access to",
            Self::Snapshot => "changing the snapshots of",
            Self::ChangedAreas => "asking for the changed areas of",
            Self::FirstClassDisk => "looking up the first class disk",
            Self::Authorize => "presenting a ticket to",
            Self::Open => "opening",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Metadata => "asking for the metadata of",
            Self::Allocated => "asking for the allocated blocks of",
            Self::Flush => "flushing",
            Self::CloseDisk => "closing",
        }
    }
}

/// A failure: what was being done, to what, and why it failed.
///
/// `Display` is one lower-case line without what [`source`](StdError::source) prints.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Option<Operation>,
    object: Option<String>,
    cause: Box<dyn Cause>,
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// What it was done to: a server, a virtual machine, or a disk.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The name of the fault that a server's management plane gave, such as `InvalidLogin`.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.0.cause.fault()
    }

    /// The number that a host's disk service gave; these numbers are not those of VixDiskLib.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.0.cause.code()
    }

    /// What the server said, in its own words.
    #[must_use]
    pub fn server_text(&self) -> Option<&str> {
        self.0.cause.server_text()
    }

    /// Says what was being done, and to what, unless a layer below has said so already.
    #[cold]
    pub(crate) fn during(mut self, operation: Operation, object: impl Into<String>) -> Self {
        if self.0.operation.is_none() {
            self.0.operation = Some(operation);
            self.0.object = Some(object.into());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            formatter.write_str(operation.gerund())?;
            if let Some(object) = &self.0.object {
                write!(formatter, " {object}")?;
            }
            formatter.write_str(" failed: ")?;
        }
        fmt::Display::fmt(&self.0.cause, formatter)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("object", &self.0.object)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.source()
    }
}

/// A module's own account of what went wrong, which knows its kind.
pub(crate) trait Cause: StdError + Send + Sync + 'static {
    fn kind(&self) -> ErrorKind;

    /// See [`Error::fault`].
    fn fault(&self) -> Option<&str> {
        None
    }

    /// See [`Error::code`].
    fn code(&self) -> Option<u32> {
        None
    }

    /// See [`Error::server_text`].
    fn server_text(&self) -> Option<&str> {
        None
    }
}

impl<C: Cause> From<C> for Error {
    #[cold]
    fn from(cause: C) -> Self {
        Self(Box::new(Inner {
            kind: cause.kind(),
            operation: None,
            object: None,
            cause: Box::new(cause),
        }))
    }
}

/// The kind that a failure of an open connection has.
pub(crate) fn connection_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::TimedOut,
        io::ErrorKind::InvalidData => ErrorKind::Protocol,
        _ => ErrorKind::ConnectionLost,
    }
}

/// The kind that a failure to connect has.
pub(crate) fn dialing_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorKind::ConnectionRefused,
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::NotFound => ErrorKind::ServerNotFound,
        _ => ErrorKind::CannotConnect,
    }
}

/// A request that is refused before anything is sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    InvalidArgument(&'static str),
    #[error("{0}")]
    Unsupported(&'static str),
}

impl Cause for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument(_) => ErrorKind::InvalidArgument,
            Self::Unsupported(_) => ErrorKind::Unsupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_and_one_line() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
        let error = Error::from(Refusal::Unsupported("not a vCenter"))
            .during(Operation::Access, "vm-7")
            .during(Operation::Connect, "elsewhere");
        assert_eq!(
            error.to_string(),
            "preparing the access to vm-7 failed: not a vCenter"
        );
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.object(), Some("vm-7"));
        assert!(error.fault().is_none() && error.code().is_none() && error.server_text().is_none());
    }
}
