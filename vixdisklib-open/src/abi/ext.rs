//! The functions of `vixDiskLibExt.h`.

use std::os::fd::IntoRawFd as _;

use vixdisklib_sys::{
    VIXDISKLIBEXT_EXTENT_ALLOCATED, VIXDISKLIBEXT_EXTENT_ZERO, VIXDISKLIBEXT_ZERO_FAST_ONLY,
    VIXDISKLIBEXT_ZERO_MAY_FREE, VIXDISKLIBEXT_ZERO_MUST_ALLOCATE, VixDiskLibExtExtent,
    VixDiskLibExtFileRange, VixDiskLibExtProperty, VixDiskLibHandle, VixDiskLibSectorType,
    VixError,
};
use vmdk_engine::{Allocation, MapExtent, ZeroMode};

use super::boundary::call;
use super::disk::handle;
use super::pointer;
use crate::error::Failure;
use crate::library::current;

/// The most extents that one call gives, which bounds its memory. The contract lets a call cover less than asked.
const MAX_EXTENTS: usize = 1 << 16;

/// `VixDiskLibExt_WriteZeroes`.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn write_zeroes(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    flags: u32,
) -> VixError {
    call("VixDiskLibExt_WriteZeroes", || {
        let mode = zero_mode(flags)?;
        let disk = current()?.disk(handle(disk))?;
        disk.write_zeroes(disk.writable_range(start, count)?, mode)
    })
}

/// `VixDiskLibExt_Trim`.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn trim(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
) -> VixError {
    call("VixDiskLibExt_Trim", || {
        let disk = current()?.disk(handle(disk))?;
        disk.trim(disk.writable_range(start, count)?)
    })
}

/// `VixDiskLibExt_QueryExtents`.
///
/// # Safety
/// The contract of [`abi`](super); `extents` is null or an array of `max` elements.
pub(crate) unsafe extern "C" fn query_extents(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    extents: *mut VixDiskLibExtExtent,
    max: usize,
    number: *mut usize,
) -> VixError {
    call("VixDiskLibExt_QueryExtents", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let number = unsafe { pointer::output(number, "numExtents") }?;
        let number = number.write(0);
        if extents.is_null() || max == 0 {
            return Err(Failure::new(
                VixError::INVALID_ARG,
                "there is no room for extents",
            ));
        }
        let disk = current()?.disk(handle(disk))?;
        let found = disk.extents(disk.range(start, count)?, max.min(MAX_EXTENTS))?;
        for (index, extent) in found.iter().enumerate() {
            // SAFETY: `found` has at most `max` elements, and the caller's array as many.
            let place = unsafe { extents.add(index) };
            // SAFETY: an element of the caller's array, which it lets us write.
            unsafe { place.write(ext_extent(extent)) };
        }
        *number = found.len();
        Ok(())
    })
}

/// `VixDiskLibExt_GetFileRange`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_file_range(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    range: *mut VixDiskLibExtFileRange,
) -> VixError {
    call("VixDiskLibExt_GetFileRange", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(range, "range") }?;
        let disk = current()?.disk(handle(disk))?;
        let found = disk.file_range(disk.range(start, count)?)?;
        // Not worth a line in the log: callers ask before every read.
        let found = found.ok_or(Failure::silent(VixError::NOT_SUPPORTED))?;
        output.write(VixDiskLibExtFileRange {
            length: found.range.count().get(),
            position: found.position.get(),
            fd: found.file.into_raw_fd(),
        });
        Ok(())
    })
}

/// `VixDiskLibExt_GetProperty`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_property(
    disk: VixDiskLibHandle,
    property: VixDiskLibExtProperty,
    value: *mut u64,
) -> VixError {
    call("VixDiskLibExt_GetProperty", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(value, "value") }?;
        let disk = current()?.disk(handle(disk))?;
        let value = match property {
            // Neither the engine nor the way to it locks a disk for a call, and a connection takes many at a time.
            VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO => 1,
            VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PREFERRED_IO => {
                disk.preferred_io()?.get()
            }
            VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_TRIM
            | VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_EXACT_EXTENTS => {
                u64::from(disk.is_local())
            }
            VixDiskLibExtProperty(unknown) => {
                return Err(Failure::note(
                    VixError::NOT_SUPPORTED,
                    format!("there is no property {unknown}"),
                ));
            }
        };
        output.write(value);
        Ok(())
    })
}

fn zero_mode(flags: u32) -> Result<ZeroMode, Failure> {
    const FAST_MAY_FREE: u32 = VIXDISKLIBEXT_ZERO_MAY_FREE | VIXDISKLIBEXT_ZERO_FAST_ONLY;
    const FAST_MUST_ALLOCATE: u32 = VIXDISKLIBEXT_ZERO_MUST_ALLOCATE | VIXDISKLIBEXT_ZERO_FAST_ONLY;
    match flags {
        VIXDISKLIBEXT_ZERO_MAY_FREE => Ok(ZeroMode::MayFree),
        VIXDISKLIBEXT_ZERO_MUST_ALLOCATE => Ok(ZeroMode::MustAllocate),
        FAST_MAY_FREE => Ok(ZeroMode::FastMayFree),
        FAST_MUST_ALLOCATE => Ok(ZeroMode::FastMustAllocate),
        _ => Err(Failure::new(
            VixError::INVALID_ARG,
            format!(
                "flags {flags:#x} are not one of may-free and must-allocate, with or without fast-only"
            ),
        )),
    }
}

fn ext_extent(extent: &MapExtent) -> VixDiskLibExtExtent {
    VixDiskLibExtExtent {
        offset: extent.range.start().get(),
        length: extent.range.count().get(),
        flags: match extent.state {
            // What a missing parent may have is no hole: a caller that reads it must meet the error.
            Allocation::Data | Allocation::Unknown => VIXDISKLIBEXT_EXTENT_ALLOCATED,
            // A link holds an entry for it that says zero.
            Allocation::Zero => VIXDISKLIBEXT_EXTENT_ALLOCATED | VIXDISKLIBEXT_EXTENT_ZERO,
            Allocation::Hole => VIXDISKLIBEXT_EXTENT_ZERO,
        },
        depth: extent.depth,
    }
}
