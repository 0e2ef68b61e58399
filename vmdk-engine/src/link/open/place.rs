//! Putting the opened extents in their places on the disk, with the caches that they share.

use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};

use super::super::PlacedExtent;
use super::error::LinkError;
use super::parts::{Format, Opening, Part};
use super::{SharedCaches, is_thin};
use crate::error::Error;
use crate::extent::Extent;
use crate::extent::cache::TableCaches;
use crate::extent::flat::FlatExtent;
use crate::extent::header::{CAPACITY_LIMIT, MAX_DIRECTORY_ENTRIES};
use crate::extent::sesparse::SeSparseExtent;
use crate::extent::sparse::SparseExtent;
use crate::extent::stream::{INFLATED_BYTES, InflatedGrains, StreamExtent};
use crate::extent::table::Tables;
use crate::extent::zero::{ForbiddenExtent, ZeroExtent};
use crate::units::clamped;

impl Opening<'_> {
    /// Puts the extents in their places, with the caches that they share.
    pub(super) fn place(
        &self,
        parts: Vec<Part>,
        caches: &mut SharedCaches,
    ) -> Result<(Vec<PlacedExtent>, SectorCount), Error> {
        let capacity = parts
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(part.size.get()))
            .unwrap_or(u64::MAX);
        if capacity == 0 || capacity >= CAPACITY_LIMIT {
            return Err(LinkError::Capacity(capacity).into());
        }
        // A writer keeps copies of them in memory, and many lines may name one file.
        let entries = parts
            .iter()
            .map(|part| match &part.format {
                Format::Sparse(shape) => u64::from(shape.directory_entries),
                Format::SeSparse(shape) => shape.directory_entries,
                _ => 0,
            })
            .sum();
        if entries > MAX_DIRECTORY_ENTRIES {
            return Err(LinkError::Directories(entries).into());
        }
        let grain_bytes = parts
            .iter()
            .map(|part| match &part.format {
                Format::Sparse(shape) => shape.grain.bytes(),
                _ => 0,
            })
            .fold(65536, usize::max);
        let inflated = Arc::new(InflatedGrains::new(INFLATED_BYTES, grain_bytes));
        let mut extents = Vec::with_capacity(parts.len());
        let mut start = Sector::ZERO;
        for part in parts {
            let range: SectorRange = clamped(start, part.size);
            start = range.end();
            let path = part.file.as_ref().map(|file| file.path.clone());
            let identity = part.file.as_ref().map(|file| file.identity);
            let is_writable = part.is_writable;
            let extent = self.build(part, caches.number(), &caches.tables, &inflated);
            let extent = match &path {
                Some(path) => extent.map_err(|error| error.at(path))?,
                None => extent?,
            };
            extents.push(PlacedExtent {
                range,
                extent,
                path,
                identity,
                is_writable,
            });
        }
        Ok((extents, SectorCount::new(capacity)))
    }

    fn build(
        &self,
        part: Part,
        number: u32,
        tables: &TableCaches,
        inflated: &Arc<InflatedGrains>,
    ) -> Result<Box<dyn Extent>, Error> {
        let Some(file) = part.file else {
            return Ok(match part.format {
                Format::Forbidden => Box::new(ForbiddenExtent),
                _ => Box::new(ZeroExtent),
            });
        };
        let storage = file.storage;
        let fuse = Arc::clone(&self.fuse);
        let shape = match part.format {
            Format::Sparse(shape) => shape,
            Format::SeSparse(shape) => {
                return Ok(Box::new(SeSparseExtent::new(
                    storage, tables, number, shape,
                )));
            }
            Format::Flat { first } => {
                let thin = is_thin(self.descriptor);
                let extent = FlatExtent::open(storage, first, part.size, thin, fuse)?;
                return Ok(Box::new(extent));
            }
            Format::Zero | Format::Forbidden => return Ok(Box::new(ZeroExtent)),
        };
        let is_compressed = shape.is_compressed;
        let tables = Tables::new(Arc::clone(&storage), tables, number, shape);
        Ok(if is_compressed {
            Box::new(StreamExtent::new(
                storage,
                tables,
                Arc::clone(inflated),
                number,
            )?)
        } else if part.is_writable {
            Box::new(SparseExtent::open_writable(
                storage, tables, part.size, fuse,
            )?)
        } else {
            Box::new(SparseExtent::open(storage, tables, part.size)?)
        })
    }
}
