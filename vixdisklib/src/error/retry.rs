//! Whether trying again may help, code by code.

use vixdisklib_sys::VixError;

use super::{Error, ErrorKind, Hint};

/// Whether the same operation may succeed when it is tried again later, unchanged, maybe on a new connection.
///
/// The library publishes no such table; this one follows the meaning of the codes, and what
/// [`Error::hint`] finds out comes before it: lack of memory on the host and lost connections pass, a wrong thumbprint
/// does not.
///
/// | | codes |
/// |---|---|
/// | `Retryable` | `OUT_OF_MEMORY`, `OBJECT_IS_BUSY`, `FILE_ALREADY_LOCKED`, `HOST_NOT_CONNECTED`, `UNFINISHED_JOB`, `OPERATION_ALREADY_IN_PROGRESS`, `VM_HOST_DISCONNECTED`, `HOST_CONNECTION_LOST`, `TOO_MANY_HANDLES`, `VM_INSUFFICIENT_HOST_MEMORY`, `TOO_MANY_LOGONS`, `SNAPSHOT_LOCKED`, `SNAPSHOT_DISKLOCKED`, `HOST_SOCKET_CREATION_ERROR`, `HOST_TCP_SOCKET_ERROR`, `HOST_TCP_CONN_LOST`, `HOST_SERVER_SHUTDOWN`, `HOST_SERVER_NOT_AVAILABLE`, `DISK_TOOMANYOPENFILES`, `NET_HTTP_COULDNT_CONNECT`, `NET_HTTP_OPERATION_TIMEDOUT`, `NET_HTTP_TRANSFER` |
/// | `Unknown` | `FAIL`, `FILE_ERROR`, `FILE_ACCESS_ERROR`, `VMDB`, `SNAPSHOT_DISKLIB`, `HOST_FILE_ERROR_EOF`, `HOST_NETBLKDEV_HANDSHAKE`, `HOST_SERVER_NOT_FOUND`, `HOST_NETWORK_CONN_REFUSED`, `DISK_INVAL`, `DISK_NOIO`, `DISK_SUBSYSTEM_INIT_FAIL`, `CANNOT_CONNECT_TO_HOST`, `MNTAPI_INTERNAL`, `MNTAPI_SYSTEM`, `MNTAPI_OS_ERROR`, `NET_HTTP_COULDNT_RESOLVE_PROXY`, `NET_HTTP_COULDNT_RESOLVE_HOST`, `NET_HTTP_HTTP_RETURNED_ERROR`, `NET_HTTP_SSL_CONNECT_ERROR`, `NET_HTTP_GENERIC`, and every code without a name |
/// | `Fatal` | every other code that has a name |
///
/// Of what this crate refuses by itself, all is `Fatal` but [`ErrorKind::OutOfMemory`] and [`ErrorKind::Locked`],
/// which are `Retryable`, and [`ErrorKind::Io`] and [`ErrorKind::Other`], which are `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// The cause is one that passes.
    Retryable,
    /// Something has to change first: an argument, the disk, a right.
    Fatal,
    /// The code says neither.
    Unknown,
}

/// Causes that pass.
const RETRYABLE: &[VixError] = &[
    VixError::OUT_OF_MEMORY,
    VixError::OBJECT_IS_BUSY,
    VixError::FILE_ALREADY_LOCKED,
    VixError::HOST_NOT_CONNECTED,
    VixError::UNFINISHED_JOB,
    VixError::OPERATION_ALREADY_IN_PROGRESS,
    VixError::VM_HOST_DISCONNECTED,
    VixError::HOST_CONNECTION_LOST,
    VixError::TOO_MANY_HANDLES,
    VixError::VM_INSUFFICIENT_HOST_MEMORY,
    VixError::TOO_MANY_LOGONS,
    VixError::SNAPSHOT_LOCKED,
    VixError::SNAPSHOT_DISKLOCKED,
    VixError::HOST_SOCKET_CREATION_ERROR,
    VixError::HOST_TCP_SOCKET_ERROR,
    VixError::HOST_TCP_CONN_LOST,
    VixError::HOST_SERVER_SHUTDOWN,
    VixError::HOST_SERVER_NOT_AVAILABLE,
    VixError::DISK_TOOMANYOPENFILES,
    VixError::NET_HTTP_COULDNT_CONNECT,
    VixError::NET_HTTP_OPERATION_TIMEDOUT,
    VixError::NET_HTTP_TRANSFER,
];

/// Codes for causes of both sorts.
const UNKNOWN: &[VixError] = &[
    VixError::FAIL,
    VixError::FILE_ERROR,
    VixError::FILE_ACCESS_ERROR,
    VixError::VMDB,
    VixError::SNAPSHOT_DISKLIB,
    VixError::HOST_FILE_ERROR_EOF,
    VixError::HOST_NETBLKDEV_HANDSHAKE,
    VixError::HOST_SERVER_NOT_FOUND,
    VixError::HOST_NETWORK_CONN_REFUSED,
    VixError::DISK_INVAL,
    VixError::DISK_NOIO,
    VixError::DISK_SUBSYSTEM_INIT_FAIL,
    VixError::CANNOT_CONNECT_TO_HOST,
    VixError::MNTAPI_INTERNAL,
    VixError::MNTAPI_SYSTEM,
    VixError::MNTAPI_OS_ERROR,
    VixError::NET_HTTP_COULDNT_RESOLVE_PROXY,
    VixError::NET_HTTP_COULDNT_RESOLVE_HOST,
    VixError::NET_HTTP_HTTP_RETURNED_ERROR,
    VixError::NET_HTTP_SSL_CONNECT_ERROR,
    VixError::NET_HTTP_GENERIC,
];

impl Error {
    /// Whether trying again may help; see [`Retry`] for the table.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.hint().and_then(of_hint) {
            Some(retry) => retry,
            None => self.code().map_or_else(|| of_kind(self.kind()), of_code),
        }
    }

    /// Whether [`retry`](Self::retry) is [`Retry::Retryable`]: the cause is known to be one that passes.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retry() == Retry::Retryable
    }
}

fn of_code(code: VixError) -> Retry {
    let code = code.without_detail();
    if RETRYABLE.contains(&code) {
        Retry::Retryable
    } else if UNKNOWN.contains(&code) || code.name().is_none() {
        Retry::Unknown
    } else {
        Retry::Fatal
    }
}

fn of_kind(kind: ErrorKind) -> Retry {
    match kind {
        ErrorKind::OutOfMemory | ErrorKind::Locked => Retry::Retryable,
        ErrorKind::Io | ErrorKind::Other => Retry::Unknown,
        _ => Retry::Fatal,
    }
}

/// What a cause says beyond its code; `None` leaves it to the code.
fn of_hint(hint: Hint) -> Option<Retry> {
    match hint {
        Hint::HostMemory | Hint::ConnectionLost | Hint::DiskLocked => Some(Retry::Retryable),
        Hint::WrongThumbprint { .. }
        | Hint::WrongCredentials
        | Hint::MissingPrivilege
        | Hint::IndependentDisk
        | Hint::HostTooOld
        | Hint::PluginMissing
        | Hint::CryptoLibrary
        | Hint::PathOfOtherKind
        | Hint::NotLicensed => Some(Retry::Fatal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;

    fn error(code: VixError) -> Error {
        Error::from_code(Operation::Read, code, "text".to_owned(), Vec::new())
    }

    /// The names in one row of the table above.
    fn documented(row: &str) -> Vec<&'static str> {
        let start = format!("/// | `{row}` | ");
        let line = include_str!("retry.rs")
            .lines()
            .find_map(|line| line.strip_prefix(start.as_str()))
            .expect("the row exists");
        let parts = line.split('`').skip(1).step_by(2);
        parts.collect()
    }

    #[test]
    fn the_documented_table_is_the_table() {
        for (row, retry) in [("Retryable", Retry::Retryable), ("Unknown", Retry::Unknown)] {
            let table: Vec<_> = VixError::all()
                .filter(|code| !code.is_ok() && of_code(*code) == retry)
                .filter_map(VixError::name)
                .map(|name| name.trim_start_matches("VIX_E_"))
                .collect();
            assert_eq!(documented(row), table, "{row}, in ascending order");
        }
    }

    #[test]
    fn detail_in_the_high_bits_changes_nothing() {
        assert!(error(VixError(VixError::HOST_TCP_CONN_LOST.0 | 7 << 32)).is_retryable());
        assert_eq!(error(VixError::FAIL).retry(), Retry::Unknown);
        assert_eq!(error(VixError::INVALID_ARG).retry(), Retry::Fatal);
        assert_eq!(error(VixError(65_000)).retry(), Retry::Unknown);
    }

    #[test]
    fn own_refusals_are_final() {
        let refused = |kind| Error::new(kind, Operation::Read, "no").retry();
        assert_eq!(refused(ErrorKind::OutOfRange), Retry::Fatal);
        assert_eq!(refused(ErrorKind::OutOfMemory), Retry::Retryable);
    }
}
