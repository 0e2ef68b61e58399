//! `FnTable`: every function of VixMntapi as one struct of pointers.

use std::ffi::c_char;

use crate::{
    Bool, VixDiskLibConnection, VixDiskLibGenericLogFunc, VixDiskLibHandle, VixDiskSetHandle,
    VixDiskSetInfo, VixError, VixOsInfo, VixVolumeHandle, VixVolumeInfo,
};

vixdisklib_sys::fn_table! {
    ($crate)
    /// Every function of VixMntapi, resolved once.
    ///
    /// A loaded library fills it through [`FnTable::resolve`]; field names are the C names without prefix, in snake
    /// case. Each call needs an initialised VixDiskLib, and all calls of a process are made one after the other: one
    /// program at a time may mount on a machine (source: Virtual Disk Programming Guide).
    pub struct FnTable exported by export_symbols;

    required "vixMntapi.h" {
        /// Starts the mount library, once per process, with version 1.0. Needs root or administrator rights.
        "1.1" init = VixMntapi_Init(
            major_version: u32,
            minor_version: u32,
            log: VixDiskLibGenericLogFunc,
            warn: VixDiskLibGenericLogFunc,
            panic: VixDiskLibGenericLogFunc,
            lib_dir: *const c_char,
            config_file: *const c_char,
        ) -> VixError;
        /// Stops the mount library: after every set is closed, before VixDiskLib is stopped.
        "1.1" exit = VixMntapi_Exit();
        /// Opens disks by name as a set; on Linux exactly one.
        "1.1" open_disks = VixMntapi_OpenDisks(
            connection: VixDiskLibConnection,
            names: *mut *const c_char,
            count: usize,
            flags: u32,
            disk_set: *mut VixDiskSetHandle,
        ) -> VixError;
        /// Dismounts what is left and closes a set.
        "1.1" close_disk_set = VixMntapi_CloseDiskSet(disk_set: VixDiskSetHandle) -> VixError;
        /// The volumes of a set; freed with `free_volume_handles`. Set `*count` to 0 first.
        "1.1" get_volume_handles = VixMntapi_GetVolumeHandles(
            disk_set: VixDiskSetHandle,
            count: *mut usize,
            volumes: *mut *mut VixVolumeHandle,
        ) -> VixError;
        /// Frees what `get_volume_handles` gave.
        "1.1" free_volume_handles = VixMntapi_FreeVolumeHandles(volumes: *mut VixVolumeHandle);
        /// Mounts a volume and locks its disks.
        "1.1" mount_volume = VixMntapi_MountVolume(volume: VixVolumeHandle, read_only: Bool) -> VixError;
        /// Dismounts a volume; `force` closes files that are open.
        "1.1" dismount_volume = VixMntapi_DismountVolume(volume: VixVolumeHandle, force: Bool) -> VixError;
        /// What is known of a mounted volume; freed with `free_volume_info`.
        "1.1" get_volume_info = VixMntapi_GetVolumeInfo(
            volume: VixVolumeHandle,
            info: *mut *mut VixVolumeInfo,
        ) -> VixError;
        /// Frees what `get_volume_info` gave.
        "1.1" free_volume_info = VixMntapi_FreeVolumeInfo(info: *mut VixVolumeInfo);
    }

    optional "vixMntapi.h" {
        /// Makes a set of open disks. Windows only.
        "1.1" open_disk_set = VixMntapi_OpenDiskSet(
            handles: *mut VixDiskLibHandle,
            count: usize,
            mode: u32,
            disk_set: *mut VixDiskSetHandle,
        ) -> VixError;
        /// What is known of a set; freed with `free_disk_set_info`.
        "6.7" get_disk_set_info = VixMntapi_GetDiskSetInfo(
            disk_set: VixDiskSetHandle,
            info: *mut *mut VixDiskSetInfo,
        ) -> VixError;
        /// Frees what `get_disk_set_info` gave.
        "6.7" free_disk_set_info = VixMntapi_FreeDiskSetInfo(info: *mut VixDiskSetInfo);
        /// The operating system on a set; Windows guests on Windows only. Freed with `free_os_info`.
        "1.1" get_os_info = VixMntapi_GetOsInfo(disk_set: VixDiskSetHandle, info: *mut *mut VixOsInfo) -> VixError;
        /// Frees what `get_os_info` gave.
        "1.1" free_os_info = VixMntapi_FreeOsInfo(info: *mut VixOsInfo);
    }
}
