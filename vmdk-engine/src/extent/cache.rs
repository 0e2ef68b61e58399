//! The grain tables of one open disk, its parents included, kept in bounded memory.
//!
//! A table lives in exactly one place: a slot of a shard, found by its key. Its entries are read and changed only
//! under the shard's lock, so that there is never a second, older copy to write back or to answer from. Readers that
//! hit share the lock; a miss reads one table under the exclusive lock of one shard of [`SHARDS`].
//!
//! A full shard drops its oldest tables, with a second chance for those used since. Changed tables stay until they
//! have been written back; they are counted, so that who changes them can bound their number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{RwLock, RwLockUpgradableReadGuard, RwLockWriteGuard};

use super::directory::DIRECTORY_BYTES;
use crate::error::Error;

/// Memory for unchanged grain tables per open disk: enough for 256 GiB of data in usual grains.
pub(crate) const CACHE_BYTES: usize = 16 << 20;

const SHARDS: usize = 16;

/// Which table: the extent's number in the chain, and the table's number in the extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TableKey {
    pub(crate) extent: u32,
    pub(crate) table: u32,
}

/// The entries of a table; `None` stands for all zeros and takes no memory.
pub(crate) type Entries = Option<Box<[u32]>>;

#[derive(Debug)]
struct Slot {
    entries: Entries,
    used: AtomicBool,
    /// Counts changes; the table is as it is on disk while both are equal.
    version: u64,
    written: u64,
}

impl Slot {
    fn is_changed(&self) -> bool {
        self.version != self.written
    }

    fn entries_of(&mut self, length: usize) -> &mut [u32] {
        self.entries
            .get_or_insert_with(|| vec![0; length].into_boxed_slice())
    }

    fn bytes(&self) -> usize {
        const ENTRY: usize = size_of::<u32>();
        let entries = self.entries.as_ref().map_or(0, |entries| entries.len());
        entries
            .saturating_mul(ENTRY)
            .saturating_add(size_of::<Self>())
    }
}

#[derive(Debug, Default)]
struct Shard {
    slots: HashMap<TableKey, Slot>,
    /// What the slots take up, about.
    bytes: usize,
    /// Oldest first; each key of `slots` once.
    order: VecDeque<TableKey>,
}

/// A changed table, to be written back.
#[derive(Debug)]
pub(crate) struct ChangedTable {
    pub(crate) table: u32,
    pub(crate) version: u64,
    pub(crate) entries: Entries,
}

/// What the extents of a chain share.
#[derive(Clone, Debug)]
pub(crate) struct TableCaches {
    pub(crate) tables: Arc<TableCache>,
    /// Pieces of grain directories. Whoever loads a table asks here, never the other way round.
    pub(crate) directories: Arc<TableCache>,
}

impl TableCaches {
    pub(crate) fn new() -> Self {
        Self {
            tables: Arc::new(TableCache::new(CACHE_BYTES)),
            directories: Arc::new(TableCache::new(DIRECTORY_BYTES)),
        }
    }
}

/// All cached grain tables of one disk and its parents.
#[derive(Debug)]
pub(crate) struct TableCache {
    shards: [RwLock<Shard>; SHARDS],
    bytes_per_shard: usize,
    changed: AtomicUsize,
}

impl TableCache {
    /// A cache of `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            shards: Default::default(),
            bytes_per_shard: bytes / SHARDS,
            changed: AtomicUsize::new(0),
        }
    }

    fn shard(&self, key: TableKey) -> &RwLock<Shard> {
        let number = key.table.wrapping_add(key.extent.wrapping_mul(7));
        let index = usize::try_from(number).unwrap_or(0) % SHARDS;
        self.shards.get(index).unwrap_or_else(|| {
            let [first, ..] = &self.shards;
            first
        })
    }

    /// Calls `look` with the entries of a table, which `load` fetches if it is not cached.
    pub(crate) fn read<T>(
        &self,
        key: TableKey,
        load: impl FnOnce() -> Result<Entries, Error>,
        look: impl FnOnce(&Entries) -> T,
    ) -> Result<T, Error> {
        let lock = self.shard(key);
        if let Some(slot) = lock.read().slots.get(&key) {
            slot.used.store(true, Ordering::Relaxed);
            return Ok(look(&slot.entries));
        }
        let shard = lock.upgradable_read();
        if let Some(slot) = shard.slots.get(&key) {
            return Ok(look(&slot.entries));
        }
        let entries = load()?;
        let result = look(&entries);
        self.insert(&mut RwLockUpgradableReadGuard::upgrade(shard), key, entries);
        Ok(result)
    }

    /// Calls `look` with the entries of a table if it is cached.
    pub(crate) fn peek<T>(&self, key: TableKey, look: impl FnOnce(&Entries) -> T) -> Option<T> {
        let shard = self.shard(key).read();
        let slot = shard.slots.get(&key)?;
        slot.used.store(true, Ordering::Relaxed);
        Some(look(&slot.entries))
    }

    /// Lets `correct` edit a table of `length` entries if it is cached, as the file has been edited.
    pub(crate) fn correct(&self, key: TableKey, length: usize, correct: impl FnOnce(&mut [u32])) {
        let mut guard = self.shard(key).write();
        let shard = &mut *guard;
        if let Some(slot) = shard.slots.get_mut(&key) {
            let before = slot.bytes();
            correct(slot.entries_of(length));
            let grown = slot.bytes().saturating_sub(before);
            shard.bytes = shard.bytes.saturating_add(grown);
        }
    }

    /// Lets `change` edit a table of `length` entries, which stays cached from then on until it is written back.
    pub(crate) fn change(
        &self,
        key: TableKey,
        length: usize,
        load: impl FnOnce() -> Result<Entries, Error>,
        change: impl FnOnce(&mut [u32]),
    ) -> Result<(), Error> {
        let mut guard = self.shard(key).write();
        if !guard.slots.contains_key(&key) {
            let entries = load()?;
            self.insert(&mut guard, key, entries);
        }
        let shard = &mut *guard;
        if let Some(slot) = shard.slots.get_mut(&key) {
            let before = slot.bytes();
            change(slot.entries_of(length));
            if !slot.is_changed() {
                self.changed.fetch_add(1, Ordering::Relaxed);
            }
            slot.version = slot.version.wrapping_add(1);
            let grown = slot.bytes().saturating_sub(before);
            shard.bytes = shard.bytes.saturating_add(grown);
        }
        Ok(())
    }

    /// How many tables, of all extents, are changed in memory only.
    pub(crate) fn changed_tables(&self) -> usize {
        self.changed.load(Ordering::Relaxed)
    }

    /// A copy of a changed table; `None` if it has no changes.
    pub(crate) fn changed(&self, key: TableKey) -> Option<ChangedTable> {
        let shard = self.shard(key).read();
        let slot = shard.slots.get(&key)?;
        slot.is_changed().then(|| ChangedTable {
            table: key.table,
            version: slot.version,
            entries: slot.entries.clone(),
        })
    }

    /// Notes that the state of a table at `version` is on disk.
    pub(crate) fn mark_written(&self, key: TableKey, version: u64) {
        if let Some(slot) = self.shard(key).write().slots.get_mut(&key) {
            let was_changed = slot.is_changed();
            slot.written = version;
            if was_changed && !slot.is_changed() {
                self.changed.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn insert(&self, shard: &mut RwLockWriteGuard<'_, Shard>, key: TableKey, entries: Entries) {
        let slot = Slot {
            entries,
            used: AtomicBool::new(false),
            version: 0,
            written: 0,
        };
        let bytes = slot.bytes();
        let mut chances = shard.order.len().saturating_mul(2);
        while shard.bytes.saturating_add(bytes) > self.bytes_per_shard && chances > 0 {
            chances = chances.saturating_sub(1);
            let Some(oldest) = shard.order.pop_front() else {
                break;
            };
            let may_go = shard
                .slots
                .get(&oldest)
                .is_none_or(|slot| !slot.is_changed() && !slot.used.swap(false, Ordering::Relaxed));
            if may_go {
                let freed = shard.slots.remove(&oldest).map_or(0, |slot| slot.bytes());
                shard.bytes = shard.bytes.saturating_sub(freed);
            } else {
                shard.order.push_back(oldest);
            }
        }
        shard.order.push_back(key);
        shard.bytes = shard.bytes.saturating_add(bytes);
        shard.slots.insert(key, slot);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().slots.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: u32) -> TableKey {
        TableKey { extent: 0, table }
    }

    fn first(entries: &Entries) -> u32 {
        entries.as_ref().map_or(0, |entries| entries[0])
    }

    #[test]
    fn memory_stays_bounded_and_changes_are_never_dropped() {
        let cache = TableCache::new(64 * 2048);
        cache
            .change(key(5), 512, || Ok(None), |entries| entries[0] = 99)
            .expect("no load fails");
        for table in 100..10_000 {
            let seen = cache
                .read(key(table), || Ok(Some(vec![table; 512].into())), first)
                .expect("no load fails");
            assert_eq!(seen, table);
        }
        assert!(cache.len() <= 64, "{} tables", cache.len());
        assert_eq!(cache.peek(key(5), first), Some(99));
        assert_eq!(cache.changed_tables(), 1);
        let changed = cache.changed(key(5)).expect("not written yet");
        cache.mark_written(key(5), changed.version);
        assert!(cache.changed(key(5)).is_none());
        assert_eq!(cache.changed_tables(), 0);
        for table in 10_000..20_000 {
            cache
                .read(key(table), || Ok(None), first)
                .expect("no load fails");
        }
        assert_eq!(cache.peek(key(5), first), None);
    }

    #[test]
    fn a_change_during_write_back_is_not_lost() {
        let cache = TableCache::new(1 << 20);
        let set = |value| {
            cache
                .change(key(1), 512, || Ok(None), |entries| entries[0] = value)
                .expect("no load fails");
        };
        set(1);
        let written = cache.changed(key(1)).expect("changed");
        set(2);
        cache.mark_written(key(1), written.version);
        assert_eq!(cache.changed_tables(), 1);
        assert_eq!(
            first(&cache.changed(key(1)).expect("changed again").entries),
            2
        );
    }

    #[test]
    fn used_tables_outlive_a_scan() {
        let cache = TableCache::new(64 * 2048);
        let load = || Ok(Some(vec![1; 512].into()));
        for table in 0..2000 {
            cache.read(key(0), load, first).expect("no load fails");
            cache.read(key(table), load, first).expect("no load fails");
        }
        assert!(cache.peek(key(0), first).is_some());
    }
}
