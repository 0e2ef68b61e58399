//! A pure-Rust engine for VMware virtual disks (VMDK): read, write and map them in place.
//!
//! ```text
//!   Disk            what callers see: sectors of one disk            disk.rs map.rs info.rs
//!    └─ Link        a descriptor and the extents it names, open      link.rs descriptor.rs geometry.rs
//!        └─ Extent  a range of sectors in one format                 extent/{flat,sparse,stream,zero}.rs
//!            └─ Storage   bytes by position; an OpenGate opens it    storage.rs gate.rs
//! ```
//!
//! Supported: `monolithicSparse`, `monolithicFlat`, `twoGbMaxExtentSparse`, `twoGbMaxExtentFlat`, `vmfs` and mixes of
//! their extents, read and written in place; `streamOptimized`, read. Snapshot chains, ESX delta formats, creating
//! and repairing disks are refused with errors that say so.
//!
//! Memory is bounded whatever the capacity: 4 bytes for each 32 MiB of a sparse disk, at most 16 MiB of cached grain
//! tables and 4 MiB of changed ones, 8 MiB of inflated grains.
//!
//! ```
//! use std::fs;
//!
//! use disk_units::{Sector, SectorRange};
//! use vmdk_engine::{Allocation, Disk, OpenOptions};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let folder = scratch.path();
//! let descriptor = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
//!                   createType=\"monolithicFlat\"\n\nRW 2048 FLAT \"small-flat.vmdk\" 0\n";
//! fs::write(folder.join("small.vmdk"), descriptor)?;
//! fs::File::create(folder.join("small-flat.vmdk"))?.set_len(2048 * 512)?;
//!
//! let disk = Disk::open(folder.join("small.vmdk"), &OpenOptions::new().writable(true))?;
//! disk.write_at(Sector::new(1000), &[7; 512])?;
//! disk.flush()?;
//!
//! let mut sector = [0; 512];
//! disk.read_at(Sector::new(1000), &mut sector)?;
//! assert_eq!(sector, [7; 512]);
//! for extent in disk.extents(SectorRange::whole(disk.capacity())) {
//!     let extent = extent?;
//!     assert_eq!(extent.range.contains(Sector::new(1000)), extent.state == Allocation::Data);
//! }
//! disk.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod descriptor;
mod disk;
mod error;
mod extent;
mod fuse;
mod gate;
mod geometry;
mod info;
mod layout;
mod link;
mod map;
mod storage;
mod units;

pub use disk::{Disk, OpenOptions};
pub use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};
pub use error::{Error, ErrorKind, Operation};
pub use extent::ZeroMode;
pub use gate::{FileAccess, FileIdentity, FolderGate, GateError, OpenGate, OpenedFile};
pub use geometry::Geometry;
pub use info::{Adapter, DiskInfo, DiskKind};
pub use map::{Allocation, Extents, MapExtent};
pub use storage::{FileStorage, MemoryStorage, Storage};
