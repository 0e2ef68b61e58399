//! Making disks larger.
//!
//! What is new comes first, and durably: sectors, files, tables. Then the descriptor says so at once, for a sparse disk
//! in one file together with its header. A crash leaves the old size or the new one.

mod files;
mod sparse;

use std::path::Path;
use std::sync::Arc;

use disk_units::{ByteLen, SectorCount};

use crate::closed::ClosedDisk;
use crate::create::{DiskName, check_size};
use crate::descriptor::{Access, ExtentKind, Rewrite};
use crate::disk::{Disk, OpenOptions};
use crate::error::{Cause, Error, ErrorKind, Operation, Refusal};
use crate::gate::{FolderGate, OpenGate};
use crate::geometry::Geometry;
use crate::info::{Adapter, DiskKind};
use crate::progress::{Watcher, Work};

/// Why a disk does not grow.
#[derive(Debug, thiserror::Error)]
enum GrowError {
    #[error("the disk has {old} sectors; {new} are not more")]
    NotLarger { old: u64, new: u64 },
    #[error("{0} sectors of 512 bytes are no whole number of the disk's sectors of 4096")]
    NotWhole(u64),
    #[error("it is a child, which is as large as its parent")]
    Child,
    #[error("disks of this kind do not grow")]
    Kind,
    #[error("its changes are tracked, in a file of a fixed size")]
    ChangesTracked,
    #[error("it was changed by somebody else at the same time")]
    Changed,
}

impl Cause for GrowError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLarger { .. } | Self::NotWhole(_) => ErrorKind::InvalidArgument,
            Self::Child => ErrorKind::HasParent,
            Self::Kind | Self::ChangesTracked => ErrorKind::Unsupported,
            Self::Changed => ErrorKind::AlreadyLocked,
        }
    }
}

/// How a disk grows; see [`grow`]. By default its recorded geometry stays, and its files are under [`FolderGate`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GrowOptions {
    update_geometry: bool,
    gate: Arc<dyn OpenGate>,
}

impl Default for GrowOptions {
    fn default() -> Self {
        Self {
            update_geometry: false,
            gate: Arc::new(FolderGate),
        }
    }
}

impl GrowOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the disk gets the geometry that VMware products choose for its new size.
    #[must_use]
    pub fn update_geometry(mut self, update_geometry: bool) -> Self {
        self.update_geometry = update_geometry;
        self
    }

    /// Who opens and makes the files.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn OpenGate>) -> Self {
        self.gate = gate;
        self
    }
}

/// Makes a disk larger: `capacity` is the number of sectors that it will have. What is new reads as zeros.
///
/// Flat files get longer, split disks get more files, and sparse disks in one file more tables. Flat disks that are not
/// thin get space for all that is new. The content id stays. The disk must not be open, and must have no children: they
/// would not fit any more, and nothing tells whether there are any.
///
/// If it fails or is cancelled by the `watcher`, the disk is as it was.
///
/// # Errors
/// By [`kind`](Error::kind): [`InvalidArgument`](ErrorKind::InvalidArgument) if that is not more than it has;
/// [`HasParent`](ErrorKind::HasParent) for a child; [`Unsupported`](ErrorKind::Unsupported) for deltas of ESX hosts,
/// streams, mixed kinds and disks whose changes are tracked; [`FileTooBig`](ErrorKind::FileTooBig);
/// [`AlreadyLocked`](ErrorKind::AlreadyLocked) if the disk is open; [`AlreadyExists`](ErrorKind::AlreadyExists) for a
/// file that would have to be made; [`NoRoom`](ErrorKind::NoRoom) where an embedded descriptor is too long to be
/// changed; [`Cancelled`](ErrorKind::Cancelled), [`DiskFull`](ErrorKind::DiskFull); and those of opening it for writing.
///
/// ```
/// use disk_units::SectorCount;
/// use vmdk_engine::{CreateOptions, Disk, DiskKind, GrowOptions, OpenOptions, grow, unwatched};
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("disk.vmdk");
/// let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(2048));
/// Disk::create(&path, &options, &mut unwatched)?.close()?;
/// grow(&path, SectorCount::new(1 << 30), &GrowOptions::new(), &mut unwatched)?;
/// let disk = Disk::open(&path, &OpenOptions::new())?;
/// assert_eq!(disk.capacity(), SectorCount::new(1 << 30));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grow(
    path: impl AsRef<Path>,
    capacity: SectorCount,
    options: &GrowOptions,
    watcher: Watcher<'_>,
) -> Result<(), Error> {
    let path = path.as_ref();
    Growth::of(path, capacity, options)
        .and_then(|mut growth| growth.carry_out(options, watcher))
        .map_err(|error| error.at(path).during(Operation::Grow, None))
}

/// A disk that is to grow.
struct Growth<'a> {
    disk: ClosedDisk<'a>,
    kind: DiskKind,
    old: SectorCount,
    new: SectorCount,
    adapter: Adapter,
}

impl<'a> Growth<'a> {
    fn of(path: &Path, new: SectorCount, options: &'a GrowOptions) -> Result<Self, Error> {
        // Opening it finds what is wrong with it, and mends what an interrupted writer has left.
        let writable = OpenOptions::new()
            .writable(true)
            .single_link(true)
            .gate(Arc::clone(&options.gate));
        let open = Disk::open(path, &writable)?;
        let info = open.info();
        open.close()?;
        let disk = ClosedDisk::open(&*options.gate, path)?;
        let growth = Self {
            disk,
            kind: info.kind,
            old: info.capacity,
            new,
            adapter: info.adapter,
        };
        growth.check(info.logical_sector_size)?;
        Ok(growth)
    }

    fn check(&self, sector_size: u32) -> Result<(), Error> {
        let (old, new) = (self.old.get(), self.new.get());
        let descriptor = &self.disk.descriptor;
        if descriptor.parent().is_some() {
            return Err(GrowError::Child.into());
        }
        if new <= old {
            return Err(GrowError::NotLarger { old, new }.into());
        }
        if sector_size == 4096 && !new.is_multiple_of(8) {
            return Err(GrowError::NotWhole(new).into());
        }
        if descriptor.tracks_changes() {
            return Err(GrowError::ChangesTracked.into());
        }
        let lines = descriptor.extents();
        let sum = lines.iter().map(|line| line.sectors.get());
        if sum.fold(0, u64::saturating_add) != old {
            return Err(GrowError::Changed.into());
        }
        let (kind, is_single) = match self.kind {
            DiskKind::MonolithicSparse => (ExtentKind::Sparse, true),
            DiskKind::SplitSparse => (ExtentKind::Sparse, false),
            DiskKind::MonolithicFlat => (ExtentKind::Flat, true),
            DiskKind::SplitFlat => (ExtentKind::Flat, false),
            DiskKind::VmfsFlat | DiskKind::VmfsThin => (ExtentKind::Vmfs, true),
            _ => return Err(GrowError::Kind.into()),
        };
        let is_alike = lines.iter().all(|line| line.kind == kind);
        let is_embedded = self.kind == DiskKind::MonolithicSparse;
        if !is_alike || (is_single && lines.len() != 1) || self.disk.is_one_file() != is_embedded {
            return Err(GrowError::Kind.into());
        }
        if lines.iter().any(|line| line.access != Access::ReadWrite) {
            return Err(Refusal::ReadOnlyExtent.into());
        }
        Ok(check_size(self.kind, self.new)?)
    }

    fn carry_out(&mut self, options: &GrowOptions, watcher: Watcher<'_>) -> Result<(), Error> {
        let descriptor = self.disk.descriptor.clone();
        let mut rewrite = Rewrite::new(&descriptor);
        if options.update_geometry {
            let geometry = Geometry::for_disk(self.adapter, self.new);
            for (key, value) in [
                ("geometry.cylinders", geometry.cylinders),
                ("geometry.heads", geometry.heads),
                ("geometry.sectors", geometry.sectors),
            ] {
                rewrite.metadata(key, &value.to_string())?;
            }
        }
        if self.kind == DiskKind::MonolithicSparse {
            let all = ByteLen::new(1);
            let mut work = Work::begin(all, watcher)?;
            rewrite.extent_size(0, self.new);
            let new = rewrite.finish()?;
            sparse::grow(&mut self.disk, self.new, &new)?;
            // It is larger, whatever the watcher says now.
            let _ = work.advance(all);
            return Ok(());
        }
        let name = DiskName::of(&self.disk.file().path)?;
        let more = SectorCount::new(self.new.get().saturating_sub(self.old.get()));
        let plan = files::plan(&self.disk, self.kind, &name, more)?;
        let mut work = Work::begin(plan.work(), watcher)?;
        files::grow(&mut self.disk, &plan, rewrite, &mut work)
    }
}
