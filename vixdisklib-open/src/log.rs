//! What the library tells its caller besides return codes.

use std::fmt;
use std::sync::Arc;

/// Takes one line, without its newline.
pub(crate) type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// How important a line is: the numbers of `vixDiskLib.transport.LogLevel`, most important first (source: Virtual Disk
/// Programming Guide).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Panic,
    Error,
    Warning,
    /// What VDDK writes unless it is told otherwise.
    #[default]
    Audit,
    Info,
    Verbose,
    Trivia,
}

impl Level {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Panic,
            1 => Self::Error,
            2 => Self::Warning,
            3 => Self::Audit,
            4 => Self::Info,
            5 => Self::Verbose,
            6 => Self::Trivia,
            _ => return None,
        })
    }
}

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
    /// The least important lines that the caller wants to have.
    pub(crate) level: Level,
}

impl Log {
    /// A line that is good to know.
    pub(crate) fn note(&self, line: &str) {
        self.write(Level::Audit, &self.note, line);
    }

    /// A line that somebody should look at.
    pub(crate) fn warn(&self, line: &str) {
        self.write(Level::Warning, &self.warn, line);
    }

    /// A line that explains why a call failed.
    pub(crate) fn error(&self, line: &str) {
        self.write(Level::Error, &self.warn, line);
    }

    /// A line about a mistake in this library. No level keeps it back.
    pub(crate) fn mistake(&self, line: &str) {
        self.write(Level::Panic, &self.warn, line);
    }

    fn write(&self, level: Level, sink: &Option<Sink>, line: &str) {
        if level <= self.level
            && let Some(sink) = sink
        {
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
            .field("level", &self.level)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// What a caller who wants this much hears, of one line of each kind.
    fn heard(level: u8) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = |name: &'static str| -> Option<Sink> {
            let lines = Arc::clone(&lines);
            Some(Arc::new(move |line| {
                lines.lock().push(format!("{name} {line}"));
            }))
        };
        let log = Log {
            note: sink("log:"),
            warn: sink("warn:"),
            level: Level::from_number(level).expect("a level"),
        };
        log.note("note");
        log.warn("warning");
        log.error("error");
        log.mistake("mistake");
        lines.lock().clone()
    }

    #[test]
    fn a_level_keeps_less_important_lines_back() {
        let all = ["log: note", "warn: warning", "warn: error", "warn: mistake"];
        assert_eq!(heard(0), all[3..]);
        assert_eq!(heard(1), all[2..]);
        assert_eq!(heard(2), all[1..]);
        for level in 3..=6 {
            assert_eq!(heard(level), all, "{level}");
        }
        assert_eq!(Level::from_number(7), None);
        assert_eq!(Level::default(), Level::from_number(3).expect("a level"));
    }
}
