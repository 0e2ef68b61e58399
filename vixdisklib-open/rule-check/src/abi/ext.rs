//! The extensions of `vixDiskLibExt.h`: they do not exist in VDDK, and follow the rules of its blocking calls.

use vixdisklib_sys::{
    VixDiskLibExtExtent, VixDiskLibExtFileRange, VixDiskLibExtProperty, VixDiskLibHandle,
    VixDiskLibSectorType, VixError,
};

use super::engine;
use crate::check::{Check, Scope, Use};
use crate::gate::checked;

fn on_sectors(check: &mut Check<'_>, disk: VixDiskLibHandle, start: u64, count: u64) -> bool {
    let open = check.disk(disk.addr(), Use::Blocking);
    if open {
        check.sectors(disk.addr(), start, count);
    }
    open
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn ext_write_zeroes(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    flags: u32,
) -> VixError {
    checked(
        "Ext_WriteZeroes",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {flags:#x}"),
        |check| {
            if on_sectors(check, disk, start, count) {
                check.no_child(disk.addr());
            }
        },
        |_| engine!(ext_write_zeroes(disk, start, count, flags)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn ext_trim(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
) -> VixError {
    checked(
        "Ext_Trim",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}"),
        |check| {
            if on_sectors(check, disk, start, count) {
                check.no_child(disk.addr());
            }
        },
        |_| engine!(ext_trim(disk, start, count)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn ext_query_extents(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    extents: *mut VixDiskLibExtExtent,
    max_extents: usize,
    num_extents: *mut usize,
) -> VixError {
    checked(
        "Ext_QueryExtents",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {extents:p}, {max_extents}, .."),
        |check| {
            on_sectors(check, disk, start, count);
            check.pointer("the array", extents);
            check.pointer("the place for the number", num_extents);
        },
        |_| {
            engine!(ext_query_extents(
                disk,
                start,
                count,
                extents,
                max_extents,
                num_extents
            ))
        },
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn ext_get_file_range(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    range: *mut VixDiskLibExtFileRange,
) -> VixError {
    checked(
        "Ext_GetFileRange",
        Scope::Initialised,
        format_args!("{disk:p}, {start}, {count}, {range:p}"),
        |check| {
            on_sectors(check, disk, start, count);
            check.pointer("the place for the range", range);
        },
        |_| engine!(ext_get_file_range(disk, start, count, range)),
        |_, _, _| {},
    )
}

/// The engine's calls on one handle may overlap. Ours may not, or nobody would notice that VDDK's may not: the
/// property that says so is 0 here.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn ext_get_property(
    disk: VixDiskLibHandle,
    property: VixDiskLibExtProperty,
    value: *mut u64,
) -> VixError {
    checked(
        "Ext_GetProperty",
        Scope::Initialised,
        format_args!("{disk:p}, {}, ..", property.0),
        |check| {
            check.disk(disk.addr(), Use::Other);
            check.pointer("the place for the value", value);
        },
        |_| {
            let answer = engine!(ext_get_property(disk, property, value));
            if property == VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO
                && answer.is_ok()
                && !value.is_null()
            {
                // SAFETY: not null, and the call that worked wrote there too.
                unsafe { value.write(0) };
            }
            answer
        },
        |_, _, _| {},
    )
}
