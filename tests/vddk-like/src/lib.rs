//! A VixDiskLib with the shape of a release of VDDK, for tests: our engine, behind what makes VDDK different.
//!
//! Which release it is, it learns from its own file name, as callers do: `libvixDiskLib.so.6.7.0` is 6.7. A copy under
//! another name is another release. `cargo xtask test` makes the copies, and hides in each the symbols that the release
//! did not have.
//!
//! It ends the process when it is used as VDDK must not be: two calls on one handle, or a handle that is closed with
//! requests in flight, or access that is prepared and never ended.

mod access;
mod aio;
mod connect;
mod disk;
mod info;
mod log;
mod release;
mod table;

vixdisklib_sys::export_symbols!(crate::table::TABLE);
