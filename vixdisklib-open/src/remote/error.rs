//! From the kinds of the NFC client to VixError.

use std::error::Error as _;

use vixdisklib_sys::VixError;
use vsphere_nfc::{Error, ErrorKind};

use crate::error::Failure;

/// A failure of the NFC client, with the whole chain of its causes.
#[cold]
pub(super) fn failure(error: &Error) -> Failure {
    let mut why = error.to_string();
    if let Some(fault) = error.fault() {
        why.push_str(&format!(" (vim.fault.{fault})"));
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        why.push_str(": ");
        why.push_str(&error.to_string());
        cause = error.source();
    }
    Failure::new(code(error.kind()), why)
}

/// The code that says most about a failure, in the terms of the VixDiskLib reference.
fn code(kind: ErrorKind) -> VixError {
    match kind {
        ErrorKind::InvalidArgument => VixError::INVALID_ARG,
        ErrorKind::Unsupported => VixError::NOT_SUPPORTED,
        ErrorKind::ServerNotFound => VixError::HOST_SERVER_NOT_FOUND,
        ErrorKind::ConnectionRefused => VixError::HOST_NETWORK_CONN_REFUSED,
        ErrorKind::CannotConnect | ErrorKind::Certificate => VixError::CANNOT_CONNECT_TO_HOST,
        ErrorKind::LoginFailed
        | ErrorKind::NotAuthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::TicketRejected => VixError::HOST_USER_PERMISSIONS,
        ErrorKind::VmNotFound => VixError::VM_NOT_FOUND,
        ErrorKind::ObjectNotFound => VixError::OBJECT_NOT_FOUND,
        ErrorKind::FileNotFound => VixError::FILE_NOT_FOUND,
        ErrorKind::ReadOnly => VixError::FILE_READ_ONLY,
        ErrorKind::AccessRefused => VixError::FILE_ACCESS_ERROR,
        ErrorKind::AlreadyLocked => VixError::FILE_ALREADY_LOCKED,
        ErrorKind::Busy => VixError::OBJECT_IS_BUSY,
        ErrorKind::HostNotConnected => VixError::HOST_NOT_CONNECTED,
        ErrorKind::HostInMaintenance => VixError::HOST_SERVER_NOT_AVAILABLE,
        ErrorKind::HostEnteringMaintenance => VixError::HOST_SERVER_SHUTDOWN,
        ErrorKind::OutOfMemory => VixError::OUT_OF_MEMORY,
        ErrorKind::DiskFault => VixError::FILE_ERROR,
        ErrorKind::OutOfRange => VixError::DISK_OUTOFRANGE,
        ErrorKind::Protocol => VixError::HOST_NETBLKDEV_HANDSHAKE,
        ErrorKind::ConnectionLost => VixError::HOST_TCP_CONN_LOST,
        ErrorKind::TimedOut => VixError::HOST_TCP_SOCKET_ERROR,
        // `Failed`, which the server's own words explain, among them.
        _ => VixError::FAIL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that programs know (source: the error codes of the Virtual Disk Programming Guide).
    #[test]
    fn every_kind_has_its_code() {
        for (kind, number) in [
            (ErrorKind::InvalidArgument, 3),
            (ErrorKind::Unsupported, 6),
            (ErrorKind::ServerNotFound, 14008),
            (ErrorKind::ConnectionRefused, 14009),
            (ErrorKind::CannotConnect, 18000),
            (ErrorKind::Certificate, 18000),
            (ErrorKind::LoginFailed, 3014),
            (ErrorKind::NotAuthenticated, 3014),
            (ErrorKind::PermissionDenied, 3014),
            (ErrorKind::TicketRejected, 3014),
            (ErrorKind::VmNotFound, 4000),
            (ErrorKind::ObjectNotFound, 25),
            (ErrorKind::FileNotFound, 4),
            (ErrorKind::ReadOnly, 11),
            (ErrorKind::AccessRefused, 13),
            (ErrorKind::AlreadyLocked, 15),
            (ErrorKind::Busy, 5),
            (ErrorKind::Failed, 1),
            (ErrorKind::HostNotConnected, 26),
            (ErrorKind::HostInMaintenance, 14015),
            (ErrorKind::HostEnteringMaintenance, 14014),
            (ErrorKind::OutOfMemory, 2),
            (ErrorKind::DiskFault, 7),
            (ErrorKind::OutOfRange, 16007),
            (ErrorKind::Protocol, 14006),
            (ErrorKind::ConnectionLost, 14011),
            (ErrorKind::TimedOut, 14010),
        ] {
            assert_eq!(code(kind), VixError(number), "{kind:?}");
        }
    }
}
