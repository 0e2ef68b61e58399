//! Create, CreateChild, Clone and SpaceNeededForClone.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr;

use disk_units::SectorCount;
use vixdisklib_sys::{
    Bool, VixDiskLibAdapterType, VixDiskLibConnection, VixDiskLibCreateParams, VixDiskLibDiskType,
    VixDiskLibHandle, VixDiskLibProgressFunc, VixError,
};
use vmdk_engine::{Adapter, DiskKind, Existing};

use super::boundary::call;
use super::callback::listener;
use super::{connect, disk, pointer};
use crate::create::{self, NewDisk};
use crate::error::Failure;
use crate::library::{Library, current, refuse_in_callback};

/// `VixDiskLib_Create`. A stream is made without data, and complete; with data it is made by `Clone`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn create(
    connection: VixDiskLibConnection,
    path: *const c_char,
    params: *const VixDiskLibCreateParams,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    call("VixDiskLib_Create", || {
        // SAFETY: the contract of `abi`, for a string.
        let path = unsafe { pointer::path_text(path, "path") }?;
        let library = current()?;
        // SAFETY: the contract of `abi`, for creation parameters.
        let new = unsafe { new_disk(params, &library) }?;
        library.require_writable(connect::handle(connection))?;
        // SAFETY: the contract of `abi`, for a progress function.
        let mut listener = unsafe { listener(progress, progress_data) };
        create::create(&path, &new, &mut listener)
    })
}

/// `VixDiskLib_CreateChild`. A parent that is open for writing is only read from then on.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn create_child(
    parent: VixDiskLibHandle,
    path: *const c_char,
    disk_type: VixDiskLibDiskType,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    call("VixDiskLib_CreateChild", || {
        refuse_in_callback()?;
        // SAFETY: the contract of `abi`, for a string.
        let path = unsafe { pointer::path_text(path, "childPath") }?;
        let kind = kind(disk_type)?;
        if !matches!(kind, DiskKind::MonolithicSparse | DiskKind::SplitSparse) {
            return Err(not_here(
                disk_type,
                kind,
                "children are sparse, in one file or split",
            ));
        }
        let library = current()?;
        let parent = library.disk(disk::handle(parent))?;
        // SAFETY: the contract of `abi`, for a progress function.
        let mut listener = unsafe { listener(progress, progress_data) };
        parent.create_child(&path, kind, library.workers(), &mut listener)
    })
}

/// `VixDiskLib_Clone`, from one local disk to another.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn clone(
    to_connection: VixDiskLibConnection,
    to_path: *const c_char,
    from_connection: VixDiskLibConnection,
    from_path: *const c_char,
    params: *const VixDiskLibCreateParams,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
    overwrite: Bool,
) -> VixError {
    call("VixDiskLib_Clone", || {
        // SAFETY: the contract of `abi`, for a string.
        let to = unsafe { pointer::path_text(to_path, "dstPath") }?;
        // SAFETY: the contract of `abi`, for a string.
        let from = unsafe { pointer::path_text(from_path, "srcPath") }?;
        let library = current()?;
        // SAFETY: the contract of `abi`, for creation parameters.
        let new = unsafe { new_disk(params, &library) }?;
        library.require_writable(connect::handle(to_connection))?;
        library.require_local(connect::handle(from_connection))?;
        let existing = if overwrite == 0 {
            Existing::Keep
        } else {
            Existing::Replace
        };
        // SAFETY: the contract of `abi`, for a progress function.
        let mut listener = unsafe { listener(progress, progress_data) };
        create::copy(&from, &to, &new, existing, library.log(), &mut listener)
    })
}

/// `VixDiskLib_SpaceNeededForClone`, in bytes: an upper bound, which counts what is allocated without reading it.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn space_needed_for_clone(
    disk: VixDiskLibHandle,
    disk_type: VixDiskLibDiskType,
    space: *mut u64,
) -> VixError {
    call("VixDiskLib_SpaceNeededForClone", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(space, "spaceNeeded") }?;
        let output = output.write(0);
        let kind = match disk_type {
            VixDiskLibDiskType::VIXDISKLIB_DISK_UNKNOWN => None,
            named => Some(kind(named)?),
        };
        let disk = current()?.disk(disk::handle(disk))?;
        *output = disk.space_needed_for_clone(kind)?.get();
        Ok(())
    })
}

/// What a caller wants a new disk to be.
///
/// Callers built for releases before 7.0 have a structure without sector sizes, and nothing in it tells. Those are
/// therefore read only if the library [takes them](Library::takes_sector_sizes); else they have their defaults.
///
/// # Safety
/// The contract of [`abi`](super), for creation parameters.
unsafe fn new_disk(
    pointer: *const VixDiskLibCreateParams,
    library: &Library,
) -> Result<NewDisk, Failure> {
    if pointer.is_null() {
        return Err(pointer::null("createParams"));
    }
    let readable = if library.takes_sector_sizes() {
        size_of::<VixDiskLibCreateParams>()
    } else {
        offset_of!(VixDiskLibCreateParams, logicalSectorSize)
    };
    let mut params = VixDiskLibCreateParams::default();
    // SAFETY: the contract vouches for so many bytes; `params` is ours, as large as the whole, and any bytes make valid
    // fields: integers and open enums.
    unsafe {
        ptr::copy_nonoverlapping(
            pointer.cast::<u8>(),
            (&raw mut params).cast::<u8>(),
            readable,
        );
    }
    let kind = kind(params.diskType)?;
    if matches!(kind, DiskKind::VmfsThin | DiskKind::VmfsSparse) {
        return Err(not_here(
            params.diskType,
            kind,
            "only ESX hosts make such disks; of those made here, MONOLITHIC_SPARSE takes space as it is written to",
        ));
    }
    Ok(NewDisk {
        kind,
        adapter: adapter(params.adapterType)?,
        hardware_version: params.hwVersion,
        capacity: SectorCount::new(params.capacity),
        logical_sector_size: params.logicalSectorSize,
        physical_sector_size: params.physicalSectorSize,
    })
}

fn kind(disk_type: VixDiskLibDiskType) -> Result<DiskKind, Failure> {
    Ok(match disk_type {
        VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE => DiskKind::MonolithicSparse,
        VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_FLAT => DiskKind::MonolithicFlat,
        VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_SPARSE => DiskKind::SplitSparse,
        VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_FLAT => DiskKind::SplitFlat,
        VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_FLAT => DiskKind::VmfsFlat,
        VixDiskLibDiskType::VIXDISKLIB_DISK_STREAM_OPTIMIZED => DiskKind::StreamOptimized,
        VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_THIN => DiskKind::VmfsThin,
        VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_SPARSE => DiskKind::VmfsSparse,
        VixDiskLibDiskType(other) => {
            return Err(Failure::new(
                VixError::INVALID_ARG,
                format!("disk type {other} names no kind of disk"),
            ));
        }
    })
}

fn adapter(adapter_type: VixDiskLibAdapterType) -> Result<Adapter, Failure> {
    Ok(match adapter_type {
        VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE => Adapter::Ide,
        VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC => Adapter::BusLogic,
        VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC => Adapter::LsiLogic,
        VixDiskLibAdapterType(other) => {
            return Err(Failure::new(
                VixError::INVALID_ARG,
                format!("adapter type {other} names no adapter"),
            ));
        }
    })
}

/// The failure of a call that wants a kind of disk that there is, but not here.
fn not_here(disk_type: VixDiskLibDiskType, kind: DiskKind, why: &str) -> Failure {
    Failure::new(
        VixError::NOT_SUPPORTED,
        format!(
            "disk type {} ({kind:?}) is not possible here: {why}",
            disk_type.0
        ),
    )
}
