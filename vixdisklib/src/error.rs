//! The one error type of this crate.

mod hint;
mod location;
#[cfg(all(test, feature = "embedded"))]
mod remote;
mod retry;

use std::fmt;
use std::path::{Path, PathBuf};

use disk_units::SectorRange;
use vixdisklib_sys::VixError;

use crate::cleanup::Cleaned;
use crate::log::LogLine;
use crate::transport::Transport;

pub use hint::Hint;
pub(crate) use location::Location;
pub use retry::Retry;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: the operation, the object, the library's code and text, and the log lines that explain it.
///
/// `Display` is one line, for example `opening disk "/vm/a.vmdk" failed: file not found (VIX_E_FILE_NOT_FOUND, 0x4)`.
/// Where the library logged lines during the call, [`source`](std::error::Error::source) prints them, so a program
/// that prints the whole chain names the cause. Where the code means many things, [`hint`](Self::hint) says which one is
/// likely, and [`retry`](Self::retry) whether it may pass. No secret is ever part of an error.
#[doc(alias = "VixDiskLib_GetErrorText")]
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Operation,
    code: Option<VixError>,
    text: String,
    context: Vec<Context>,
    explanation: Option<Explanation>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kind of an [`Error`], for `match`.
///
/// Several of the library's codes share a kind; [`Error::code`] keeps the exact one.
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

/// What was being done when an [`Error`] happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Finding and opening the library.
    Load,
    /// `VixDiskLib_InitEx`.
    Initialize,
    /// Having the library's control thread make a call, whichever it is.
    Control,
    /// Building [`ConnectParams`](crate::ConnectParams) and other arguments.
    Configure,
    /// `VixDiskLib_ConnectEx`.
    Connect,
    /// `VixDiskLib_Disconnect`.
    Disconnect,
    /// `VixDiskLib_GetConnectParams`.
    ConnectParams,
    /// `VixDiskLib_PrepareForAccess`.
    PrepareForAccess,
    /// `VixDiskLib_EndAccess`.
    EndAccess,
    /// `VixDiskLib_Cleanup`.
    Cleanup,
    /// `VixDiskLib_Open`.
    Open,
    /// `VixDiskLib_Close`.
    Close,
    /// `VixDiskLib_GetInfo`.
    Info,
    /// `VixDiskLib_Read` and `VixDiskLib_ReadAsync`.
    Read,
    /// `VixDiskLib_Write` and `VixDiskLib_WriteAsync`.
    Write,
    /// Zeroing sectors.
    WriteZeroes,
    /// Giving sectors back.
    Trim,
    /// `VixDiskLib_Wait` and `VixDiskLib_Flush`.
    Flush,
    /// `VixDiskLib_QueryAllocatedBlocks` and exact extents.
    Extents,
    /// Reading metadata.
    Metadata,
    /// `VixDiskLib_Create`.
    Create,
    /// `VixDiskLib_CreateChild`.
    CreateChild,
    /// `VixDiskLib_Unlink`.
    Unlink,
    /// `VixDiskLib_Grow`.
    Grow,
    /// `VixDiskLib_Shrink`.
    Shrink,
    /// `VixDiskLib_Defragment`.
    Defragment,
    /// `VixDiskLib_Rename`.
    Rename,
    /// `VixDiskLib_Clone`.
    Clone,
    /// `VixDiskLib_SpaceNeededForClone`.
    SpaceNeeded,
    /// `VixDiskLib_CheckRepair` that changes nothing.
    Check,
    /// `VixDiskLib_CheckRepair` that repairs.
    Repair,
    /// `VixDiskLib_IsAttachPossible` and `VixDiskLib_Attach`.
    Attach,
    /// `VixDiskLib_WriteMetadata`.
    WriteMetadata,
    /// Copying a disk.
    Copy,
    /// Serving a disk.
    Serve,
}

impl Operation {
    /// The operation as the start of a sentence: "opening disk".
    fn phrase(self) -> &'static str {
        match self {
            Self::Load => "loading library",
            Self::Initialize => "initialising the library",
            Self::Control => "calling the library",
            Self::Configure => "checking arguments",
            Self::Connect => "connecting",
            Self::Disconnect => "disconnecting",
            Self::ConnectParams => "reading the parameters of a connection",
            Self::PrepareForAccess => "preparing for access",
            Self::EndAccess => "ending access",
            Self::Cleanup => "cleaning up",
            Self::Open => "opening disk",
            Self::Close => "closing disk",
            Self::Info => "reading the properties of disk",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::WriteZeroes => "zeroing",
            Self::Trim => "trimming",
            Self::Flush => "flushing disk",
            Self::Extents => "querying the allocation of disk",
            Self::Metadata => "reading metadata of disk",
            Self::Create => "creating disk",
            Self::CreateChild => "creating child disk",
            Self::Unlink => "removing disk",
            Self::Grow => "growing disk",
            Self::Shrink => "shrinking disk",
            Self::Defragment => "defragmenting disk",
            Self::Rename => "renaming disk",
            Self::Clone => "cloning disk",
            Self::SpaceNeeded => "sizing a clone of disk",
            Self::Check => "checking disk",
            Self::Repair => "repairing disk",
            Self::Attach => "attaching disk",
            Self::WriteMetadata => "writing metadata of disk",
            Self::Copy => "copying",
            Self::Serve => "serving",
        }
    }
}

/// One circumstance of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Context {
    /// The disk, by the name it was opened with, or the library's path.
    Path(PathBuf),
    /// The sectors of the request.
    Sectors(SectorRange),
    /// The server of the connection.
    Server(String),
    /// The metadata key.
    Key(String),
    /// The reference of the snapshot that the connection is for.
    Snapshot(String),
    /// The transport of the open disk.
    Transport(Transport),
    /// The new name of a disk that is renamed, the name of its clone, or the disk that it is attached to.
    Target(PathBuf),
    /// How far a clean-up came.
    Cleaned(Cleaned),
}

impl Context {
    /// The place in a sentence.
    fn rank(&self) -> u8 {
        match self {
            Self::Sectors(_) => 0,
            Self::Path(_) => 1,
            Self::Target(_) => 2,
            Self::Key(_) => 3,
            Self::Snapshot(_) => 4,
            Self::Server(_) => 5,
            Self::Transport(_) => 6,
            Self::Cleaned(_) => 7,
        }
    }

    /// Whether it goes without saying.
    fn is_plain(&self) -> bool {
        matches!(self, Self::Transport(mode) if *mode == Transport::FILE)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(formatter, "\"{}\"", path.display()),
            Self::Sectors(range) => write!(formatter, "sectors {range}"),
            Self::Server(name) => write!(formatter, "at {name}"),
            Self::Key(key) => write!(formatter, "key {key:?}"),
            Self::Snapshot(moref) => write!(formatter, "of {moref}"),
            Self::Transport(mode) => write!(formatter, "over {mode}"),
            Self::Target(path) => write!(formatter, "to \"{}\"", path.display()),
            Self::Cleaned(cleaned) => write!(
                formatter,
                "({} cleaned up, {} remaining)",
                cleaned.cleaned_up, cleaned.remaining
            ),
        }
    }
}

/// The library's own log lines as the source of an error.
#[derive(Debug)]
struct Explanation(Vec<LogLine>);

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Lines of other threads may belong to other calls: they are kept, but explain only when nothing else does.
        let own = self.0.iter().any(|line| !line.other_thread());
        let lines = self.0.iter().filter(|line| !own || !line.other_thread());
        for (index, line) in lines.enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{}", line.text())?;
        }
        Ok(())
    }
}

impl std::error::Error for Explanation {}

impl Error {
    #[cold]
    fn build(kind: ErrorKind, operation: Operation, text: String) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            code: None,
            text,
            context: Vec::new(),
            explanation: None,
            cause: None,
        }))
    }

    /// An error that this crate found before the library saw the call.
    #[cold]
    pub(crate) fn new(kind: ErrorKind, operation: Operation, text: impl Into<String>) -> Self {
        Self::build(kind, operation, text.into())
    }

    /// An error code that the library returned, with its text and what it logged meanwhile.
    #[cold]
    pub(crate) fn from_code(
        operation: Operation,
        code: VixError,
        text: String,
        lines: Vec<LogLine>,
    ) -> Self {
        let mut error = Self::build(kind_of(code), operation, text);
        error.0.code = Some(code);
        error.0.explanation = (!lines.is_empty()).then_some(Explanation(lines));
        error
    }

    pub(crate) fn with_cause(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds a circumstance in its place; what is known already stays, as the innermost caller knows best.
    pub(crate) fn with_context(mut self, context: Context) -> Self {
        let rank = context.rank();
        let known = &mut self.0.context;
        if known.iter().all(|known| known.rank() != rank) {
            let place = known.partition_point(|known| known.rank() < rank);
            known.insert(place, context);
        }
        self
    }

    pub(crate) fn with_path(self, path: impl Into<PathBuf>) -> Self {
        self.with_context(Context::Path(path.into()))
    }

    pub(crate) fn with_range(self, range: SectorRange) -> Self {
        self.with_context(Context::Sectors(range))
    }

    /// The kind, for `match`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The library's code, whole, or `None` if this crate refused the call before the library saw it.
    #[must_use]
    pub fn code(&self) -> Option<VixError> {
        self.0.code
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The circumstances as far as they are known, in the order of [`Display`](fmt::Display); never a secret.
    #[must_use]
    pub fn context(&self) -> &[Context] {
        &self.0.context
    }

    fn find<'a, T>(&'a self, pick: impl Fn(&'a Context) -> Option<T>) -> Option<T> {
        self.0.context.iter().find_map(pick)
    }

    /// The disk, by the name it was opened with, or the library's path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.find(|context| match context {
            Context::Path(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// The server of the connection; `None` for the files of this machine.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.find(|context| match context {
            Context::Server(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The sectors of the request that failed: of a long one, of the part that failed.
    #[must_use]
    pub fn sectors(&self) -> Option<SectorRange> {
        self.find(|context| match context {
            Context::Sectors(range) => Some(*range),
            _ => None,
        })
    }

    /// The transport of the disk, once it is open.
    #[must_use]
    pub fn transport(&self) -> Option<&Transport> {
        self.find(|context| match context {
            Context::Transport(mode) => Some(mode),
            _ => None,
        })
    }

    /// What the library logged during the call, at most 32 lines: first the last ones of the calling thread, then the last
    /// ones that other threads wrote meanwhile, then lines that are known to mean nothing.
    #[must_use]
    pub fn log_lines(&self) -> &[LogLine] {
        self.0
            .explanation
            .as_ref()
            .map_or(&[], |explanation| &explanation.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        formatter.write_str(inner.operation.phrase())?;
        for context in inner.context.iter().filter(|context| !context.is_plain()) {
            write!(formatter, " {context}")?;
        }
        write!(formatter, " failed: {}", inner.text)?;
        match inner.code {
            None => Ok(()),
            Some(code) => match code.name() {
                Some(name) => write!(formatter, " ({name}, {:#x})", code.0),
                None => write!(formatter, " (code {:#x})", code.0),
            },
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        formatter
            .debug_struct("Error")
            .field("kind", &inner.kind)
            .field("operation", &inner.operation)
            .field("code", &inner.code)
            .field("text", &inner.text)
            .field("context", &inner.context)
            .field("log_lines", &self.log_lines())
            .field("cause", &inner.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Some(cause) = &self.0.cause {
            return Some(&**cause);
        }
        self.0
            .explanation
            .as_ref()
            .map(|explanation| explanation as &(dyn std::error::Error + 'static))
    }
}

/// Which kind a code belongs to. The high bits are detail without a published layout, so only the low 16 decide.
fn kind_of(code: VixError) -> ErrorKind {
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

#[cfg(test)]
mod tests {
    use super::*;
    use disk_units::{Sector, SectorCount};
    use std::error::Error as _;

    fn range() -> SectorRange {
        SectorRange::new(Sector::new(2048), SectorCount::new(8)).expect("fits")
    }

    #[test]
    fn a_result_is_one_word() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn display_names_operation_object_text_and_code() {
        let error = Error::from_code(
            Operation::Read,
            VixError::DISK_OUTOFRANGE,
            "out of range".into(),
            Vec::new(),
        )
        .with_range(range())
        .with_path("/vm/a.vmdk");
        let code = VixError::DISK_OUTOFRANGE.0;
        assert_eq!(
            error.to_string(),
            format!(
                "reading sectors 2048..2056 \"/vm/a.vmdk\" failed: out of range (VIX_E_DISK_OUTOFRANGE, {code:#x})"
            )
        );
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert!(error.source().is_none());
    }

    #[test]
    fn high_bits_do_not_hide_the_kind_and_survive_in_the_code() {
        let code = VixError(VixError::FILE_NOT_FOUND.0 | 7 << 32);
        let error = Error::from_code(Operation::Open, code, "gone".into(), Vec::new());
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.code(), Some(code));
    }

    #[test]
    fn the_own_thread_explains_and_others_only_when_it_is_silent() {
        let lines = vec![
            LogLine::for_test("mine", false),
            LogLine::for_test("theirs", true),
        ];
        let error = Error::from_code(Operation::Open, VixError::FAIL, "unknown".into(), lines);
        assert_eq!(error.source().expect("explained").to_string(), "mine");
        assert_eq!(error.log_lines().len(), 2);

        let lines = vec![LogLine::for_test("theirs", true)];
        let error = Error::from_code(Operation::Open, VixError::FAIL, "unknown".into(), lines);
        assert_eq!(error.source().expect("explained").to_string(), "theirs");
    }
}
