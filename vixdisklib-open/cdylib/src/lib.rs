//! `libvixDiskLib.so`: the functions of `vixdisklib-open` under their C names.
//!
//! Loading it has no effect: no thread, no file, nothing printed. `build.rs` sets its SONAME. Built with
//! `VIXDISKLIB_MAJOR=6` (to 9) in the environment it stands in for that major version of VDDK, else for 8.

#![allow(
    non_snake_case,
    reason = "the library's file name is given: libvixDiskLib.so"
)]

use vixdisklib_sys::FnTable;

/// The number in the SONAME.
const MAJOR: u32 = match u32::from_str_radix(env!("VIXDISKLIB_MAJOR"), 10) {
    Ok(major) => major,
    Err(_) => panic!("VIXDISKLIB_MAJOR is no number"),
};

static TABLE: FnTable = vixdisklib_open::table_of::<MAJOR>();

vixdisklib_sys::export_symbols!(TABLE);
