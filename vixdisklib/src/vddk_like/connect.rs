//! What reaches the library of parameters, and what is taken from it, with and without `AllocateConnectParams`.

mod recording;

use std::ffi::c_char;
use std::ptr;

use parking_lot::Mutex;
use vixdisklib_sys::{
    FnTable, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCredType, VixError,
};

use super::start;
use crate::api::Api;
use crate::connection::{ConnectOptions, OpenFlags};
use crate::error::{ErrorKind, Operation};
use crate::library::Library;
use crate::params::{ConnectParams, Credentials, Server, Spec};
use crate::secret::Secret;
use crate::transport::{Transport, TransportModes};

use recording::{
    COPIES, COPY_LEFT, FREED, RECORDING, SEEN, Seen, TURN, free_connect_params, get_connect_params,
    text,
};

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).expect("no NUL")
}

fn password() -> Credentials {
    Credentials::Password {
        user: "backup".to_owned(),
        password: secret("swordfish-1"),
    }
}

fn session() -> Credentials {
    Credentials::Session {
        cookie: secret("cookie-1"),
        user: "backup".to_owned(),
        key: secret("key-1"),
    }
}

fn server(credentials: Credentials) -> Server {
    let print = ["0f"; 20].join(":");
    Server::builder("vc.example.com")
        .credentials(credentials)
        .thumbprint(print)
        .port(8443)
        .nfc_port(8902)
        .build()
        .expect("complete")
}

fn fcd(snapshot: Option<&str>) -> Spec {
    Spec::Fcd {
        id: "fcd-1".to_owned(),
        datastore: "datastore-11".to_owned(),
        snapshot: snapshot.map(str::to_owned),
    }
}

fn vm() -> Spec {
    Spec::Vm {
        moref: "vm-16".to_owned(),
    }
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

/// Connects, and says what the library saw.
fn seen(library: &Library, params: ConnectParams, options: &ConnectOptions) -> Seen {
    SEEN.lock().clear();
    drop(library.connect(params, options).expect("connects"));
    let seen = SEEN.lock().pop().expect("one call");
    assert!(SEEN.lock().is_empty());
    seen
}

fn seen_of(library: &Library, spec: Spec, credentials: Credentials) -> Seen {
    let params = ConnectParams::on(&server(credentials), spec).expect("legal");
    seen(library, params, &ConnectOptions::new())
}

/// What is the same whatever the spec.
fn remote(credentials: (u32, Vec<Option<String>>)) -> Seen {
    Seen {
        server: Some("vc.example.com".to_owned()),
        thumbprint: Some(["0f"; 20].join(":")),
        credentials,
        ports: (8443, 8902),
        ..Seen::default()
    }
}

#[test]
fn each_spec_and_each_kind_of_credentials_reaches_the_library() {
    static LONG: Api = Api {
        table: RECORDING,
        major: Some(8),
    };
    static SHORT: Api = Api {
        table: FnTable {
            allocate_connect_params: None,
            ..RECORDING
        },
        major: Some(6),
    };
    let _turn = TURN.lock();
    let by_password = || remote((1, some(&["backup", "swordfish-1"])));
    for api in [&LONG, &SHORT] {
        FREED.lock().clear();
        let library = start(api);
        let local = seen(&library, ConnectParams::local(), &ConnectOptions::new());
        assert_eq!(local, Seen::default());
        assert_eq!(
            seen_of(&library, vm(), password()),
            Seen {
                vmx: Some("moref=vm-16".to_owned()),
                ..by_password()
            }
        );
        let old = Spec::Vmx {
            path: "web/web.vmx".to_owned(),
            datacenter: "Europe/Berlin".to_owned(),
            datastore: "ssd 1".to_owned(),
        };
        assert_eq!(
            seen_of(&library, old, session()),
            Seen {
                vmx: Some("web/web.vmx?dcPath=Europe/Berlin&dsName=ssd 1".to_owned()),
                ..remote((2, some(&["cookie-1", "backup", "key-1"])))
            }
        );
        assert_eq!(
            seen_of(&library, vm(), Credentials::Sspi),
            Seen {
                vmx: Some("moref=vm-16".to_owned()),
                ..remote((4, some(&["__sspi__", ""])))
            }
        );
        // Those that the library allocated, and no others, go back to it.
        let theirs = if ptr::eq(api, &raw const LONG) { 4 } else { 0 };
        assert_eq!(FREED.lock().len(), theirs);
    }

    let library = start(&LONG);
    let object = |snapshot: Option<&str>| {
        let mut texts = some(&["fcd-1", "datastore-11"]);
        texts.push(snapshot.map(str::to_owned));
        Seen {
            spec: (1, texts),
            ..by_password()
        }
    };
    assert_eq!(seen_of(&library, fcd(None), password()), object(None));
    assert_eq!(
        seen_of(&library, fcd(Some("snap-1")), password()),
        object(Some("snap-1"))
    );
    assert_eq!(
        seen_of(&library, datastore(), password()),
        Seen {
            spec: (2, some(&["datastore-11", "web"])),
            ..by_password()
        }
    );
    drop(library);

    let library = start(&SHORT);
    for spec in [fcd(None), datastore()] {
        let params = ConnectParams::on(&server(password()), spec).expect("legal");
        let error = library
            .connect(params, &ConnectOptions::new())
            .expect_err("no room for it");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None));
    }
}

fn datastore() -> Spec {
    Spec::Datastore {
        datastore: "datastore-11".to_owned(),
        folder: "web".to_owned(),
    }
}

#[test]
fn a_datastore_is_named_to_vddk_8_only() {
    static SEVEN: Api = Api {
        table: RECORDING,
        major: Some(7),
    };
    static UNKNOWN: Api = Api {
        table: RECORDING,
        major: None,
    };
    let _turn = TURN.lock();
    let params = || ConnectParams::on(&server(password()), datastore()).expect("legal");
    let library = start(&SEVEN);
    let error = library
        .connect(params(), &ConnectOptions::new())
        .expect_err("too old");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None));
    let library = start(&UNKNOWN);
    let connected = library.connect(params(), &ConnectOptions::new());
    connected.expect("it is not known to be too old");
}

#[test]
fn options_reach_the_library() {
    static API: Api = Api {
        table: RECORDING,
        major: Some(8),
    };
    let _turn = TURN.lock();
    let library = start(&API);
    let options = ConnectOptions::new()
        .read_only(true)
        .snapshot("snapshot-27")
        .transport_modes([Transport::HOTADD, Transport::NBDSSL]);
    let params = ConnectParams::on(&server(password()), vm()).expect("legal");
    let seen_whole = seen(&library, params.clone(), &options);
    assert!(seen_whole.read_only);
    assert_eq!(seen_whole.snapshot.as_deref(), Some("snapshot-27"));
    assert_eq!(seen_whole.modes.as_deref(), Some("hotadd:nbdssl"));
    // No transport is the library's own order, not an empty one.
    let none = ConnectOptions::new().transport_modes(TransportModes::default());
    assert_eq!(seen(&library, params.clone(), &none).modes, None);

    let refused = |params: &ConnectParams, options: &ConnectOptions| {
        let error = library
            .connect(params.clone(), options)
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    };
    refused(&params, &ConnectOptions::new().snapshot(""));
    refused(&params, &ConnectOptions::new().snapshot("a\0b"));
    refused(&ConnectParams::local(), &options);
    let disk = ConnectParams::on(&server(password()), fcd(None)).expect("legal");
    refused(&disk, &options);
}

#[test]
fn a_first_class_disk_is_opened_by_its_id() {
    static OPENED: Mutex<Vec<Option<String>>> = Mutex::new(Vec::new());
    unsafe extern "C" fn open(
        _: VixDiskLibConnection,
        path: *const c_char,
        _: u32,
        handle: *mut vixdisklib_sys::VixDiskLibHandle,
    ) -> VixError {
        // SAFETY: null or a C string.
        OPENED.lock().push(unsafe { text(path) });
        // SAFETY: writable.
        unsafe { handle.write(ptr::null_mut()) };
        VixError::FILE_NOT_FOUND
    }
    static API: Api = Api {
        table: FnTable { open, ..RECORDING },
        major: Some(8),
    };
    let _turn = TURN.lock();
    let library = start(&API);
    let connect = |spec| {
        let params = ConnectParams::on(&server(password()), spec).expect("legal");
        library
            .connect(params, &ConnectOptions::new())
            .expect("connects")
    };
    let error = connect(fcd(None))
        .open_fcd(OpenFlags::READ_ONLY)
        .expect_err("no such disk");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = connect(vm())
        .open_fcd(OpenFlags::READ_ONLY)
        .expect_err("a virtual machine");
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::InvalidArgument, Operation::Open)
    );
    assert_eq!(*OPENED.lock(), [Some("fcd-1".to_owned())]);
}

#[test]
fn what_the_library_reports_is_read_and_its_secrets_are_wiped() {
    static WIPED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    /// Gives a copy out, and remembers it.
    unsafe extern "C" fn get(
        connection: VixDiskLibConnection,
        copy: *mut *mut VixDiskLibConnectParams,
    ) -> VixError {
        // SAFETY: passed on.
        let code = unsafe { get_connect_params(connection, copy) };
        // SAFETY: written above.
        COPY_LEFT.lock().push(unsafe { *copy }.addr());
        code
    }
    /// Looks at what is left of the secrets of a copy.
    unsafe extern "C" fn free(params: *mut VixDiskLibConnectParams) {
        if COPY_LEFT.lock().contains(&params.addr()) {
            // SAFETY: a copy of ours.
            let raw = unsafe { *params };
            // SAFETY: all members are pointers.
            let session = unsafe { raw.creds.sessionId };
            let secrets = match raw.credType {
                VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID => {
                    vec![(session.cookie, 8), (session.key, 5)]
                }
                VixDiskLibCredType::VIXDISKLIB_CRED_UID => vec![(session.userName, 11)],
                _ => vec![],
            };
            for (text, length) in secrets {
                // SAFETY: as long as the secrets of this test, and its NUL.
                let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length + 1) };
                WIPED.lock().push(bytes.to_vec());
            }
        }
        // SAFETY: passed on.
        unsafe { free_connect_params(params) };
        COPY_LEFT.lock().retain(|copy| *copy != params.addr());
    }
    static LONG: Api = Api {
        table: FnTable {
            get_connect_params: Some(get),
            free_connect_params: free,
            ..RECORDING
        },
        major: Some(8),
    };
    static SHORT: Api = Api {
        table: FnTable {
            allocate_connect_params: None,
            ..LONG.table
        },
        major: Some(6),
    };
    static WITHOUT: Api = Api {
        table: FnTable {
            get_connect_params: None,
            ..RECORDING
        },
        major: Some(6),
    };
    let _turn = TURN.lock();
    let report = |library: &Library, spec: Spec, credentials| {
        let params = ConnectParams::on(&server(credentials), spec).expect("legal");
        let connection = library.connect(params, &ConnectOptions::new());
        connection.expect("connects").connect_params()
    };
    for api in [&LONG, &SHORT] {
        let library = start(api);
        WIPED.lock().clear();
        let reported = report(&library, vm(), session()).expect("reported");
        assert_eq!(reported.spec, Some(vm()));
        assert_eq!(reported.server.as_deref(), Some("vc.example.com"));
        assert_eq!(reported.thumbprint, Some(["0f"; 20].join(":")));
        assert_eq!((reported.port, reported.nfc_port), (Some(8443), Some(8902)));
        assert!(!format!("{reported:?}").contains("cookie-1"));
        let Some(Credentials::Session { cookie, user, key }) = reported.credentials else {
            panic!("a session");
        };
        assert_eq!(cookie.expose(), c"cookie-1");
        assert_eq!(user, "backup");
        assert_eq!(key.expose(), c"key-1");
        let reported = report(&library, vm(), password()).expect("reported");
        let Some(Credentials::Password { user, password }) = reported.credentials else {
            panic!("a password");
        };
        assert_eq!(
            (user.as_str(), password.expose()),
            ("backup", c"swordfish-1")
        );
        assert_eq!(*WIPED.lock(), [vec![0; 9], vec![0; 6], vec![0; 12]]);
        assert!(
            COPY_LEFT.lock().is_empty() && COPIES.lock().is_empty(),
            "freed"
        );
    }
    let library = start(&LONG);
    let reported = report(&library, fcd(Some("snap-1")), Credentials::Sspi).expect("reported");
    assert_eq!(reported.spec, Some(fcd(Some("snap-1"))));
    assert!(matches!(reported.credentials, Some(Credentials::Sspi)));
    // Its number is only known from release notes, so nothing is read there.
    let reported = report(&library, datastore(), password()).expect("reported");
    assert_eq!(reported.spec, None);
    let error = report(&start(&WITHOUT), vm(), password()).expect_err("no such call");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
