//! Counting, on the embedded engine.

#![cfg(feature = "embedded")]

use super::*;

use std::ffi::c_void;
use std::thread;

use disk_units::Sector;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibCompletionCB, VixDiskLibHandle, VixError};

use crate::buffer::AlignedBuf;
use crate::connection::OpenFlags;
use crate::library::{Backend, Library};
use crate::vddk_like::{VDDK, bytes, disk};

fn open(api: &'static Api, statistics: bool) -> Library {
    Library::builder(Backend::Embedded)
        .statistics(statistics)
        .start(api, None)
        .expect("starts")
}

fn read_twice(library: &Library) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.vmdk");
    let text = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
                createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n";
    std::fs::write(folder.path().join("disk-flat.vmdk"), [7; 64 * 512]).expect("an extent");
    std::fs::write(&path, text).expect("a descriptor");
    let connection = library.connect_local().expect("local");
    let disk = connection
        .open_disk(&path, OpenFlags::READ_ONLY)
        .expect("opens");
    let mut sectors = [0; 8 * 512];
    disk.read_at(Sector::ZERO, &mut sectors).expect("reads");
    disk.read_at(Sector::new(8), &mut sectors[..512])
        .expect("reads");
    let absent = folder.path().join("absent.vmdk");
    connection
        .open_disk(&absent, OpenFlags::READ_ONLY)
        .expect_err("is not there");
}

#[test]
fn calls_are_counted_by_function_in_the_order_of_the_table() {
    static API: Api = Api {
        table: FnTable { ..TABLE },
        major: Some(8),
    };
    let library = open(&API, true);
    read_twice(&library);
    let statistics = library.statistics().expect("asked for");

    let names: Vec<_> = statistics
        .calls()
        .iter()
        .map(|call| call.function)
        .collect();
    let symbols: Vec<_> = FnTable::SYMBOLS.iter().map(|symbol| symbol.name).collect();
    assert_eq!(names, symbols);

    let call = |name| statistics.call(name).expect("a function");
    let read = call("VixDiskLib_Read");
    assert_eq!(
        (read.calls, read.failures, read.bytes),
        (2, 0, ByteLen::new(9 * 512))
    );
    assert!(read.longest <= read.total && !read.longest.is_zero());
    assert_eq!(call("VixDiskLib_InitEx").calls, 1);
    assert_eq!(
        (
            call("VixDiskLib_Open").calls,
            call("VixDiskLib_Open").failures
        ),
        (2, 1)
    );
    assert_eq!(call("VixDiskLib_Close").calls, 1);
    assert_eq!(call("VixDiskLib_GetErrorText").calls, 1);
    assert_eq!(call("VixDiskLib_Write").calls, 0);
    assert_eq!(statistics.call("VixDiskLib_NoSuchCall"), None);

    let printed = statistics.to_string();
    let lines: Vec<Vec<&str>> = printed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "VixDiskLib_...",
            "µs",
            "calls",
            "bytes",
            "failures",
            "longest",
            "µs"
        ]
    );
    let row = lines.iter().find(|line| line[0] == "Read").expect("a row");
    assert_eq!(row[2..5], ["2", "4608", "0"]);
    assert!(!printed.contains("\n  Write "), "not called");

    // A library that is started again starts counting again.
    drop(library);
    let library = open(&API, true);
    let statistics = library.statistics().expect("asked for");
    assert_eq!(
        statistics
            .call("VixDiskLib_Read")
            .expect("a function")
            .calls,
        0
    );
    assert_eq!(
        statistics
            .call("VixDiskLib_InitEx")
            .expect("a function")
            .calls,
        1
    );
}

#[test]
fn nothing_is_counted_unless_asked() {
    static API: Api = Api {
        table: FnTable { ..TABLE },
        major: Some(8),
    };
    let library = open(&API, false);
    assert!(library.statistics().is_none());
    // No more than a comparison of what is called: the table is the library's own.
    assert!(ptr::fn_addr_eq(library.api().table.read, TABLE.read));
    drop(library);
    let library = open(&API, true);
    assert!(!ptr::fn_addr_eq(library.api().table.read, TABLE.read));
    let again = Library::builder(Backend::Embedded).start(&API, None);
    assert_eq!(
        again.expect_err("is live").kind(),
        ErrorKind::Initialization
    );
}

#[test]
fn what_fails_after_it_was_accepted_counts_as_a_failure() {
    /// Fails behind the first 8 sectors: at once behind 16, else on a thread of its own.
    unsafe extern "C" fn read_async(
        _: VixDiskLibHandle,
        start: u64,
        _: u64,
        _: *mut u8,
        callback: VixDiskLibCompletionCB,
        data: *mut c_void,
    ) -> VixError {
        let data = data.expose_provenance();
        let done = move || {
            let code = if start < 8 {
                VixError::OK
            } else {
                VixError::DISK_NOIO
            };
            let callback = callback.expect("given");
            // SAFETY: the one callback of this request.
            unsafe { callback(ptr::with_exposed_provenance_mut(data), code) };
        };
        if start < 16 {
            thread::spawn(done);
        } else {
            done();
        }
        VixError::ASYNC
    }
    static API: Api = Api {
        table: FnTable {
            read_async: Some(read_async),
            ..VDDK
        },
        major: Some(8),
    };
    let library = open(&API, true);
    let (_folder, disk) = disk(&library, &bytes(64));
    let read = |start| {
        let buffer = AlignedBuf::new(SectorCount::new(8));
        disk.read_async(Sector::new(start), buffer).wait().0
    };
    read(0).expect("read");
    read(8).expect_err("fails late");
    read(16).expect_err("fails at once");
    disk.settle().expect("settles");
    let statistics = library.statistics().expect("asked for");
    let counted = statistics.call("VixDiskLib_ReadAsync").expect("a function");
    assert_eq!(
        (counted.calls, counted.failures, counted.bytes),
        (3, 2, ByteLen::new(8 * 512))
    );
    let writes = statistics.call("VixDiskLib_WriteAsync");
    assert_eq!(writes.expect("a function").failures, 0);
}
