//! Making a copy durable while it grows, so that the device works before the end too.

use std::sync::mpsc::{self, Receiver, SyncSender};
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
    pub(super) fn note(&mut self, bytes: usize) {
        self.pending = self.pending.saturating_add(bytes);
        if self.pending >= STEP
            && let Some(orders) = &self.orders
            && orders.try_send(()).is_ok()
        {
            self.pending = 0;
        }
    }

    /// Ends, and tells what went wrong: the system tells of a write that it has lost only once.
    pub(super) fn end(self) -> Result<(), Error> {
        drop(self.orders);
        match self.thread.map(ScopedJoinHandle::join) {
            // The panic goes on when the scope ends.
            None | Some(Err(_)) => Ok(()),
            Some(Ok(result)) => result,
        }
    }
}

fn run(target: &Disk, orders: &Receiver<()>) -> Result<(), Error> {
    orders.iter().try_for_each(|()| target.flush())
}
