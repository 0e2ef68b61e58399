//! Read and write VMware virtual disks, safely.
//!
//! This crate is the safe side of VixDiskLib, the C library of VMware's Virtual Disk Development Kit (VDDK). It works
//! without VDDK: by default an open engine inside the process does the work, and the same code runs on VDDK when it
//! is told where VDDK is.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("disk.vmdk");
//! # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
//! # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
//! #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
//! use vixdisklib::{Library, OpenFlags, Sector, SectorRange};
//!
//! let library = Library::embedded()?; // or Library::load("/opt/vmware-vix-disklib-distrib")?
//! let disk = library.connect_local()?.open_disk(&path, OpenFlags::empty())?;
//!
//! disk.write_at(Sector::new(8), b"hello".repeat(1024).get(..512).unwrap())?;
//! disk.flush()?;
//!
//! for extent in disk.extents(SectorRange::whole(disk.capacity()))? {
//!     let extent = extent?;
//!     println!("{}: {}", extent.range, if extent.allocated { "data" } else { "hole" });
//! }
//! disk.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How C becomes Rust
//!
//! | VixDiskLib | here |
//! |---|---|
//! | `InitEx`, `Exit`, once per process, on one thread | [`Library`]: made once, shared by cloning, left by dropping |
//! | calls that must come from one designated thread | made on the library's own control thread, from wherever you call |
//! | `ConnectEx`, `Disconnect`; `Open`, `Close` | [`Connection`] and [`Disk`]: closed in the right order when dropped |
//! | one call at a time per handle | [`Disk`] is `Send`, not `Sync`; [`SharedDisk`] is for several threads |
//! | `ReadAsync`, `WriteAsync` and a callback | [`Disk::read_async`] and a future that owns the buffer |
//! | `QueryAllocatedBlocks` and its limits | [`Disk::extents`] and [`Disk::chunks`]: any range, to the last sector |
//! | progress callbacks, inside of the call | closures that hear of [`Progress`] outside of it, where they may panic |
//! | `Attach`, after which a handle is not to be used | [`Disk::attach`] consumes the parent, and closes it when it is due |
//! | error numbers, and log lines somewhere else | [`Error`]: kind, code, text, object, the log lines of that call, and a [`Hint`] |
//! | passwords in plain memory | [`Secret`]: wiped, never printed |
//!
//! # Features
//!
//! `embedded` (default): the open engine. `loader` (default): VDDK at run time. `nbd`: an NBD server for disks.
//! Features only add; which library does the work is [`Backend`], chosen at run time.
#![doc = ""]
#![doc = include_str!("../FUNCTIONS.md")]

mod access;
mod aio;
mod api;
mod buffer;
mod bytes;
mod capability;
mod cleanup;
mod configuration;
mod connection;
mod contain;
mod copy;
mod cursor;
mod database;
mod disk;
mod error;
mod extents;
mod file_range;
mod info;
mod kind;
mod library;
mod log;
#[cfg(feature = "nbd")]
pub mod nbd;
mod parallel;
mod params;
mod process;
mod progress;
mod secret;
mod shared;
mod statistics;
mod transport;
#[cfg(all(test, feature = "embedded"))]
mod vddk_like;
mod worker;

pub use access::PreparedAccess;
pub use aio::{IoFuture, IoLimits, RequestSize};
pub use buffer::AlignedBuf;
pub use capability::Capabilities;
pub use cleanup::Cleaned;
pub use configuration::{Configuration, NfcLogLevel, TransportLogLevel};
pub use connection::{
    CheckReport, CloneOptions, ConnectOptions, Connection, CreateOptions, GrowGeometry, Health,
    OpenFlags,
};
pub use copy::{CopyOptions, CopyProgress, CopySource, CopyTarget, copy};
pub use cursor::{CursorDisk, DiskCursor};
pub use database::{Database, DiskUuid, MetadataKey};
pub use disk::{Disk, ZeroMode};
pub use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};
pub use error::{Context, Error, ErrorKind, Hint, Operation, Result, Retry};
pub use extents::{ChangedAreas, ChunkSize, Chunks, Extent, ExtentDetail, Extents, Within};
pub use file_range::FileRange;
pub use info::{Adapter, DiskInfo, Geometry};
pub use kind::DiskKind;
pub use library::{Backend, Library, LibraryBuilder};
pub use log::{LogLevel, LogLine};
pub use parallel::{DeliveryOrder, ParallelOptions, ParallelReader, Parallelism};
pub use params::{
    ConnectParams, ConnectParamsBuilder, Credentials, ReportedParams, Server, ServerBuilder, Spec,
};
pub use progress::Progress;
pub use secret::Secret;
pub use shared::SharedDisk;
pub use statistics::{CallStatistics, Statistics};
pub use transport::{Transport, TransportModes};
pub use vixdisklib_sys::VixError;

/// The examples of the documents beside the crates, as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../DESIGN.md")]
    mod design {}
}
