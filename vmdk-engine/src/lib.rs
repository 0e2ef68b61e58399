//! A pure-Rust engine for VMware virtual disks (VMDK): read, write and map them in place.
//!
//! ```text
//!   Disk            what callers see: sectors of one disk            disk.rs map.rs info.rs
//!    └─ Chain       the disk and its parents, one behind another     chain.rs
//!        └─ Link        a descriptor and the extents it names, open  link.rs descriptor.rs
//!            └─ Extent      a range of sectors in one format         extent/{flat,sparse,cowd,sesparse,stream,zero}.rs
//!                └─ Storage     bytes by position, through a gate    storage.rs gate.rs
//! ```
//!
//! Supported: `monolithicSparse`, `monolithicFlat`, `twoGbMaxExtentSparse`, `twoGbMaxExtentFlat`, `vmfs` and mixes of
//! their extents, and `vmfsSparse` (COWD) deltas, read and written in place; `streamOptimized`, `seSparse` and COWD
//! files without a descriptor, read; `streamOptimized`, also written once, from its first sector to its last; where
//! the caller allows the device ([`ListGate`]), `fullDevice` and `partitionedDevice`, read and written, and raw
//! mappings, read. Snapshot chains of all of them, with up to 64 parents: reads go through to the parent, writes stay
//! in the child, and parents are only ever read.
//!
//! Disks are made ([`Disk::create`], [`Disk::create_child`]), described ([`Disk::set_metadata`]), made larger ([`grow()`]),
//! renamed ([`rename()`]) and removed ([`unlink()`]) as VMware products name and lay out their files. Each of these leaves
//! what was there or what was asked for, or, after a crash, something that doing it again finishes.
//!
//! What is wrong with a disk [`check()`] says, and [`repair`] mends what can be mended. What is damaged and has a second
//! copy is read from there all the same.
//!
//! A disk is written by one, or read by many: its files are locked against other disks of the engine, QEMU and VMware
//! products, see [`LockKind`].
//!
//! Memory is bounded whatever the capacity and the number of parents: for each open disk at most 16 MiB of pieces of
//! grain directories, 16 MiB of cached grain tables and 4 MiB of changed ones (32 MiB in `vmfsSparse`), 8 MiB of
//! inflated grains, 4 grains for each core in buffers that are used again, and while requests read or write streams 4
//! more. Each thread that reads streams keeps up to 128 KiB for records. What is open for writing has, besides, 4 bytes
//! for each table of the second directory, of which there is one for 32 MiB. So are file descriptors: of the extents of
//! a chain, 64 stay open, and 64 of all others are open at a time.
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

mod chain;
mod check;
mod clone;
mod closed;
mod commit;
mod create;
mod descriptor;
mod descriptor_file;
mod disk;
mod draft;
mod error;
mod extent;
mod file_range;
mod fuse;
mod gate;
mod geometry;
mod grow;
mod info;
mod layout;
mod link;
mod lock;
mod map;
mod progress;
mod random;
mod rename;
mod storage;
mod stream;
mod units;
mod unlink;
mod worker;

pub use check::{
    CheckOptions, Finding, FindingKind, Repair, RepairOptions, Report, Severity, check, repair,
};
pub use clone::Existing;
pub use commit::{AfterCommit, CommitOptions, commit};
pub use create::CreateOptions;
pub use disk::{AttachError, Disk, OpenOptions};
pub use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};
pub use error::{Error, ErrorKind, Operation};
pub use extent::ZeroMode;
pub use file_range::FileRange;
pub use gate::{FileAccess, FileIdentity, FolderGate, GateError, ListGate, OpenGate, OpenedFile};
pub use geometry::Geometry;
pub use grow::{GrowOptions, grow};
pub use info::{Adapter, DiskInfo, DiskKind};
pub use lock::{FileLock, LockKind};
pub use map::{Allocation, Extents, MapExtent};
pub use progress::{Progress, Watcher, unwatched};
pub use rename::rename;
pub use storage::{FileStorage, MemoryStorage, Storage};
pub use stream::{StreamGrain, StreamReader, StreamWriter};
pub use unlink::unlink;
