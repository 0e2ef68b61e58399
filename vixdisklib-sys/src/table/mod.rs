//! `FnTable`: every function of VixDiskLib, and of our extensions to it, as one struct of pointers.

mod macros;
mod observe;

use std::ffi::{c_char, c_void};
use std::fmt;

use crate::{
    Bool, VixDiskLibBlockList, VixDiskLibCompletionCB, VixDiskLibConnectParams,
    VixDiskLibConnection, VixDiskLibCreateParams, VixDiskLibDiskType, VixDiskLibExtExtent,
    VixDiskLibExtFileRange, VixDiskLibExtProperty, VixDiskLibGenericLogFunc, VixDiskLibHandle,
    VixDiskLibInfo, VixDiskLibProgressFunc, VixDiskLibSectorType, VixError,
};

pub use observe::{Observer, Outcome};

/// One function of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name in C.
    pub name: &'static str,
    /// Whether a library without it is refused.
    pub required: bool,
    /// The release that added it, or the oldest one that is known to have it.
    pub since: &'static str,
    /// The header that declares it.
    pub header: &'static str,
}

/// A library lacks functions that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSymbols(Vec<&'static str>);

impl MissingSymbols {
    #[doc(hidden)]
    #[must_use]
    pub fn new(names: Vec<&'static str>) -> Self {
        Self(names)
    }

    /// The names of all of them, in the order of the table.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }
}

impl fmt::Display for MissingSymbols {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "required symbols missing: {}", self.0.join(", "))
    }
}

impl std::error::Error for MissingSymbols {}

/// What an exported function returns where its table has none.
#[doc(hidden)]
pub trait Refusal {
    /// The value that says so.
    const REFUSAL: Self;
}

impl Refusal for () {
    const REFUSAL: Self = ();
}

impl Refusal for VixError {
    const REFUSAL: Self = VixError::NOT_SUPPORTED;
}

impl<T> Refusal for *mut T {
    const REFUSAL: Self = std::ptr::null_mut();
}

impl<T> Refusal for *const T {
    const REFUSAL: Self = std::ptr::null();
}

crate::fn_table! {
    ($crate)
    /// Every function of VixDiskLib, resolved once: the seam between callers and engines.
    ///
    /// A loaded library fills it through [`FnTable::resolve`], an engine in Rust writes it as a literal. Required
    /// functions are bare pointers. An optional one is `None` where the library is too old, or does not have our
    /// extensions (`ext_`). Field names are the C names without prefix, in snake case.
    ///
    /// The C header of each function says what it does; what every call owes to the library:
    /// * pointers are not null, but where the header allows it: the library does not check;
    /// * `open` and `close` never run at once in a process, and no handle is in two calls at once, unless the
    ///   property [`VIXDISKLIBEXT_PROPERTY_PARALLEL_IO`](VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO)
    ///   says otherwise (source: Virtual Disk Programming Guide).
    pub struct FnTable exported by export_symbols;

    required "vixDiskLib.h" {
        /// Starts the library, once per process, from its main thread.
        "1.1" init_ex = VixDiskLib_InitEx(
            major_version: u32,
            minor_version: u32,
            log: VixDiskLibGenericLogFunc,
            warn: VixDiskLibGenericLogFunc,
            panic: VixDiskLibGenericLogFunc,
            lib_dir: *const c_char,
            config_file: *const c_char,
        ) -> VixError;
        /// Stops the library, after everything is closed.
        "1.0" exit = VixDiskLib_Exit();
        /// English text of an error, or null; `locale` is null. Freed with `free_error_text`.
        "1.0" get_error_text = VixDiskLib_GetErrorText(error: VixError, locale: *const c_char) -> *mut c_char;
        /// Frees the text of an error; null is allowed.
        "1.0" free_error_text = VixDiskLib_FreeErrorText(text: *mut c_char);
        /// Frees parameters that the library allocated.
        "6.5" free_connect_params = VixDiskLib_FreeConnectParams(params: *mut VixDiskLibConnectParams);
        /// Connects with a choice of access, snapshot and transports.
        "1.1" connect_ex = VixDiskLib_ConnectEx(
            params: *const VixDiskLibConnectParams,
            read_only: Bool,
            snapshot_ref: *const c_char,
            transport_modes: *const c_char,
            connection: *mut VixDiskLibConnection,
        ) -> VixError;
        /// Ends a connection, after its disks are closed.
        "1.0" disconnect = VixDiskLib_Disconnect(connection: VixDiskLibConnection) -> VixError;
        /// Opens a disk; `*handle` is null on failure.
        "1.0" open = VixDiskLib_Open(
            connection: VixDiskLibConnection,
            path: *const c_char,
            flags: u32,
            handle: *mut VixDiskLibHandle,
        ) -> VixError;
        /// Flushes and closes a disk.
        "1.0" close = VixDiskLib_Close(handle: VixDiskLibHandle) -> VixError;
        /// What is known of a disk; freed with `free_info`.
        "1.0" get_info = VixDiskLib_GetInfo(handle: VixDiskLibHandle, info: *mut *mut VixDiskLibInfo) -> VixError;
        /// Frees what `get_info` gave.
        "1.0" free_info = VixDiskLib_FreeInfo(info: *mut VixDiskLibInfo);
        /// Name of the transport that was chosen for a disk; never freed.
        "1.1" get_transport_mode = VixDiskLib_GetTransportMode(handle: VixDiskLibHandle) -> *const c_char;
        /// Reads `count` whole sectors from `start`, all or none.
        "1.0" read = VixDiskLib_Read(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            buffer: *mut u8,
        ) -> VixError;
        /// Writes `count` whole sectors from `start`.
        "1.0" write = VixDiskLib_Write(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            buffer: *const u8,
        ) -> VixError;
        /// Creates a hosted disk at a path where nothing is.
        "1.0" create = VixDiskLib_Create(
            connection: VixDiskLibConnection,
            path: *const c_char,
            params: *const VixDiskLibCreateParams,
            progress: VixDiskLibProgressFunc,
            progress_data: *mut c_void,
        ) -> VixError;
        /// Makes local writes durable; wait first.
        "6.0" flush = VixDiskLib_Flush(handle: VixDiskLibHandle) -> VixError;
        /// Waits until every accepted request of a disk has called back.
        "6.5" wait = VixDiskLib_Wait(handle: VixDiskLibHandle) -> VixError;
    }

    optional "vixDiskLib.h" {
        /// Starts the library without a configuration file.
        "1.0" init = VixDiskLib_Init(
            major_version: u32,
            minor_version: u32,
            log: VixDiskLibGenericLogFunc,
            warn: VixDiskLibGenericLogFunc,
            panic: VixDiskLibGenericLogFunc,
            lib_dir: *const c_char,
        ) -> VixError;
        /// Names of the transports with colons between, in default order; never freed.
        "1.1" list_transport_modes = VixDiskLib_ListTransportModes() -> *const c_char;
        /// Clears up after a process that died.
        "1.1" cleanup = VixDiskLib_Cleanup(
            params: *const VixDiskLibConnectParams,
            cleaned_up: *mut u32,
            remaining: *mut u32,
        ) -> VixError;
        /// Zeroed parameters with the library's own state, or null; freed with `free_connect_params`.
        "6.7" allocate_connect_params = VixDiskLib_AllocateConnectParams() -> *mut VixDiskLibConnectParams;
        /// A copy of the parameters of a connection, secrets included; freed with `free_connect_params`.
        "6.5" get_connect_params = VixDiskLib_GetConnectParams(
            connection: VixDiskLibConnection,
            params: *mut *mut VixDiskLibConnectParams,
        ) -> VixError;
        /// Connects; null or zeroed parameters mean local disks.
        "1.0" connect = VixDiskLib_Connect(
            params: *const VixDiskLibConnectParams,
            connection: *mut VixDiskLibConnection,
        ) -> VixError;
        /// Keeps vCenter from moving the virtual machine.
        "5.0" prepare_for_access = VixDiskLib_PrepareForAccess(
            params: *const VixDiskLibConnectParams,
            identity: *const c_char,
        ) -> VixError;
        /// Undoes `prepare_for_access`; due even when that failed.
        "5.0" end_access = VixDiskLib_EndAccess(
            params: *const VixDiskLibConnectParams,
            identity: *const c_char,
        ) -> VixError;
        /// Reads without waiting: [`VixError::ASYNC`] means accepted, and the callback comes exactly once.
        "6.0" read_async = VixDiskLib_ReadAsync(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            buffer: *mut u8,
            callback: VixDiskLibCompletionCB,
            callback_data: *mut c_void,
        ) -> VixError;
        /// Writes without waiting; as `read_async`.
        "6.0" write_async = VixDiskLib_WriteAsync(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            buffer: *const u8,
            callback: VixDiskLibCompletionCB,
            callback_data: *mut c_void,
        ) -> VixError;
        /// Allocated runs of a range of whole chunks; freed with `free_block_list`.
        "6.7" query_allocated_blocks = VixDiskLib_QueryAllocatedBlocks(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            chunk_size: VixDiskLibSectorType,
            blocks: *mut *mut VixDiskLibBlockList,
        ) -> VixError;
        /// Frees a list of runs.
        "6.7" free_block_list = VixDiskLib_FreeBlockList(blocks: *mut VixDiskLibBlockList) -> VixError;
        /// Value of a metadata key, with its zero byte.
        "1.0" read_metadata = VixDiskLib_ReadMetadata(
            handle: VixDiskLibHandle,
            key: *const c_char,
            buffer: *mut c_char,
            length: usize,
            required: *mut usize,
        ) -> VixError;
        /// Adds or replaces a metadata key.
        "1.0" write_metadata = VixDiskLib_WriteMetadata(
            handle: VixDiskLibHandle,
            key: *const c_char,
            value: *const c_char,
        ) -> VixError;
        /// All metadata keys, each with its zero byte, and one more zero byte at the end.
        "1.0" get_metadata_keys = VixDiskLib_GetMetadataKeys(
            handle: VixDiskLibHandle,
            keys: *mut c_char,
            length: usize,
            required: *mut usize,
        ) -> VixError;
        /// Creates a hosted child of an open disk.
        "1.0" create_child = VixDiskLib_CreateChild(
            parent: VixDiskLibHandle,
            path: *const c_char,
            disk_type: VixDiskLibDiskType,
            progress: VixDiskLibProgressFunc,
            progress_data: *mut c_void,
        ) -> VixError;
        /// Deletes a hosted disk with all its files.
        "1.0" unlink = VixDiskLib_Unlink(connection: VixDiskLibConnection, path: *const c_char) -> VixError;
        /// Enlarges a hosted disk, which must not be open.
        "1.0" grow = VixDiskLib_Grow(
            connection: VixDiskLibConnection,
            path: *const c_char,
            capacity: VixDiskLibSectorType,
            update_geometry: Bool,
            progress: VixDiskLibProgressFunc,
            progress_data: *mut c_void,
        ) -> VixError;
        /// Gives zeroed space of a hosted sparse disk back.
        "1.0" shrink = VixDiskLib_Shrink(
            handle: VixDiskLibHandle,
            progress: VixDiskLibProgressFunc,
            progress_data: *mut c_void,
        ) -> VixError;
        /// Puts the data of a hosted sparse disk in order.
        "1.0" defragment = VixDiskLib_Defragment(
            handle: VixDiskLibHandle,
            progress: VixDiskLibProgressFunc,
            progress_data: *mut c_void,
        ) -> VixError;
        /// Renames a hosted disk with all its files.
        "1.0" rename = VixDiskLib_Rename(source: *const c_char, target: *const c_char) -> VixError;
        /// Copies a disk between any two connections.
        "1.0" clone = VixDiskLib_Clone(
            target_connection: VixDiskLibConnection,
            target_path: *const c_char,
            source_connection: VixDiskLibConnection,
            source_path: *const c_char,
            params: *const VixDiskLibCreateParams,
            progress: VixDiskLibProgressFunc,
            progress_data: *mut c_void,
            overwrite: Bool,
        ) -> VixError;
        /// Bytes that a copy in another format takes.
        "1.0" space_needed_for_clone = VixDiskLib_SpaceNeededForClone(
            handle: VixDiskLibHandle,
            disk_type: VixDiskLibDiskType,
            bytes: *mut u64,
        ) -> VixError;
        /// Checks, and if asked repairs, the tables of a hosted sparse disk.
        "6.5" check_repair = VixDiskLib_CheckRepair(
            connection: VixDiskLibConnection,
            path: *const c_char,
            repair: Bool,
        ) -> VixError;
        /// Whether `attach` would accept these two.
        "6.5" is_attach_possible = VixDiskLib_IsAttachPossible(
            parent: VixDiskLibHandle,
            child: VixDiskLibHandle,
        ) -> VixError;
        /// Joins a child, opened alone, to a parent, whose handle does no more I/O from then on.
        "1.0" attach = VixDiskLib_Attach(parent: VixDiskLibHandle, child: VixDiskLibHandle) -> VixError;
    }

    optional "vixDiskLibExt.h" {
        /// Makes a range read as zeros; `flags` are bits of `VIXDISKLIBEXT_ZERO_`.
        "vixdisklib 0.1" ext_write_zeroes = VixDiskLibExt_WriteZeroes(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            flags: u32,
        ) -> VixError;
        /// Gives the space of a range back where the format can.
        "vixdisklib 0.1" ext_trim = VixDiskLibExt_Trim(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
        ) -> VixError;
        /// Contiguous, merged runs from `start` on, at most `max_extents` of them.
        "vixdisklib 0.1" ext_query_extents = VixDiskLibExt_QueryExtents(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            extents: *mut VixDiskLibExtExtent,
            max_extents: usize,
            num_extents: *mut usize,
        ) -> VixError;
        /// Where sectors lie in a file as plain bytes.
        "vixdisklib 0.1" ext_get_file_range = VixDiskLibExt_GetFileRange(
            handle: VixDiskLibHandle,
            start: VixDiskLibSectorType,
            count: VixDiskLibSectorType,
            range: *mut VixDiskLibExtFileRange,
        ) -> VixError;
        /// Value of a property of an open disk.
        "vixdisklib 0.1" ext_get_property = VixDiskLibExt_GetProperty(
            handle: VixDiskLibHandle,
            property: VixDiskLibExtProperty,
            value: *mut u64,
        ) -> VixError;
    }
}
