//! The one error type of this crate.

mod context;
mod hint;
mod kind;
mod location;
mod operation;
#[cfg(all(test, feature = "embedded"))]
mod remote;
mod retry;

use std::fmt;
use std::path::{Path, PathBuf};

use disk_units::SectorRange;
use vixdisklib_sys::VixError;

use crate::log::LogLine;
use crate::transport::Transport;

pub use context::Context;
pub use hint::Hint;
pub use kind::ErrorKind;
pub(crate) use location::Location;
pub use operation::Operation;
pub use retry::Retry;

use kind::kind_of;

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
