//! How far a long operation is, in the percentages that callers hear.

use std::cell::Cell;
use std::ops::ControlFlow;

use vmdk_engine::{Progress, Watcher};

use crate::error::Failure;

/// Hears of percentages, on the thread of the call.
pub(crate) type Listener<'a> = &'a mut dyn FnMut(u8);

thread_local! {
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a progress function of the caller runs on this thread, which means that it made the call. What the
/// operation holds meanwhile it must not wait for.
pub(crate) fn is_telling() -> bool {
    IS_TELLING.get()
}

/// Runs an operation, and tells how far it is: from 0 on, each percentage at most once and none after a higher one.
/// 100 means that it has succeeded, so a failed one never gets there.
pub(crate) fn followed<T>(
    listener: Listener<'_>,
    operation: impl FnOnce(Watcher<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut told = Told { listener, next: 0 };
    let done = operation(&mut |progress: Progress| {
        told.tell(progress.percent().min(99));
        ControlFlow::Continue(())
    })?;
    told.tell(100);
    Ok(done)
}

/// What a listener was told.
struct Told<'a> {
    listener: Listener<'a>,
    /// The lowest percentage that it has not heard of.
    next: u8,
}

impl Told<'_> {
    fn tell(&mut self, percent: u8) {
        let first = if self.next == 0 { 0 } else { percent };
        for percent in [first, percent] {
            if percent >= self.next {
                self.next = percent + 1;
                let _telling = Telling::begin();
                (self.listener)(percent);
            }
        }
    }
}

/// While one lives, this thread runs a progress function.
struct Telling {
    outer: bool,
}

impl Telling {
    fn begin() -> Self {
        Self {
            outer: IS_TELLING.replace(true),
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        IS_TELLING.set(self.outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vixdisklib_sys::VixError;

    fn heard(percentages: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut listener = |percent| {
            assert!(is_telling());
            heard.push(percent);
        };
        let mut told = Told {
            listener: &mut listener,
            next: 0,
        };
        for percent in percentages {
            told.tell(*percent);
        }
        assert!(!is_telling());
        heard
    }

    #[test]
    fn percentages_begin_with_0_rise_and_end_with_100() {
        assert_eq!(heard(&[100]), [0, 100]);
        assert_eq!(heard(&[0, 0, 7, 7, 3, 99, 99, 100]), [0, 7, 99, 100]);
        assert_eq!(heard(&[40, 100]), [0, 40, 100]);
    }

    #[test]
    fn success_alone_is_100() {
        let mut heard = Vec::new();
        let failed: Result<(), Failure> = followed(&mut |percent| heard.push(percent), |_| {
            Err(Failure::silent(VixError::FAIL))
        });
        assert!(failed.is_err());
        assert_eq!(heard, [0; 0]);
        let done = followed(&mut |percent| heard.push(percent), |_| Ok(7));
        assert_eq!(done.map_err(|failure| failure.code()), Ok(7));
        assert_eq!(heard, [0, 100]);
    }
}
