//! What a broken caller may pass: null everywhere, handles that never were, and functions that refuse.

mod common;

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    FnTable, VixDiskLibConnection, VixDiskLibDiskType, VixDiskLibExtExtent, VixDiskLibHandle,
    VixError,
};

/// Every function that takes a disk handle and returns a code, with fitting other arguments.
fn calls_with_disk(disk: VixDiskLibHandle) -> Vec<(&'static str, VixError)> {
    let table = &TABLE;
    let mut buffer = [0_u8; SECTOR];
    let mut text: [c_char; 64] = [0; 64];
    let (mut size, mut value) = (0_usize, 0_u64);
    let (mut info, mut list) = (null_mut(), null_mut());
    let mut extent = VixDiskLibExtExtent::default();
    unsafe extern "C" fn never(_: *mut c_void, _: VixError) {
        std::process::abort();
    }
    // Not a list of blocks: each call is the same case, a handle that is looked up, with memory of ours.
    macro_rules! call {
        ($($name:literal = $call:expr;)*) => {
            // SAFETY: the handle is looked up, everything else is ours and as large as stated.
            vec![$(($name, unsafe { $call })),*]
        };
    }
    call! {
        "close" = (table.close)(disk);
        "get_info" = (table.get_info)(disk, &raw mut info);
        "read" = (table.read)(disk, 0, 1, buffer.as_mut_ptr());
        "write" = (table.write)(disk, 0, 1, buffer.as_ptr());
        "read_async" = table.read_async.expect("there")(disk, 0, 1, buffer.as_mut_ptr(), Some(never), null_mut());
        "write_async" = table.write_async.expect("there")(disk, 0, 1, buffer.as_ptr(), Some(never), null_mut());
        "wait" = (table.wait)(disk);
        "flush" = (table.flush)(disk);
        "query" = table.query_allocated_blocks.expect("there")(disk, 0, 128, 128, &raw mut list);
        "metadata" = table.read_metadata.expect("there")(disk, c"uuid".as_ptr(), text.as_mut_ptr(), 64, &raw mut size);
        "keys" = table.get_metadata_keys.expect("there")(disk, text.as_mut_ptr(), 64, &raw mut size);
        "zeroes" = table.ext_write_zeroes.expect("there")(disk, 0, 1, 1);
        "trim" = table.ext_trim.expect("there")(disk, 0, 1);
        "extents" = table.ext_query_extents.expect("there")(disk, 0, 1, &raw mut extent, 1, &raw mut size);
        "property" = table.ext_get_property.expect("there")(
            disk, vixdisklib_sys::VixDiskLibExtProperty(1), &raw mut value
        );
    }
}

#[test]
fn a_handle_that_is_none_gives_a_code() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "stale", &pattern(8, 1));
    let connection = connect();
    let stale = open(connection, &path, READ_WRITE).expect("opened");
    assert_eq!(close(stale), VixError::OK);
    let on_the_stack = 0_u64;
    let handles: [VixDiskLibHandle; 6] = [
        null_mut(),
        invented(1),
        invented(usize::MAX),
        invented((&raw const on_the_stack).addr()),
        invented(connection.addr()),
        stale,
    ];
    for disk in handles {
        for (name, code) in calls_with_disk(disk) {
            assert_eq!(code, VixError::INVALID_HANDLE, "{name} of {disk:p}");
        }
        // SAFETY: handles are looked up.
        assert!(unsafe { (TABLE.get_transport_mode)(disk) }.is_null());
    }
    let live = open(connection, &path, READ_ONLY).expect("opened");
    let connections: [VixDiskLibConnection; 4] = [
        null_mut(),
        invented(1),
        invented(usize::MAX),
        invented(live.addr()),
    ];
    for wrong in connections {
        assert_eq!(disconnect(wrong), VixError::DISK_INVALID_CONNECTION);
        assert_eq!(
            open(wrong, &path, READ_ONLY),
            Err(VixError::DISK_INVALID_CONNECTION)
        );
    }
    assert_eq!(read(live, 0, 8), Ok(pattern(8, 1)));
    assert_eq!(disconnect(connection), VixError::OK);
    assert_eq!(disconnect(connection), VixError::DISK_INVALID_CONNECTION);
}

#[test]
fn null_gives_a_code() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "null", &pattern(8, 2));
    let connection = connect();
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    let mut handle = invented(1);
    let mut size = 0_usize;
    macro_rules! refuse {
        ($($call:expr;)*) => {
            $(
                // SAFETY: null, or memory of ours.
                assert_eq!(unsafe { $call }, VixError::INVALID_ARG, stringify!($call));
            )*
        };
    }
    refuse! {
        TABLE.connect.expect("there")(null(), null_mut());
        (TABLE.connect_ex)(null(), 0, null(), null(), null_mut());
        TABLE.get_connect_params.expect("there")(connection, null_mut());
        (TABLE.open)(connection, null(), 0, &raw mut handle);
        (TABLE.open)(connection, c"/x".as_ptr(), 0, null_mut());
        (TABLE.get_info)(disk, null_mut());
        TABLE.read_metadata.expect("there")(disk, null(), null_mut(), 0, &raw mut size);
        TABLE.ext_query_extents.expect("there")(disk, 0, 1, null_mut(), 8, &raw mut size);
        TABLE.ext_query_extents.expect("there")(disk, 0, 1, null_mut(), 8, null_mut());
        TABLE.ext_get_property.expect("there")(disk, vixdisklib_sys::VixDiskLibExtProperty(1), null_mut());
    }
    assert!(handle.is_null());
    // SAFETY: null is left alone.
    unsafe { (TABLE.free_info)(null_mut()) };
    assert_eq!(read(disk, 0, 8), Ok(pattern(8, 2)));
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_is_not_there_says_so() {
    let _session = Session::start();
    let FnTable {
        create,
        prepare_for_access,
        end_access,
        write_metadata,
        create_child,
        unlink,
        grow,
        shrink,
        defragment,
        rename,
        clone,
        space_needed_for_clone,
        check_repair,
        is_attach_possible,
        attach,
        ..
    } = TABLE;
    let any = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
    macro_rules! refuse {
        ($($symbol:literal = $call:expr;)*) => {
            $(
                // SAFETY: no argument is looked at.
                assert_eq!(unsafe { $call }, VixError::NOT_SUPPORTED, $symbol);
                assert_eq!(logged(&[concat!($symbol, ":"), "vixdisklib-open"]).len(), 1, $symbol);
            )*
        };
    }
    refuse! {
        "VixDiskLib_Create" = create(null_mut(), null(), null(), None, null_mut());
        "VixDiskLib_PrepareForAccess" = prepare_for_access.expect("there")(null(), null());
        "VixDiskLib_EndAccess" = end_access.expect("there")(null(), null());
        "VixDiskLib_WriteMetadata" = write_metadata.expect("there")(null_mut(), null(), null());
        "VixDiskLib_CreateChild" = create_child.expect("there")(null_mut(), null(), any, None, null_mut());
        "VixDiskLib_Unlink" = unlink.expect("there")(null_mut(), null());
        "VixDiskLib_Grow" = grow.expect("there")(null_mut(), null(), 0, 0, None, null_mut());
        "VixDiskLib_Shrink" = shrink.expect("there")(null_mut(), None, null_mut());
        "VixDiskLib_Defragment" = defragment.expect("there")(null_mut(), None, null_mut());
        "VixDiskLib_Rename" = rename.expect("there")(null(), null());
        "VixDiskLib_Clone" = clone.expect("there")(
            null_mut(), null(), null_mut(), null(), null(), None, null_mut(), 0
        );
        "VixDiskLib_SpaceNeededForClone" = space_needed_for_clone.expect("there")(null_mut(), any, null_mut());
        "VixDiskLib_CheckRepair" = check_repair.expect("there")(null_mut(), null(), 0);
        "VixDiskLib_IsAttachPossible" = is_attach_possible.expect("there")(null_mut(), null_mut());
        "VixDiskLib_Attach" = attach.expect("there")(null_mut(), null_mut());
    }
}
