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
