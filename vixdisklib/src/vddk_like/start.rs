//! What a library is initialised with.

use std::ffi::{CStr, c_char};
use std::fs;
use std::path::PathBuf;

use parking_lot::Mutex;
use vixdisklib_sys::{FnTable, VixDiskLibGenericLogFunc, VixError};

use super::{TABLE, VDDK};
use crate::api::Api;
use crate::configuration::{Configuration, NfcLogLevel};
use crate::error::ErrorKind;
use crate::library::{Backend, Library};
use crate::params::{Credentials, Server};

/// The configuration file of the last start, and what it held then.
static FILE: Mutex<Option<(PathBuf, String)>> = Mutex::new(None);

unsafe extern "C" fn init_ex(
    major: u32,
    minor: u32,
    log: VixDiskLibGenericLogFunc,
    warn: VixDiskLibGenericLogFunc,
    panic: VixDiskLibGenericLogFunc,
    lib_dir: *const c_char,
    config: *const c_char,
) -> VixError {
    assert!(log.is_some() && warn.is_some() && panic.is_some());
    *FILE.lock() = (!config.is_null()).then(|| {
        // SAFETY: not null, so a C string.
        let path = unsafe { CStr::from_ptr(config) };
        let path = PathBuf::from(path.to_str().expect("UTF-8"));
        let text = fs::read_to_string(&path).expect("readable");
        (path, text)
    });
    // SAFETY: passed on.
    unsafe { (TABLE.init_ex)(major, minor, log, warn, panic, lib_dir, config) }
}

#[test]
fn a_configuration_is_there_as_long_as_the_library() {
    static API: Api = Api {
        table: FnTable { init_ex, ..VDDK },
        major: Some(7),
    };
    let builder = || Library::builder(Backend::Embedded);
    let configuration = Configuration::new()
        .nfc_log_level(NfcLogLevel::Debug)
        .san_deny(["all"]);
    let library = builder()
        .configuration(configuration.clone())
        .start(&API, None)
        .expect("starts");
    let (path, text) = FILE.lock().take().expect("a file");
    assert_eq!(
        text,
        "vixDiskLib.nfc.LogLevel=4\nvixDiskLib.transport.san.blacklist=\"all\"\n"
    );
    assert!(path.is_file());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // The disk's connection keeps the library, and that its file.
    let connection = library.connect_local().expect("local");
    drop(library);
    assert!(path.is_file());
    drop(connection);
    assert!(!path.exists() && !path.parent().expect("a folder").exists());

    drop(builder().start(&API, None).expect("starts"));
    assert!(FILE.lock().is_none());

    // Somebody else's file is passed on, and stays.
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("own.conf");
    fs::write(&own, "a=1\n").expect("written");
    drop(
        builder()
            .config_file(&own)
            .start(&API, None)
            .expect("starts"),
    );
    assert_eq!(FILE.lock().take(), Some((own.clone(), "a=1\n".to_owned())));
    assert!(own.is_file());

    let server = Server::builder("vc.example.com").credentials(Credentials::Sspi);
    let server = server.build().expect("complete");
    for wrong in [
        builder()
            .configuration(configuration.clone())
            .config_file(&own),
        builder().clean_up_on_start(&server),
        builder()
            .clean_up_on_start(&server)
            .configuration(configuration),
        builder().configuration(Configuration::new().product_name("\n")),
    ] {
        let error = wrong.start(&API, None).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert!(
        FILE.lock().is_none(),
        "refused before the library was called"
    );
}

#[test]
fn of_many_that_start_a_library_at_once_one_gets_it() {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn counted_init(
        major: u32,
        minor: u32,
        log: VixDiskLibGenericLogFunc,
        warn: VixDiskLibGenericLogFunc,
        panic: VixDiskLibGenericLogFunc,
        lib_dir: *const c_char,
        config: *const c_char,
    ) -> VixError {
        assert_eq!(
            INSIDE.fetch_add(1, Ordering::SeqCst),
            0,
            "initialised twice"
        );
        // SAFETY: passed on.
        unsafe { (TABLE.init_ex)(major, minor, log, warn, panic, lib_dir, config) }
    }
    unsafe extern "C" fn counted_exit() {
        // SAFETY: passed on.
        unsafe { (TABLE.exit)() };
        assert_eq!(INSIDE.fetch_sub(1, Ordering::SeqCst), 1, "left twice");
    }
    static API: Api = Api {
        table: FnTable {
            init_ex: counted_init,
            exit: counted_exit,
            ..VDDK
        },
        major: Some(8),
    };
    const THREADS: usize = 8;
    let barrier = Barrier::new(THREADS);
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..20 {
                    barrier.wait();
                    let library = Library::builder(Backend::Embedded).start(&API, None);
                    match &library {
                        Ok(library) => {
                            started.fetch_add(1, Ordering::SeqCst);
                            library.connect_local().expect("usable");
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Initialization),
                    }
                }
            });
        }
    });
    assert!(started.load(Ordering::SeqCst) >= 20, "one in each round");
    assert_eq!(INSIDE.load(Ordering::SeqCst), 0);
}
