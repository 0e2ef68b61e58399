//! Connecting, and what stands in the way of it.

use std::ffi::CStr;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibCredType, VixDiskLibSpecType, VixError};
use vsphere_sim::Profile;

use crate::common::{READ_ONLY, close, disconnect, logged, ok};
use crate::site::{DB, Params, Site, WEB, open, text, transport};

#[test]
fn the_list_of_transports_names_those_that_there_are() {
    // SAFETY: needs nothing.
    let list = unsafe { TABLE.list_transport_modes.expect("there")() };
    // SAFETY: a string that lives as long as the library.
    assert_eq!(unsafe { CStr::from_ptr(list) }, c"file:nbdssl:nbd");
}

#[test]
fn a_login_lasts_from_connect_to_disconnect() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let connection = site.params("web").connect().expect("connected");
    assert_eq!((site.calls("Login"), site.calls("Logout")), (1, 0));
    let one = open(connection, WEB.as_ptr(), READ_ONLY).expect("opened");
    let two = open(connection, WEB.as_ptr(), READ_ONLY).expect("opened");
    assert_eq!(close(one), VixError::OK);
    // The server notices a little later.
    let deadline = Instant::now() + Duration::from_secs(30);
    while site.simulator.nfc_connections() > 1 {
        assert!(Instant::now() < deadline, "the first disk stays connected");
        thread::sleep(Duration::from_millis(5));
    }
    // The other one is left open.
    assert_eq!(disconnect(connection), VixError::OK);
    assert_eq!((site.calls("Login"), site.calls("Logout")), (1, 1));
    assert_eq!(close(two), VixError::INVALID_HANDLE);
}

#[test]
fn who_may_not_enter_is_told_why() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let params = site.params("web");
    let wrong = |change: fn(&mut Params)| {
        let mut params = params.clone();
        change(&mut params);
        params.try_open(WEB)
    };
    assert_eq!(
        wrong(|params| params.password = c"sesam-4711".to_owned()),
        Err(VixError::HOST_USER_PERMISSIONS)
    );
    assert_eq!(
        logged(&["VixDiskLib_ConnectEx", "incorrect user name or password"]).len(),
        1
    );
    assert_eq!(site.calls("Login"), 1);
    let other = "0B:D2:87:D4:4C:4F:4D:3A:43:56:41:C1:25:77:A5:E9:A6:80:D2:45";
    assert_eq!(
        wrong(|params| params.thumbprint =
            Some(c"0B:D2:87:D4:4C:4F:4D:3A:43:56:41:C1:25:77:A5:E9:A6:80:D2:45".to_owned())),
        Err(VixError::CANNOT_CONNECT_TO_HOST)
    );
    assert_eq!(site.calls("Login"), 1, "nothing secret was sent");
    let actual = site.simulator.thumbprint_sha1();
    assert_eq!(logged(&["thumbprint", other, &actual]).len(), 1);
    // Nobody has signed the simulator's certificate.
    assert_eq!(
        wrong(|params| params.thumbprint = None),
        Err(VixError::CANNOT_CONNECT_TO_HOST)
    );
    for (field, code, change) in [
        (
            "thumbPrint",
            VixError::INVALID_ARG,
            (|params| params.thumbprint = Some(c"12:34".to_owned())) as fn(&mut Params),
        ),
        ("serverName is missing", VixError::INVALID_ARG, |params| {
            params.server = c"".to_owned()
        }),
        ("vmxSpec is missing", VixError::INVALID_ARG, |params| {
            params.vm = None
        }),
        ("vm-16-x", VixError::INVALID_ARG, |params| {
            params.vm = Some(c"vm-16-x".to_owned())
        }),
        ("userName is missing", VixError::INVALID_ARG, |params| {
            params.user = c"".to_owned()
        }),
        ("password is missing", VixError::INVALID_ARG, |params| {
            params.password = c"".to_owned()
        }),
        ("port 70000", VixError::INVALID_ARG, |params| {
            params.port = 70_000
        }),
        ("nfcHostPort 70001", VixError::INVALID_ARG, |params| {
            params.nfc_port = 70_001
        }),
        ("credType", VixError::INVALID_ARG, |params| {
            params.cred_type = VixDiskLibCredType(0)
        }),
        ("credentials of kind 3", VixError::NOT_SUPPORTED, |params| {
            params.cred_type = VixDiskLibCredType::VIXDISKLIB_CRED_TICKETID
        }),
        ("SSPI", VixError::NOT_SUPPORTED, |params| {
            params.cred_type = VixDiskLibCredType::VIXDISKLIB_CRED_SSPI
        }),
        ("(SSPI)", VixError::NOT_SUPPORTED, |params| {
            params.user = c"__sspi__".to_owned()
        }),
        ("specType", VixError::NOT_SUPPORTED, |params| {
            params.spec_type = VixDiskLibSpecType(2)
        }),
    ] {
        assert_eq!(wrong(change), Err(code), "{field}");
        assert!(
            !logged(&["VixDiskLib_ConnectEx", field]).is_empty(),
            "{field}"
        );
    }
    assert_eq!(
        wrong(|params| params.port = 1),
        Err(VixError::HOST_NETWORK_CONN_REFUSED)
    );
    assert_eq!(
        wrong(|params| params.server = c"no-such-server.invalid".to_owned()),
        Err(VixError::HOST_SERVER_NOT_FOUND)
    );
    assert_eq!(site.calls("Login"), 1);
    for secret in ["sesam-4711", site.inventory.users[0].password.reveal()] {
        assert_eq!(logged(&[secret]), []);
    }
}

#[test]
fn a_thumbprint_may_be_of_either_kind() {
    let site = Site::new(Profile::Esxi8Direct);
    let params = Params {
        thumbprint: Some(text(
            &site
                .simulator
                .thumbprint_sha256()
                .replace(':', "")
                .to_lowercase(),
        )),
        ..site.params("web")
    };
    assert_eq!(params.try_open(WEB), Ok(()));
}

#[test]
fn the_port_of_hosts_may_be_told() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let with = |port: u32| Params {
        nfc_port: port,
        ..site.params("web")
    };
    assert_eq!(
        with(1).try_open(WEB),
        Err(VixError::HOST_NETWORK_CONN_REFUSED)
    );
    assert_eq!(with(site.simulator.nfc_port().into()).try_open(WEB), Ok(()));
}

#[test]
fn transports_are_tried_in_the_callers_order() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let params = site.params("web");
    for (list, chosen) in [
        (None, c"nbdssl"),
        (Some(c""), c"nbdssl"),
        (Some(c"nbd"), c"nbd"),
        (Some(c"nbd:nbdssl"), c"nbd"),
        (Some(c"san:hotadd:nbdssl:nbd"), c"nbdssl"),
    ] {
        let connection = params
            .connect_ex(true, None, list)
            .expect("names are not checked");
        let disk = open(connection, WEB.as_ptr(), READ_ONLY).expect("opened");
        assert_eq!(transport(disk), chosen, "{list:?}");
        assert_eq!(close(disk), VixError::OK);
        assert_eq!(disconnect(connection), VixError::OK);
    }
    let connection = params
        .connect_ex(true, None, Some(c"san:hotadd:rdma"))
        .expect("not checked");
    assert_eq!(
        open(connection, WEB.as_ptr(), READ_ONLY),
        Err(VixError::NOT_SUPPORTED)
    );
    assert_eq!(
        logged(&["VixDiskLib_Open", "no transport modes available", "rdma"]).len(),
        1
    );
    assert_eq!(disconnect(connection), VixError::OK);

    // A host without encryption is not given data in clear text unless the caller allows it.
    site.inject("greeting=without:nfcssl");
    assert!(params.try_open(WEB).is_err());
    let connection = params
        .connect_ex(true, None, Some(c"nbdssl:nbd"))
        .expect("connected");
    let disk = open(connection, WEB.as_ptr(), READ_ONLY).expect("the next one");
    assert_eq!(transport(disk), c"nbd");
    assert_eq!(disconnect(connection), VixError::OK);
    for words in [
        ["VixDiskLib_Open", "nbd is tried instead"],
        ["web.vmdk", "clear text"],
    ] {
        assert!(!logged(&words).is_empty(), "{words:?}");
    }
}

#[test]
fn what_is_not_there_has_its_code() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let params = site.params("web");
    let connection = params.connect().expect("connected");
    for (path, code) in [
        (c"[datastore1] web/none.vmdk", VixError::FILE_NOT_FOUND),
        (DB, VixError::FILE_ACCESS_ERROR),
        (
            c"[datastore1] web/web-000001.vmdk",
            VixError::FILE_ALREADY_LOCKED,
        ),
        (c"/tmp/web.vmdk", VixError::INVALID_ARG),
    ] {
        assert_eq!(
            open(connection, path.as_ptr(), READ_ONLY),
            Err(code),
            "{path:?}"
        );
    }
    assert_eq!(
        open(connection, ptr::null(), READ_ONLY),
        Err(VixError::INVALID_ARG)
    );
    assert_eq!(
        open(connection, c"[datastore1] \xFF.vmdk".as_ptr(), READ_ONLY),
        Err(VixError::INVALID_UTF8_STRING)
    );
    assert_eq!(disconnect(connection), VixError::OK);
    let nobody = Params {
        vm: Some(c"moref=vm-999".to_owned()),
        ..params.clone()
    };
    assert_eq!(nobody.try_open(WEB), Err(VixError::VM_NOT_FOUND));
    let connection = params
        .connect_ex(true, Some(c"snapshot-999"), None)
        .expect("not looked at yet");
    assert_eq!(
        open(connection, WEB.as_ptr(), READ_ONLY),
        Err(VixError::OBJECT_NOT_FOUND)
    );
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn access_is_prepared_and_ended_at_a_vcenter() {
    let prepare = TABLE.prepare_for_access.expect("there");
    let end = TABLE.end_access.expect("there");
    let site = Site::new(Profile::Esxi8Vcenter);
    let call =
        |function: unsafe extern "C" fn(_, _) -> VixError, params: &Params, identity: &CStr| {
            // SAFETY: parameters and a string of ours.
            params.with(|params| ok(unsafe { function(params, identity.as_ptr()) }))
        };
    for params in [site.params("web"), site.fcd(false)] {
        assert_eq!(call(prepare, &params, c"nightly"), Ok(()));
        assert_eq!(
            call(prepare, &params, c"nightly"),
            Err(VixError::OBJECT_IS_BUSY)
        );
        assert_eq!(call(end, &params, c"nightly"), Ok(()));
        assert_eq!(call(end, &params, c"nightly"), Ok(()), "it does no harm");
    }
    assert_eq!(
        call(prepare, &site.params("web"), c""),
        Err(VixError::INVALID_ARG)
    );
    assert_eq!(site.calls("Login"), site.calls("Logout"));

    let site = Site::new(Profile::Esxi8Direct);
    assert_eq!(
        call(prepare, &site.params("web"), c"nightly"),
        Err(VixError::NOT_SUPPORTED)
    );
    assert!(!logged(&["VixDiskLib_PrepareForAccess", "not a vCenter"]).is_empty());
}

#[test]
fn nothing_is_left_to_clean_up() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let cleanup = |params: &Params| {
        let (mut cleaned, mut remaining) = (7, 7);
        let code = params.with(|params| {
            let cleanup = TABLE.cleanup.expect("there");
            // SAFETY: parameters of ours, and outputs.
            unsafe { cleanup(params, &raw mut cleaned, &raw mut remaining) }
        });
        assert_eq!((cleaned, remaining), (0, 0));
        ok(code)
    };
    let params = site.params("web");
    assert_eq!(cleanup(&params), Err(VixError::INVALID_ARG));
    assert_eq!(cleanup(&Params { vm: None, ..params }), Ok(()));
}
