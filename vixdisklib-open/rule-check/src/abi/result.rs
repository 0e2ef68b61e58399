//! Results that the caller owes a Free call for, where they do not belong to a disk; and all Free calls.

use std::ffi::c_char;

use vixdisklib_sys::{
    VixDiskLibBlockList, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibInfo, VixError,
};

use super::{ENGINE, engine};
use crate::check::Scope;
use crate::gate::checked;
use crate::loan::Kind;
use crate::rule::Rule;

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_error_text(
    error: VixError,
    locale: *const c_char,
) -> *mut c_char {
    checked(
        "_GetErrorText",
        Scope::Anytime,
        format_args!("{:#x}, {locale:p}", error.0),
        |check| {
            if !locale.is_null() {
                check.broken(Rule::ErrorTextLocale, "it is not null", None);
            }
        },
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.get_error_text)(error, locale) },
        |state, call, text| state.lend(Kind::ErrorText, *text, call),
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_error_text(text: *mut c_char) {
    checked(
        "_FreeErrorText",
        Scope::Anytime,
        format_args!("{text:p}"),
        |check| check.gives_back(Kind::ErrorText, text.addr()),
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.free_error_text)(text) },
        |_, _, ()| {},
    );
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn allocate_connect_params() -> *mut VixDiskLibConnectParams {
    checked(
        "_AllocateConnectParams",
        Scope::Anytime,
        format_args!(""),
        |_| {},
        |_| engine!(allocate_connect_params()),
        |state, call, params| state.lend(Kind::Params, *params, call),
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_connect_params(
    connection: VixDiskLibConnection,
    params: *mut *mut VixDiskLibConnectParams,
) -> VixError {
    checked(
        "_GetConnectParams",
        Scope::Initialised,
        format_args!("{connection:p}, .."),
        |check| {
            check.connection(connection.addr());
            check.pointer("the place for the parameters", params);
        },
        |_| engine!(get_connect_params(connection, params)),
        |state, call, answer| {
            if answer.is_ok() && !params.is_null() {
                // SAFETY: not null, and the call that worked wrote it.
                state.lend(Kind::Params, unsafe { *params }, call);
            }
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_connect_params(params: *mut VixDiskLibConnectParams) {
    checked(
        "_FreeConnectParams",
        Scope::Anytime,
        format_args!("{params:p}"),
        |check| check.gives_back(Kind::Params, params.addr()),
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.free_connect_params)(params) },
        |_, _, ()| {},
    );
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_info(info: *mut VixDiskLibInfo) {
    checked(
        "_FreeInfo",
        Scope::Initialised,
        format_args!("{info:p}"),
        |check| check.gives_back(Kind::Info, info.addr()),
        // SAFETY: the caller's contract, passed on.
        |_| unsafe { (ENGINE.free_info)(info) },
        |_, _, ()| {},
    );
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_block_list(blocks: *mut VixDiskLibBlockList) -> VixError {
    checked(
        "_FreeBlockList",
        Scope::Initialised,
        format_args!("{blocks:p}"),
        |check| check.gives_back(Kind::Blocks, blocks.addr()),
        |_| engine!(free_block_list(blocks)),
        |_, _, _| {},
    )
}
