//! `libvixDiskLib.so`: the functions of `vixdisklib-open` under their C names.
//!
//! Loading it has no effect: no thread, no file, nothing printed. `build.rs` sets its SONAME.

#![allow(
    non_snake_case,
    reason = "the library's file name is given: libvixDiskLib.so"
)]

vixdisklib_sys::export_symbols!(vixdisklib_open::TABLE);
