//! The link of a stream-optimised disk that is being written.

use std::sync::Arc;

use disk_units::{ByteLen, SectorCount, SectorRange};
use parking_lot::{Mutex, RwLock};

use super::{Link, PlacedExtent};
use crate::descriptor::Descriptor;
use crate::descriptor_file::DescriptorFile;
use crate::error::Error;
use crate::extent::cache::{CACHE_BYTES, TableCache};
use crate::extent::new_stream::NewStreamExtent;
use crate::fuse::Fuse;
use crate::gate::{OpenGate, OpenedFile};
use crate::lock::FileLock;

impl Link {
    /// Begins a stream in an empty file. `text` is its descriptor, with one extent.
    pub(crate) fn new_stream(
        gate: &Arc<dyn OpenGate>,
        file: OpenedFile,
        text: &[u8],
    ) -> Result<Self, Error> {
        let lock = FileLock::exclusive(&**gate, &file)?;
        let descriptor = Descriptor::parse(text)?;
        let capacity = descriptor
            .extents()
            .first()
            .map_or(SectorCount::ZERO, |line| line.sectors);
        let fuse: Arc<Fuse> = Arc::default();
        let extent =
            NewStreamExtent::begin(Arc::clone(&file.storage), capacity, text, Arc::clone(&fuse))
                .map_err(|error| error.at(&file.path))?;
        let placed = PlacedExtent {
            range: SectorRange::whole(capacity),
            extent: Box::new(extent),
            path: Some(file.path.clone()),
            identity: Some(file.identity),
            is_writable: true,
        };
        Ok(Self {
            path: file.path.clone(),
            gate: Arc::clone(gate),
            descriptor_file: RwLock::new(DescriptorFile::fixed(file, ByteLen::new(512))),
            descriptor: RwLock::new(descriptor),
            extents: vec![placed],
            capacity,
            tables: Arc::new(TableCache::new(CACHE_BYTES)),
            fuse,
            // Its content id is as new as the disk.
            is_changed: true.into(),
            changing: Mutex::default(),
            bounding: Mutex::default(),
            _locks: vec![lock],
        })
    }
}
