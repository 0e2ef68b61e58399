//! The functions that this version does not have. Each says so, in its code and in the log, and does nothing else.

use std::ffi::{c_char, c_void};

use vixdisklib_sys::{
    Bool, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCreateParams,
    VixDiskLibDiskType, VixDiskLibHandle, VixDiskLibProgressFunc, VixDiskLibSectorType, VixError,
};

use super::boundary::call;
use crate::error::Failure;

/// The reason of those that VDDK has for remote disks only.
const REMOTE_ONLY: &str =
    "only disks on a vCenter server have this, and vixdisklib-open opens local disks only";

/// The reason of those that are not built.
const NOT_BUILT: &str = "not supported by this version of vixdisklib-open";

macro_rules! refused {
    ($($why:ident $function:ident = $symbol:literal($($argument:ty),*);)*) => {
        $(
            #[doc = concat!("`", $symbol, "`: refuses.")]
            ///
            /// # Safety
            /// None: no argument is looked at.
            pub(crate) unsafe extern "C" fn $function($(_: $argument),*) -> VixError {
                call($symbol, || Err(Failure::new(VixError::NOT_SUPPORTED, $why)))
            }
        )*
    };
}

refused! {
    REMOTE_ONLY prepare_for_access = "VixDiskLib_PrepareForAccess"(*const VixDiskLibConnectParams, *const c_char);
    REMOTE_ONLY end_access = "VixDiskLib_EndAccess"(*const VixDiskLibConnectParams, *const c_char);
    NOT_BUILT write_metadata = "VixDiskLib_WriteMetadata"(VixDiskLibHandle, *const c_char, *const c_char);
    NOT_BUILT create = "VixDiskLib_Create"(
        VixDiskLibConnection, *const c_char, *const VixDiskLibCreateParams, VixDiskLibProgressFunc, *mut c_void
    );
    NOT_BUILT create_child = "VixDiskLib_CreateChild"(
        VixDiskLibHandle, *const c_char, VixDiskLibDiskType, VixDiskLibProgressFunc, *mut c_void
    );
    NOT_BUILT unlink = "VixDiskLib_Unlink"(VixDiskLibConnection, *const c_char);
    NOT_BUILT grow = "VixDiskLib_Grow"(
        VixDiskLibConnection, *const c_char, VixDiskLibSectorType, Bool, VixDiskLibProgressFunc, *mut c_void
    );
    NOT_BUILT shrink = "VixDiskLib_Shrink"(VixDiskLibHandle, VixDiskLibProgressFunc, *mut c_void);
    NOT_BUILT defragment = "VixDiskLib_Defragment"(VixDiskLibHandle, VixDiskLibProgressFunc, *mut c_void);
    NOT_BUILT rename = "VixDiskLib_Rename"(*const c_char, *const c_char);
    NOT_BUILT clone = "VixDiskLib_Clone"(
        VixDiskLibConnection, *const c_char, VixDiskLibConnection, *const c_char, *const VixDiskLibCreateParams,
        VixDiskLibProgressFunc, *mut c_void, Bool
    );
    NOT_BUILT space_needed_for_clone = "VixDiskLib_SpaceNeededForClone"(
        VixDiskLibHandle, VixDiskLibDiskType, *mut u64
    );
    NOT_BUILT check_repair = "VixDiskLib_CheckRepair"(VixDiskLibConnection, *const c_char, Bool);
    NOT_BUILT is_attach_possible = "VixDiskLib_IsAttachPossible"(VixDiskLibHandle, VixDiskLibHandle);
    NOT_BUILT attach = "VixDiskLib_Attach"(VixDiskLibHandle, VixDiskLibHandle);
}
