//! CheckRepair.

use std::ffi::c_char;

use vixdisklib_sys::{Bool, VixDiskLibConnection, VixError};

use super::boundary::call;
use super::{connect, pointer};
use crate::check;
use crate::library::current;

/// `VixDiskLib_CheckRepair`. What is found is logged, line by line.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn check_repair(
    connection: VixDiskLibConnection,
    path: *const c_char,
    repair: Bool,
) -> VixError {
    call("VixDiskLib_CheckRepair", || {
        // SAFETY: the contract of `abi`, for a string.
        let path = unsafe { pointer::path_text(path, "filename") }?;
        let library = current()?;
        let connection = connect::handle(connection);
        let repair = repair != 0;
        if repair {
            library.require_writable(connection)?;
        } else {
            library.require_local(connection)?;
        }
        check::check(&path, repair, library.log())
    })
}
