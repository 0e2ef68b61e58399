//! Open, Close, GetInfo, FreeInfo and GetTransportMode.

use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr;

use vixdisklib_sys::{
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ, VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK,
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ, VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB,
    VIXDISKLIB_FLAG_OPEN_READ_ONLY, VIXDISKLIB_FLAG_OPEN_SINGLE_LINK, VixDiskLibAdapterType,
    VixDiskLibConnection, VixDiskLibGeometry, VixDiskLibHandle, VixDiskLibInfo, VixError,
};
use vmdk_engine::{Adapter, Geometry};

use super::boundary::{boundary, call};
use super::{connect, pointer};
use crate::error::Failure;
use crate::handles::Handle;
use crate::lent::Lent;
use crate::library::{current, refuse_in_callback};
use crate::medium::Info;
use crate::mode::{Compression, Mode};

/// The handle in the pointer that a caller holds for a disk.
pub(super) fn handle(disk: VixDiskLibHandle) -> Handle {
    Handle::from_address(disk.addr())
}

/// `VixDiskLib_Open`. Unknown flags are ignored; for local disks so is one compression flag, as there is no network to spare.
/// The path may be null for a first class disk, which the connection names.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn open(
    connection: VixDiskLibConnection,
    path: *const c_char,
    flags: u32,
    disk: *mut VixDiskLibHandle,
) -> VixError {
    call("VixDiskLib_Open", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(disk, "diskHandle") }?;
        let output = output.write(ptr::null_mut());
        // SAFETY: the contract of `abi`, for a string.
        let path = unsafe { pointer::optional_path(path) }?;
        if (flags & VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK).count_ones() > 1 {
            return Err(Failure::new(
                VixError::INVALID_ARG,
                format!("flags {flags:#x} ask for more than one compression"),
            ));
        }
        let mode = Mode {
            writable: flags & VIXDISKLIB_FLAG_OPEN_READ_ONLY == 0,
            single_link: flags & VIXDISKLIB_FLAG_OPEN_SINGLE_LINK != 0,
            compression: compression(flags),
        };
        let library = current()?;
        let disk = library.open(connect::handle(connection), path.as_deref(), mode)?;
        *output = ptr::without_provenance_mut(disk.address());
        Ok(())
    })
}

fn compression(flags: u32) -> Compression {
    match flags & VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK {
        VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB => Compression::Zlib,
        VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ => Compression::FastLz,
        VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ => Compression::SkipZ,
        _ => Compression::None,
    }
}

/// `VixDiskLib_Close`. Waits for what other threads do with the disk. The handle dies whatever is returned.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn close(disk: VixDiskLibHandle) -> VixError {
    call("VixDiskLib_Close", || {
        refuse_in_callback()?;
        current()?.close(handle(disk))
    })
}

/// `VixDiskLib_GetTransportMode`: `file`, `nbdssl` or `nbd`; null for what is no open disk.
///
/// # Safety
/// None: the handle is looked up.
pub(crate) unsafe extern "C" fn get_transport_mode(disk: VixDiskLibHandle) -> *const c_char {
    const NAME: &str = "VixDiskLib_GetTransportMode";
    boundary(NAME, ptr::null(), || {
        let library = match current() {
            Ok(library) => library,
            Err(_) => return ptr::null(),
        };
        let disk = library.disk(handle(disk));
        match disk.and_then(|disk| disk.transport()) {
            Ok(name) => name.as_ptr(),
            Err(failure) => {
                failure.report(NAME, library.log());
                ptr::null()
            }
        }
    })
}

/// What `GetInfo` has given out.
static INFOS: Lent<InfoBlock> = Lent::new();

/// An info structure with the strings that it points to.
#[derive(Debug)]
struct InfoBlock {
    /// The bytes of the structure, no more than callers know of; in words, because they are aligned like one. In a vector,
    /// because its address is given out and must not move with this block.
    info: Vec<u64>,
    _strings: [Option<Vec<u8>>; 2],
}

// SAFETY: the pointers in `info` lead to `_strings`, which no thread is tied to. While on loan neither is touched here,
// and that callers do not use an info on one thread and free it on another at once is the contract of `FreeInfo`.
unsafe impl Send for InfoBlock {}

/// `VixDiskLib_GetInfo`, with the 64 bytes that the structure has since VDDK 7.0, or the 56 from before.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_info(
    disk: VixDiskLibHandle,
    info: *mut *mut VixDiskLibInfo,
) -> VixError {
    call("VixDiskLib_GetInfo", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(info, "info") }?;
        let output = output.write(ptr::null_mut());
        let library = current()?;
        let disk = library.disk(handle(disk))?;
        let length = if library.gives_sector_sizes() {
            size_of::<VixDiskLibInfo>()
        } else {
            offset_of!(VixDiskLibInfo, logicalSectorSize)
        };
        let mut block = info_block(disk.capacity().get(), disk.info()?, length);
        *output = INFOS.lend(block.info.as_mut_ptr().cast(), block);
        Ok(())
    })
}

/// `VixDiskLib_FreeInfo`. Null, and what is not on loan, is left alone.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_info(info: *mut VixDiskLibInfo) {
    boundary("VixDiskLib_FreeInfo", (), || drop(INFOS.take_back(info)));
}

/// The first `length` bytes of the structure about a disk.
fn info_block(capacity: u64, disk: Info, length: usize) -> InfoBlock {
    let mut parent_hint = disk.parent_hint.map(c_text);
    let mut uuid = disk.uuid.map(c_text);
    let info = VixDiskLibInfo {
        biosGeo: geometry(disk.bios_geometry),
        physGeo: geometry(disk.physical_geometry),
        capacity,
        adapterType: adapter(disk.adapter),
        numLinks: i32::try_from(disk.links).unwrap_or(i32::MAX),
        parentFileNameHint: c_pointer(&mut parent_hint),
        uuid: c_pointer(&mut uuid),
        logicalSectorSize: disk.logical_sector_size,
        physicalSectorSize: disk.physical_sector_size,
    };
    let mut words = vec![0; length / size_of::<u64>()];
    // SAFETY: the structure has at least `length` bytes, which is one of its offsets or its size; the words have as many,
    // as both are multiples of a word, and any bytes make valid words.
    unsafe {
        ptr::copy_nonoverlapping(
            (&raw const info).cast::<u8>(),
            words.as_mut_ptr().cast(),
            length,
        );
    }
    InfoBlock {
        info: words,
        _strings: [parent_hint, uuid],
    }
}

fn geometry(geometry: Geometry) -> VixDiskLibGeometry {
    VixDiskLibGeometry {
        cylinders: geometry.cylinders,
        heads: geometry.heads,
        sectors: geometry.sectors,
    }
}

fn adapter(adapter: Adapter) -> VixDiskLibAdapterType {
    match adapter {
        Adapter::Ide => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE,
        Adapter::BusLogic => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC,
        Adapter::LsiLogic => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC,
        _ => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_UNKNOWN,
    }
}

/// Text with its final NUL; one in the middle would end it there for C, so it ends there for us.
fn c_text(text: String) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    bytes.push(0);
    bytes
}

fn c_pointer(text: &mut Option<Vec<u8>>) -> *mut c_char {
    text.as_mut()
        .map_or(ptr::null_mut(), |text| text.as_mut_ptr().cast())
}
