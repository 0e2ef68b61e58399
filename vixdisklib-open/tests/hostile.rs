//! What a broken caller may pass: null everywhere, and handles that never were.

mod common;

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibDiskType, VixDiskLibExtExtent,
    VixDiskLibExtFileRange, VixDiskLibHandle, VixError,
};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;

/// Every function that takes a disk handle and returns a code, with fitting other arguments.
fn calls_with_disk(disk: VixDiskLibHandle) -> Vec<(&'static str, VixError)> {
    let table = &TABLE;
    let mut buffer = [0_u8; SECTOR];
    let mut text: [c_char; 64] = [0; 64];
    let (mut size, mut value) = (0_usize, 0_u64);
    let (mut info, mut list) = (null_mut(), null_mut());
    let mut extent = VixDiskLibExtExtent::default();
    let mut file_range = VixDiskLibExtFileRange::default();
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
        "write_metadata" = table.write_metadata.expect("there")(disk, c"a".as_ptr(), c"b".as_ptr());
        "create_child" = table.create_child.expect("there")(
            disk, c"/no/such/child.vmdk".as_ptr(), SPARSE, None, null_mut()
        );
        "shrink" = table.shrink.expect("there")(disk, None, null_mut());
        "defragment" = table.defragment.expect("there")(disk, None, null_mut());
        "space" = table.space_needed_for_clone.expect("there")(disk, SPARSE, &raw mut value);
        "is_attach_possible" = table.is_attach_possible.expect("there")(disk, disk);
        "attach" = table.attach.expect("there")(disk, disk);
        "zeroes" = table.ext_write_zeroes.expect("there")(disk, 0, 1, 1);
        "trim" = table.ext_trim.expect("there")(disk, 0, 1);
        "extents" = table.ext_query_extents.expect("there")(disk, 0, 1, &raw mut extent, 1, &raw mut size);
        "file range" = table.ext_get_file_range.expect("there")(disk, 0, 1, &raw mut file_range);
        "property" = table.ext_get_property.expect("there")(
            disk, vixdisklib_sys::VixDiskLibExtProperty(1), &raw mut value
        );
    }
}

/// Every other function that takes a connection, with fitting other arguments.
fn calls_with_connection(
    wrong: VixDiskLibConnection,
    right: VixDiskLibConnection,
) -> [(&'static str, VixError); 7] {
    let params = create_params(SPARSE, 2048);
    let path = c"/no/such/disk.vmdk".as_ptr();
    macro_rules! call {
        ($($name:literal = $call:expr;)*) => {
            // SAFETY: the connection is looked up, everything else is ours.
            [$(($name, unsafe { $call })),*]
        };
    }
    let clone = TABLE.clone.expect("there");
    let check = TABLE.check_repair.expect("there");
    call! {
        "create" = (TABLE.create)(wrong, path, &raw const params, None, null_mut());
        "clone to" = clone(wrong, path, right, path, &raw const params, None, null_mut(), 0);
        "clone from" = clone(right, path, wrong, path, &raw const params, None, null_mut(), 0);
        "unlink" = TABLE.unlink.expect("there")(wrong, path);
        "grow" = TABLE.grow.expect("there")(wrong, path, 1, 0, None, null_mut());
        "check" = check(wrong, path, 0);
        "repair" = check(wrong, path, 1);
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
        let live = open(connection, &path, READ_ONLY).expect("opened");
        for (parent, child) in [(live, disk), (disk, live)] {
            for function in [TABLE.attach, TABLE.is_attach_possible] {
                // SAFETY: handles are looked up.
                let code = unsafe { function.expect("there")(parent, child) };
                assert_eq!(code, VixError::INVALID_HANDLE, "{disk:p}");
            }
        }
        assert_eq!(read(live, 0, 8), Ok(pattern(8, 1)), "as before");
        assert_eq!(close(live), VixError::OK);
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
        for (name, code) in calls_with_connection(wrong, connection) {
            assert_eq!(code, VixError::DISK_INVALID_CONNECTION, "{name}");
        }
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
    let text = c"/no/such/disk.vmdk".as_ptr();
    let params = create_params(SPARSE, 2048);
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
        TABLE.write_metadata.expect("there")(disk, null(), text);
        TABLE.write_metadata.expect("there")(disk, text, null());
        (TABLE.create)(connection, null(), &raw const params, None, null_mut());
        (TABLE.create)(connection, text, null(), None, null_mut());
        TABLE.create_child.expect("there")(disk, null(), SPARSE, None, null_mut());
        TABLE.clone.expect("there")(connection, null(), connection, text, &raw const params, None, null_mut(), 0);
        TABLE.clone.expect("there")(connection, text, connection, null(), &raw const params, None, null_mut(), 0);
        TABLE.clone.expect("there")(connection, text, connection, text, null(), None, null_mut(), 0);
        TABLE.space_needed_for_clone.expect("there")(disk, SPARSE, null_mut());
        TABLE.unlink.expect("there")(connection, null());
        TABLE.rename.expect("there")(null(), text);
        TABLE.rename.expect("there")(text, null());
        TABLE.grow.expect("there")(connection, null(), 16, 0, None, null_mut());
        TABLE.check_repair.expect("there")(connection, null(), 0);
        TABLE.ext_query_extents.expect("there")(disk, 0, 1, null_mut(), 8, &raw mut size);
        TABLE.ext_query_extents.expect("there")(disk, 0, 1, null_mut(), 8, null_mut());
        TABLE.ext_get_file_range.expect("there")(disk, 0, 1, null_mut());
        TABLE.ext_get_property.expect("there")(disk, vixdisklib_sys::VixDiskLibExtProperty(1), null_mut());
    }
    assert!(handle.is_null());
    // SAFETY: null is left alone.
    unsafe { (TABLE.free_info)(null_mut()) };
    assert_eq!(read(disk, 0, 8), Ok(pattern(8, 2)));
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_local_disk_needs_no_preparation() {
    let _session = Session::start();
    let (prepare, end) = (
        TABLE.prepare_for_access.expect("there"),
        TABLE.end_access.expect("there"),
    );
    for (name, function) in [
        ("VixDiskLib_PrepareForAccess", prepare),
        ("VixDiskLib_EndAccess", end),
    ] {
        // SAFETY: null means local, and a string of ours.
        let code = unsafe { function(null(), c"backup".as_ptr()) };
        assert_eq!(code, VixError::NOT_SUPPORTED, "{name}");
        assert_eq!(logged(&[name, "local disks"]).len(), 1, "{name}");
        let remote = VixDiskLibConnectParams {
            serverName: c"vcenter.example".as_ptr().cast_mut(),
            ..VixDiskLibConnectParams::default()
        };
        // SAFETY: complete parameters, and a string of ours.
        let code = unsafe { function(&raw const remote, c"backup".as_ptr()) };
        assert_eq!(code, VixError::INVALID_ARG, "{name}");
        assert_eq!(logged(&[name, "credType"]).len(), 1, "{name}");
        // SAFETY: null is answered with a code.
        assert_eq!(unsafe { function(null(), null()) }, VixError::INVALID_ARG);
    }
}
