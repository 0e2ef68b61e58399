//! A chain of links: the disk that was opened, and the parents that show where it has nothing.
//!
//! Each link says what it has; here that is put together. Only the first link is ever written.

mod attach;
mod hint;
mod layers;
mod open;

use std::collections::HashSet;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use crate::descriptor::ContentMark;
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::extent::{Below, ZeroMode};
use crate::file_range::{FileRange, Located};
use crate::gate::{FileIdentity, OpenGate};
use crate::geometry::Geometry;
use crate::info::{Adapter, DiskInfo};
use crate::link::Link;
use crate::map::Allocation;
use crate::progress::Watcher;
use crate::storage::Storage;
use crate::units::{part_of, range_of};

pub(crate) use layers::Layers;
pub(crate) use open::find_parent;

/// The granularity of disks without grains.
const USUAL_GRAIN: SectorCount = SectorCount::new(128);
/// Requests below a page gain nothing, however small the grains are.
const LEAST_PREFERRED: SectorCount = SectorCount::new(8);

/// A search for data joins runs up to about this length, so that going on behind them does not look up each again.
const LONG_ENOUGH: SectorCount = SectorCount::new(1 << 15);

/// Sectors that nobody knows.
#[derive(Debug, thiserror::Error)]
enum UnknownSectors {
    #[error("sectors {0} are in a parent that is missing")]
    Missing(SectorRange),
    #[error("sectors {0} are in the parent, which was not to be opened")]
    LeftOut(SectorRange),
}

impl Cause for UnknownSectors {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ParentNotFound
    }
}

/// The file with these sectors, if there is a file and it has them all.
fn share(
    storage: &dyn Storage,
    position: ByteLen,
    range: SectorRange,
) -> Result<Option<FileRange>, Error> {
    let failed = |error| IoFault::new("asking for the file itself", error);
    let end = range
        .count()
        .bytes()
        .and_then(|length| position.checked_add(length));
    if end.is_none_or(|end| storage.len().is_ok_and(|len| len < end)) {
        // Reading tells what is wrong.
        return Ok(None);
    }
    match storage.share() {
        Ok(file) => Ok(Some(FileRange {
            file,
            position,
            range,
        })),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(failed(error).into()),
    }
}

/// A disk with all its links.
#[derive(Debug)]
pub(crate) struct Chain {
    leaf: Arc<Link>,
    parents: Parents,
}

/// The links below the one that was opened, from its parent to the base. They are only read.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    links: Vec<Arc<Link>>,
    /// The last link has a parent that is missing.
    is_cut: bool,
    /// The leaf has a parent, but was to be opened alone. It reads as zeros, but a change must not make that come true:
    /// the rest of a grain that is written in part has to come from the parent.
    is_left_out: bool,
}

impl Parents {
    /// Fills the parts `holes` of `buf`, which begins at sector `start`.
    fn fill(
        &self,
        mut holes: Vec<SectorRange>,
        start: Sector,
        buf: &mut [u8],
    ) -> Result<(), Error> {
        for link in &self.links {
            for hole in mem::take(&mut holes) {
                let part = part_of(buf, start, hole);
                link.read(hole.start(), part, &mut holes)
                    .map_err(|error| error.at(link.path()))?;
            }
        }
        match holes.first() {
            Some(hole) if self.is_cut => return Err(UnknownSectors::Missing(*hole).into()),
            _ => {}
        }
        for hole in holes {
            part_of(buf, start, hole).fill(0);
        }
        Ok(())
    }
}

impl Below for Parents {
    fn read(&self, start: Sector, buf: &mut [u8]) -> Result<(), Error> {
        if self.is_left_out {
            return Err(UnknownSectors::LeftOut(range_of(start, buf)).into());
        }
        self.fill(vec![range_of(start, buf)], start, buf)
    }

    fn first_data(&self, range: SectorRange) -> Result<Option<SectorRange>, Error> {
        if self.is_left_out {
            return Ok(Some(range).filter(|range| !range.is_empty()));
        }
        if range.is_empty() || (self.links.is_empty() && !self.is_cut) {
            return Ok(None);
        }
        let mut found: Option<SectorRange> = None;
        for run in Layers::below(self, range) {
            let run = run?;
            let is_data = matches!(run.state, Allocation::Data | Allocation::Unknown);
            match found {
                Some(data) if !is_data || data.count() >= LONG_ENOUGH => break,
                Some(data) => found = SectorRange::between(data.start(), run.range.end()),
                None if is_data => found = Some(run.range),
                None => {}
            }
        }
        Ok(found)
    }
}

impl From<Link> for Chain {
    /// A disk without parents.
    fn from(leaf: Link) -> Self {
        Self {
            leaf: leaf.into(),
            parents: Parents::default(),
        }
    }
}

impl Chain {
    /// The link that was opened.
    pub(crate) fn path(&self) -> &Path {
        self.leaf.path()
    }

    pub(crate) fn leaf(&self) -> &Link {
        &self.leaf
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        self.leaf.capacity()
    }

    pub(crate) fn read(&self, start: Sector, buf: &mut [u8]) -> Result<(), Error> {
        let mut holes = Vec::new();
        self.leaf.read(start, buf, &mut holes)?;
        self.parents.fill(holes, start, buf)
    }

    /// The sectors at the front of `range`, which is not empty, if they lie in a file as they are.
    pub(crate) fn file_range(&self, mut range: SectorRange) -> Result<Option<FileRange>, Error> {
        for link in self.links() {
            match link.locate(range).map_err(|error| error.at(link.path()))? {
                Located::At {
                    storage,
                    position,
                    range,
                } => return share(storage, position, range).map_err(|error| error.at(link.path())),
                Located::Below(hole) => range = hole,
                Located::Elsewhere => break,
            }
        }
        Ok(None)
    }

    pub(crate) fn write(&self, start: Sector, buf: &[u8]) -> Result<(), Error> {
        self.leaf.write(start, buf, &self.parents)
    }

    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<(), Error> {
        self.leaf.write_zeroes(range, mode, &self.parents)
    }

    pub(crate) fn trim(&self, range: SectorRange) -> Result<(), Error> {
        self.leaf.trim(range, &self.parents)
    }

    pub(crate) fn map(&self, range: SectorRange) -> Layers<'_> {
        Layers::of(&self.leaf, &self.parents, range)
    }

    pub(crate) fn shrink(&self, watcher: Watcher<'_>) -> Result<(), Error> {
        self.leaf.shrink(&self.parents, watcher)
    }

    pub(crate) fn defragment(&self, watcher: Watcher<'_>) -> Result<(), Error> {
        self.leaf.defragment(watcher)
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.leaf.flush()
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        self.leaf.close()
    }

    /// Does what is left to do when nobody has closed the disk.
    pub(crate) fn abandon(&self) -> Result<(), Error> {
        self.leaf.abandon()
    }

    /// What makes the files of all links the same files under other names.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileIdentity> + '_ {
        self.links().flat_map(Link::files)
    }

    /// All links, from the one that was opened to the base.
    fn links(&self) -> impl Iterator<Item = &Link> {
        let links = std::iter::once(&self.leaf).chain(&self.parents.links);
        links.map(Arc::as_ref)
    }

    /// What children know the content of the disk by.
    pub(crate) fn mark(&self) -> Option<ContentMark> {
        self.leaf.mark()
    }

    pub(crate) fn gate(&self) -> &Arc<dyn OpenGate> {
        self.leaf.gate()
    }

    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Result<(), Error> {
        self.leaf.set_metadata(key, value)
    }

    /// The files of the parents' descriptors, from the disk's own parent to the base.
    pub(crate) fn parent_paths(&self) -> impl Iterator<Item = &Path> {
        self.parents.links.iter().map(|link| link.path())
    }

    /// The value of the first link that has one.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.links().find_map(|link| link.metadata(key))
    }

    pub(crate) fn metadata_keys(&self) -> Vec<String> {
        let mut known = HashSet::new();
        self.links()
            .flat_map(Link::metadata_keys)
            .filter(|key| known.insert(key.to_ascii_lowercase()))
            .collect()
    }

    pub(crate) fn info(&self) -> DiskInfo {
        let metadata = |key: &str| self.metadata(key);
        let adapter = Adapter::from_name(&metadata("adapterType").unwrap_or_default());
        let sector_size = |key| {
            metadata(key)
                .and_then(|size| size.parse().ok())
                .unwrap_or(512)
        };
        let grain = self.links().filter_map(Link::grain).max();
        DiskInfo {
            kind: self.leaf.kind(),
            capacity: self.capacity(),
            adapter,
            bios_geometry: Geometry::bios(&metadata),
            physical_geometry: Geometry::physical(&metadata, adapter, self.capacity()),
            links: u32::try_from(self.links().count()).unwrap_or(u32::MAX),
            parent_hint: self.leaf.parent().and_then(|parent| parent.hint()),
            uuid: metadata("uuid"),
            logical_sector_size: sector_size("logicalSectorSize"),
            physical_sector_size: sector_size("physicalSectorSize"),
            preferred_io: grain.unwrap_or(USUAL_GRAIN).max(LEAST_PREFERRED),
        }
    }
}
