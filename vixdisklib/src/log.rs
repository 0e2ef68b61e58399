//! The library's log lines: to `tracing`, and into the errors that they explain.
//!
//! The library writes through C callbacks that have no user data, so the lines of a process meet in one bounded
//! ring. A call opens a [`Window`] before it enters the library; when the call fails, the window collects what was
//! written since, the calling thread's lines first.
//!
//! Two sorts of lines are demoted: those that are known to mean nothing, and those of calls that only try whether
//! something works ([`quietly`]). They are traced at the lowest level, and explain no error of another call.

pub(crate) mod callback;
#[cfg(test)]
mod freed;
pub(crate) mod redactor;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// How many lines an error carries at most.
const LINES_PER_ERROR: usize = 32;

/// How many lines the ring keeps; a noisy library may push an error's explanation out of it.
const RING_CAPACITY: usize = 256;

/// Lines that VDDK logs as errors although nothing is wrong: its usage reporting (manual of nbdkit's VDDK plugin).
const NOISE: &[&str] = &["Get CEIP status failed", "VDDK_PhoneHome:"];

thread_local! {
    /// Of this thread alone: others log about their own calls meanwhile.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Asked once a thread: every call opens a window.
    static THREAD: ThreadId = thread::current().id();
}

static NEXT: AtomicU64 = AtomicU64::new(0);
static RING: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());

struct Entry {
    number: u64,
    thread: ThreadId,
    level: LogLevel,
    demoted: bool,
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

/// Runs a call that may well fail; what the library logs about it on this thread is demoted.
pub(crate) fn quietly<R>(call: impl FnOnce() -> R) -> R {
    /// Puts it back even if the call unwinds.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            QUIET.set(self.0);
        }
    }
    let _restore = Restore(QUIET.replace(true));
    call()
}

/// Whether a line that this thread logs now is of no interest.
fn is_demoted(text: &str) -> bool {
    QUIET.get() || NOISE.iter().any(|noise| text.contains(noise))
}

/// Keeps a line for the errors of the calls that are running.
fn record(level: LogLevel, demoted: bool, text: String) {
    let thread = THREAD.with(|id| *id);
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
        demoted,
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
            thread: THREAD.with(|id| *id),
        }
    }

    /// The lines written since, at most 32: the own thread's first, then the others', each group in order; own lines that
    /// were demoted come last. Where there are more, the last of a group stay: a cause is logged near its effect.
    pub(crate) fn collect(self) -> Vec<LogLine> {
        let ring = RING.lock();
        let mut lines = Vec::new();
        for (own, demoted) in [(true, false), (false, false), (true, true)] {
            let room = LINES_PER_ERROR - lines.len();
            let group = ring.iter().filter(|entry| {
                entry.number >= self.first
                    && (entry.thread == self.thread) == own
                    && entry.demoted == demoted
            });
            let start = lines.len();
            lines.extend(group.rev().take(room).map(|entry| LogLine {
                level: entry.level,
                text: entry.text.clone(),
                other_thread: !own,
            }));
            lines[start..].reverse();
        }
        lines
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
        record(LogLevel::Log, false, "order before".to_owned());
        let window = Window::open();
        thread::spawn(|| record(LogLevel::Warn, false, "order other".to_owned()))
            .join()
            .expect("no panic");
        record(LogLevel::Log, false, "order own".to_owned());
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
            record(LogLevel::Log, false, format!("flood {number}"));
        }
        let kept = texts(window, "flood");
        assert_eq!(kept.len(), LINES_PER_ERROR);
        let last = format!("flood {}", 2 * RING_CAPACITY - 1);
        assert_eq!(
            kept.last(),
            Some(&(last, false)),
            "the cause is near the end"
        );
        assert!(RING.lock().len() <= RING_CAPACITY);
    }

    #[test]
    fn harmless_lines_come_last() {
        let window = Window::open();
        let log = |text: &str| record(LogLevel::Warn, is_demoted(text), text.to_owned());
        log("VDDK_PhoneHome: noise: cannot connect");
        log("noise: the cause");
        let lines = window.collect();
        let texts: Vec<_> = lines
            .iter()
            .filter(|line| !line.other_thread())
            .map(LogLine::text)
            .collect();
        assert_eq!(
            texts,
            ["noise: the cause", "VDDK_PhoneHome: noise: cannot connect"]
        );
        assert!(is_demoted("2026 error -[1] Get CEIP status failed: x"));
    }

    #[test]
    fn trying_is_quiet_on_its_own_thread_alone() {
        let window = Window::open();
        quietly(|| {
            assert!(is_demoted("trying"));
            thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(!is_demoted("trying"));
                    quietly(|| record(LogLevel::Warn, is_demoted(""), "trying: theirs".to_owned()));
                });
            });
            quietly(|| ());
            assert!(is_demoted("trying"), "nested");
            record(LogLevel::Warn, true, "trying: mine".to_owned());
        });
        assert!(!is_demoted("trying"));
        // What others only try is no explanation; what the own thread tried is.
        assert_eq!(
            texts(window, "trying"),
            [("trying: mine".to_owned(), false)]
        );
    }
}
