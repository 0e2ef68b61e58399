//! The library's log lines: to `tracing`, and into the errors that they explain.
//!
//! The library writes through C callbacks that have no user data, so the lines of a process meet in one bounded
//! ring. A call opens a [`Window`] before it enters the library; when the call fails, the window collects what was
//! written since, the calling thread's lines first.

pub(crate) mod callback;
pub(crate) mod redactor;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// How many lines an error carries at most.
const LINES_PER_ERROR: usize = 32;

/// How many lines the ring keeps; a noisy library may push an error's explanation out of it.
const RING_CAPACITY: usize = 256;

static NEXT: AtomicU64 = AtomicU64::new(0);
static RING: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());

struct Entry {
    number: u64,
    thread: ThreadId,
    level: LogLevel,
    text: String,
}

/// How urgent the library calls a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Written through the log callback.
    Log,
    /// Written through the warn callback.
    Warn,
    /// Written through the panic callback.
    Panic,
}

/// One line that the library logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    level: LogLevel,
    text: String,
    other_thread: bool,
}

impl LogLine {
    /// The callback that the line came through.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.level
    }

    /// The text, without its line end; live secrets are replaced by `***`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether another thread than the caller's wrote the line while the call ran, so that it may belong to another
    /// call.
    #[must_use]
    pub fn other_thread(&self) -> bool {
        self.other_thread
    }

    #[cfg(test)]
    pub(crate) fn for_test(text: &str, other_thread: bool) -> Self {
        Self {
            level: LogLevel::Log,
            text: text.to_owned(),
            other_thread,
        }
    }
}

/// Keeps a line for the errors of the calls that are running.
pub(crate) fn record(level: LogLevel, text: String) {
    let thread = thread::current().id();
    let mut ring = RING.lock();
    if ring.len() == RING_CAPACITY {
        ring.pop_front();
    }
    // Numbered under the lock, so that the ring is ordered.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    ring.push_back(Entry {
        number,
        thread,
        level,
        text,
    });
}

/// The time of one call, counted in log lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    first: u64,
    thread: ThreadId,
}

impl Window {
    /// Starts a window on the thread that is about to call.
    pub(crate) fn open() -> Self {
        Self {
            first: NEXT.load(Ordering::Relaxed),
            thread: thread::current().id(),
        }
    }

    /// The lines written since, at most 32: the own thread's first, then the others'.
    pub(crate) fn collect(self) -> Vec<LogLine> {
        let ring = RING.lock();
        let since = || ring.iter().filter(|entry| entry.number >= self.first);
        let own = since().filter(|entry| entry.thread == self.thread);
        let others = since().filter(|entry| entry.thread != self.thread);
        let line = |entry: &Entry| LogLine {
            level: entry.level,
            text: entry.text.clone(),
            other_thread: entry.thread != self.thread,
        };
        own.chain(others).take(LINES_PER_ERROR).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a window, without those of tests that run beside this one.
    fn texts(window: Window, marker: &str) -> Vec<(String, bool)> {
        let lines = window.collect().into_iter();
        lines
            .filter(|line| line.text.starts_with(marker))
            .map(|line| (line.text, line.other_thread))
            .collect()
    }

    #[test]
    fn a_window_holds_its_own_lines_first_and_marks_the_others() {
        record(LogLevel::Log, "order before".to_owned());
        let window = Window::open();
        thread::spawn(|| record(LogLevel::Warn, "order other".to_owned()))
            .join()
            .expect("no panic");
        record(LogLevel::Log, "order own".to_owned());
        assert_eq!(
            texts(window, "order"),
            [
                ("order own".to_owned(), false),
                ("order other".to_owned(), true)
            ]
        );
    }

    #[test]
    fn a_flood_stays_bounded() {
        let window = Window::open();
        for number in 0..2 * RING_CAPACITY {
            record(LogLevel::Log, format!("flood {number}"));
        }
        assert!(texts(window, "flood").len() <= LINES_PER_ERROR);
        assert!(RING.lock().len() <= RING_CAPACITY);
    }
}
