//! One link of a chain: a descriptor and the extents that it names, open.

mod ids;
mod new_stream;
mod open;
mod space;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::{Mutex, RwLock};

use crate::descriptor::{ContentMark, Descriptor, ParentReference, Patch};
use crate::descriptor_file::DescriptorFile;
use crate::error::{Error, Refusal};
use crate::extent::cache::TableCache;
use crate::extent::{Below, Extent, MapRun, ZeroMode};
use crate::file_range::Located;
use crate::fuse::Fuse;
use crate::gate::{FileIdentity, OpenGate};
use crate::info::DiskKind;
use crate::lock::FileLock;
use crate::map::Allocation;
use crate::random::random;
use crate::units::{range_of, relative, shifted, take_front, take_front_mut};

pub(crate) use self::open::{SharedCaches, Text, expect_openable};

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
    identity: Option<FileIdentity>,
    is_writable: bool,
}

impl PlacedExtent {
    fn named(&self, error: Error) -> Error {
        match &self.path {
            Some(path) => error.at(path),
            None => error,
        }
    }

    /// What is below the extent, at its own positions.
    fn view<'a>(&self, below: &'a dyn Below) -> BelowExtent<'a> {
        BelowExtent {
            below,
            base: self.range.start(),
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

/// What is below a disk, seen from one of its extents.
struct BelowExtent<'a> {
    below: &'a dyn Below,
    base: Sector,
}

impl Below for BelowExtent<'_> {
    fn read(&self, start: Sector, buf: &mut [u8]) -> Result<(), Error> {
        let range = shifted(range_of(start, buf), self.base);
        self.below.read(range.start(), buf)
    }

    fn first_data(&self, range: SectorRange) -> Result<Option<SectorRange>, Error> {
        let found = self.below.first_data(shifted(range, self.base))?;
        Ok(found.map(|found| relative(found, self.base)))
    }
}

/// An open descriptor with its extents.
#[derive(Debug)]
pub(crate) struct Link {
    path: PathBuf,
    /// Whom the files were opened by.
    gate: Arc<dyn OpenGate>,
    /// Where the descriptor stands; for embedded ones in the file of the extent. Changed with `changing` locked only.
    descriptor_file: RwLock<DescriptorFile>,
    descriptor: RwLock<Descriptor>,
    /// In order, without a gap, none empty.
    extents: Vec<PlacedExtent>,
    capacity: SectorCount,
    /// The grain tables of all extents, and of those of the other links.
    tables: Arc<TableCache>,
    fuse: Arc<Fuse>,
    is_changed: AtomicBool,
    changing: Mutex<()>,
    bounding: Mutex<()>,
    /// Held as long as the link is open; the last field, so that they end behind everything else.
    _locks: Vec<FileLock>,
}

impl Link {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn gate(&self) -> &Arc<dyn OpenGate> {
        &self.gate
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        self.capacity
    }

    /// Fills `buf` as far as the link has data or zeros, and adds the sectors that it has nothing for to `holes`. Behind
    /// its end a link has zeros, for children that are larger.
    pub(crate) fn read(
        &self,
        start: Sector,
        mut buf: &mut [u8],
        holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        for (placed, range) in self.pieces(range_of(start, buf)) {
            let part = take_front_mut(&mut buf, range.count());
            let known = holes.len();
            placed
                .extent
                .read(range.start(), part, holes)
                .map_err(|error| placed.named(error))?;
            for hole in holes.iter_mut().skip(known) {
                *hole = shifted(*hole, placed.range.start());
            }
        }
        buf.fill(0);
        Ok(())
    }

    /// What the link has at the front of `range`, which is not empty.
    pub(crate) fn locate(&self, range: SectorRange) -> Result<Located<'_>, Error> {
        let Some((placed, piece)) = self.pieces(range).next() else {
            return Ok(Located::Elsewhere);
        };
        let found = placed.extent.locate(piece);
        let found = found.map_err(|error| placed.named(error))?;
        Ok(found.map_range(|range| shifted(range, placed.range.start())))
    }

    pub(crate) fn write(
        &self,
        start: Sector,
        mut buf: &[u8],
        below: &dyn Below,
    ) -> Result<(), Error> {
        let range = range_of(start, buf);
        self.check_all_writable(range)?;
        self.before_change()?;
        for (placed, range) in self.pieces(range) {
            let part = take_front(&mut buf, range.count());
            placed
                .extent
                .write(range.start(), part, &placed.view(below))
                .map_err(|error| placed.named(error))?;
            self.bound_changes()?;
        }
        Ok(())
    }

    pub(crate) fn write_zeroes(
        &self,
        range: SectorRange,
        mode: ZeroMode,
        below: &dyn Below,
    ) -> Result<(), Error> {
        self.check_all_writable(range)?;
        if mode.is_fast_only() {
            for (placed, range) in self.pieces(range) {
                let is_fast = placed.extent.zeroes_fast(range, mode, &placed.view(below));
                if !is_fast.map_err(|error| placed.named(error))? {
                    return Err(placed.named(Refusal::NotFast.into()));
                }
            }
        }
        self.change_each(range, |placed, range| {
            placed.extent.write_zeroes(range, mode, &placed.view(below))
        })
    }

    pub(crate) fn trim(&self, range: SectorRange, below: &dyn Below) -> Result<(), Error> {
        self.check_all_writable(range)?;
        self.change_each(range, |placed, range| {
            placed.extent.trim(range, &placed.view(below))
        })
    }

    fn change_each(
        &self,
        range: SectorRange,
        change: impl Fn(&PlacedExtent, SectorRange) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.before_change()?;
        for (placed, mut rest) in self.pieces(range) {
            while !rest.is_empty() {
                let border = rest.start().get().saturating_add(1);
                let border = border.checked_next_multiple_of(STEP).unwrap_or(u64::MAX);
                let (step, behind) = rest.split_at(Sector::new(border));
                change(placed, step).map_err(|error| placed.named(error))?;
                self.bound_changes()?;
                rest = behind;
            }
        }
        Ok(())
    }

    /// What is allocated in `range`: runs in order, without a gap, in sectors of the disk.
    pub(crate) fn map<'a>(
        &'a self,
        range: SectorRange,
    ) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        let (_, beyond) = range.split_at(SectorRange::whole(self.capacity).end());
        let zeros = (!beyond.is_empty()).then_some(Ok((beyond, Allocation::Zero)));
        let runs = self.pieces(range).flat_map(|(placed, piece)| {
            placed.extent.map(piece).map(|run| {
                let (run, state) = run.map_err(|error| placed.named(error))?;
                Ok((shifted(run, placed.range.start()), state))
            })
        });
        Box::new(runs.chain(zeros))
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.for_all_written(|extent| extent.flush())
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        self.for_all_written(|extent| extent.close())
    }

    /// Does what is left to do when nobody has closed the disk.
    pub(crate) fn abandon(&self) -> Result<(), Error> {
        self.for_all_written(|extent| extent.abandon())
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

    pub(crate) fn kind(&self) -> DiskKind {
        let descriptor = self.descriptor.read();
        let create_type = descriptor.create_type().unwrap_or_default();
        DiskKind::from_create_type(&create_type, open::is_thin(&descriptor))
    }

    pub(crate) fn mark(&self) -> Option<ContentMark> {
        self.descriptor.read().mark()
    }

    /// What the descriptor says of a parent; `None` for a base.
    pub(crate) fn parent(&self) -> Option<ParentReference> {
        self.descriptor.read().parent()
    }

    /// What makes the file of the descriptor the same file under another name.
    pub(crate) fn identity(&self) -> FileIdentity {
        self.descriptor_file.read().file().identity
    }

    /// The same of all files, the descriptor's first.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileIdentity> + '_ {
        let extents = self.extents.iter().filter_map(|placed| placed.identity);
        std::iter::once(self.identity()).chain(extents)
    }

    /// The largest grain of any extent.
    pub(crate) fn grain(&self) -> Option<SectorCount> {
        self.extents
            .iter()
            .filter_map(|placed| placed.extent.grain())
            .max()
    }

    /// The parts of `range` that each extent stores, relative to the extent.
    fn pieces(
        &self,
        range: SectorRange,
    ) -> impl Iterator<Item = (&PlacedExtent, SectorRange)> + Send {
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

    pub(crate) fn check_all_writable(&self, range: SectorRange) -> Result<(), Error> {
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
        self.fuse.protect(|| {
            self.end_change_tracking()?;
            self.renew_content_id()
        })?;
        self.is_changed.store(true, Ordering::Release);
        Ok(())
    }

    fn renew_content_id(&self) -> Result<(), Error> {
        let patches = self.descriptor.write().renew_content_id(random()?);
        self.write_ids(&patches.unwrap_or_default())
    }

    fn write_ids(&self, patches: &[Patch]) -> Result<(), Error> {
        let file = self.descriptor_file.read();
        file.patch(patches)?;
        file.sync()
    }

    /// Gives the data base another value, durably.
    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Result<(), Error> {
        let _one = self.changing.lock();
        self.fuse.check()?;
        for placed in &self.extents {
            let allowed = placed.extent.allow_new_text();
            allowed.map_err(|error| placed.named(error))?;
        }
        let old = self.descriptor.read().clone();
        let new = old.with_metadata(key, value)?;
        open::expect_usable(&new)?;
        let mut file = self.descriptor_file.read().clone();
        file.replace(&*self.gate, &self.fuse, &old, &new)?;
        *self.descriptor_file.write() = file;
        *self.descriptor.write() = new;
        Ok(())
    }

    /// Ends the tracking of changes, which writing would make wrong without anyone noticing. The file with the list is
    /// left alone. It is the sync of the new content id that makes this durable.
    fn end_change_tracking(&self) -> Result<(), Error> {
        if !self.descriptor.read().tracks_changes() {
            return Ok(());
        }
        tracing::warn!(disk = %self.path.display(), "the disk is changed, which ends the tracking of its changes");
        // First the extents: as long as the descriptor tells of tracking, their headers may do so too.
        self.for_all_written(|extent| extent.end_tracking())?;
        let patches = self.descriptor.write().end_change_tracking();
        self.descriptor_file.read().patch(&patches)
    }
}
