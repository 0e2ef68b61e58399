//! VixDiskLib's C ABI over an open engine: virtual disks (VMDK) on local file systems, and on vCenter and ESXi servers over
//! the network, without VMware's library.
//!
//! The crate offers [`TABLE`]: every function of VDDK 6.7 to 9.x as a pointer, with VDDK's rules; [`table_of`] gives the
//! same as a library of another major version has it. Rust programs use it through the safe crate `vixdisklib`; the package in `cdylib/` exports it from a shared library
//! under the C names, for everybody else. This crate exports no C name: two of them in one program, or this one beside
//! the real library, would silently call each other.
//!
//! ```text
//! abi/     C functions: null checks, conversions, panic boundary       unsafe
//! ----------------------------------------------------------------------------
//! library  what lives from InitEx to Exit: handles, workers, log       safe
//! disk     one open disk: checks, requests in flight, what it does alone, closing
//! create   new disks, and clones
//! files    disks as files: removing, renaming, growing
//! check    damage and repair: findings to the log, a verdict to the caller
//! progress percentages for the functions that callers give
//! blocks   allocation map in chunks
//! config   the configuration file
//! params   connection parameters, secrets wiped
//! mode     how a disk is opened
//! medium   what is behind an open disk: local files, or a disk on a host
//! remote/  servers: logins, their disks, from NFC's errors to VixError
//! error    from the engine's kinds to VixError
//! lent     memory that callers borrow and give back
//! ----------------------------------------------------------------------------
//! vmdk-engine, vsphere-nfc
//! ```
//!
//! # What it does, and what it refuses
//!
//! All that VixDiskLib does with local disks, and the extensions of `vixDiskLibExt.h`.
//!
//! Of disks on servers it reads and writes those of virtual machines, of their snapshots, and first class disks that are
//! attached to a machine, over `nbdssl` and `nbd`. Refused with `VIX_E_NOT_SUPPORTED` and a log line that says so are the
//! transports `san` and `hotadd`, first class disks that are attached to none, logging in as the account of the process,
//! connections to a datastore, and trimming; with `VIX_E_NOT_SUPPORTED_ON_REMOTE_OBJECT` what changes disks as a whole, such
//! as `Create`, `Clone`, `Attach` or `Shrink`, and `WriteMetadata`. `PrepareForAccess` and `EndAccess` are for vCenter servers
//! and refused for all others.
//!
//! # Where it is more lenient than VDDK
//!
//! * Calls on one handle may run in parallel, synchronous and asynchronous mixed; `Open` and `Close` may run on any
//!   thread. `Close`, `Disconnect` and `Exit` wait for what other threads do with a disk, then let go of it.
//! * A null pointer where something is needed gives `VIX_E_INVALID_ARG`; a stale, foreign or invented handle gives
//!   `VIX_E_INVALID_HANDLE`, or `VIX_E_DISK_INVALID_CONNECTION`. VDDK crashes on some of these.
//! * A Free function leaves alone what is not, or no longer, on loan.
//! * Paths may be relative; on Unix they need not be UTF-8.
//! * `CreateChild` accepts a parent that is open for writing, and only reads it from then on: a write gives
//!   `VIX_E_FILE_READ_ONLY`, where the guide only says that it must not happen.
//! * `InitEx` may be called again: each call wants an `Exit`, and the first settings stay. After the last `Exit` the
//!   library can be initialised anew.
//!
//! # Where the documents leave it open
//!
//! * A request for zero sectors gives `VIX_E_INVALID_ARG`, one past the end `VIX_E_DISK_OUTOFRANGE`
//!   (`QueryAllocatedBlocks`: `VIX_E_INVALID_ARG` for both, as the Virtual Disk Programming Guide says).
//! * `Flush` waits for the asynchronous requests accepted before it, and then makes everything durable.
//! * `Wait`, `Flush`, `Close`, `Disconnect` and whatever wants a disk for itself give `VIX_E_OBJECT_IS_BUSY` inside a
//!   callback on a thread of the library, and inside a progress function, instead of waiting for themselves, as does I/O
//!   inside a progress function on the disk that is busy; asynchronous requests there are accepted, and carried out when
//!   the operation is done. `Exit` does nothing there.
//! * `Shrink`, `Defragment` and `Attach` have the disk to themselves: calls of other threads on it wait. Asynchronous
//!   requests for it stay in the queue, and those for other disks pass them.
//! * Progress goes from 0 to 100 without going back, each percentage at most once, and 100 means success.
//! * Sector sizes in creation parameters are read only if everybody who initialised the library asked for version 7.0 or
//!   later, and the library is no stand-in for VDDK 6: before that the structure ended without them, and nothing in it tells. 0 is 512 bytes, for physical sectors
//!   as many as for logical ones.
//! * Disk and adapter types that no constant has, or that mean "unknown", give `VIX_E_INVALID_ARG`; the types that only
//!   ESX hosts make (`VMFS_THIN`, `VMFS_SPARSE`), and children that are not sparse, give `VIX_E_NOT_SUPPORTED`.
//! * A `STREAM_OPTIMIZED` disk is created complete and without data, and can only be read; `Clone` makes one with data.
//! * `Clone` gives the new disk the capacity of its source; another one in the parameters is noted in the log.
//! * A connection that was made for reading only creates, changes and removes nothing: `VIX_E_FILE_READ_ONLY`. A disk that
//!   is open, in this process or elsewhere, is not removed, renamed, grown or repaired: `VIX_E_FILE_ALREADY_LOCKED`.
//! * `CheckRepair` writes what it finds to the log. Damage gives `VIX_E_DISK_NEEDSREPAIR` from a check if a repair would
//!   mend it, and else `VIX_E_DISK_CANTREPAIR`. A repair mends all or nothing, and does not give up data that other means
//!   might still bring back: that gives `VIX_E_DISK_CANTREPAIR` too. Damaged parents are reported, and repaired by
//!   themselves.
//! * `Attach` leaves the parent's handle for closing only, whether it succeeds or not: I/O there gives
//!   `VIX_E_INVALID_HANDLE`. Before it was tried, because a handle is none or both are the same, nothing happens.
//! * `ConnectEx` logs in at the server, so a wrong password or thumbprint fails there; whether machine and disk exist shows in
//!   `Open`. Without a thumbprint, an authority of the operating system must have signed the server's certificate. A
//!   thumbprint is a SHA-1 or SHA-256 digest.
//! * Without a list of transports `nbdssl` is used, and `nbd`, which sends data in clear text, only if a list names it. The
//!   first one that a host offers is taken.
//! * With a snapshot, disks open for reading only. A first class disk is the one that the connection names, whatever the path.
//! * `nfcHostPort` is the port of hosts instead of the one that the server names.
//! * Of disks on servers, `GetMetadataKeys` lists those of the usual keys that the disk has, for a host cannot be asked for
//!   all; `GetInfo` has the links that the server knows. What was written through a handle counts as allocated there.
//!   `VixDiskLibExt_QueryExtents` is exact to 128 sectors, and `VixDiskLibExt_WriteZeroes` writes zeros.
//! * Null log functions mean silence; VDDK writes a log file of its own. The function for panics is never called.
//! * In the configuration file `vixDiskLib.transport.LogLevel` keeps lines back: 0 all but mistakes of this library, 1 all
//!   but failures too, 2 all but warnings too, and from 3 on, which is the default, none. `vixDiskLib.nfc.AcceptTimeoutMs`,
//!   `RequestTimeoutMs`, `ReadTimeoutMs` and `WriteTimeoutMs`, from 1 to 86400000, are how long servers are waited for;
//!   `vixDiskLib.nfcAio.Session.BufSizeIn64KB` and `BufCount` are the most memory that a host is asked for. Other names are
//!   ignored, as there is no cache and no temporary file to set. A file that cannot be read is a warning in the log.
//! * The library directory has no effect; nor have a snapshot and a choice of transports for local disks.
//!
//! ```
//! use std::ptr;
//!
//! use vixdisklib_open::TABLE;
//! use vixdisklib_sys::VixError;
//!
//! # fn main() {
//! // SAFETY: null means silence, and no directories.
//! let result = unsafe { (TABLE.init_ex)(8, 0, None, None, None, ptr::null(), ptr::null()) };
//! assert_eq!(result, VixError::OK);
//!
//! let mut connection = ptr::null_mut();
//! // SAFETY: null parameters mean local disks, and the connection may be written to.
//! let result = unsafe {
//!     (TABLE.connect_ex)(ptr::null(), 1, ptr::null(), ptr::null(), &raw mut connection)
//! };
//! assert_eq!(result, VixError::OK);
//!
//! let mut disk = ptr::null_mut();
//! // SAFETY: the path is a C string, and the handle may be written to.
//! let result = unsafe { (TABLE.open)(connection, c"/no/such.vmdk".as_ptr(), 0, &raw mut disk) };
//! assert_eq!(result, VixError::FILE_NOT_FOUND);
//! assert!(disk.is_null());
//!
//! // SAFETY: the one use of the library ends.
//! unsafe { (TABLE.exit)() };
//! # }
//! ```

mod abi;
mod blocks;
mod check;
mod config;
mod create;
mod disk;
mod error;
mod files;
mod handles;
mod lent;
mod library;
mod log;
mod medium;
mod mode;
mod params;
mod progress;
mod remote;
mod requests;
mod table;
mod workers;

pub use table::{TABLE, table_of};
