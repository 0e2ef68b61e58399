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
use crate::extent::cowd;
use crate::extent::flat::FlatExtent;
use crate::extent::header::{CAPACITY_LIMIT, MAX_DIRECTORY_ENTRIES, Signature, SparseShape};
use crate::extent::sesparse::{SeSparseExtent, SeSparseShape};
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
    #[error(
        "the file is a copy-on-write extent (COWD) without a descriptor, which is not supported yet"
    )]
    BareCowd,
    #[error("another open disk writes to it")]
    Locked,
    #[error("it is a child disk, and writing to one link alone is not supported")]
    WritableChild,
    #[error("it is a child disk, but its extents are {0}, which cannot let a parent show")]
    NoChild(&'static str),
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
    #[error("a space-efficient sparse extent can only be opened for reading")]
    ReadOnlySeSparse,
}

impl Cause for LinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked => ErrorKind::AlreadyLocked,
            Self::NoChild(_) => ErrorKind::InvalidChain,
            Self::NoContentId => ErrorKind::NeedsRepair,
            Self::BareExtent
            | Self::EmbeddedExtents
            | Self::SizesDiffer { .. }
            | Self::Capacity(_)
            | Self::Directories(_)
            | Self::SameFileTwice
            | Self::NotSparse => ErrorKind::InvalidDisk,
            Self::WritableChild
            | Self::NativeSnapshot
            | Self::ExtentType(_)
            | Self::ReadOnlySeSparse
            | Self::BareCowd
            | Self::ChangeTracking
            | Self::SectorSize { .. } => ErrorKind::Unsupported,
        }
    }
}

/// Whether the descriptor marks the disk's files as thin.
pub(super) fn is_thin(descriptor: &Descriptor) -> bool {
    descriptor.metadata("thinProvisioned").as_deref() == Some("1")
}

/// What the links of a chain share.
#[derive(Debug)]
pub(crate) struct SharedCaches {
    tables: Arc<TableCache>,
    next_extent: u32,
}

impl SharedCaches {
    pub(crate) fn new() -> Self {
        Self {
            tables: Arc::new(TableCache::new(CACHE_BYTES)),
            next_extent: 0,
        }
    }

    /// A number for an extent that no other of the chain has.
    fn number(&mut self) -> u32 {
        let number = self.next_extent;
        self.next_extent = number.saturating_add(1);
        number
    }
}

impl Link {
    /// Opens the link that the caller named.
    pub(crate) fn open(
        path: &Path,
        options: &OpenOptions,
        caches: &mut SharedCaches,
    ) -> Result<Self, Error> {
        let access = if options.is_writable() {
            FileAccess::ReadWrite
        } else {
            FileAccess::Read
        };
        let file = options
            .open_gate()
            .open_disk(path, access)
            .map_err(|error| Error::from(error).at(path))?;
        Self::open_file(file, options, caches)
    }

    /// Opens the link whose descriptor is in a file that is open already.
    pub(crate) fn open_file(
        file: OpenedFile,
        options: &OpenOptions,
        caches: &mut SharedCaches,
    ) -> Result<Self, Error> {
        let path = file.path.clone();
        Self::open_parts(file, options, caches).map_err(|error| error.at(&path))
    }

    fn open_parts(
        file: OpenedFile,
        options: &OpenOptions,
        caches: &mut SharedCaches,
    ) -> Result<Self, Error> {
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
        check_parent(&descriptor, &parts, options)?;
        let (extents, capacity) = opening.finish(parts, caches)?;
        let fuse = opening.fuse;
        Ok(Self {
            path: file.path,
            identity: file.identity,
            storage: file.storage,
            text_start: text.start,
            descriptor: RwLock::new(descriptor),
            extents,
            capacity,
            tables: Arc::clone(&caches.tables),
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
            Signature::Cowd => return Err(LinkError::BareCowd.into()),
            Signature::SeSparse => return Err(LinkError::BareExtent.into()),
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

/// Refuses children of a kind that cannot be one, and changes that would need the parent where that was left out.
fn check_parent(
    descriptor: &Descriptor,
    parts: &[Part],
    options: &OpenOptions,
) -> Result<(), LinkError> {
    if descriptor.parent().is_none() {
        return Ok(());
    }
    let is_flat = |line: &ExtentLine| matches!(line.kind, ExtentKind::Flat | ExtentKind::Vmfs);
    if descriptor.extents().iter().any(is_flat) {
        return Err(LinkError::NoChild("flat"));
    }
    let is_stream =
        |part: &Part| matches!(&part.format, Format::Sparse(shape) if shape.is_compressed);
    if parts.iter().any(is_stream) {
        return Err(LinkError::NoChild("stream-optimised"));
    }
    if descriptor.is_native_snapshot() {
        return Err(LinkError::NativeSnapshot);
    }
    if options.is_writable() && options.is_single_link() {
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
    SeSparse(SeSparseShape),
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
            ExtentKind::Sparse | ExtentKind::VmfsSparse | ExtentKind::SeSparse => self
                .load_shape(line, &file, may_write)
                .map_err(|error| error.at(&file.path))?,
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
    ) -> Result<Format, Error> {
        if file.identity == self.disk.identity {
            return Err(LinkError::NotSparse.into());
        }
        let storage = &*file.storage;
        let shape = match line.kind {
            ExtentKind::SeSparse => {
                let shape = SeSparseShape::load(storage)?;
                check_equal_size(line, shape.capacity)?;
                if may_write {
                    return Err(LinkError::ReadOnlySeSparse.into());
                }
                return Ok(Format::SeSparse(shape));
            }
            ExtentKind::VmfsSparse => {
                let shape = cowd::load(storage)?;
                check_equal_size(line, shape.capacity)?;
                shape
            }
            _ => {
                let shape = SparseShape::load(storage)?;
                check_size(line, &shape)?;
                shape
            }
        };
        if may_write {
            shape.check_writable()?;
        }
        Ok(Format::Sparse(shape))
    }

    /// Puts the extents in their places, with the caches that they share.
    fn finish(
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
        // They are all kept in memory, and many lines may name one file.
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
            Format::SeSparse(shape) => {
                let tables = Arc::clone(tables);
                let extent = SeSparseExtent::load(storage, tables, number, shape)?;
                return Ok(Box::new(extent));
            }
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

/// ESX keeps both sizes equal.
fn check_equal_size(line: &ExtentLine, header: SectorCount) -> Result<(), LinkError> {
    if line.sectors == header {
        return Ok(());
    }
    let (line, header) = (line.sectors.get(), header.get());
    Err(LinkError::SizesDiffer { line, header })
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
