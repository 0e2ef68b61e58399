//! Creating disks: what the library is given for it.

use super::*;

static CREATED: Mutex<Vec<(String, VixDiskLibCreateParams, ThreadId)>> = Mutex::new(Vec::new());

/// Creates nothing, reports some progress, and fails for one name.
pub(super) unsafe extern "C" fn create(
    _: VixDiskLibConnection,
    name: *const c_char,
    params: *const VixDiskLibCreateParams,
    progress: VixDiskLibProgressFunc,
    data: *mut c_void,
) -> VixError {
    // SAFETY: the crate gives a whole structure.
    let params = unsafe { *params };
    let name = path(name);
    report(progress, data, &[0, 25, 25, 100]);
    let code = if name.ends_with("there.vmdk") {
        VixError::FILE_ALREADY_EXISTS
    } else {
        VixError::OK
    };
    CREATED.lock().push((name, params, thread::current().id()));
    code
}

/// The parameters with which `create` was called for a name.
pub(super) fn created(name: &str) -> (String, VixDiskLibCreateParams, ThreadId) {
    let created = CREATED.lock();
    let found = created.iter().find(|(path, ..)| path.ends_with(name));
    found.expect("created").clone()
}

#[test]
fn a_disk_is_created_on_the_control_thread_with_whole_parameters() {
    static API: Api = Api {
        table: FnTable { create, ..VDDK },
        major: Some(8),
    };
    let library = start(&API);
    let connection = local(&library);
    let caller = thread::current().id();
    let mut heard = Vec::new();
    let wanted = options().adapter(Adapter::Ide).hardware_version(20);
    connection
        .create_disk(
            "relative.vmdk",
            &wanted.clone().sector_sizes(512, 4096),
            |progress| {
                assert_eq!(thread::current().id(), caller);
                let bytes = |length: Option<disk_units::ByteLen>| length.expect("known").get();
                heard.push((
                    progress.percent,
                    bytes(progress.done()),
                    bytes(progress.total),
                ));
            },
        )
        .expect("created");
    assert_eq!(
        heard,
        [
            (0, 0, 2 << 20),
            (25, 512 << 10, 2 << 20),
            (100, 2 << 20, 2 << 20)
        ]
    );

    let (name, params, thread) = created("relative.vmdk");
    assert!(Path::new(&name).is_absolute(), "{name}");
    let control = library.control(|| Ok(thread::current().id()));
    assert_eq!(thread, control.expect("not forked"));
    assert_eq!(
        params.diskType,
        VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_SPARSE
    );
    assert_eq!(
        params.adapterType,
        VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE
    );
    assert_eq!((params.hwVersion, params.capacity), (20, 4096));
    assert_eq!(
        (params.logicalSectorSize, params.physicalSectorSize),
        (512, 4096)
    );

    // The library's defaults are zeroes.
    connection
        .create_disk("/defaults.vmdk", &wanted, |_| {})
        .expect("created");
    let (_, params, _) = created("/defaults.vmdk");
    assert_eq!(
        (params.logicalSectorSize, params.physicalSectorSize),
        (0, 0)
    );

    let error = connection
        .create_disk("/there.vmdk", &wanted, |_| {})
        .expect_err("exists");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(
        error
            .to_string()
            .starts_with("creating disk \"/there.vmdk\" failed"),
        "{error}"
    );
}

#[test]
fn a_disk_that_cannot_be_is_refused_before_the_library_sees_it() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn create(
        _: VixDiskLibConnection,
        _: *const c_char,
        _: *const VixDiskLibCreateParams,
        _: VixDiskLibProgressFunc,
        _: *mut c_void,
    ) -> VixError {
        CALLS.fetch_add(1, Ordering::SeqCst);
        VixError::OK
    }
    static OLD: Api = Api {
        table: FnTable { create, ..VDDK },
        major: Some(6),
    };
    static NAMELESS: Api = Api {
        table: FnTable { create, ..VDDK },
        major: None,
    };
    for api in [&OLD, &NAMELESS] {
        let library = start(api);
        let connection = local(&library);
        let create = |options: &CreateOptions| {
            let error = connection
                .create_disk("/disk.vmdk", options, |_| {})
                .expect_err("refused");
            assert_eq!(error.code(), None);
            error.kind()
        };
        // A structure of that library ends before them.
        assert_eq!(
            create(&options().sector_sizes(512, 512)),
            ErrorKind::Unsupported
        );
        let empty = CreateOptions::new(DiskKind::MONOLITHIC_FLAT, SectorCount::ZERO);
        assert_eq!(create(&empty), ErrorKind::InvalidArgument);
        let error = connection
            .create_disk("a\0b", &options(), |_| {})
            .expect_err("no C string");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
}
