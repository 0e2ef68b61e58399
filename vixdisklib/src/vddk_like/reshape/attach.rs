//! Which handles are closed when, by the version of the library.

use super::*;

static CLOSED: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// The tests of this module read the list above, one at a time.
static ALONE: Mutex<()> = Mutex::new(());

unsafe extern "C" fn close(handle: VixDiskLibHandle) -> VixError {
    CLOSED.lock().push(handle.addr());
    // SAFETY: passed on.
    unsafe { (TABLE.close)(handle) }
}
unsafe extern "C" fn works(_: VixDiskLibHandle, _: VixDiskLibHandle) -> VixError {
    VixError::OK
}
unsafe extern "C" fn fails(_: VixDiskLibHandle, _: VixDiskLibHandle) -> VixError {
    VixError::DISK_CID_MISMATCH
}

const fn table(
    possible: unsafe extern "C" fn(VixDiskLibHandle, VixDiskLibHandle) -> VixError,
    attach: unsafe extern "C" fn(VixDiskLibHandle, VixDiskLibHandle) -> VixError,
) -> FnTable {
    FnTable {
        close,
        is_attach_possible: Some(possible),
        attach: Some(attach),
        ..VDDK
    }
}

/// Attaches two disks, closes the child; tells the outcome and how many handles were closed before the child's,
/// and in all. The file of the library tells this release.
fn attach_and_close(api: &'static Api, release: &[u32]) -> (Result<(), Error>, usize, usize) {
    let library = Library::builder(Backend::Embedded)
        .start_release(api, None, release.to_vec())
        .expect("starts");
    let (_child_folder, mut child) = disk(&library, &bytes(8));
    let (_parent_folder, parent) = disk(&library, &bytes(8));
    CLOSED.lock().clear();
    let attached = child.attach(parent);
    let before = CLOSED.lock().len();
    let mut sector = [0; 512];
    child
        .read_at(Sector::ZERO, &mut sector)
        .expect("the child is usable");
    child.close().expect("closed");
    let closed = CLOSED.lock().len();
    // With the last disk the library is left, or it could not be started again.
    drop(library);
    drop(start(api));
    (attached, before, closed)
}

#[test]
fn an_attached_parent_is_closed_after_its_child() {
    static API: Api = Api {
        table: table(works, works),
        major: Some(7),
    };
    let _alone = ALONE.lock();
    let (attached, before, closed) = attach_and_close(&API, &[]);
    attached.expect("attached");
    assert_eq!((before, closed), (0, 2));
}

#[test]
fn before_6_7_1_the_library_keeps_it() {
    static API: Api = Api {
        table: table(works, works),
        major: Some(6),
    };
    static NAMELESS: Api = Api {
        table: table(works, works),
        major: None,
    };
    let _alone = ALONE.lock();
    let closed = |api, release| {
        let (attached, before, closed) = attach_and_close(api, release);
        attached.expect("attached");
        assert_eq!(before, 0);
        closed
    };
    for old in [&[][..], &[6, 5], &[6, 7], &[6, 7, 0]] {
        assert_eq!(closed(&API, old), 1, "{old:?}");
    }
    assert_eq!(closed(&NAMELESS, &[]), 1);
    for new in [&[6, 7, 1][..], &[6, 7, 3], &[6, 8]] {
        assert_eq!(closed(&API, new), 2, "{new:?}");
    }
}

#[test]
fn our_own_library_wants_it_closed_whatever_its_file_is_called() {
    static API: Api = Api {
        table: FnTable {
            ext_get_property: TABLE.ext_get_property,
            ..table(works, works)
        },
        major: None,
    };
    let _alone = ALONE.lock();
    let (attached, before, closed) = attach_and_close(&API, &[]);
    attached.expect("attached");
    assert_eq!((before, closed), (0, 2));
}

#[test]
fn a_parent_without_cache_wants_aligned_memory_through_its_child() {
    static READ_INTO: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    unsafe extern "C" fn read(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        buffer: *mut u8,
    ) -> VixError {
        READ_INTO.lock().push(buffer.addr());
        // SAFETY: passed on.
        unsafe { (TABLE.read)(handle, start, count, buffer) }
    }
    static API: Api = Api {
        table: FnTable {
            read,
            ..table(works, works)
        },
        major: Some(8),
    };
    let library = start(&API);
    let (_child_folder, mut child) = disk(&library, &bytes(8));
    let (_parent_folder, path) = flat(&bytes(8));
    let parent = local(&library).open_disk(path, OpenFlags::UNBUFFERED);
    let mut memory = buffer(2);
    child
        .read_at(Sector::ZERO, &mut memory[1..=512])
        .expect("reads");
    child.attach(parent.expect("opens")).expect("attached");
    child
        .read_at(Sector::ZERO, &mut memory[1..=512])
        .expect("reads");
    assert!(memory[1..=512] == bytes(1));
    let offsets: Vec<_> = READ_INTO.lock().iter().map(|at| at % 512).collect();
    assert_eq!(offsets, [1, 0], "where the first read finds no parent");
}

#[test]
fn a_parent_that_could_not_be_attached_is_closed_at_once() {
    static NEW: Api = Api {
        table: table(works, fails),
        major: Some(8),
    };
    static OLD: Api = Api {
        table: table(works, fails),
        major: Some(6),
    };
    let _alone = ALONE.lock();
    for api in [&NEW, &OLD] {
        let (attached, before, closed) = attach_and_close(api, &[]);
        let error = attached.expect_err("does not fit");
        assert_eq!(error.kind(), ErrorKind::InvalidChain);
        assert!(
            error.to_string().starts_with("attaching disk \""),
            "{error}"
        );
        assert_eq!((before, closed), (1, 2));
    }
}

#[test]
fn a_parent_that_the_library_never_got_is_closed_as_any_disk() {
    static API: Api = Api {
        table: table(fails, works),
        major: Some(6),
    };
    let _alone = ALONE.lock();
    let (attached, before, closed) = attach_and_close(&API, &[]);
    attached.expect_err("asked first");
    assert_eq!((before, closed), (1, 2));
}

#[test]
fn disks_of_two_libraries_do_not_meet() {
    static ONE: Api = Api {
        table: table(works, works),
        major: Some(8),
    };
    static TWO: Api = Api {
        table: table(works, works),
        major: Some(8),
    };
    let _alone = ALONE.lock();
    let (one, two) = (start(&ONE), start(&TWO));
    let (_child_folder, mut child) = disk(&one, &bytes(8));
    let (_parent_folder, parent) = disk(&two, &bytes(8));
    let error = child.attach(parent).expect_err("two libraries");
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::InvalidArgument, None)
    );
}
