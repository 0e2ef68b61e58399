//! Opening a link: what the file is, what its descriptor says, and whether the extents agree with it.

mod error;
mod partitions;
mod parts;
mod place;
mod rules;
mod text;

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use self::parts::{Opening, Part};
pub(crate) use self::rules::expect_openable;
pub(super) use self::rules::expect_usable;
pub(crate) use self::text::Text;
use super::Link;
use crate::descriptor::Descriptor;
use crate::descriptor_file::DescriptorFile;
use crate::disk::OpenOptions;
use crate::error::Error;
use crate::extent::cache::TableCaches;
use crate::gate::{FileAccess, GateError, OpenedFile};
use crate::lock::{FileLock, InUse};
use crate::storage::pool::FilePool;

/// A descriptor is replaced while somebody waits for its lock only now and then.
const MAX_TRIES: u32 = 100;

/// Whether the descriptor marks the disk's files as thin.
pub(super) fn is_thin(descriptor: &Descriptor) -> bool {
    descriptor.metadata("thinProvisioned").as_deref() == Some("1")
}

/// What the links of a chain share.
#[derive(Debug)]
pub(crate) struct SharedCaches {
    tables: TableCaches,
    files: Arc<FilePool>,
    next_extent: u32,
}

impl SharedCaches {
    pub(crate) fn new() -> Self {
        Self {
            tables: TableCaches::new(),
            files: Arc::new(FilePool::new()),
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
        let gate = options.open_gate();
        let at = |error: GateError| Error::from(error).at(path);
        for _ in 0..MAX_TRIES {
            let file = gate.open_disk(path, access).map_err(at)?;
            let lock = options.lock(&file, options.is_writable())?;
            // Whoever had it until now may have put another in its place, or removed it.
            if file.is_at(gate, path).map_err(at)? {
                return Self::open_locked(file, lock, options, caches);
            }
        }
        Err(Error::from(InUse).at(path))
    }

    /// Opens the link whose descriptor is in a file that is open already.
    pub(crate) fn open_file(
        file: OpenedFile,
        options: &OpenOptions,
        caches: &mut SharedCaches,
    ) -> Result<Self, Error> {
        let lock = options.lock(&file, options.is_writable())?;
        Self::open_locked(file, lock, options, caches)
    }

    fn open_locked(
        file: OpenedFile,
        lock: FileLock,
        options: &OpenOptions,
        caches: &mut SharedCaches,
    ) -> Result<Self, Error> {
        let path = file.path.clone();
        Self::open_parts(file, lock, options, caches).map_err(|error| error.at(&path))
    }

    fn open_parts(
        file: OpenedFile,
        lock: FileLock,
        options: &OpenOptions,
        caches: &mut SharedCaches,
    ) -> Result<Self, Error> {
        let text = Text::read(&*file.storage)?;
        let descriptor = text.descriptor;
        rules::check_descriptor(&descriptor, options)?;
        let mut opening = Opening::new(&file, &descriptor, options, &caches.files);
        let place = DescriptorFile::new(file.clone(), text.start, text.embedded_in.as_ref());
        let parts = match text.embedded_in {
            Some(shape) => vec![opening.embedded(shape)?],
            None => opening.named_extents()?,
        };
        rules::check_child(&descriptor, parts.iter().any(Part::is_stream))?;
        let (extents, capacity) = opening.place(parts, caches)?;
        let Opening {
            fuse, mut locks, ..
        } = opening;
        locks.push(lock);
        Ok(Self {
            path: file.path,
            gate: options.shared_gate(),
            descriptor_file: RwLock::new(place),
            descriptor: RwLock::new(descriptor),
            extents,
            capacity,
            tables: Arc::clone(&caches.tables.tables),
            fuse,
            is_changed: false.into(),
            changing: Mutex::default(),
            bounding: Mutex::default(),
            _locks: locks,
        })
    }
}
