//! Opening a link: what the file is, what its descriptor says, and whether the extents agree with it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::{Mutex, RwLock};

use super::{Link, PlacedExtent};
use crate::descriptor::{Access, Descriptor, ExtentKind, ExtentLine, MAX_TEXT};
use crate::disk::OpenOptions;
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::extent::Extent;
use crate::extent::cache::{CACHE_BYTES, TableCache};
use crate::extent::flat::FlatExtent;
use crate::extent::header::{CAPACITY_LIMIT, MAX_DIRECTORY_ENTRIES, Signature, SparseShape};
use crate::extent::sparse::SparseExtent;
use crate::extent::stream::{INFLATED_BYTES, InflatedGrains, StreamExtent};
use crate::extent::table::Tables;
use crate::extent::zero::{ForbiddenExtent, ZeroExtent};
use crate::fuse::Fuse;
use crate::gate::{ExtentRefused, FileAccess, OpenedFile};
use crate::storage::Storage;
use crate::units::{byte_position, clamped};

/// Why a link cannot be opened although each of its parts is well-formed.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the file is one extent of a disk: open the descriptor that names it")]
    BareExtent,
    #[error("another open disk writes to it")]
    Locked,
    #[error("it is a child of \"{0}\", and chains of disks are not supported yet")]
    Chain(String),
    #[error("it is a child disk, and writing to one link alone is not supported yet")]
    WritableChild,
    #[error("it is a child disk, but its extents are flat")]
    FlatChild,
    #[error("it is a snapshot that the storage array took")]
    NativeSnapshot,
    #[error("extents of type {0} are not supported yet")]
    ExtentType(&'static str),
    #[error(
        "changed-block tracking is attached, which writing would make wrong; it can only be opened for reading"
    )]
    ChangeTracking,
    #[error(
        "the descriptor has no content id, so that a change could not be noted; repair it before writing"
    )]
    NoContentId,
    #[error("an embedded descriptor must name one sparse extent")]
    EmbeddedExtents,
    #[error("the descriptor gives the extent {line} sectors, its header {header}")]
    SizesDiffer { line: u64, header: u64 },
    #[error("the descriptor's extents add up to {0} sectors")]
    Capacity(u64),
    #[error("the grain directories of all extents have {0} entries, more than any real disk needs")]
    Directories(u64),
    #[error("the descriptor names the same file twice")]
    SameFileTwice,
    #[error("the descriptor's {key} of \"{value}\" is not supported")]
    SectorSize { key: &'static str, value: String },
    #[error("opened through its descriptor, the file is not a sparse extent")]
    NotSparse,
}

impl Cause for LinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked => ErrorKind::AlreadyLocked,
            Self::FlatChild => ErrorKind::InvalidChain,
            Self::NoContentId => ErrorKind::NeedsRepair,
            Self::BareExtent
            | Self::EmbeddedExtents
            | Self::SizesDiffer { .. }
            | Self::Capacity(_)
            | Self::Directories(_)
            | Self::SameFileTwice
            | Self::NotSparse => ErrorKind::InvalidDisk,
            Self::Chain(_)
            | Self::WritableChild
            | Self::NativeSnapshot
            | Self::ExtentType(_)
            | Self::ChangeTracking
            | Self::SectorSize { .. } => ErrorKind::Unsupported,
        }
    }
}

/// Whether the descriptor marks the disk's files as thin.
pub(super) fn is_thin(descriptor: &Descriptor) -> bool {
    descriptor.metadata("thinProvisioned").as_deref() == Some("1")
}

impl Link {
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let access = if options.is_writable() {
            FileAccess::ReadWrite
        } else {
            FileAccess::Read
        };
        let file = options
            .open_gate()
            .open_disk(path, access)
            .map_err(|error| Error::from(error).at(path))?;
        let disk_path = file.path.clone();
        Self::open_file(file, options).map_err(|error| error.at(&disk_path))
    }

    fn open_file(file: OpenedFile, options: &OpenOptions) -> Result<Self, Error> {
        if options.is_writable() {
            lock(&*file.storage)?;
        }
        let text = Text::read(&*file.storage)?;
        let descriptor = Descriptor::parse(&text.bytes)?;
        check_descriptor(&descriptor, options)?;
        let mut opening = Opening::new(&file, &descriptor, options);
        let parts = match text.embedded_in {
            Some(shape) => vec![opening.embedded(shape)?],
            None => opening.named_extents()?,
        };
        check_parent(&descriptor, options)?;
        let (extents, capacity, tables) = opening.finish(parts)?;
        let fuse = opening.fuse;
        Ok(Self {
            path: file.path,
            storage: file.storage,
            text_start: text.start,
            descriptor: RwLock::new(descriptor),
            extents,
            capacity,
            tables,
            fuse,
            is_changed: false.into(),
            changing: Mutex::default(),
            bounding: Mutex::default(),
        })
    }
}

fn lock(storage: &dyn Storage) -> Result<(), Error> {
    match storage.try_lock() {
        Ok(true) => Ok(()),
        Ok(false) => Err(LinkError::Locked.into()),
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
            tracing::debug!("the file system has no locks; nothing keeps a second writer out");
            Ok(())
        }
        Err(error) => Err(IoFault::new("locking the file", error).into()),
    }
}

/// The text of a descriptor and where it was found.
struct Text {
    bytes: Vec<u8>,
    start: ByteLen,
    embedded_in: Option<SparseShape>,
}

impl Text {
    fn read(storage: &dyn Storage) -> Result<Self, Error> {
        let fault = |error| IoFault::new("reading the descriptor", error);
        let length = storage.len().map_err(fault)?;
        let mut first = vec![0; usize::try_from(length.get().min(8)).unwrap_or(0)];
        storage
            .read_exact_at(&mut first, ByteLen::ZERO)
            .map_err(fault)?;
        let (range, embedded_in) = match Signature::of(&first)? {
            Signature::HostedSparse => {
                let shape = SparseShape::load(storage)?;
                let range = shape.descriptor.ok_or(LinkError::BareExtent)?;
                let bytes = range.bytes().unwrap_or_default();
                ((byte_position(range.start()), bytes), Some(shape))
            }
            Signature::Text => ((ByteLen::ZERO, length), None),
        };
        let (start, length) = range;
        // One byte more than may be, so that the parser sees that it is too much.
        let most = u64::try_from(MAX_TEXT)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut bytes = vec![0; usize::try_from(length.get().min(most)).unwrap_or(0)];
        storage.read_exact_at(&mut bytes, start).map_err(fault)?;
        if embedded_in.is_some() && bytes.first() == Some(&0) {
            return Err(LinkError::BareExtent.into());
        }
        Ok(Self {
            bytes,
            start,
            embedded_in,
        })
    }
}

fn check_descriptor(descriptor: &Descriptor, options: &OpenOptions) -> Result<(), LinkError> {
    for key in ["logicalSectorSize", "physicalSectorSize"] {
        match descriptor.metadata(key) {
            Some(value) if value != "512" && value != "4096" => {
                return Err(LinkError::SectorSize { key, value });
            }
            _ => {}
        }
    }
    if options.is_writable() {
        if descriptor.has_change_tracking() {
            return Err(LinkError::ChangeTracking);
        }
        if descriptor.cid().is_none() {
            return Err(LinkError::NoContentId);
        }
    }
    Ok(())
}

/// Refuses children that cannot be read correctly: without the parent, or on their own where that was not asked for.
fn check_parent(descriptor: &Descriptor, options: &OpenOptions) -> Result<(), LinkError> {
    if !descriptor.has_parent() {
        return Ok(());
    }
    let is_flat = |line: &ExtentLine| matches!(line.kind, ExtentKind::Flat | ExtentKind::Vmfs);
    if descriptor.extents().iter().any(is_flat) {
        return Err(LinkError::FlatChild);
    }
    if descriptor.is_native_snapshot() {
        return Err(LinkError::NativeSnapshot);
    }
    if !options.is_single_link() {
        return Err(LinkError::Chain(
            descriptor.parent_hint().unwrap_or_default(),
        ));
    }
    if options.is_writable() {
        return Err(LinkError::WritableChild);
    }
    Ok(())
}

/// An extent whose file is open and checked, but whose caches do not exist yet.
struct Part {
    size: SectorCount,
    format: Format,
    file: Option<OpenedFile>,
    is_writable: bool,
}

enum Format {
    Flat { first: Sector },
    Sparse(SparseShape),
    Zero,
    Forbidden,
}

/// What opening the extents of one descriptor needs.
struct Opening<'a> {
    disk: &'a OpenedFile,
    descriptor: &'a Descriptor,
    options: &'a OpenOptions,
    fuse: Arc<Fuse>,
}

impl<'a> Opening<'a> {
    fn new(disk: &'a OpenedFile, descriptor: &'a Descriptor, options: &'a OpenOptions) -> Self {
        Self {
            disk,
            descriptor,
            options,
            fuse: Arc::default(),
        }
    }

    /// The one extent in the file of the descriptor itself. The name in its line does not matter: files are renamed.
    fn embedded(&mut self, shape: SparseShape) -> Result<Part, Error> {
        let line = match self.descriptor.extents() {
            [line] if line.kind == ExtentKind::Sparse && line.access != Access::None => line,
            _ => return Err(LinkError::EmbeddedExtents.into()),
        };
        if self.options.is_writable() {
            shape.check_writable()?;
        }
        check_size(line, &shape)?;
        Ok(Part {
            size: line.sectors,
            format: Format::Sparse(shape),
            file: Some(self.disk.clone()),
            is_writable: self.options.is_writable() && line.access == Access::ReadWrite,
        })
    }

    /// The extents in files of their own.
    fn named_extents(&mut self) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let mut seen = BTreeSet::from([self.disk.identity]);
        for line in self.descriptor.extents() {
            let part = self.named_extent(line)?;
            if let Some(file) = &part.file
                && !seen.insert(file.identity)
            {
                let is_descriptor = file.identity == self.disk.identity;
                if is_descriptor || self.options.is_writable() {
                    return Err(LinkError::SameFileTwice.into());
                }
            }
            // Another descriptor may name the same file.
            if part.is_writable
                && let Some(file) = &part.file
            {
                lock(&*file.storage).map_err(|error| error.at(&file.path))?;
            }
            if !part.size.is_zero() {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn named_extent(&self, line: &ExtentLine) -> Result<Part, Error> {
        let part = |format, file, is_writable| Part {
            size: line.sectors,
            format,
            file,
            is_writable,
        };
        let may_write = self.options.is_writable() && line.access == Access::ReadWrite;
        match line.kind {
            ExtentKind::Zero => return Ok(part(Format::Zero, None, may_write)),
            _ if line.access == Access::None => {
                return Ok(part(Format::Forbidden, None, self.options.is_writable()));
            }
            _ => {}
        }
        let access = if may_write {
            FileAccess::ReadWrite
        } else {
            FileAccess::Read
        };
        let name = self.descriptor.file_name(line)?;
        let file = self.open_extent(&name, access)?;
        let format = match line.kind {
            ExtentKind::Flat | ExtentKind::Vmfs => Format::Flat { first: line.offset },
            ExtentKind::Sparse => {
                let shape = self
                    .load_shape(line, &file, may_write)
                    .map_err(|error| error.at(&file.path))?;
                Format::Sparse(shape)
            }
            other => return Err(LinkError::ExtentType(other.keyword()).into()),
        };
        Ok(part(format, Some(file), may_write))
    }

    fn open_extent(&self, name: &OsStr, access: FileAccess) -> Result<OpenedFile, Error> {
        self.options
            .open_gate()
            .open_extent(&self.disk.path, name, access)
            .map_err(|error| ExtentRefused::new(name, error).into())
    }

    fn load_shape(
        &self,
        line: &ExtentLine,
        file: &OpenedFile,
        may_write: bool,
    ) -> Result<SparseShape, Error> {
        if file.identity == self.disk.identity {
            return Err(LinkError::NotSparse.into());
        }
        let shape = SparseShape::load(&*file.storage)?;
        if may_write {
            shape.check_writable()?;
        }
        check_size(line, &shape)?;
        Ok(shape)
    }

    /// Puts the extents in their places, with the caches that they share.
    fn finish(
        &self,
        parts: Vec<Part>,
    ) -> Result<(Vec<PlacedExtent>, SectorCount, Arc<TableCache>), Error> {
        let capacity = parts
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(part.size.get()))
            .unwrap_or(u64::MAX);
        if capacity == 0 || capacity >= CAPACITY_LIMIT {
            return Err(LinkError::Capacity(capacity).into());
        }
        let shapes = parts.iter().filter_map(|part| match &part.format {
            Format::Sparse(shape) => Some(shape),
            _ => None,
        });
        // They are all kept in memory, and many lines may name one file.
        let entries = shapes
            .clone()
            .map(|shape| u64::from(shape.directory_entries))
            .sum();
        if entries > MAX_DIRECTORY_ENTRIES {
            return Err(LinkError::Directories(entries).into());
        }
        let (table_bytes, grain_bytes) = shapes.fold((2048, 65536), |(table, grain), shape| {
            let own = usize::try_from(shape.entries_per_table)
                .unwrap_or(0)
                .saturating_mul(4);
            (own.max(table), shape.grain.bytes().max(grain))
        });
        let tables = Arc::new(TableCache::new(CACHE_BYTES, table_bytes));
        let inflated = Arc::new(InflatedGrains::new(INFLATED_BYTES, grain_bytes));
        let mut extents = Vec::with_capacity(parts.len());
        let mut start = Sector::ZERO;
        for (number, part) in (0_u32..).zip(parts) {
            let range: SectorRange = clamped(start, part.size);
            start = range.end();
            let path = part.file.as_ref().map(|file| file.path.clone());
            let is_writable = part.is_writable;
            let extent = self.build(part, number, &tables, &inflated);
            let extent = match &path {
                Some(path) => extent.map_err(|error| error.at(path))?,
                None => extent?,
            };
            extents.push(PlacedExtent {
                range,
                extent,
                path,
                is_writable,
            });
        }
        Ok((extents, SectorCount::new(capacity), tables))
    }

    fn build(
        &self,
        part: Part,
        number: u32,
        tables: &Arc<TableCache>,
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
            Format::Flat { first } => {
                let thin = is_thin(self.descriptor);
                let extent = FlatExtent::open(storage, first, part.size, thin, fuse)?;
                return Ok(Box::new(extent));
            }
            Format::Zero | Format::Forbidden => return Ok(Box::new(ZeroExtent)),
        };
        let is_compressed = shape.is_compressed;
        let tables = Tables::load(Arc::clone(&storage), Arc::clone(tables), number, shape)?;
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
            Box::new(SparseExtent::open(storage, tables, part.size))
        })
    }
}

/// The line's size counts. The header may have more up to the next grain, or to the next 64 KiB as VirtualBox writes
/// it; less would leave sectors without a place, and much more means that one of the two is wrong.
fn check_size(line: &ExtentLine, shape: &SparseShape) -> Result<(), LinkError> {
    let (line, header) = (line.sectors.get(), shape.capacity.get());
    let rounded = line.checked_next_multiple_of(128).unwrap_or(u64::MAX);
    if (line..=rounded.max(shape.grain.round_up(line))).contains(&header) {
        return Ok(());
    }
    Err(LinkError::SizesDiffer { line, header })
}
