//! Files that are open only while they are used, so that a disk of thousands of extents needs few descriptors.
//!
//! The first files of a chain stay open. Each further one is in a pool: it is closed when it has not been used for
//! longest and another one is needed, and opened again, after a check that it is still the same file, when it is used
//! again. What was written to it is made durable before it is closed, since an error in that would be told to nobody
//! otherwise; if that fails, the file takes no more writes, and says so when it is to be made durable.
//!
//! The lock of a file in the pool ends when it is closed, and is taken again with it. The files that stay open, that of
//! the descriptor among them, and the lock folders keep others out meanwhile.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use disk_units::ByteLen;
use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Storage;

/// So many files of a chain stay open, besides the descriptors.
const ALWAYS_OPEN: usize = 64;
/// So many of the others are open at a time, and one more for each thread that is using one.
const OPEN_AT_A_TIME: usize = 64;

/// Somebody who only tries to get a file has it locked for a moment.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Opens a file again, and makes sure that it is the same one.
pub(crate) type Reopen = Box<dyn Fn() -> io::Result<Arc<dyn Storage>> + Send + Sync>;

/// The files of one chain.
#[derive(Debug)]
pub(crate) struct FilePool {
    limit: usize,
    /// How many more files may stay open.
    kept: AtomicUsize,
    /// Each open file once; the one that was opened first, first.
    open: Mutex<VecDeque<Arc<Slot>>>,
}

impl FilePool {
    pub(crate) fn new() -> Self {
        Self::with_limits(ALWAYS_OPEN, OPEN_AT_A_TIME)
    }

    fn with_limits(kept: usize, limit: usize) -> Self {
        Self {
            limit,
            kept: AtomicUsize::new(kept),
            open: Mutex::default(),
        }
    }

    /// Closes a file, if that is needed for another one to be opened.
    pub(crate) fn make_room(&self) {
        let mut chances = self.limit.saturating_mul(3);
        loop {
            let mut open = self.open.lock();
            if open.len() < self.limit || chances == 0 {
                return;
            }
            chances = chances.saturating_sub(1);
            let Some(oldest) = open.pop_front() else {
                return;
            };
            drop(open);
            if !oldest.try_close() {
                self.open.lock().push_back(oldest);
            }
        }
    }

    /// Takes care of a file that was just opened.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        storage: Arc<dyn Storage>,
        reopen: impl FnOnce() -> Reopen,
    ) -> Arc<dyn Storage> {
        let take_one = |kept: usize| kept.checked_sub(1);
        let stays = self
            .kept
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one);
        if stays.is_ok() {
            return storage;
        }
        let slot = Arc::new(Slot {
            file: RwLock::new(Some(storage)),
            reopen: reopen(),
            is_used: AtomicBool::new(false),
            is_dirty: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            syncing: Mutex::default(),
            lock: Mutex::new(None),
        });
        self.open.lock().push_back(Arc::clone(&slot));
        let pool = Arc::clone(self);
        Arc::new(PooledStorage { pool, slot })
    }
}

/// The locks that a file can have.
#[derive(Clone, Copy, Debug)]
enum Lock {
    Exclusive,
    Shared,
}

impl Lock {
    fn try_take(self, file: &dyn Storage) -> io::Result<bool> {
        match self {
            Self::Exclusive => file.try_lock(),
            Self::Shared => file.try_lock_shared(),
        }
    }
}

/// A file that may be open. Who uses it shares the lock of `file`; who opens or closes it has that alone.
struct Slot {
    file: RwLock<Option<Arc<dyn Storage>>>,
    reopen: Reopen,
    /// Since the pool last looked for a file to close.
    is_used: AtomicBool,
    /// There may be changes that are not durable.
    is_dirty: AtomicBool,
    /// Changes could not be made durable when the file was closed.
    is_lost: AtomicBool,
    syncing: Mutex<()>,
    /// To be taken again when the file is opened again.
    lock: Mutex<Option<Lock>>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Slot")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Slot {
    /// Closes the file unless it is in use; `true` if it is closed now.
    fn try_close(&self) -> bool {
        let Some(mut file) = self.file.try_write() else {
            return false;
        };
        if file.is_some() && self.is_used.swap(false, Ordering::Relaxed) {
            return false;
        }
        if let Some(file) = file.take()
            && self.is_dirty.swap(false, Ordering::AcqRel)
            && let Err(error) = file.sync_data()
        {
            tracing::warn!(%error, "what was written to a file could not be made durable before closing it");
            self.is_lost.store(true, Ordering::Release);
        }
        true
    }

    fn open_again(&self) -> io::Result<Arc<dyn Storage>> {
        let file = (self.reopen)()?;
        let Some(lock) = *self.lock.lock() else {
            return Ok(file);
        };
        for _ in 0..LOCK_TRIES {
            match lock.try_take(&*file) {
                Ok(false) => thread::sleep(LOCK_PAUSE),
                Ok(true) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(
            "another program has taken the file while it was not in use",
        ))
    }

    fn check(&self) -> io::Result<()> {
        if self.is_lost.load(Ordering::Acquire) {
            return Err(io::Error::other(
                "what was written to the file before could not be made durable",
            ));
        }
        Ok(())
    }
}

/// A file of a pool.
#[derive(Debug)]
struct PooledStorage {
    pool: Arc<FilePool>,
    slot: Arc<Slot>,
}

impl PooledStorage {
    /// The file, open as long as the result lives.
    fn file(&self) -> io::Result<MappedRwLockReadGuard<'_, dyn Storage>> {
        self.slot.is_used.store(true, Ordering::Relaxed);
        let is_open = |file: &Option<Arc<dyn Storage>>| file.is_some();
        let mut guard = self.slot.file.read();
        if !is_open(&guard) {
            drop(guard);
            self.pool.make_room();
            let mut file = self.slot.file.write();
            if !is_open(&file) {
                *file = Some(self.slot.open_again()?);
                self.pool.open.lock().push_back(Arc::clone(&self.slot));
            }
            guard = RwLockWriteGuard::downgrade(file);
        }
        RwLockReadGuard::try_map(guard, |file| file.as_deref())
            .map_err(|_| io::Error::other("the file was closed while it was in use"))
    }

    /// Changes the file. That is noted behind the change, so that no sync in between can take it for its own, and
    /// before anybody can close the file.
    fn change(&self, change: impl FnOnce(&dyn Storage) -> io::Result<()>) -> io::Result<()> {
        let file = self.file()?;
        self.slot.check()?;
        let result = change(&*file);
        self.slot.is_dirty.store(true, Ordering::Release);
        result
    }

    fn lock(&self, lock: Lock) -> io::Result<bool> {
        let is_taken = lock.try_take(&*self.file()?)?;
        if is_taken {
            *self.slot.lock.lock() = Some(lock);
        }
        Ok(is_taken)
    }
}

impl Storage for PooledStorage {
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
        self.file()?.read_exact_at(buf, position)
    }

    fn read_exact_vectored_at(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        position: ByteLen,
    ) -> io::Result<()> {
        self.file()?.read_exact_vectored_at(bufs, position)
    }

    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
        self.change(|file| file.write_all_at(buf, position))
    }

    fn len(&self) -> io::Result<ByteLen> {
        self.file()?.len()
    }

    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.change(|file| file.set_len(len))
    }

    /// A file that is closed has nothing that is not durable, and is not opened for that.
    fn sync_data(&self) -> io::Result<()> {
        let file = self.slot.file.read();
        // Who finds nothing to do must not be faster than who is doing it.
        let _one = self.slot.syncing.lock();
        self.slot.check()?;
        match &*file {
            Some(file) if self.slot.is_dirty.swap(false, Ordering::AcqRel) => {
                file.sync_data().inspect_err(|_| {
                    self.slot.is_dirty.store(true, Ordering::Release);
                })
            }
            _ => Ok(()),
        }
    }

    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.change(|file| file.punch_hole(range))
    }

    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.change(|file| file.zero_range(range))
    }

    fn can_punch_holes(&self) -> bool {
        self.file().is_ok_and(|file| file.can_punch_holes())
    }

    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
        self.file()?.next_data(position)
    }

    fn has_holes(&self) -> io::Result<bool> {
        self.file()?.has_holes()
    }

    fn share(&self) -> io::Result<File> {
        self.file()?.share()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.lock(Lock::Exclusive)
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        self.lock(Lock::Shared)
    }
}

impl Drop for PooledStorage {
    fn drop(&mut self) {
        *self.slot.file.write() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    /// A file that counts how often it is open, and fails to sync on demand.
    #[derive(Clone, Debug, Default)]
    struct Counted {
        storage: MemoryStorage,
        shared: Arc<Shared>,
        /// Dropped with the last handle of one opening.
        _opening: Arc<()>,
    }

    #[derive(Debug, Default)]
    struct Shared {
        openings: Mutex<Vec<Arc<()>>>,
        syncs: AtomicUsize,
        fails: AtomicBool,
        is_taken: AtomicBool,
    }

    impl Counted {
        fn open(&self) -> Arc<dyn Storage> {
            let opening = Arc::new(());
            self.shared.openings.lock().push(Arc::clone(&opening));
            Arc::new(Self {
                _opening: opening,
                ..self.clone()
            })
        }

        fn is_open(&self) -> bool {
            let openings = self.shared.openings.lock();
            openings
                .iter()
                .any(|opening| Arc::strong_count(opening) > 1)
        }

        fn openings(&self) -> usize {
            self.shared.openings.lock().len()
        }

        fn syncs(&self) -> usize {
            self.shared.syncs.load(Ordering::Relaxed)
        }
    }

    impl Storage for Counted {
        fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
            self.storage.read_exact_at(buf, position)
        }

        fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
            self.storage.write_all_at(buf, position)
        }

        fn len(&self) -> io::Result<ByteLen> {
            self.storage.len()
        }

        fn set_len(&self, len: ByteLen) -> io::Result<()> {
            self.storage.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            if self.shared.fails.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
            self.storage.punch_hole(range)
        }

        fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
            self.storage.zero_range(range)
        }

        fn can_punch_holes(&self) -> bool {
            true
        }

        fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
            self.storage.next_data(position)
        }

        fn has_holes(&self) -> io::Result<bool> {
            Ok(false)
        }

        fn try_lock(&self) -> io::Result<bool> {
            Ok(!self.shared.is_taken.load(Ordering::Relaxed))
        }
    }

    /// Two files that stay open, and three in a pool of two.
    fn files() -> (Vec<Counted>, Vec<Arc<dyn Storage>>) {
        let pool = Arc::new(FilePool::with_limits(2, 2));
        let files: Vec<Counted> = (0..5).map(|_| Counted::default()).collect();
        let pooled = files.iter().map(|file| {
            file.storage
                .write_all_at(&[1; 8], ByteLen::ZERO)
                .expect("write");
            pool.make_room();
            let again = file.clone();
            pool.adopt(file.open(), move || Box::new(move || Ok(again.open())))
        });
        let pooled = pooled.collect();
        (files, pooled)
    }

    fn touch(file: &Arc<dyn Storage>) {
        file.read_exact_at(&mut [0; 8], ByteLen::ZERO)
            .expect("read");
    }

    fn write(file: &Arc<dyn Storage>) -> io::Result<()> {
        file.write_all_at(&[2; 8], ByteLen::ZERO)
    }

    #[test]
    fn few_files_are_open_and_the_used_ones_stay() {
        let (files, pooled) = files();
        for round in 0..10 {
            for (file, pooled) in files.iter().zip(&pooled) {
                touch(pooled);
                touch(&pooled.clone());
                assert!(file.is_open());
                let open = files[2..].iter().filter(|file| file.is_open()).count();
                assert!(open <= 2, "{round}");
            }
        }
        assert_eq!([files[0].openings(), files[1].openings()], [1, 1]);
        assert!(files[2..].iter().all(|file| file.openings() > 3));
        drop(pooled);
        assert!(!files.iter().any(Counted::is_open));
    }

    #[test]
    fn what_was_written_is_durable_before_a_file_is_closed() {
        let (files, pooled) = files();
        write(&pooled[2]).expect("write");
        touch(&pooled[3]);
        assert_eq!(files[2].syncs(), 0);
        for _ in 0..2 {
            touch(&pooled[3]);
            touch(&pooled[4]);
        }
        assert!(!files[2].is_open());
        assert_eq!(files[2].syncs(), 1);
        // Nothing is left to be done, and nothing is opened for it.
        pooled[2].sync_data().expect("durable");
        assert!(!files[2].is_open());
        write(&pooled[2]).expect("write");
        pooled[2].sync_data().expect("durable");
        pooled[2].sync_data().expect("durable");
        assert_eq!(files[2].syncs(), 2);
        assert_eq!(files[3].syncs() + files[4].syncs(), 0);
    }

    #[test]
    fn a_lost_write_is_told_and_the_last() {
        let (files, pooled) = files();
        write(&pooled[2]).expect("write");
        files[2].shared.fails.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            touch(&pooled[3]);
            touch(&pooled[4]);
        }
        assert!(!files[2].is_open());
        files[2].shared.fails.store(false, Ordering::Relaxed);
        assert!(pooled[2].sync_data().is_err());
        assert!(write(&pooled[2]).is_err());
        touch(&pooled[2]);
        assert!(pooled[2].sync_data().is_err());
        write(&pooled[3]).expect("another file");
        pooled[3].sync_data().expect("another file");
    }

    #[test]
    fn locks_are_taken_again() {
        let (files, pooled) = files();
        assert!(pooled[2].try_lock().expect("lock"));
        for _ in 0..2 {
            touch(&pooled[3]);
            touch(&pooled[4]);
        }
        assert!(!files[2].is_open());
        files[2].shared.is_taken.store(true, Ordering::Relaxed);
        assert!(pooled[2].read_exact_at(&mut [0; 8], ByteLen::ZERO).is_err());
        assert!(write(&pooled[2]).is_err());
        files[2].shared.is_taken.store(false, Ordering::Relaxed);
        write(&pooled[2]).expect("write");
    }

    #[test]
    fn threads_share_the_pool() {
        let (files, pooled) = files();
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let pooled = &pooled;
                scope.spawn(move || {
                    for round in 0..500_u64 {
                        let file = &pooled[usize::try_from((thread + round) % 5).expect("small")];
                        let at = ByteLen::new(8 + thread * 8);
                        file.write_all_at(&round.to_le_bytes(), at).expect("write");
                        let mut found = [0; 8];
                        file.read_exact_at(&mut found, at).expect("read");
                        assert_eq!(u64::from_le_bytes(found), round);
                        file.sync_data().expect("sync");
                    }
                });
            }
        });
        // One more for each thread at most, and none of them is using one now.
        touch(&pooled[4]);
        touch(&pooled[3]);
        assert!(files[2..].iter().filter(|file| file.is_open()).count() <= 3);
    }
}
