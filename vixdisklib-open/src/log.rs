//! What the library tells its caller besides return codes.

use std::fmt;
use std::sync::Arc;

/// Takes one line, without its newline.
pub(crate) type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// Where the caller wants log lines to go. A missing sink swallows its lines; VDDK would write a log file of its own
/// then, this library writes none.
///
/// A sink may block, take locks and its time, so it must never be called with a lock of ours held. What lies below the
/// ABI therefore returns what it has to say, in a [`Failure`](crate::error::Failure), and the outermost frame logs.
///
/// The caller's third function, for panics, is never called: a caller may well end its process there, and nothing
/// that this library runs into is worth that.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) note: Option<Sink>,
    pub(crate) warn: Option<Sink>,
}

impl Log {
    /// A line that is good to know.
    pub(crate) fn note(&self, line: &str) {
        if let Some(sink) = &self.note {
            sink(line);
        }
    }

    /// A line that explains a failure, or that somebody should look at.
    pub(crate) fn warn(&self, line: &str) {
        if let Some(sink) = &self.warn {
            sink(line);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Log")
            .field("note", &self.note.is_some())
            .field("warn", &self.warn.is_some())
            .finish()
    }
}
