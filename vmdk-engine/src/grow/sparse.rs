//! More tables for a sparse extent.
//!
//! New tables go behind everything else. So do the directories where their sectors are full; the old ones are of no use
//! then. What lies behind the old capacity is cleared first: it was no part of the disk, whatever stands there.

use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount};
use zerocopy::{FromBytes, IntoBytes};

use crate::closed::ClosedDisk;
use crate::descriptor::Descriptor;
use crate::error::{Error, IoFault, Refusal};
use crate::extent::header::{HeaderError, SparseShape};
use crate::extent::table::{little_endian, read_directory};
use crate::fuse::Fuse;
use crate::layout::SparseHeader;
use crate::storage::{Storage, write_zeros};
use crate::units::{buffer_len, byte_position, byte_range, clamped};

/// Directories and tables hold 32-bit sector numbers.
const FILE_LIMIT: u64 = 1 << 32;

/// Makes the only extent of a disk larger; `new` is its descriptor from then on.
pub(super) fn grow(
    disk: &mut ClosedDisk<'_>,
    capacity: SectorCount,
    new: &Descriptor,
) -> Result<(), Error> {
    // There is one, as the disk is in one file.
    let shape = disk.shape.clone().ok_or(HeaderError::WrongMagic)?;
    let old_capacity = disk.descriptor.extents().first().map(|line| line.sectors);
    let storage = Arc::clone(&disk.file().storage);
    let extent = Extent {
        storage: &*storage,
        shape: &shape,
        capacity: old_capacity.unwrap_or_default(),
    };
    extent.clear_behind()?;
    let directories = extent.add_tables(capacity)?;
    extent.sync()?;
    let mut header = extent.header()?;
    header.capacity = capacity.get().into();
    header.directory = directories.primary.get().into();
    if let Some(redundant) = directories.redundant {
        header.redundant_directory = redundant.get().into();
    }
    let old = disk.descriptor.clone();
    disk.place
        .replace_with_header(&Fuse::default(), &old, new, header)
}

/// An extent among others whose last grain becomes part of the disk as a whole; as it was again unless it is kept.
pub(super) struct FullerGrain {
    storage: Arc<dyn Storage>,
    /// The header as it was.
    header: Box<SparseHeader>,
    is_kept: bool,
}

impl FullerGrain {
    /// Lets the extent have `new` sectors, which is not more than its last grain has, instead of `old`. Readers that
    /// know it with fewer do not mind.
    pub(super) fn begin(
        storage: Arc<dyn Storage>,
        old: SectorCount,
        new: SectorCount,
    ) -> Result<Self, Error> {
        let shape = SparseShape::load(&*storage)?;
        let extent = Extent {
            storage: &*storage,
            shape: &shape,
            capacity: old,
        };
        extent.clear_behind()?;
        extent.sync()?;
        let header = extent.header()?;
        let begun = Self {
            storage: Arc::clone(&storage),
            header: Box::new(header.clone()),
            is_kept: false,
        };
        let capacity = header.capacity.get().max(new.get());
        begun.write(&SparseHeader {
            capacity: capacity.into(),
            ..header
        })?;
        Ok(begun)
    }

    fn write(&self, header: &SparseHeader) -> Result<(), Error> {
        self.storage
            .write_all_at(header.as_bytes(), ByteLen::ZERO)
            .and_then(|()| self.storage.sync_data())
            .map_err(|error| IoFault::new("writing the header", error).into())
    }

    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for FullerGrain {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.write(&self.header)
        {
            tracing::warn!(%error, "an extent keeps room that its disk does not need");
        }
    }
}

struct Extent<'a> {
    storage: &'a dyn Storage,
    shape: &'a SparseShape,
    /// The sectors of the disk so far; the header may have more.
    capacity: SectorCount,
}

/// Where the directories are from now on.
struct Directories {
    primary: Sector,
    redundant: Option<Sector>,
}

impl Extent<'_> {
    fn header(&self) -> Result<SparseHeader, Error> {
        let mut bytes = [0; 512];
        self.storage
            .read_exact_at(&mut bytes, ByteLen::ZERO)
            .map_err(|error| IoFault::new("reading the header", error))?;
        SparseHeader::read_from_bytes(&bytes).map_err(|_| HeaderError::WrongMagic.into())
    }

    /// The entries of a directory.
    fn directory(&self, start: Sector) -> Result<Vec<u32>, Error> {
        read_directory(self.storage, start, self.shape.directory_entries)
    }

    /// Clears what becomes part of the disk: the rest of the last grain, and entries behind it in the last table.
    fn clear_behind(&self) -> Result<(), Error> {
        let shape = self.shape;
        let per_table = u64::from(shape.entries_per_table).max(1);
        let used = shape.grain.grains_in(self.capacity);
        let Some(table) = used.saturating_sub(1).checked_div(per_table) else {
            return Ok(());
        };
        let in_table = used.saturating_sub(table.saturating_mul(per_table));
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        let directories = [Some(shape.directory), shape.redundant_directory];
        for (copy, directory) in directories.into_iter().flatten().enumerate() {
            let sector = self.directory(directory)?.get(index).copied().unwrap_or(0);
            if sector == 0 {
                continue;
            }
            let range = clamped(Sector::new(u64::from(sector)), shape.table_len());
            let position = byte_range(range).start;
            let mut bytes = vec![0; buffer_len(range.count())];
            self.storage
                .read_exact_at(&mut bytes, position)
                .map_err(|error| IoFault::new("reading a grain table", error))?;
            let entries = little_endian(&bytes);
            let first_behind = usize::try_from(in_table).unwrap_or(usize::MAX);
            if copy == 0
                && let Some(last) = first_behind.checked_sub(1)
            {
                self.clear_rest_of(entries.get(last).copied().unwrap_or(0))?;
            }
            if entries.iter().skip(first_behind).any(|entry| *entry != 0) {
                let start = ByteLen::new(in_table.saturating_mul(4));
                let start = position.checked_add(start).unwrap_or(position);
                write_zeros(self.storage, start..byte_position(range.end()))
                    .map_err(|error| IoFault::new("clearing a grain table", error))?;
            }
        }
        Ok(())
    }

    /// Clears what the last grain has behind the end of the disk.
    fn clear_rest_of(&self, entry: u32) -> Result<(), Error> {
        let size = self.shape.grain;
        let inside = size.offset_in(Sector::new(self.capacity.get()));
        if entry <= 1 || inside == 0 {
            return Ok(());
        }
        let grain = clamped(Sector::new(u64::from(entry)), size.count());
        let end = Sector::new(grain.start().get().saturating_add(inside));
        let (_, rest) = grain.split_at(end);
        write_zeros(self.storage, byte_range(rest))
            .map_err(|error| IoFault::new("clearing the last grain", error).into())
    }

    /// Adds the tables that `capacity` needs, and directories where theirs have no room.
    fn add_tables(&self, capacity: SectorCount) -> Result<Directories, Error> {
        let shape = self.shape;
        let old = u64::from(shape.directory_entries);
        let per_table = u64::from(shape.entries_per_table).max(1);
        // A division by 0 cannot happen.
        let end = shape
            .grain
            .grains_in(capacity)
            .checked_next_multiple_of(per_table);
        let new = end
            .and_then(|end| end.checked_div(per_table))
            .unwrap_or(u64::MAX);
        let added = new.saturating_sub(old);
        let mut directories = Directories {
            primary: shape.directory,
            redundant: shape.redundant_directory,
        };
        if added == 0 {
            return Ok(directories);
        }
        let directory_len = ByteLen::new(new.saturating_mul(4)).sectors_rounded_up();
        let moves = directory_len > shape.directory_len();
        let copies = [
            Some(&mut directories.primary),
            directories.redundant.as_mut(),
        ];
        let mut free = self.first_free()?;
        let mut writes = Vec::new();
        for directory in copies.into_iter().flatten() {
            let mut entries = self.directory(*directory)?;
            let place = if moves {
                let place = Sector::new(free);
                free = free.saturating_add(directory_len.get());
                place
            } else {
                *directory
            };
            for _ in 0..added {
                entries.push(u32::try_from(free).map_err(|_| Refusal::FileTooBig)?);
                free = free.saturating_add(shape.table_len().get());
            }
            *directory = place;
            writes.push((place, entries));
        }
        let end = shape.grain.round_up(free);
        if end > FILE_LIMIT {
            return Err(Refusal::FileTooBig.into());
        }
        // Tables without entries are zeros, as what a file is extended by.
        self.storage
            .set_len(byte_position(Sector::new(end)))
            .map_err(|error| IoFault::new("extending the file", error))?;
        for (place, entries) in writes {
            let bytes: Vec<u8> = entries
                .iter()
                .flat_map(|entry| entry.to_le_bytes())
                .collect();
            self.storage
                .write_all_at(&bytes, byte_position(place))
                .map_err(|error| IoFault::new("writing a grain directory", error))?;
        }
        Ok(directories)
    }

    /// The first sector of the file that nothing was ever put to, on the border of a grain.
    fn first_free(&self) -> Result<u64, Error> {
        let length = self
            .storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        let used = length.sectors_rounded_up().get();
        let used = used.max(self.shape.data_start.get());
        Ok(self.shape.grain.round_up(used))
    }

    fn sync(&self) -> Result<(), Error> {
        self.storage
            .sync_data()
            .map_err(|error| IoFault::new("making the file durable", error).into())
    }
}
