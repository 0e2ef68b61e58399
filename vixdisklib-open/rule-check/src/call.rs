//! One call of the library, as messages tell of it.

use std::fmt;

/// A thread, by the number that the system shows for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thread(pub(crate) u64);

impl Thread {
    /// The thread that runs this.
    #[cfg(target_os = "linux")]
    pub(crate) fn current() -> Self {
        Self(u64::from(
            rustix::thread::gettid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs(),
        ))
    }

    /// The thread that runs this: elsewhere the threads that come here are counted.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn current() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        Self(NUMBER.with(|number| *number))
    }

    /// Whether it is the main thread of the process; `None` where that cannot be told.
    pub(crate) fn is_main(self) -> Option<bool> {
        cfg!(target_os = "linux").then(|| self.0 == u64::from(std::process::id()))
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "thread {}", self.0)
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Calls are counted from 1 in the order in which they came.
    pub(crate) number: u64,
    /// The C name without its prefix.
    pub(crate) function: &'static str,
    /// Handles, addresses, numbers and paths; never a secret.
    pub(crate) arguments: String,
    pub(crate) thread: Thread,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "#{} VixDiskLib{}({}) on {}",
            self.number, self.function, self.arguments, self.thread
        )
    }
}
