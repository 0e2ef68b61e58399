//! Libraries as VDDK may be, for tests: the embedded engine without its extensions, with single functions replaced.

mod access;
mod connect;
mod handles;
mod named;
mod reshape;
mod start;

use std::ffi::c_void;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{self, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::Mutex;
use tempfile::TempDir;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    FnTable, VixDiskLibBlockList, VixDiskLibCompletionCB, VixDiskLibHandle, VixError,
};

use crate::api::Api;
use crate::buffer::AlignedBuf;
use crate::connection::{ConnectOptions, OpenFlags};
use crate::disk::Disk;
use crate::error::ErrorKind;
use crate::library::{Backend, Library};
use crate::params::{ConnectParams, Credentials, Spec};

/// The functions that VDDK has since 6.7.
pub(crate) const VDDK: FnTable = FnTable {
    ext_write_zeroes: None,
    ext_trim: None,
    ext_query_extents: None,
    ext_get_file_range: None,
    ext_get_property: None,
    ..TABLE
};

pub(crate) fn start(api: &'static Api) -> Library {
    Library::builder(Backend::Embedded)
        .start(api, None)
        .expect("starts")
}

/// The same with a table of its own, which stays reachable, as that of a loaded library does.
pub(crate) fn start_own(api: Api) -> Library {
    static KEPT: Mutex<Vec<&Api>> = Mutex::new(Vec::new());
    let api = Box::leak(Box::new(api));
    KEPT.lock().push(api);
    start(api)
}

pub(crate) fn bytes(sectors: usize) -> Vec<u8> {
    (0..sectors * 512)
        .map(|at| u8::try_from((at / 512 + at) % 251).expect("small"))
        .collect()
}

/// A flat disk with `contents`.
fn flat(contents: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
         createType=\"monolithicFlat\"\n\n# Extent description\nRW {} FLAT \"disk-flat.vmdk\" 0\n",
        contents.len() / 512
    );
    fs::write(folder.path().join("disk-flat.vmdk"), contents).expect("an extent");
    let path = folder.path().join("disk.vmdk");
    fs::write(&path, descriptor).expect("a descriptor");
    (folder, path)
}

/// A flat disk with `contents`, opened through `library`.
pub(crate) fn disk(library: &Library, contents: &[u8]) -> (TempDir, Disk) {
    let (folder, path) = flat(contents);
    let connection = library.connect_local().expect("local");
    let disk = connection
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");
    (folder, disk)
}

fn buffer(sectors: u64) -> AlignedBuf {
    AlignedBuf::new(SectorCount::new(sectors))
}

#[test]
fn success_instead_of_acceptance_is_a_failure() {
    /// Neither reads nor calls back.
    unsafe extern "C" fn read_async(
        _: VixDiskLibHandle,
        _: u64,
        _: u64,
        _: *mut u8,
        _: VixDiskLibCompletionCB,
        _: *mut c_void,
    ) -> VixError {
        VixError::OK
    }
    static API: Api = Api {
        table: FnTable {
            read_async: Some(read_async),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, disk) = disk(&library, &bytes(8));
    let (done, buf) = disk.read_async(Sector::ZERO, buffer(8)).wait();
    let error = done.expect_err("nothing was read");
    assert_eq!(error.code(), Some(VixError::FAIL));
    assert_eq!(buf.sectors(), SectorCount::new(8));
}

#[test]
fn acceptance_with_detail_is_acceptance() {
    unsafe extern "C" fn read_async(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        buffer: *mut u8,
        callback: VixDiskLibCompletionCB,
        data: *mut c_void,
    ) -> VixError {
        let read = TABLE.read_async.expect("there");
        // SAFETY: passed on.
        let code = unsafe { read(handle, start, count, buffer, callback, data) };
        VixError(code.0 | 7 << 32)
    }
    static API: Api = Api {
        table: FnTable {
            read_async: Some(read_async),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let contents = bytes(64);
    let (_folder, disk) = disk(&library, &contents);
    let (done, buf) = disk.read_async(Sector::ZERO, buffer(64)).wait();
    done.expect("accepted, and read");
    assert!(buf[..] == contents[..]);
}

#[test]
fn a_library_without_asynchronous_calls_blocks() {
    static API: Api = Api {
        table: FnTable {
            // One of the two is as good as none: the other would block beside it.
            write_async: None,
            ..VDDK
        },
        major: Some(6),
    };
    let library = start(&API);
    let contents = bytes(64);
    let (_folder, disk) = disk(&library, &contents);
    assert!(!disk.capabilities().async_io);
    let mut new = buffer(8);
    new.fill(9);
    disk.write_async(Sector::new(8), new)
        .wait()
        .0
        .expect("written");
    let (done, buf) = disk.read_async(Sector::ZERO, buffer(16)).wait();
    done.expect("read");
    assert!(buf[..8 * 512] == contents[..8 * 512]);
    assert!(buf[8 * 512..].iter().all(|byte| *byte == 9));
    assert_eq!(disk.info().logical_sector_size, None, "not before 7.0");
}

#[test]
fn a_library_can_be_started_again_after_its_last_user_is_gone() {
    static API: Api = Api {
        table: FnTable { ..VDDK },
        major: Some(8),
    };
    for _ in 0..3 {
        let library = start(&API);
        let again = Library::builder(Backend::Embedded).start(&API, None);
        assert_eq!(
            again.expect_err("is live").kind(),
            ErrorKind::Initialization
        );
        let (_folder, disk) = disk(&library, &bytes(8));
        drop(library);
        let mut sector = [0; 512];
        disk.read_at(Sector::new(7), &mut sector).expect("reads");
        assert_eq!(sector[..], bytes(8)[7 * 512..]);
        // The disk was the last user.
        disk.close().expect("closes");
    }
}

#[test]
fn a_library_that_refuses_to_start_may_be_asked_again() {
    unsafe extern "C" fn init_ex(
        _: u32,
        _: u32,
        _: vixdisklib_sys::VixDiskLibGenericLogFunc,
        _: vixdisklib_sys::VixDiskLibGenericLogFunc,
        _: vixdisklib_sys::VixDiskLibGenericLogFunc,
        _: *const std::ffi::c_char,
        _: *const std::ffi::c_char,
    ) -> VixError {
        VixError::LICENSE
    }
    static API: Api = Api {
        table: FnTable { init_ex, ..VDDK },
        major: Some(8),
    };
    for _ in 0..2 {
        let refused = Library::builder(Backend::Embedded).start(&API, None);
        let error = refused.expect_err("no licence");
        assert_eq!(error.code(), Some(VixError::LICENSE));
    }
}

#[test]
fn blocking_calls_wait_for_the_library_to_be_through_with_submitted_ones() {
    static CALLS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    unsafe extern "C" fn read_async(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        buffer: *mut u8,
        callback: VixDiskLibCompletionCB,
        data: *mut c_void,
    ) -> VixError {
        CALLS.lock().push("submit");
        let read = TABLE.read_async.expect("there");
        // SAFETY: passed on.
        unsafe { read(handle, start, count, buffer, callback, data) }
    }
    unsafe extern "C" fn wait(handle: VixDiskLibHandle) -> VixError {
        CALLS.lock().push("wait");
        // SAFETY: passed on.
        unsafe { (TABLE.wait)(handle) }
    }
    unsafe extern "C" fn read(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        buffer: *mut u8,
    ) -> VixError {
        CALLS.lock().push("read");
        // SAFETY: passed on.
        unsafe { (TABLE.read)(handle, start, count, buffer) }
    }
    unsafe extern "C" fn query(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        chunk: u64,
        list: *mut *mut VixDiskLibBlockList,
    ) -> VixError {
        CALLS.lock().push("query");
        let query = TABLE.query_allocated_blocks.expect("there");
        // SAFETY: passed on.
        unsafe { query(handle, start, count, chunk, list) }
    }
    static API: Api = Api {
        table: FnTable {
            read_async: Some(read_async),
            wait,
            read,
            query_allocated_blocks: Some(query),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, disk) = disk(&library, &bytes(128));
    let submit = || {
        let request = disk.read_async(Sector::ZERO, buffer(8));
        request.wait().0.expect("read");
    };
    let mut sector = [0; 512];
    let whole = SectorRange::whole(disk.capacity());

    submit();
    submit();
    disk.read_at(Sector::ZERO, &mut sector).expect("read");
    disk.read_at(Sector::ZERO, &mut sector).expect("read");
    submit();
    assert_eq!(disk.extents(whole).expect("in range").count(), 1);
    disk.read_at(Sector::ZERO, &mut sector).expect("read");
    let calls = CALLS.lock().join(" ");
    assert_eq!(
        calls,
        "submit submit wait read read submit wait query query read"
    );
}

#[test]
fn requests_of_any_length_reach_the_library_in_pieces() {
    static LONGEST: AtomicU64 = AtomicU64::new(0);
    macro_rules! measured {
        ($name:ident($($argument:ident: $type:ty),*) = $function:expr) => {
            unsafe extern "C" fn $name(
                handle: VixDiskLibHandle, start: u64, count: u64, $($argument: $type),*
            ) -> VixError {
                LONGEST.fetch_max(count, Ordering::SeqCst);
                let function = $function;
                // SAFETY: passed on.
                unsafe { function(handle, start, count, $($argument),*) }
            }
        };
    }
    measured!(read(buffer: *mut u8) = TABLE.read);
    measured!(write(buffer: *const u8) = TABLE.write);
    measured!(
        read_async(buffer: *mut u8, callback: VixDiskLibCompletionCB, data: *mut c_void)
            = TABLE.read_async.expect("there")
    );
    measured!(
        write_async(buffer: *const u8, callback: VixDiskLibCompletionCB, data: *mut c_void)
            = TABLE.write_async.expect("there")
    );
    static API: Api = Api {
        table: FnTable {
            read,
            write,
            read_async: Some(read_async),
            write_async: Some(write_async),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    // Two whole pieces, and one sector.
    let contents = bytes(2 * 4096 + 1);
    let (_folder, disk) = disk(&library, &vec![0; contents.len() + 512]);
    let one = Sector::new(1);

    disk.write_at(one, &contents).expect("written");
    let mut back = vec![0; contents.len()];
    disk.read_at(one, &mut back).expect("read");
    assert!(back == contents);

    let shared = disk.into_shared().expect("shared");
    assert!(!shared.capabilities().parallel_io);
    let other: Vec<u8> = contents.iter().rev().copied().collect();
    shared.write_at(one, &other).expect("written");
    shared.read_at(one, &mut back).expect("read");
    assert!(back == other);
    assert_eq!(LONGEST.load(Ordering::SeqCst), 4096, "2 MiB");
}

#[test]
fn a_spec_that_the_library_cannot_read_is_refused() {
    static API: Api = Api {
        table: FnTable {
            allocate_connect_params: None,
            ..VDDK
        },
        major: Some(6),
    };
    let library = start(&API);
    let connect = |spec| {
        let params = ConnectParams::builder(spec)
            .server("vc.example.com")
            .credentials(Credentials::Sspi)
            .build()
            .expect("complete");
        library
            .connect(params, &ConnectOptions::default())
            .expect_err("no network here")
    };
    let (id, datastore) = ("fcd-1".to_owned(), "datastore-11".to_owned());
    let error = connect(Spec::Fcd {
        id,
        datastore,
        snapshot: None,
    });
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None));
    // A virtual machine is named in the part that every library reads, and the engine refuses it.
    let moref = "vm-16".to_owned();
    let error = connect(Spec::Vm { moref });
    assert_eq!(error.code(), Some(VixError::NOT_SUPPORTED));
    // Parameters of our own do for local disks.
    library.connect_local().expect("local");
}

#[test]
fn a_waker_may_drop_the_disk() {
    static GATE: Mutex<()> = Mutex::new(());
    /// Calls back from a thread of its own, once the gate is open.
    unsafe extern "C" fn read_async(
        _: VixDiskLibHandle,
        _: u64,
        _: u64,
        _: *mut u8,
        callback: VixDiskLibCompletionCB,
        data: *mut c_void,
    ) -> VixError {
        let data = data.expose_provenance();
        thread::spawn(move || {
            drop(GATE.lock());
            let callback = callback.expect("given");
            // SAFETY: the one callback of this request.
            unsafe { callback(ptr::with_exposed_provenance_mut(data), VixError::OK) };
        });
        VixError::ASYNC
    }
    static API: Api = Api {
        table: FnTable {
            read_async: Some(read_async),
            ..VDDK
        },
        major: Some(8),
    };
    /// What an executor leaves behind: the last owner of a task, which owns the disk.
    struct Task {
        _disk: Mutex<Disk>,
        dropped: mpsc::Sender<()>,
    }
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            let dropped = self.dropped.clone();
            drop(self);
            dropped.send(()).expect("received below");
        }
    }

    let library = start(&API);
    let (_folder, disk) = disk(&library, &bytes(8));
    drop(library);
    let closed_gate = GATE.lock();
    let mut read = disk.read_async(Sector::ZERO, buffer(8));
    let (dropped, receive) = mpsc::channel();
    let task = Arc::new(Task {
        _disk: Mutex::new(disk),
        dropped,
    });
    let waker = Waker::from(task);
    let poll = Pin::new(&mut read).poll(&mut task::Context::from_waker(&waker));
    assert!(poll.is_pending());
    drop(waker);
    drop(closed_gate);
    let patience = Duration::from_secs(10);
    receive.recv_timeout(patience).expect("no deadlock");

    // And the disk is closed, and with it the library, as soon as the callback has ended.
    let deadline = Instant::now() + patience;
    while let Err(error) = Library::builder(Backend::Embedded).start(&API, None) {
        assert_eq!(error.kind(), ErrorKind::Initialization);
        assert!(Instant::now() < deadline, "the disk stays open");
        thread::sleep(Duration::from_millis(1));
    }
    read.wait().0.expect("done");
}
