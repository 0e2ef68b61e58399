//! Which sort of failure an error is, and which code belongs to it.

use vixdisklib_sys::VixError;

/// The kind of an [`Error`](super::Error), for `match`.
///
/// Several of the library's codes share a kind; [`Error::code`](super::Error::code) keeps the exact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The library could not be found, opened, or lacks a required function.
    Load,
    /// The library is initialised already in this process, or cannot be.
    Initialization,
    /// The process was forked after the library was started: only the process that started it can use it.
    Forked,
    /// What was made from it is still open.
    InUse,
    /// The back end has no such function, or not for this kind of disk.
    Unsupported,
    /// An argument is wrong: a string, a flag, an alignment, a buffer length.
    InvalidArgument,
    /// A sector lies outside the disk.
    OutOfRange,
    /// A file, a disk or a metadata key does not exist.
    NotFound,
    /// The target exists already.
    AlreadyExists,
    /// The file or the host denies access.
    PermissionDenied,
    /// The disk, or the connection, is open for reading only.
    ReadOnly,
    /// Someone else holds the disk.
    Locked,
    /// The file is no virtual disk, or a damaged one.
    InvalidDisk,
    /// The chain of the disk is incomplete or does not fit together.
    InvalidChain,
    /// The host is not reachable, refused the login or lost the session.
    Connection,
    /// No memory, here or on the host.
    OutOfMemory,
    /// No space on the file system, or a file system limit.
    StorageFull,
    /// The call would wait for itself: it came from a waker that runs on a thread of the library.
    Deadlock,
    /// Reading or writing failed.
    Io,
    /// The caller ended it.
    Cancelled,
    /// Anything else that the library reports.
    Other,
}

/// Which kind a code belongs to. The high bits are detail without a published layout, so only the low 16 decide.
pub(super) fn kind_of(code: VixError) -> ErrorKind {
    let same = |known: &[VixError]| known.iter().any(|known| known.code() == code.code());
    let groups: &[(ErrorKind, &[VixError])] = &[
        (ErrorKind::OutOfMemory, &[VixError::OUT_OF_MEMORY]),
        (
            ErrorKind::InvalidArgument,
            &[
                VixError::INVALID_ARG,
                VixError::INVALID_UTF8_STRING,
                VixError::ARGUMENT_TOO_BIG,
                VixError::FILE_NAME_INVALID,
                VixError::BUFFER_TOOSMALL,
                VixError::INVALID_HANDLE,
                VixError::DISK_INVAL,
            ],
        ),
        (ErrorKind::OutOfRange, &[VixError::DISK_OUTOFRANGE]),
        (
            ErrorKind::NotFound,
            &[
                VixError::FILE_NOT_FOUND,
                VixError::OBJECT_NOT_FOUND,
                VixError::DISK_KEY_NOTFOUND,
                VixError::VM_NOT_FOUND,
            ],
        ),
        (
            ErrorKind::AlreadyExists,
            &[VixError::FILE_ALREADY_EXISTS, VixError::ALREADY_EXISTS],
        ),
        (
            ErrorKind::PermissionDenied,
            &[VixError::FILE_ACCESS_ERROR, VixError::HOST_USER_PERMISSIONS],
        ),
        (ErrorKind::ReadOnly, &[VixError::FILE_READ_ONLY]),
        (
            ErrorKind::Locked,
            &[VixError::FILE_ALREADY_LOCKED, VixError::OBJECT_IS_BUSY],
        ),
        (
            ErrorKind::Unsupported,
            &[
                VixError::NOT_SUPPORTED,
                VixError::NOT_SUPPORTED_ON_REMOTE_OBJECT,
                VixError::DISK_NOTSUPPORTED,
                VixError::DISK_CANTSHRINK,
                VixError::DISK_UNSUPPORTEDDISKVERSION,
                VixError::DISK_NEEDKEY,
            ],
        ),
        (
            ErrorKind::InvalidDisk,
            &[
                VixError::DISK_INVALIDDISK,
                VixError::INCORRECT_FILE_TYPE,
                VixError::DISK_NEEDSREPAIR,
                VixError::DISK_CANTREPAIR,
                VixError::DISK_ENCODING,
            ],
        ),
        (
            ErrorKind::InvalidChain,
            &[
                VixError::DISK_PARTIALCHAIN,
                VixError::DISK_CID_MISMATCH,
                VixError::DISK_OPENPARENT,
                VixError::DISK_INVALIDCHAIN,
                VixError::DISK_TOOMANYREDO,
                VixError::DISK_CAPACITY_MISMATCH,
                VixError::DISK_PARENT_NOTALLOWED,
                VixError::DISK_ATTACH_ROOTLINK,
            ],
        ),
        (
            ErrorKind::Connection,
            &[
                VixError::CANNOT_CONNECT_TO_HOST,
                VixError::HOST_NETWORK_CONN_REFUSED,
                VixError::HOST_NETBLKDEV_HANDSHAKE,
                VixError::HOST_SERVER_SHUTDOWN,
                VixError::HOST_SERVER_NOT_AVAILABLE,
                VixError::HOST_SERVER_NOT_FOUND,
                VixError::HOST_TCP_CONN_LOST,
                VixError::HOST_TCP_SOCKET_ERROR,
                VixError::HOST_CONNECTION_LOST,
                VixError::HOST_NOT_CONNECTED,
                VixError::AUTHENTICATION_FAIL,
            ],
        ),
        (
            ErrorKind::StorageFull,
            &[VixError::DISK_FULL, VixError::FILE_TOO_BIG],
        ),
        (ErrorKind::Cancelled, &[VixError::CANCELLED]),
        (ErrorKind::Io, &[VixError::FILE_ERROR, VixError::DISK_NOIO]),
    ];
    groups
        .iter()
        .find(|(_, codes)| same(codes))
        .map_or(ErrorKind::Other, |(kind, _)| *kind)
}
