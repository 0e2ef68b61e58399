//! What reaches the library of parameters, and what is taken from it, with and without `AllocateConnectParams`.

use std::ffi::{CStr, c_char};
use std::ptr;

use parking_lot::Mutex;
use vixdisklib_sys::{
    Bool, FnTable, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCredType,
    VixDiskLibSpecType, VixError,
};

use super::{VDDK, start};
use crate::api::Api;
use crate::connection::{ConnectOptions, OpenFlags};
use crate::error::{ErrorKind, Operation};
use crate::library::Library;
use crate::params::{ConnectParams, Credentials, Server, Spec};
use crate::secret::Secret;
use crate::transport::{Transport, TransportModes};

/// One call with parameters, as the library saw it.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    vmx: Option<String>,
    server: Option<String>,
    thumbprint: Option<String>,
    credentials: (u32, Vec<Option<String>>),
    ports: (u32, u32),
    spec: (u32, Vec<Option<String>>),
    read_only: bool,
    snapshot: Option<String>,
    modes: Option<String>,
}

/// Tests that share the fake run one after the other.
static TURN: Mutex<()> = Mutex::new(());
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());
static FREED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string, as the library takes them.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_str().expect("UTF-8").to_owned())
}

unsafe fn see(params: *const VixDiskLibConnectParams) -> Seen {
    // SAFETY: complete parameters.
    let raw = unsafe { *params };
    // SAFETY: all members are pointers, whatever their values.
    let session = unsafe { raw.creds.sessionId };
    let credentials = match raw.credType {
        VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID => {
            vec![session.cookie, session.userName, session.key]
        }
        VixDiskLibCredType(0) => vec![],
        // The two pointers of the shorter member lie where these do.
        _ => vec![session.cookie, session.userName],
    };
    // SAFETY: as above.
    let object = unsafe { raw.spec.vStorageObjSpec };
    let spec = match raw.specType {
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX => vec![],
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT => {
            vec![object.id, object.datastoreMoRef, object.ssId]
        }
        _ => vec![object.id, object.datastoreMoRef],
    };
    // SAFETY: null or C strings.
    let texts =
        |texts: Vec<*mut c_char>| texts.into_iter().map(|raw| unsafe { text(raw) }).collect();
    Seen {
        // SAFETY: null or a C string.
        vmx: unsafe { text(raw.vmxSpec) },
        // SAFETY: null or a C string.
        server: unsafe { text(raw.serverName) },
        // SAFETY: null or a C string.
        thumbprint: unsafe { text(raw.thumbPrint) },
        credentials: (raw.credType.0, texts(credentials)),
        ports: (raw.port, raw.nfcHostPort),
        spec: (raw.specType.0, texts(spec)),
        ..Seen::default()
    }
}

unsafe extern "C" fn connect_ex(
    params: *const VixDiskLibConnectParams,
    read_only: Bool,
    snapshot: *const c_char,
    modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    let seen = Seen {
        read_only: read_only != 0,
        // SAFETY: null or a C string.
        snapshot: unsafe { text(snapshot) },
        // SAFETY: null or a C string.
        modes: unsafe { text(modes) },
        // SAFETY: passed on.
        ..unsafe { see(params) }
    };
    SEEN.lock().push(seen);
    // The parameters themselves are the connection, for `get_connect_params`.
    // SAFETY: writable.
    unsafe { connection.write(params.cast_mut().cast()) };
    VixError::OK
}

unsafe extern "C" fn disconnect(_: VixDiskLibConnection) -> VixError {
    VixError::OK
}

unsafe extern "C" fn allocate() -> *mut VixDiskLibConnectParams {
    Box::into_raw(Box::default())
}

/// A deep copy, as VDDK gives it.
unsafe extern "C" fn get_connect_params(
    connection: VixDiskLibConnection,
    copy: *mut *mut VixDiskLibConnectParams,
) -> VixError {
    // SAFETY: what `connect_ex` gave out.
    let mut params = unsafe { *connection.cast::<VixDiskLibConnectParams>() };
    for text in strings(&mut params) {
        // SAFETY: not null, so a C string.
        let mut copy = unsafe { CStr::from_ptr(*text) }
            .to_bytes_with_nul()
            .to_vec();
        *text = copy.as_mut_ptr().cast();
        COPIES.lock().push(copy);
    }
    // SAFETY: writable.
    unsafe { copy.write(Box::into_raw(Box::new(params))) };
    VixError::OK
}

/// The strings of parameters that are set.
fn strings(params: &mut VixDiskLibConnectParams) -> Vec<&mut *mut c_char> {
    let mut strings = vec![
        &mut params.vmxSpec,
        &mut params.serverName,
        &mut params.thumbPrint,
    ];
    if params.credType != VixDiskLibCredType(0) {
        // SAFETY: all members are pointers, whatever their values; zero where a shorter one ends.
        let session = unsafe { &mut params.creds.sessionId };
        strings.extend([&mut session.cookie, &mut session.userName, &mut session.key]);
    }
    if params.specType != VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX {
        // SAFETY: as above.
        let object = unsafe { &mut params.spec.vStorageObjSpec };
        strings.extend([&mut object.id, &mut object.datastoreMoRef, &mut object.ssId]);
    }
    strings.retain(|text| !text.is_null());
    strings
}

/// Frees what `allocate` and `get_connect_params` gave; the secrets in a copy must have been wiped by then.
unsafe extern "C" fn free_connect_params(params: *mut VixDiskLibConnectParams) {
    FREED.lock().push(params.addr());
    // SAFETY: from `Box::into_raw`.
    let mut params = unsafe { Box::from_raw(params) };
    if COPY_LEFT.lock().contains(&ptr::from_ref(&*params).addr()) {
        COPIES.lock().retain(|copy| {
            let address = copy.as_ptr().addr();
            strings(&mut params)
                .iter()
                .all(|text| text.addr() != address)
        });
    }
}

/// The copies that are given out, and their strings.
static COPY_LEFT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static COPIES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

const RECORDING: FnTable = FnTable {
    connect_ex,
    disconnect,
    allocate_connect_params: Some(allocate),
    free_connect_params,
    get_connect_params: Some(get_connect_params),
    ..VDDK
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
