//! What the library is asked for when disks are made, changed and removed as a whole.

mod attach;
mod create;

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::thread::ThreadId;

use vixdisklib_sys::{
    Bool, VixDiskLibAdapterType, VixDiskLibConnection, VixDiskLibCreateParams, VixDiskLibDiskType,
    VixDiskLibProgressFunc,
};

use super::*;
use crate::connection::{CloneOptions, Connection, CreateOptions, GrowGeometry, Health};
use crate::error::Error;
use crate::info::Adapter;
use crate::kind::DiskKind;

use create::{create, created};

/// The path that a double was given.
fn path(text: *const c_char) -> String {
    // SAFETY: the crate gives C strings, and never null.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .expect("UTF-8")
        .to_owned()
}

/// Reports these percentages, as the library does.
fn report(function: VixDiskLibProgressFunc, data: *mut c_void, percents: &[c_int]) {
    let function = function.expect("always given");
    for percent in percents {
        // SAFETY: the data belongs to the function, during the call.
        unsafe { function(data, *percent) };
    }
}

fn local(library: &Library) -> Connection {
    library.connect_local().expect("local")
}

fn options() -> CreateOptions {
    CreateOptions::new(DiskKind::SPLIT_SPARSE, SectorCount::new(4096))
}

fn unsupported<T>(result: crate::Result<T>) {
    let Err(error) = result else {
        panic!("there is no such call")
    };
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Unsupported, None),
        "{error}"
    );
}

#[test]
fn a_connection_for_reading_changes_no_disk() {
    static API: Api = Api {
        table: VDDK,
        major: Some(8),
    };
    let library = start(&API);
    let writable = local(&library);
    let reading = ConnectOptions::new().read_only(true);
    let connection = library
        .connect(ConnectParams::local(), &reading)
        .expect("local");
    let refused = |result: crate::Result<()>| {
        let error = result.expect_err("for reading");
        assert_eq!((error.kind(), error.code()), (ErrorKind::ReadOnly, None));
    };
    let size = SectorCount::new(8192);
    let clone = CloneOptions::new(DiskKind::MONOLITHIC_SPARSE);
    refused(connection.create_disk("a", &options(), |_| {}));
    refused(connection.unlink("a"));
    refused(connection.grow("a", size, GrowGeometry::Update, |_| {}));
    refused(connection.repair("a").map(drop));
    refused(writable.clone_disk("a", &connection, "b", &clone, |_| {}));
}

#[test]
fn a_function_that_the_library_lacks_is_refused_before_any_call() {
    static API: Api = Api {
        table: FnTable {
            create_child: None,
            unlink: None,
            grow: None,
            shrink: None,
            defragment: None,
            rename: None,
            clone: None,
            space_needed_for_clone: None,
            check_repair: None,
            is_attach_possible: None,
            attach: None,
            write_metadata: None,
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let connection = local(&library);
    let (_folder, mut child) = disk(&library, &bytes(8));
    let (_other, parent) = disk(&library, &bytes(8));
    let clone = CloneOptions::new(DiskKind::MONOLITHIC_SPARSE);
    unsupported(library.rename("a", "b"));
    unsupported(connection.unlink("a"));
    unsupported(connection.grow("a", SectorCount::new(9), GrowGeometry::Keep, |_| {}));
    unsupported(connection.check("a"));
    unsupported(connection.repair("a"));
    unsupported(connection.clone_disk("a", &connection, "b", &clone, |_| {}));
    unsupported(child.create_child("a", DiskKind::SPLIT_SPARSE, |_| {}));
    unsupported(child.shrink(|_| {}));
    unsupported(child.defragment(|_| {}));
    unsupported(child.space_needed_for_clone(None));
    unsupported(child.set_metadata("key", "value"));
    unsupported(child.can_attach(&parent));
    unsupported(child.attach(parent));
    child.close().expect("still open");
}

#[test]
fn a_check_has_an_outcome() {
    static CALLS: Mutex<Vec<Bool>> = Mutex::new(Vec::new());
    unsafe extern "C" fn check_repair(
        _: VixDiskLibConnection,
        name: *const c_char,
        repair: Bool,
    ) -> VixError {
        CALLS.lock().push(repair);
        match path(name).as_str() {
            "/good" => VixError::OK,
            "/needs" => VixError(VixError::DISK_NEEDSREPAIR.0 | 3 << 32),
            "/cannot" => VixError::DISK_CANTREPAIR,
            _ => VixError::FILE_NOT_FOUND,
        }
    }
    static API: Api = Api {
        table: FnTable {
            check_repair: Some(check_repair),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let connection = local(&library);
    for (name, health) in [
        ("/good", Health::Good),
        ("/needs", Health::NeedsRepair),
        ("/cannot", Health::CannotRepair),
    ] {
        let report = connection.check(name).expect("checked");
        assert_eq!(
            (report.health(), report.is_good()),
            (health, name == "/good")
        );
        assert_eq!(connection.repair(name).expect("ran").health(), health);
    }
    let error = connection.check("/absent").expect_err("nothing to check");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(*CALLS.lock(), [0, 1, 0, 1, 0, 1, 0]);
}

#[test]
fn a_clone_takes_over_what_the_source_is() {
    static CLONED: Mutex<Vec<(VixDiskLibCreateParams, Bool)>> = Mutex::new(Vec::new());
    unsafe extern "C" fn clone(
        _: VixDiskLibConnection,
        _: *const c_char,
        _: VixDiskLibConnection,
        _: *const c_char,
        params: *const VixDiskLibCreateParams,
        progress: VixDiskLibProgressFunc,
        data: *mut c_void,
        overwrite: Bool,
    ) -> VixError {
        // SAFETY: the crate gives a whole structure.
        CLONED.lock().push((unsafe { *params }, overwrite));
        report(progress, data, &[50]);
        VixError::OK
    }
    static API: Api = Api {
        table: FnTable {
            clone: Some(clone),
            ..VDDK
        },
        major: Some(8),
    };
    static OTHER: Api = Api {
        table: FnTable { ..VDDK },
        major: Some(8),
    };
    let library = start(&API);
    let (folder, disk) = disk(&library, &bytes(64));
    drop(disk);
    let extent = folder.path().join("disk.vmdk");
    let connection = local(&library);
    let kept = CloneOptions::new(DiskKind::VMFS_THIN);
    connection
        .clone_disk(&extent, &connection, "/copy.vmdk", &kept, |_| {})
        .expect("cloned");
    let mut text = fs::read_to_string(&extent).expect("a descriptor");
    text += "\n#DDB\n\nddb.adapterType = \"ide\"\nddb.virtualHWVersion = \"17\"\n";
    fs::write(&extent, text).expect("a descriptor");

    let mut heard = None;
    connection
        .clone_disk(&extent, &connection, "/copy.vmdk", &kept, |progress| {
            heard = Some((progress.percent, progress.total));
        })
        .expect("cloned");
    assert_eq!(heard, Some((50, SectorCount::new(64).bytes())));
    let changed = kept
        .adapter(Adapter::BusLogic)
        .hardware_version(4)
        .overwrite(true);
    connection
        .clone_disk(&extent, &connection, "/copy.vmdk", &changed, |_| {})
        .expect("cloned");
    let cloned = CLONED.lock();
    let facts = |(params, overwrite): &(VixDiskLibCreateParams, Bool)| {
        (
            params.adapterType.0,
            params.hwVersion,
            params.capacity,
            *overwrite,
        )
    };
    assert_eq!(facts(&cloned[0]), (3, 13, 64, 0), "the source says nothing");
    assert_eq!(facts(&cloned[1]), (1, 17, 64, 0));
    assert_eq!(facts(&cloned[2]), (2, 4, 64, 1));
    assert_eq!(
        cloned[0].0.diskType,
        VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_THIN
    );

    let other = start(&OTHER);
    let error = connection
        .clone_disk(&extent, &local(&other), "/copy.vmdk", &changed, |_| {})
        .expect_err("not one library");
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::InvalidArgument, None)
    );
    assert!(error.to_string().contains("to \"/copy.vmdk\""), "{error}");
}

unsafe extern "C" fn shrink(
    _: VixDiskLibHandle,
    progress: VixDiskLibProgressFunc,
    data: *mut c_void,
) -> VixError {
    report(progress, data, &[0, 100]);
    VixError::OK
}

#[test]
fn progress_is_heard_outside_of_the_library() {
    static API: Api = Api {
        table: FnTable {
            create,
            shrink: Some(shrink),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let connection = local(&library);
    let (folder, mut disk) = disk(&library, &bytes(8));
    let path = folder.path().join("disk.vmdk");
    // The control thread is busy or not: opening a disk waits for it.
    let reopen = |heard: &mut u32| {
        *heard += 1;
        connection
            .open_disk(&path, OpenFlags::READ_ONLY)
            .map(drop)
            .or_else(|error| match error.kind() {
                ErrorKind::Locked => Ok(()),
                _ => Err(error),
            })
            .expect("no deadlock");
    };
    let mut heard = 0;
    disk.shrink(|_| reopen(&mut heard)).expect("shrunk");
    disk.close().expect("closed");
    connection
        .create_disk("/progress.vmdk", &options(), |_| reopen(&mut heard))
        .expect("created");
    assert_eq!(heard, 5);
}

#[test]
fn what_is_in_flight_is_waited_for_first() {
    static CALLS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    unsafe extern "C" fn wait(handle: VixDiskLibHandle) -> VixError {
        CALLS.lock().push("wait");
        // SAFETY: passed on.
        unsafe { (TABLE.wait)(handle) }
    }
    unsafe extern "C" fn shrink(
        _: VixDiskLibHandle,
        _: VixDiskLibProgressFunc,
        _: *mut c_void,
    ) -> VixError {
        CALLS.lock().push("shrink");
        VixError::OK
    }
    unsafe extern "C" fn attach(_: VixDiskLibHandle, _: VixDiskLibHandle) -> VixError {
        CALLS.lock().push("attach");
        VixError::OK
    }
    static API: Api = Api {
        table: FnTable {
            wait,
            shrink: Some(shrink),
            is_attach_possible: None,
            attach: Some(attach),
            // Calls on one handle may meet, but for these.
            ..TABLE
        },
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, mut child) = disk(&library, &bytes(8));
    let (_other, parent) = disk(&library, &bytes(8));
    assert!(child.capabilities().parallel_io);
    drop(child.read_async(Sector::ZERO, buffer(8)));
    child.shrink(|_| {}).expect("shrunk");
    drop(child.read_async(Sector::ZERO, buffer(8)));
    drop(parent.read_async(Sector::ZERO, buffer(8)));
    child.attach(parent).expect("attached");
    assert_eq!(*CALLS.lock(), ["wait", "shrink", "wait", "wait", "attach"]);
}

#[test]
fn a_panic_in_the_progress_reappears_after_the_call() {
    static API: Api = Api {
        table: FnTable {
            create,
            shrink: Some(shrink),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let connection = local(&library);
    let (_folder, mut disk) = disk(&library, &bytes(8));
    let panicked = |call: &mut dyn FnMut() -> crate::Result<()>| {
        let caught = catch_unwind(AssertUnwindSafe(call));
        let Err(payload) = caught else {
            panic!("the panic was swallowed")
        };
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"enough"));
    };
    panicked(&mut || connection.create_disk("/panic.vmdk", &options(), |_| panic!("enough")));
    created("/panic.vmdk");
    panicked(&mut || disk.shrink(|_| panic!("enough")));
    // Nothing is broken.
    disk.shrink(|_| {}).expect("shrunk");
    disk.close().expect("closed");
}

#[test]
fn metadata_that_would_break_the_descriptor_is_refused() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn write_metadata(
        _: VixDiskLibHandle,
        _: *const c_char,
        _: *const c_char,
    ) -> VixError {
        CALLS.fetch_add(1, Ordering::SeqCst);
        VixError::OK
    }
    static API: Api = Api {
        table: FnTable {
            write_metadata: Some(write_metadata),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let (folder, disk) = disk(&library, &bytes(8));
    for (key, value) in [
        ("", "x"),
        ("a\0b", "x"),
        ("key", "a\nb"),
        ("a\rb", "x"),
        ("key", "\0"),
    ] {
        let error = disk.set_metadata(key, value).expect_err("refused");
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::InvalidArgument, None)
        );
    }
    disk.set_metadata("comment", "").expect("emptied");
    disk.close().expect("closed");
    let path = folder.path().join("disk.vmdk");
    let disk = local(&library)
        .open_disk(path, OpenFlags::READ_ONLY)
        .expect("opens");
    let error = disk.set_metadata("comment", "x").expect_err("for reading");
    assert_eq!((error.kind(), error.code()), (ErrorKind::ReadOnly, None));
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}
