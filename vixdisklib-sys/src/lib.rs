//! Raw VixDiskLib: the C API of VMware's Virtual Disk Development Kit (VDDK), releases 6.7 to 9.x, without VDDK.
//!
//! * `include/vixDiskLib.h` and its parts: clean-room C headers, the source of all that follows. Each item names the
//!   public source of its facts; the first comment of the header says what the names stand for.
//! * `include/vixDiskLibExt.h`: functions that VDDK lacks, under the prefix `VixDiskLibExt_`.
//! * Types and constants under their C names, generated from the headers and committed. C enumerations are open
//!   newtypes, as a library may know more values than we do.
//! * [`VixError`]: the result of a call, with a name and a meaning for each code.
//! * [`FnTable`]: every function as a pointer, the seam between callers and engines. A loaded library fills it by
//!   name, an engine in Rust is a literal of it, and [`export_symbols!`] gives such an engine the names of C.
//! * [`va_list`]: log callbacks get a C `va_list`.
//! * `loader` (feature `loader`, on by default): finds a VDDK and loads it at run time.
//!
//! It builds with no VDDK, no libclang and no C compiler present. Linux and Windows on x86-64 are supported, as VDDK
//! is; the Windows part is checked by the layouts that clang computes for it, not run.
//!
//! ```
//! use vixdisklib_sys::{FnTable, VixDiskLibDiskType, VixError};
//!
//! assert_eq!(VixError::DISK_OUTOFRANGE.name(), Some("VIX_E_DISK_OUTOFRANGE"));
//! assert_eq!(VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_THIN, VixDiskLibDiskType(7));
//! let optional = FnTable::SYMBOLS.iter().filter(|symbol| !symbol.required);
//! assert!(optional.clone().any(|symbol| symbol.name == "VixDiskLib_QueryAllocatedBlocks"));
//! ```
//!
//! To find out why a library does not load:
//!
#![cfg_attr(feature = "loader", doc = "```")]
#![cfg_attr(not(feature = "loader"), doc = "```ignore")]
//! use vixdisklib_sys::loader;
//!
//! // SAFETY: there is nothing in this folder to run.
//! let error = unsafe { loader::load("/var/empty-vddk".as_ref()) }.expect_err("no such folder");
//! assert_eq!(error.to_string(), "cannot read /var/empty-vddk");
//! ```

#[cfg(not(all(target_arch = "x86_64", any(target_os = "linux", windows))))]
compile_error!(
    "vixdisklib-sys supports Linux and Windows on x86-64, the systems that VDDK exists for"
);

#[allow(
    non_camel_case_types,
    non_snake_case,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::allow_attributes_without_reason,
    reason = "generated code keeps the names of C and its own form"
)]
mod bindings;
mod error;
#[cfg(feature = "loader")]
pub mod loader;
mod table;
pub mod va_list;

pub use bindings::*;
pub use error::VixError;
#[doc(hidden)]
pub use table::Refusal;
pub use table::{FnTable, MissingSymbols, Observer, Outcome, Symbol};
pub use va_list::{VaList, VixDiskLibGenericLogFunc, VixDiskLibGenericLogVFunc};
