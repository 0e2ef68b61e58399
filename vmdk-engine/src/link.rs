//! One link of a chain: a descriptor and the extents that it names, open.

mod open;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::{Mutex, RwLock};

use crate::descriptor::Descriptor;
use crate::error::{Error, IoFault, Refusal};
use crate::extent::cache::TableCache;
use crate::extent::{Extent, MapRun, ZeroMode};
use crate::fuse::Fuse;
use crate::geometry::Geometry;
use crate::info::{Adapter, DiskInfo, DiskKind};
use crate::storage::Storage;
use crate::units::{clamped, range_of, relative, take_front, take_front_mut};

/// The granularity of disks without grains.
const USUAL_GRAIN: SectorCount = SectorCount::new(128);

/// So many grain tables may be changed in memory only: 4 MiB, which describe 64 GiB of the guest.
const MAX_CHANGED_TABLES: usize = 2048;

/// Zeros and trims of any length go in steps of 4 GiB, for the sake of that bound: a multiple of every grain size, and
/// no more tables than that, whatever their size.
const STEP: u64 = 1 << 23;

/// An extent and the sectors of the disk that it stores.
#[derive(Debug)]
struct PlacedExtent {
    range: SectorRange,
    extent: Box<dyn Extent>,
    /// The file, to name it in errors.
    path: Option<PathBuf>,
    is_writable: bool,
}

impl PlacedExtent {
    fn named(&self, error: Error) -> Error {
        match &self.path {
            Some(path) => error.at(path),
            None => error,
        }
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.is_writable {
            Ok(())
        } else {
            Err(self.named(Refusal::ReadOnlyExtent.into()))
        }
    }
}

/// An open descriptor with its extents.
#[derive(Debug)]
pub(crate) struct Link {
    path: PathBuf,
    /// The file that holds the text; for embedded descriptors that of the extent too.
    storage: Arc<dyn Storage>,
    /// Where the text begins in it.
    text_start: ByteLen,
    descriptor: RwLock<Descriptor>,
    /// In order, without a gap, none empty.
    extents: Vec<PlacedExtent>,
    capacity: SectorCount,
    /// The grain tables of all extents.
    tables: Arc<TableCache>,
    fuse: Arc<Fuse>,
    is_changed: AtomicBool,
    changing: Mutex<()>,
    bounding: Mutex<()>,
}

impl Link {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        self.capacity
    }

    pub(crate) fn read(&self, start: Sector, mut buf: &mut [u8]) -> Result<(), Error> {
        for (placed, range) in self.pieces(range_of(start, buf)) {
            let part = take_front_mut(&mut buf, range.count());
            placed
                .extent
                .read(range.start(), part)
                .map_err(|error| placed.named(error))?;
        }
        Ok(())
    }

    pub(crate) fn write(&self, start: Sector, mut buf: &[u8]) -> Result<(), Error> {
        let range = range_of(start, buf);
        self.check_all_writable(range)?;
        self.before_change()?;
        for (placed, range) in self.pieces(range) {
            let part = take_front(&mut buf, range.count());
            placed
                .extent
                .write(range.start(), part)
                .map_err(|error| placed.named(error))?;
            self.bound_changes()?;
        }
        Ok(())
    }

    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Error> {
        self.check_all_writable(range)?;
        if mode.is_fast_only() {
            for (placed, range) in self.pieces(range) {
                let is_fast = placed.extent.zeroes_fast(range, mode);
                if !is_fast.map_err(|error| placed.named(error))? {
                    return Err(placed.named(Refusal::NotFast.into()));
                }
            }
        }
        self.change_each(range, |extent, range| extent.write_zeroes(range, mode))
    }

    pub(crate) fn trim(&self, range: SectorRange) -> Result<(), Error> {
        self.check_all_writable(range)?;
        self.change_each(range, |extent, range| extent.trim(range))
    }

    fn change_each(
        &self,
        range: SectorRange,
        change: impl Fn(&dyn Extent, SectorRange) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.before_change()?;
        for (placed, mut rest) in self.pieces(range) {
            while !rest.is_empty() {
                let border = rest.start().get().saturating_add(1);
                let border = border.checked_next_multiple_of(STEP).unwrap_or(u64::MAX);
                let (step, behind) = rest.split_at(Sector::new(border));
                change(&*placed.extent, step).map_err(|error| placed.named(error))?;
                self.bound_changes()?;
                rest = behind;
            }
        }
        Ok(())
    }

    /// The map of the first extent that `range` touches, in sectors of the disk, and the rest of the range.
    pub(crate) fn map_front(
        &self,
        range: SectorRange,
    ) -> (Box<dyn Iterator<Item = MapRun> + Send + '_>, SectorRange) {
        let Some((placed, piece)) = self.pieces(range).next() else {
            return (Box::new(std::iter::empty()), SectorRange::default());
        };
        let (_, rest) = range.split_at(placed.range.end());
        let base = placed.range.start();
        let runs = placed.extent.map(piece).map(move |run| {
            let (run, state) = run.map_err(|error| placed.named(error))?;
            let first = Sector::new(run.start().get().saturating_add(base.get()));
            Ok((clamped(first, run.count()), state))
        });
        (Box::new(runs), rest)
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.for_all_written(|extent| extent.flush())
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        self.for_all_written(|extent| extent.close())
    }

    /// Keeps the number of tables that are changed in memory only bounded.
    fn bound_changes(&self) -> Result<(), Error> {
        let is_bounded = || self.tables.changed_tables() <= MAX_CHANGED_TABLES;
        if is_bounded() {
            return Ok(());
        }
        let _one = self.bounding.lock();
        if is_bounded() {
            return Ok(());
        }
        self.flush()
    }

    /// Does it for every extent, and returns the first error.
    fn for_all_written(
        &self,
        each: impl Fn(&dyn Extent) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        for placed in self.extents.iter().filter(|placed| placed.is_writable) {
            let one = each(&*placed.extent).map_err(|error| placed.named(error));
            result = result.and(one);
        }
        result
    }

    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.descriptor.read().metadata(key)
    }

    pub(crate) fn metadata_keys(&self) -> Vec<String> {
        self.descriptor.read().metadata_keys()
    }

    pub(crate) fn info(&self) -> DiskInfo {
        let descriptor = self.descriptor.read();
        let adapter = descriptor.metadata("adapterType").unwrap_or_default();
        let adapter = Adapter::from_name(&adapter);
        let is_thin = open::is_thin(&descriptor);
        let sector_size = |key: &str| {
            descriptor
                .metadata(key)
                .and_then(|size| size.parse().ok())
                .unwrap_or(512)
        };
        DiskInfo {
            kind: DiskKind::from_create_type(
                &descriptor.create_type().unwrap_or_default(),
                is_thin,
            ),
            capacity: self.capacity,
            adapter,
            bios_geometry: Geometry::bios(&descriptor),
            physical_geometry: Geometry::physical(&descriptor, adapter, self.capacity),
            links: 1,
            parent_hint: descriptor.parent_hint().filter(|_| descriptor.has_parent()),
            uuid: descriptor.metadata("uuid"),
            logical_sector_size: sector_size("logicalSectorSize"),
            physical_sector_size: sector_size("physicalSectorSize"),
            preferred_io: self.grain().unwrap_or(USUAL_GRAIN),
        }
    }

    /// The largest grain of any extent.
    fn grain(&self) -> Option<SectorCount> {
        self.extents
            .iter()
            .filter_map(|placed| placed.extent.grain())
            .max()
    }

    /// The parts of `range` that each extent stores, relative to the extent.
    fn pieces(&self, range: SectorRange) -> impl Iterator<Item = (&PlacedExtent, SectorRange)> {
        let first = self
            .extents
            .partition_point(|placed| placed.range.end() <= range.start());
        self.extents
            .get(first..)
            .unwrap_or_default()
            .iter()
            .map_while(move |placed| {
                let shared = placed.range.intersection(range)?;
                Some((placed, relative(shared, placed.range.start())))
            })
    }

    fn check_all_writable(&self, range: SectorRange) -> Result<(), Error> {
        self.pieces(range)
            .try_for_each(|(placed, _)| placed.check_writable())
    }

    /// Gives the disk a new content id, once, before anything else of it changes.
    ///
    /// Children and backup programs tell by the id whether the content is still what they know. So the new one is
    /// durable before the first change: a crash must not leave other content under the old id.
    fn before_change(&self) -> Result<(), Error> {
        self.fuse.check()?;
        if self.is_changed.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one = self.changing.lock();
        if self.is_changed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.fuse.protect(|| self.renew_content_id())?;
        self.is_changed.store(true, Ordering::Release);
        Ok(())
    }

    fn renew_content_id(&self) -> Result<(), Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            let error = std::io::Error::other(error.to_string());
            IoFault::new("getting random numbers for a content id", error)
        })?;
        let patches = self.descriptor.write().renew_content_id(random);
        for patch in patches.unwrap_or_default() {
            let offset = ByteLen::new(u64::try_from(patch.position).unwrap_or(u64::MAX));
            self.text_start
                .checked_add(offset)
                .map_or(Ok(()), |position| {
                    self.storage.write_all_at(&patch.bytes, position)
                })
                .map_err(|error| IoFault::new("writing the content id", error))?;
        }
        self.storage
            .sync_data()
            .map_err(|error| IoFault::new("making the content id durable", error).into())
    }
}
