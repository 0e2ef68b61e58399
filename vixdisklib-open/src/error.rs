//! Why a call failed: the code that the caller gets, and what the log says.

use std::error::Error as _;
use std::path::Path;

use vixdisklib_sys::VixError;
use vmdk_engine::ErrorKind;

use crate::log::Log;

/// A failed call.
#[derive(Debug)]
pub(crate) struct Failure {
    code: VixError,
    account: Account,
}

#[derive(Debug)]
enum Account {
    /// Nothing to say: the code is part of a protocol, or all has been said.
    Silent,
    /// An ordinary outcome that callers probe for.
    Note(String),
    /// What went wrong.
    Warning(String),
}

impl Failure {
    /// A failure that the log explains as a warning.
    #[cold]
    pub(crate) fn new(code: VixError, why: impl Into<String>) -> Self {
        Self {
            code,
            account: Account::Warning(why.into()),
        }
    }

    /// A failure that callers expect now and then, such as a key that a disk does not have.
    #[cold]
    pub(crate) fn note(code: VixError, why: impl Into<String>) -> Self {
        Self {
            code,
            account: Account::Note(why.into()),
        }
    }

    /// A failure that needs no line in the log.
    #[cold]
    pub(crate) fn silent(code: VixError) -> Self {
        Self {
            code,
            account: Account::Silent,
        }
    }

    /// A failure of the engine on the disk at `path`, with the whole chain of its causes.
    #[cold]
    pub(crate) fn engine(path: &Path, error: &vmdk_engine::Error) -> Self {
        let file = error.path().unwrap_or(path).display();
        let mut why = if error.path().is_some_and(|named| named != path) {
            format!("disk {}: {file}: {}", path.display(), error.reason())
        } else {
            format!("{file}: {}", error.reason())
        };
        let mut cause = error.source();
        while let Some(error) = cause {
            why.push_str(": ");
            why.push_str(&error.to_string());
            cause = error.source();
        }
        let code = code(error.kind());
        match error.kind() {
            // The answer to a question rather than a failure: the caller writes zeros then.
            ErrorKind::NotFast => Self::note(code, why),
            _ => Self::new(code, why),
        }
    }

    /// The same as the answer to a question.
    #[cold]
    pub(crate) fn expected(self) -> Self {
        match self.account {
            Account::Warning(why) => Self::note(self.code, why),
            Account::Silent | Account::Note(_) => self,
        }
    }

    pub(crate) fn code(&self) -> VixError {
        self.code
    }

    /// Logs the failure of the C function `function`, and returns its code.
    pub(crate) fn report(&self, function: &str, log: &Log) -> VixError {
        match &self.account {
            Account::Silent => {}
            Account::Note(why) => log.note(&format!("{function}: {why}")),
            Account::Warning(why) => log.error(&format!("{function}: {why}")),
        }
        self.code
    }
}

/// The code that says most about a failure of the engine, in the terms of the VixDiskLib reference.
fn code(kind: ErrorKind) -> VixError {
    match kind {
        // One code for both: the text says which file is missing.
        ErrorKind::NotFound | ErrorKind::ExtentNotFound => VixError::FILE_NOT_FOUND,
        // Rights, whether those of the system or those of our own policy.
        ErrorKind::PermissionDenied | ErrorKind::AccessRefused => VixError::FILE_ACCESS_ERROR,
        ErrorKind::InvalidDisk => VixError::DISK_INVALIDDISK,
        ErrorKind::UnsupportedVersion => VixError::DISK_UNSUPPORTEDDISKVERSION,
        // Not `VIX_E_NOT_SUPPORTED`, which is about the function called: this is about the disk.
        ErrorKind::Unsupported => VixError::DISK_NOTSUPPORTED,
        ErrorKind::NeedsRepair => VixError::DISK_NEEDSREPAIR,
        // The disk is open and mostly good, but this part of it cannot be had.
        ErrorKind::Corrupt | ErrorKind::WritesSuspended => VixError::DISK_NOIO,
        ErrorKind::Encoding => VixError::DISK_ENCODING,
        ErrorKind::Encrypted => VixError::DISK_NEEDKEY,
        ErrorKind::InvalidChain => VixError::DISK_INVALIDCHAIN,
        ErrorKind::ParentNotFound => VixError::DISK_OPENPARENT,
        ErrorKind::CidMismatch => VixError::DISK_CID_MISMATCH,
        ErrorKind::CapacityMismatch => VixError::DISK_CAPACITY_MISMATCH,
        ErrorKind::TooManyLinks => VixError::DISK_TOOMANYREDO,
        ErrorKind::FileTooBig => VixError::FILE_TOO_BIG,
        ErrorKind::DiskFull => VixError::DISK_FULL,
        ErrorKind::ReadOnly => VixError::FILE_READ_ONLY,
        ErrorKind::AlreadyLocked => VixError::FILE_ALREADY_LOCKED,
        ErrorKind::OutOfRange => VixError::DISK_OUTOFRANGE,
        ErrorKind::InvalidArgument => VixError::INVALID_ARG,
        // What was asked for, speed, is not on offer here.
        ErrorKind::NotFast => VixError::NOT_SUPPORTED,
        ErrorKind::TooManyOpenFiles => VixError::DISK_TOOMANYOPENFILES,
        ErrorKind::AlreadyExists => VixError::FILE_ALREADY_EXISTS,
        ErrorKind::Cancelled => VixError::CANCELLED,
        ErrorKind::CannotShrink => VixError::DISK_CANTSHRINK,
        ErrorKind::CannotRepair => VixError::DISK_CANTREPAIR,
        ErrorKind::NotAChild => VixError::DISK_ATTACH_ROOTLINK,
        ErrorKind::HasParent => VixError::DISK_PARENT_NOTALLOWED,
        // A text that is too long for its place in the file, which says nothing about the space on the file system.
        ErrorKind::NoRoom => VixError::ARGUMENT_TOO_BIG,
        ErrorKind::Io => VixError::FILE_ERROR,
        _ => VixError::FAIL,
    }
}
