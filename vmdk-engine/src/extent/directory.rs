//! Grain directories, which say where the tables are. Pieces of them are in memory, of all directories of a chain
//! together no more than [`DIRECTORY_BYTES`].

use std::ops::Range;
use std::sync::Arc;

use super::cache::{Entries, TableCache, TableKey};
use crate::error::Error;

/// Memory for pieces of directories per open disk, its parents included: enough for 128 TiB in usual grains.
pub(crate) const DIRECTORY_BYTES: usize = 16 << 20;

/// The entries of a piece: those of 32 GiB in usual grains.
const PIECE: u32 = 1024;

/// The directory of one extent.
#[derive(Debug)]
pub(crate) struct Directory {
    cache: Arc<TableCache>,
    extent: u32,
    entries: u32,
}

/// What a directory says of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    /// Zero where there is no table.
    pub(crate) value: u32,
    /// All entries from this one to there are zero.
    pub(crate) zeros_end: u32,
}

impl Directory {
    /// A directory of `entries` entries; `extent` is a number that no other extent of the chain has.
    pub(crate) fn new(cache: Arc<TableCache>, extent: u32, entries: u32) -> Self {
        Self {
            cache,
            extent,
            entries,
        }
    }

    /// The entry of a table; `load` reads entries that are not in memory.
    pub(crate) fn entry(
        &self,
        table: u32,
        load: impl FnOnce(Range<u32>) -> Result<Entries, Error>,
    ) -> Result<DirectoryEntry, Error> {
        if table >= self.entries {
            let (value, zeros_end) = (0, u32::MAX);
            return Ok(DirectoryEntry { value, zeros_end });
        }
        let (key, index) = self.place_of(table);
        let start = table.saturating_sub(u32::try_from(index).unwrap_or(0));
        let end = start.saturating_add(PIECE).min(self.entries);
        self.cache.read(
            key,
            || load(start..end),
            |piece| match piece {
                None => DirectoryEntry {
                    value: 0,
                    zeros_end: end,
                },
                Some(entries) => {
                    let value = entries.get(index).copied().unwrap_or(0);
                    let zeros = if value == 0 { 1 } else { 0 };
                    let zeros_end = table.saturating_add(zeros);
                    DirectoryEntry { value, zeros_end }
                }
            },
        )
    }

    /// Takes note of an entry that has just been written to the file.
    pub(crate) fn note(&self, table: u32, value: u32) {
        let (key, index) = self.place_of(table);
        let length = usize::try_from(PIECE).unwrap_or(0);
        self.cache.correct(key, length, |entries| {
            if let Some(entry) = entries.get_mut(index) {
                *entry = value;
            }
        });
    }

    fn place_of(&self, table: u32) -> (TableKey, usize) {
        let key = TableKey {
            extent: self.extent,
            table: table / PIECE,
        };
        (key, usize::try_from(table % PIECE).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every seventh table exists, but none of the second piece.
    fn stored(table: u32) -> u32 {
        let is_there = table.is_multiple_of(7) && table / PIECE != 1;
        if is_there { table + 1 } else { 0 }
    }

    fn load(range: Range<u32>) -> Result<Entries, Error> {
        let entries: Vec<u32> = range.map(stored).collect();
        let is_zero = entries.iter().all(|entry| *entry == 0);
        Ok((!is_zero).then(|| entries.into()))
    }

    #[test]
    fn entries_are_found_whatever_is_in_memory() {
        // Room for one piece or two of eight.
        let cache = Arc::new(TableCache::new(16 * 6000));
        let directory = Directory::new(Arc::clone(&cache), 3, 8 * PIECE - 5);
        for round in 0..3 {
            for table in (0..8 * PIECE + 10).rev() {
                let entry = directory.entry(table, load).expect("no load fails");
                let expected = if table < 8 * PIECE - 5 {
                    stored(table)
                } else {
                    0
                };
                assert_eq!(entry.value, expected, "{round} {table}");
                assert!(entry.zeros_end >= table);
                assert_eq!(entry.zeros_end > table, entry.value == 0);
            }
        }
        let entry = directory.entry(PIECE + 3, load).expect("no load fails");
        assert_eq!(entry.zeros_end, 2 * PIECE);
    }

    #[test]
    fn what_is_written_is_seen_in_empty_pieces_too() {
        let directory = Directory::new(Arc::new(TableCache::new(1 << 20)), 0, 4 * PIECE);
        let value = |table| directory.entry(table, load).expect("no load fails").value;
        assert_eq!([value(PIECE + 3), value(3)], [0, 0]);
        directory.note(PIECE + 3, 77);
        directory.note(3, 88);
        assert_eq!([value(PIECE + 3), value(3), value(7)], [77, 88, 8]);
        // A piece that is not in memory comes from the file, where the entry is.
        directory.note(3 * PIECE, 99);
        assert_eq!(value(3 * PIECE), stored(3 * PIECE));
    }
}
