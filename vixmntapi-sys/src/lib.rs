//! Raw VixMntapi: the mount API of VMware's Virtual Disk Development Kit (VDDK), without VDDK.
//!
//! The crate has the same shape as [`vixdisklib_sys`] and takes its [`VixError`] and handles from there:
//! * `include/vixMntapi.h`, a clean-room C header: the source of all that follows;
//! * types and constants under their C names, generated from it and committed;
//! * [`FnTable`], every function as a pointer, and [`export_symbols!`] for a library that implements them;
//! * `loader` (feature `loader`, on by default): loads the library from beside a loaded VixDiskLib.
//!
//! It builds with no VDDK, no libclang and no C compiler present.
//!
//! ```
//! use vixmntapi_sys::{FnTable, VIXMNTAPI_MAJOR_VERSION};
//!
//! assert_eq!(VIXMNTAPI_MAJOR_VERSION, 1);
//! let windows_only = FnTable::SYMBOLS
//!     .iter()
//!     .find(|symbol| symbol.name == "VixMntapi_OpenDiskSet")
//!     .expect("listed on every system");
//! assert!(!windows_only.required);
//! ```
//!
//! Order of calls (source: Virtual Disk Programming Guide): `VixDiskLib_InitEx`, `init`, connect, `open_disks`,
//! `get_volume_handles`, `mount_volume`, `get_volume_info`; then back: `free_volume_info`, `dismount_volume`,
//! `free_volume_handles`, `close_disk_set`, disconnect, `exit`, `VixDiskLib_Exit`.

#[allow(
    non_camel_case_types,
    non_snake_case,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::allow_attributes_without_reason,
    reason = "generated code keeps the names of C and its own form"
)]
mod bindings;
#[cfg(feature = "loader")]
pub mod loader;
mod table;

pub use bindings::*;
pub use table::FnTable;
pub use vixdisklib_sys::{
    Bool, MissingSymbols, Symbol, VixDiskLibConnection, VixDiskLibGenericLogFunc, VixDiskLibHandle,
    VixError,
};
