//! What the library says of an open disk.

use std::ffi::{CStr, c_char};
use std::ptr;

use disk_units::SectorCount;
use vixdisklib_sys::{VixDiskLibGeometry, VixDiskLibHandle, VixDiskLibInfo, VixError};

use crate::api::Api;
use crate::error::{Operation, Result};
use crate::info::{Adapter, DiskInfo, Geometry};
use crate::log::Window;

/// `VixDiskLib_GetInfo`, its answer copied and freed.
pub(super) fn read(api: &Api, handle: VixDiskLibHandle) -> Result<DiskInfo> {
    let mut raw: *mut VixDiskLibInfo = ptr::null_mut();
    let window = Window::open();
    // SAFETY: the handle is open, the output writable.
    api.call(Operation::Info, |table| unsafe {
        (table.get_info)(handle, &raw mut raw)
    })?;
    if raw.is_null() {
        return Err(api.error(Operation::Info, VixError::FAIL, window));
    }
    let field = raw;
    macro_rules! read {
        ($name:ident) => {
            // SAFETY: `field` points at the library's structure, whose leading fields every version has; nothing but
            // this field is read, as older versions allocate less than the whole.
            unsafe { (&raw const (*field).$name).read_unaligned() }
        };
    }
    // The last two fields exist from 7.0 on; reading them earlier would read past the allocation.
    let long = api.major.is_some_and(|major| major >= 7);
    let info = DiskInfo {
        capacity: SectorCount::new(read!(capacity)),
        adapter: Adapter::from_c(read!(adapterType)),
        bios_geometry: geometry(read!(biosGeo)),
        physical_geometry: geometry(read!(physGeo)),
        links: u32::try_from(read!(numLinks)).unwrap_or(0),
        parent_hint: text(read!(parentFileNameHint)),
        uuid: text(read!(uuid)),
        logical_sector_size: if long {
            Some(read!(logicalSectorSize))
        } else {
            None
        },
        physical_sector_size: if long {
            Some(read!(physicalSectorSize))
        } else {
            None
        },
    };
    // SAFETY: it came from the partner of this call; all that is kept was copied.
    unsafe { (api.table.free_info)(raw) };
    Ok(info)
}

fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string inside the library's structure, which is alive.
    Some(
        unsafe { CStr::from_ptr(pointer) }
            .to_string_lossy()
            .into_owned(),
    )
}

fn geometry(raw: VixDiskLibGeometry) -> Geometry {
    Geometry {
        cylinders: raw.cylinders,
        heads: raw.heads,
        sectors: raw.sectors,
    }
}
