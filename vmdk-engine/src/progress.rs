//! How far a long operation is, and whether it is still wanted.

use std::ops::ControlFlow;

use disk_units::ByteLen;

use crate::error::{Cause, Error, ErrorKind};

/// How far a long operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of work done; never less than in an earlier report.
    pub done: ByteLen,
    /// Bytes of work in all; 0 if there is nothing to do.
    pub total: ByteLen,
}

impl Progress {
    pub(crate) fn new(done: ByteLen, total: ByteLen) -> Self {
        let done = done.min(total);
        Self { done, total }
    }

    /// The same in percent, 0 to 100; 100 only when all is done.
    #[must_use]
    pub fn percent(self) -> u8 {
        let (done, total) = (u128::from(self.done.get()), u128::from(self.total.get()));
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        u8::try_from(percent).unwrap_or(100)
    }
}

/// Who is told of progress, on the thread of the caller, and may cancel: [`ControlFlow::Break`] ends the operation with
/// [`Cancelled`](crate::ErrorKind::Cancelled).
pub type Watcher<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// The watcher of those who wait for the end.
pub fn unwatched(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The watcher broke off.
#[derive(Debug, thiserror::Error)]
#[error("it was cancelled")]
struct Cancelled;

impl Cause for Cancelled {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Cancelled
    }
}

/// Tells the watcher; an error if it wants no more.
pub(crate) fn report(watcher: Watcher<'_>, done: ByteLen, total: ByteLen) -> Result<(), Error> {
    match watcher(Progress::new(done, total)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Cancelled.into()),
    }
}

/// A piece of work whose watcher is told how far it is.
pub(crate) struct Work<'a> {
    watcher: Watcher<'a>,
    done: ByteLen,
    total: ByteLen,
}

impl<'a> Work<'a> {
    /// Tells the watcher at once that nothing is done yet.
    pub(crate) fn begin(total: ByteLen, watcher: Watcher<'a>) -> Result<Self, Error> {
        Self::begin_behind(ByteLen::ZERO, total, watcher)
    }

    /// The same where so much is done already.
    pub(crate) fn begin_behind(
        done: ByteLen,
        total: ByteLen,
        watcher: Watcher<'a>,
    ) -> Result<Self, Error> {
        report(&mut *watcher, done, total)?;
        Ok(Self {
            watcher,
            done,
            total,
        })
    }

    /// So much more is done.
    pub(crate) fn advance(&mut self, bytes: ByteLen) -> Result<(), Error> {
        self.done = self.done.checked_add(bytes).unwrap_or(self.total);
        report(&mut *self.watcher, self.done, self.total)
    }

    /// All is done; whether the watcher would have gone on does not matter any more.
    pub(crate) fn finish(self) {
        let _ = (self.watcher)(Progress::new(self.total, self.total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_means_done() {
        let percent =
            |done, total| Progress::new(ByteLen::new(done), ByteLen::new(total)).percent();
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(0, 7), 0);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(1000, 1000), 100);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
        assert_eq!(percent(8, 7), 100);
    }

    #[test]
    fn breaking_off_is_an_error_of_its_own_kind() {
        let mut watcher = |_: Progress| ControlFlow::Break(());
        let error = report(&mut watcher, ByteLen::ZERO, ByteLen::new(1)).expect_err("broken off");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
