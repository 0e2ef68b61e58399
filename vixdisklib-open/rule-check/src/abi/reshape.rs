//! Functions that make, change, copy and join whole disks.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::Arc;

use vixdisklib_sys::{
    Bool, VixDiskLibConnection, VixDiskLibCreateParams, VixDiskLibDiskType, VixDiskLibHandle,
    VixDiskLibProgressFunc, VixDiskLibSectorType, VixError,
};

use super::{ENGINE, engine};
use crate::call::Call;
use crate::callback::Progress;
use crate::check::{Check, Scope, Use};
use crate::gate::checked;
use crate::params::text;
use crate::state::State;

/// A long call, which may tell of its progress.
fn long(
    name: &'static str,
    arguments: fmt::Arguments<'_>,
    (function, data): (VixDiskLibProgressFunc, *mut c_void),
    check: impl FnOnce(&mut Check<'_>),
    pass_on: impl FnOnce(VixDiskLibProgressFunc, *mut c_void) -> VixError,
    settle: impl FnOnce(&mut State, &Arc<Call>),
) -> VixError {
    checked(
        name,
        Scope::Initialised,
        arguments,
        check,
        |call| {
            let mut progress = Progress::new(function, data, call);
            let (function, data) = Progress::pass_on(&mut progress);
            pass_on(function, data)
        },
        |state, call, _| settle(state, call),
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn create(
    connection: VixDiskLibConnection,
    path: *const c_char,
    params: *const VixDiskLibCreateParams,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(path) };
    long(
        "_Create",
        format_args!("{connection:p}, {name:?}, .."),
        (progress, progress_data),
        |check| {
            if check.connection(connection.addr()) {
                check.path_on(connection.addr(), "the path", name.as_deref());
            }
            check.pointer("createParams", params);
        },
        // SAFETY: the caller's contract, passed on.
        |progress, data| unsafe { (ENGINE.create)(connection, path, params, progress, data) },
        |_, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn create_child(
    parent: VixDiskLibHandle,
    path: *const c_char,
    disk_type: VixDiskLibDiskType,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(path) };
    let made = RefCell::new(false);
    long(
        "_CreateChild",
        format_args!("{parent:p}, {name:?}, {}, ..", disk_type.0),
        (progress, progress_data),
        |check| {
            check.disk(parent.addr(), Use::Blocking);
            check.hosted_path("the path", name.as_deref());
        },
        |progress, data| {
            let answer = engine!(create_child(parent, path, disk_type, progress, data));
            made.replace(answer.is_ok());
            answer
        },
        |state, call| {
            if made.take()
                && let Some(disk) = state.disks.get_mut(&parent.addr())
            {
                disk.has_child = Some(Arc::clone(call));
            }
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn unlink(
    connection: VixDiskLibConnection,
    path: *const c_char,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(path) };
    checked(
        "_Unlink",
        Scope::Initialised,
        format_args!("{connection:p}, {name:?}"),
        |check| {
            if check.connection(connection.addr()) {
                check.path_on(connection.addr(), "the path", name.as_deref());
            }
            check.not_open(name.as_deref());
        },
        |_| engine!(unlink(connection, path)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn grow(
    connection: VixDiskLibConnection,
    path: *const c_char,
    capacity: VixDiskLibSectorType,
    update_geometry: Bool,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(path) };
    long(
        "_Grow",
        format_args!("{connection:p}, {name:?}, {capacity}, {update_geometry}, .."),
        (progress, progress_data),
        |check| {
            if check.connection(connection.addr()) {
                check.path_on(connection.addr(), "the path", name.as_deref());
            }
            check.not_open(name.as_deref());
        },
        |progress, data| {
            engine!(grow(
                connection,
                path,
                capacity,
                update_geometry,
                progress,
                data
            ))
        },
        |_, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn shrink(
    disk: VixDiskLibHandle,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    long(
        "_Shrink",
        format_args!("{disk:p}, .."),
        (progress, progress_data),
        |check| {
            check.disk(disk.addr(), Use::Blocking);
        },
        |progress, data| engine!(shrink(disk, progress, data)),
        |_, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn defragment(
    disk: VixDiskLibHandle,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
) -> VixError {
    long(
        "_Defragment",
        format_args!("{disk:p}, .."),
        (progress, progress_data),
        |check| {
            check.disk(disk.addr(), Use::Blocking);
        },
        |progress, data| engine!(defragment(disk, progress, data)),
        |_, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn rename(source: *const c_char, target: *const c_char) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let from = unsafe { text(source) };
    // SAFETY: as above.
    let to = unsafe { text(target) };
    checked(
        "_Rename",
        Scope::Initialised,
        format_args!("{from:?}, {to:?}"),
        |check| {
            check.hosted_path("the source", from.as_deref());
            check.hosted_path("the target", to.as_deref());
            check.not_open(from.as_deref());
        },
        |_| engine!(rename(source, target)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
#[allow(clippy::too_many_arguments, reason = "as many as the C function has")]
pub(crate) unsafe extern "C" fn clone(
    target_connection: VixDiskLibConnection,
    target_path: *const c_char,
    source_connection: VixDiskLibConnection,
    source_path: *const c_char,
    params: *const VixDiskLibCreateParams,
    progress: VixDiskLibProgressFunc,
    progress_data: *mut c_void,
    overwrite: Bool,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let to = unsafe { text(target_path) };
    // SAFETY: as above.
    let from = unsafe { text(source_path) };
    long(
        "_Clone",
        format_args!("{target_connection:p}, {to:?}, {source_connection:p}, {from:?}, .."),
        (progress, progress_data),
        |check| {
            for (connection, name, path) in [
                (target_connection, "the target", &to),
                (source_connection, "the source", &from),
            ] {
                if check.connection(connection.addr()) {
                    check.path_on(connection.addr(), name, path.as_deref());
                }
            }
        },
        |progress, data| {
            engine!(clone(
                target_connection,
                target_path,
                source_connection,
                source_path,
                params,
                progress,
                data,
                overwrite,
            ))
        },
        |_, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn space_needed_for_clone(
    disk: VixDiskLibHandle,
    disk_type: VixDiskLibDiskType,
    bytes: *mut u64,
) -> VixError {
    checked(
        "_SpaceNeededForClone",
        Scope::Initialised,
        format_args!("{disk:p}, {}, ..", disk_type.0),
        |check| {
            check.disk(disk.addr(), Use::Other);
            check.pointer("the place for the number", bytes);
        },
        |_| engine!(space_needed_for_clone(disk, disk_type, bytes)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn check_repair(
    connection: VixDiskLibConnection,
    path: *const c_char,
    repair: Bool,
) -> VixError {
    // SAFETY: the contract of `abi`, for a string.
    let name = unsafe { text(path) };
    checked(
        "_CheckRepair",
        Scope::Initialised,
        format_args!("{connection:p}, {name:?}, {repair}"),
        |check| {
            if check.connection(connection.addr()) {
                check.path_on(connection.addr(), "the path", name.as_deref());
            }
        },
        |_| engine!(check_repair(connection, path, repair)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn is_attach_possible(
    parent: VixDiskLibHandle,
    child: VixDiskLibHandle,
) -> VixError {
    checked(
        "_IsAttachPossible",
        Scope::Initialised,
        format_args!("{parent:p}, {child:p}"),
        |check| {
            check.disk(parent.addr(), Use::Other);
            check.disk(child.addr(), Use::Other);
        },
        |_| engine!(is_attach_possible(parent, child)),
        |_, _, _| {},
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn attach(
    parent: VixDiskLibHandle,
    child: VixDiskLibHandle,
) -> VixError {
    checked(
        "_Attach",
        Scope::Initialised,
        format_args!("{parent:p}, {child:p}"),
        |check| {
            check.disk(parent.addr(), Use::Blocking);
            check.disk(child.addr(), Use::Blocking);
        },
        |_| engine!(attach(parent, child)),
        |state, call, _| {
            // Whatever the answer was.
            if let Some(parent) = state.disks.get_mut(&parent.addr()) {
                parent.attached = Some(Arc::clone(call));
            }
        },
    )
}
