//! Which process this is. A library lives in the process that started it: a forked child has its memory, but not the
//! threads that it works with.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, ErrorKind, Operation, Result};

/// How often the way from the first process to this one forked. Only [`count_forks`] makes it count.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    forks: u32,
    id: u32,
}

impl Birth {
    /// This process, now.
    pub(crate) fn here() -> Self {
        Self {
            forks: FORKS.load(Ordering::Relaxed),
            id: process::id(),
        }
    }

    #[cfg(test)]
    pub(crate) fn elsewhere() -> Self {
        let here = Self::here();
        Self {
            forks: here.forks.wrapping_sub(1),
            ..here
        }
    }

    /// Whether this process is the one. It costs one load, for the entries of reads and writes; a fork that went past
    /// the C library, by a bare system call, goes unseen.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    /// Whether this process is the one, by its id too, which costs a system call.
    pub(crate) fn is_surely_here(self) -> bool {
        self.is_here() && self.id == process::id()
    }

    /// Refuses calls in a forked child, at the price of [`is_here`](Self::is_here).
    #[inline]
    pub(crate) fn check(self, operation: Operation) -> Result<()> {
        if self.is_here() {
            Ok(())
        } else {
            Err(forked(operation))
        }
    }

    /// Refuses calls in a forked child, at the price of [`is_surely_here`](Self::is_surely_here).
    pub(crate) fn check_surely(self, operation: Operation) -> Result<()> {
        if self.is_surely_here() {
            Ok(())
        } else {
            Err(forked(operation))
        }
    }
}

#[cold]
pub(crate) fn forked(operation: Operation) -> Error {
    let text = "the process was forked after the library was started; start the library in the process that uses it";
    Error::new(ErrorKind::Forked, operation, text)
}

/// Makes the process count its forks from now on.
pub(crate) fn count_forks() -> Result<()> {
    #[cfg(unix)]
    {
        use std::ffi::c_int;
        use std::sync::OnceLock;

        type Handler = Option<unsafe extern "C" fn()>;
        unsafe extern "C" {
            // POSIX: runs `child` in every child that `fork` makes. 0, or an error number.
            fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
        }
        unsafe extern "C" fn in_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }

        static REGISTERED: OnceLock<c_int> = OnceLock::new();
        // SAFETY: the signature is that of POSIX; the handler is a function, which lives for ever, and does only what
        // a forked child may: it adds to an atomic.
        let code =
            *REGISTERED.get_or_init(|| unsafe { pthread_atfork(None, None, Some(in_child)) });
        if code != 0 {
            let text = "the process cannot watch for forks";
            let cause = std::io::Error::from_raw_os_error(code);
            let error = Error::new(ErrorKind::OutOfMemory, Operation::Initialize, text);
            return Err(error.with_cause(cause));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_here_is_here() {
        count_forks().expect("registered");
        let birth = Birth::here();
        assert!(birth.is_here() && birth.is_surely_here());
        birth.check(Operation::Read).expect("here");
        birth.check_surely(Operation::Open).expect("here");
    }

    #[test]
    fn what_was_made_elsewhere_is_refused() {
        let here = Birth::here();
        let other = Birth {
            id: here.id + 1,
            ..here
        };
        let error = Birth::elsewhere()
            .check(Operation::Read)
            .expect_err("forked since");
        assert_eq!(error.kind(), ErrorKind::Forked);
        assert!(other.is_here() && !other.is_surely_here());
        let error = other.check_surely(Operation::Open).expect_err("another id");
        assert_eq!(error.kind(), ErrorKind::Forked);
    }
}
