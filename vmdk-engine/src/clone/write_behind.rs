//! Making a copy durable while it grows, so that the device works before the end too.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::disk::Disk;
use crate::error::Error;
use crate::info::DiskKind;

/// Bytes that are written between two flushes, if the device keeps up.
const STEP: usize = 8 << 20;

/// A thread that flushes a disk again and again.
pub(super) struct WriteBehind<'scope> {
    /// Both are missing where there is nothing to do, or no thread to do it.
    orders: Option<SyncSender<()>>,
    thread: Option<ScopedJoinHandle<'scope, Result<(), Error>>>,
    pending: usize,
}

impl<'scope> WriteBehind<'scope> {
    /// Begins for `target`. A stream is not flushed: it would wait for the grains that are being compressed.
    pub(super) fn begin<'env>(scope: &'scope Scope<'scope, 'env>, target: &'env Disk) -> Self {
        let mut behind = Self {
            orders: None,
            thread: None,
            pending: 0,
        };
        if target.info().kind == DiskKind::StreamOptimized {
            return behind;
        }
        let (orders, taken) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("vmdk-flusher".to_owned());
        if let Ok(thread) = thread.spawn_scoped(scope, move || run(target, &taken)) {
            behind.orders = Some(orders);
            behind.thread = Some(thread);
        }
        behind
    }

    /// Notes that so many bytes were written.
    ///
    /// # Errors
    /// That of a flush: what was written is lost, so that there is no point in writing more.
    pub(super) fn note(&mut self, bytes: usize) -> Result<(), Error> {
        self.pending = self.pending.saturating_add(bytes);
        if self.pending >= STEP
            && let Some(orders) = &self.orders
        {
            match orders.try_send(()) {
                Ok(()) => self.pending = 0,
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => return self.end(),
            }
        }
        Ok(())
    }

    /// Ends, and tells once what went wrong: the system, too, tells of a write that it has lost only once.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.orders = None;
        match self.thread.take().map(ScopedJoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            // The scope does not pass on the panic of a thread that was joined.
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}

fn run(target: &Disk, orders: &Receiver<()>) -> Result<(), Error> {
    orders.iter().try_for_each(|()| target.flush())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::error::IoFault;

    #[test]
    fn a_flush_that_fails_ends_the_copy() {
        thread::scope(|scope| {
            let (orders, taken) = mpsc::sync_channel(1);
            let mut behind = WriteBehind {
                orders: Some(orders),
                thread: Some(scope.spawn(move || {
                    taken.recv().expect("an order");
                    Err(IoFault::new("flushing", io::Error::other("lost")).into())
                })),
                pending: 0,
            };
            behind.note(STEP - 1).expect("too little for an order");
            behind.note(1).expect("ordered, and not done");
            while !behind.thread.as_ref().expect("not ended").is_finished() {
                thread::yield_now();
            }
            behind.note(STEP - 1).expect("nothing to order");
            behind.note(1).expect_err("lost");
            behind.end().expect("told already");
        });
    }

    #[test]
    #[should_panic(expected = "injected by a test")]
    fn a_panic_goes_on() {
        thread::scope(|scope| {
            let mut behind = WriteBehind {
                orders: None,
                thread: Some(scope.spawn(|| panic!("injected by a test"))),
                pending: 0,
            };
            behind.end().expect("no error either");
        });
    }
}
