//! What an open disk does alone: other calls on its handle wait until it is done.

use std::path::Path;
use std::sync::Arc;

use vixdisklib_sys::VixError;
use vmdk_engine::{Disk, DiskKind};

use super::{OpenDisk, State};
use crate::error::Failure;
use crate::medium::local_options;
use crate::progress::{Listener, followed};
use crate::workers::Workers;

impl OpenDisk {
    /// Gives back the space of zeros.
    pub(crate) fn shrink(&self, workers: &Workers, listener: Listener<'_>) -> Result<(), Failure> {
        self.exclusively(workers, |mut engine| {
            let result = followed(listener, |watcher| {
                engine.shrink(watcher).map_err(|error| self.explain(&error))
            });
            (State::local(engine), result)
        })
    }

    /// Puts grains in order.
    pub(crate) fn defragment(
        &self,
        workers: &Workers,
        listener: Listener<'_>,
    ) -> Result<(), Failure> {
        self.exclusively(workers, |mut engine| {
            let result = followed(listener, |watcher| {
                engine
                    .defragment(watcher)
                    .map_err(|error| self.explain(&error))
            });
            (State::local(engine), result)
        })
    }

    /// Makes a child of this disk, which is only read from then on: a write would make the child useless.
    pub(crate) fn create_child(
        &self,
        path: &Path,
        kind: DiskKind,
        workers: &Workers,
        listener: Listener<'_>,
    ) -> Result<(), Failure> {
        let mut make = |engine: &Disk| {
            followed(listener, |watcher| {
                engine
                    .create_child(path, kind, watcher)
                    .map_err(|error| Failure::engine(path, &error))
            })
        };
        if !self.mode.writable {
            return self.with_engine(make);
        }
        self.exclusively(workers, |engine| {
            if !engine.is_writable() {
                let result = make(&engine);
                return (State::local(engine), result);
            }
            if self.is_attached(&engine) {
                let failure = Failure::new(
                    VixError::NOT_SUPPORTED,
                    format!(
                        "{:?} was attached to its parent for writing; a child needs it open for reading",
                        self.path
                    ),
                );
                return (State::local(engine), Err(failure));
            }
            let engine = match self.reopened(engine, false) {
                Ok(engine) => engine,
                Err(failure) => return (State::Closed, Err(failure)),
            };
            match make(&engine) {
                Ok(()) => (State::local(engine), Ok(())),
                Err(failure) => match self.reopened(engine, true) {
                    Ok(engine) => (State::local(engine), Err(failure)),
                    Err(worse) => (State::Closed, Err(worse)),
                },
            }
        })
    }

    /// Puts `child`, which was opened alone, on top of `parent`. Once that is tried the parent can only be closed.
    pub(crate) fn attach(
        parent: &Arc<Self>,
        child: &Arc<Self>,
        workers: &Workers,
    ) -> Result<(), Failure> {
        expect_two(parent, child)?;
        // One lock at a time, so that nobody who wants both the other way round can be in the way.
        let mut spent = Some(parent.spend()?);
        let result = child.exclusively(workers, |engine| {
            let below = spent.take().expect("spent above, and taken once");
            match engine.attach(below) {
                Ok(joined) => (State::local(joined), Ok(())),
                Err(error) => {
                    let failure = child.explain(error.error());
                    let (engine, below) = error.into_disks();
                    spent = Some(below);
                    (State::local(engine), Err(failure))
                }
            }
        });
        if let Some(engine) = spent {
            parent.keep_until_closed(engine);
        }
        result
    }

    /// Whether [`attach`](Self::attach) would succeed; changes nothing.
    pub(crate) fn check_attach(parent: &Arc<Self>, child: &Arc<Self>) -> Result<(), Failure> {
        expect_two(parent, child)?;
        // In one order whoever asks: the same question the other way round must not wait for this one, and this one
        // for that.
        let (below, above) = if Arc::as_ptr(parent) < Arc::as_ptr(child) {
            let below = parent.state.read();
            (below, child.state.read())
        } else {
            let above = child.state.read();
            (parent.state.read(), above)
        };
        above
            .engine()?
            .can_attach(below.engine()?)
            .map_err(|error| child.explain(&error).expected())
    }

    /// The engine of a disk that becomes a part of another one.
    fn spend(&self) -> Result<Disk, Failure> {
        self.requests.wait();
        self.state.write().take(State::Spent(None))
    }

    /// Takes the engine back, for the sake of closing it properly.
    fn keep_until_closed(&self, engine: Disk) {
        let mut state = self.state.write();
        // Where another thread was faster, the engine closes the disk when it is dropped.
        if matches!(*state, State::Spent(None)) {
            *state = State::Spent(Some(engine));
        }
    }

    /// The same disk for reading only, or for writing again.
    fn reopened(&self, engine: Disk, writable: bool) -> Result<Disk, Failure> {
        // The name that it was opened by may be relative, or a link, and lead to another disk by now.
        let path = engine.path().to_owned();
        engine.close().map_err(|error| self.explain(&error))?;
        let options = local_options(self.mode).writable(writable);
        Disk::open(path, &options).map_err(|error| self.explain(&error))
    }

    /// Runs an operation that takes the engine and says what becomes of the handle, after everything that runs on the
    /// disk has ended. If it panics the disk is closed.
    fn exclusively<T>(
        &self,
        workers: &Workers,
        operation: impl FnOnce(Disk) -> (State, Result<T, Failure>),
    ) -> Result<T, Failure> {
        let hold = workers.hold(&self.requests);
        hold.wait();
        let mut state = self.state.write();
        let (after, result) = operation(state.take(State::Closed)?);
        *state = after;
        result
    }
}

fn expect_two(parent: &Arc<OpenDisk>, child: &Arc<OpenDisk>) -> Result<(), Failure> {
    if Arc::ptr_eq(parent, child) {
        return Err(Failure::new(
            VixError::DISK_INVALIDCHAIN,
            format!("{:?} cannot be its own parent", parent.path),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use disk_units::SectorCount;
    use vmdk_engine::{CreateOptions, unwatched};

    use super::*;
    use crate::mode::Mode;

    #[test]
    fn a_panic_in_an_operation_closes_the_disk_and_harms_nothing_else() {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("disk.vmdk");
        let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(2048));
        Disk::create(&path, &options, &mut unwatched)
            .and_then(Disk::close)
            .expect("made");
        let mode = Mode {
            writable: true,
            ..Mode::default()
        };
        let disk = OpenDisk::open(&path, mode).expect("opened");
        let workers = Workers::default();
        let shrink = || disk.shrink(&workers, &mut |_| panic!("injected by a test"));
        assert!(catch_unwind(AssertUnwindSafe(shrink)).is_err());
        let failure = disk.info().expect_err("closed");
        assert_eq!(failure.code(), VixError::INVALID_HANDLE);

        // Nothing is locked or flagged any more.
        let again = OpenDisk::open(&path, mode).expect("opened");
        let mut last = 0;
        again
            .shrink(&workers, &mut |percent| last = percent)
            .expect("a whole disk");
        assert_eq!(last, 100);
        again.close().expect("closed");
    }
}
