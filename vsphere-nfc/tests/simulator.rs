//! Logins and what they are good for, against the simulator of this project.

use std::sync::Arc;

use disk_units::{ByteLen, SectorCount};
use vsphere_nfc::{
    Access, ApiType, ConnectOptions, Credentials, Dial, DiskDialer, DiskPlace, Error, ErrorKind,
    FcdSpec, Host, ManagedObject, Secret, SnapshotOptions, Transport, TrustedCertificate, VmSpec,
};
use vsphere_sim::{Event, Inventory, Plan, Profile, Simulator};

/// A simulator with its demonstration, which ends with this.
struct Site {
    simulator: Simulator,
    inventory: Inventory,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new(profile: Profile) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let inventory = Inventory::demo(folder.path(), profile).expect("disks");
        let simulator = Simulator::builder(inventory.clone())
            .start()
            .expect("it starts");
        Self {
            simulator,
            inventory,
            _folder: folder,
        }
    }

    fn options_of(&self, credentials: Credentials) -> ConnectOptions {
        let thumbprint = self
            .simulator
            .thumbprint_sha1()
            .parse()
            .expect("a thumbprint");
        ConnectOptions::new("127.0.0.1", credentials)
            .port(self.simulator.address().port())
            .trusted(TrustedCertificate::Thumbprint(thumbprint))
    }

    fn options(&self) -> ConnectOptions {
        let user = &self.inventory.users[0];
        self.options_of(Credentials::Password {
            user: user.name.clone(),
            password: Secret::new(user.password.reveal().to_owned()),
        })
    }

    fn login(&self) -> Host {
        Host::connect(self.options()).expect("a login")
    }

    fn vm(&self, name: &str) -> ManagedObject {
        let mut vms = self.inventory.vms.iter();
        ManagedObject::vm(&vms.find(|vm| vm.name == name).expect(name).moref)
    }

    fn inject(&self, plan: &str) {
        self.simulator.inject(plan.parse::<Plan>().expect(plan));
    }

    fn calls(&self, name: &str) -> usize {
        let called =
            |event: &Event| matches!(event, Event::Called { method, .. } if method == name);
        self.simulator.transcript().count(called)
    }
}

const PROFILES: [(Profile, ApiType); 3] = [
    (Profile::Esxi8Vcenter, ApiType::VirtualCenter),
    (Profile::Esxi8Direct, ApiType::HostAgent),
    (Profile::Esxi7Direct, ApiType::HostAgent),
];

#[test]
fn every_profile_lets_in_and_shows_its_machines() {
    for (profile, api_type) in PROFILES {
        let site = Site::new(profile);
        let host = site.login();
        assert_eq!(host.api_type(), api_type);
        host.keep_alive().expect("alive");
        let web = &site.inventory.vms[0];
        for spec in [
            VmSpec::Uuid(web.uuid.clone()),
            VmSpec::InstanceUuid(web.instance_uuid.clone()),
            VmSpec::Moref(web.moref.clone()),
        ] {
            assert_eq!(host.vm(&spec).expect("found"), site.vm("web"), "{spec:?}");
        }
        let none = VmSpec::Uuid("00000000-0000-0000-0000-000000000001".to_owned());
        assert_eq!(
            host.vm(&none).expect_err("none").kind(),
            ErrorKind::VmNotFound
        );

        let disks = host.disks(&site.vm("web")).expect("disks");
        let seen: Vec<_> = disks
            .iter()
            .map(|disk| (disk.key, disk.files.join(" ")))
            .collect();
        assert_eq!(
            seen,
            [
                (
                    2000,
                    "[datastore1] web/web-000001.vmdk [datastore1] web/web.vmdk".to_owned()
                ),
                (
                    2001,
                    "[datastore1] web/web_1-000001.vmdk [datastore1] web/web_1.vmdk".to_owned()
                ),
            ]
        );
        let capacity = SectorCount::new(16 * 2048 + 8).bytes();
        assert!(
            disks.iter().all(|disk| Some(disk.capacity) == capacity),
            "{disks:?}"
        );
        let key = host.disk_key(&site.vm("web"), "[datastore1] web/web_1.vmdk");
        assert_eq!(key.expect("a parent"), 2001);
        let error = host
            .disk_key(&site.vm("db"), "[datastore1] web/web.vmdk")
            .expect_err("not its");
        assert_eq!(error.kind(), ErrorKind::FileNotFound);
        host.close().expect("logged out");
    }
}

#[test]
fn wrong_passwords_and_certificates_are_told() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let credentials = Credentials::Password {
        user: site.inventory.users[0].name.clone(),
        password: Secret::new("wrong".to_owned()),
    };
    let error = Host::connect(site.options_of(credentials)).expect_err("a wrong password");
    assert_eq!(
        (error.kind(), error.fault()),
        (ErrorKind::LoginFailed, Some("InvalidLogin"))
    );
    site.inject("management-certificate");
    let logins = site.calls("Login");
    let error = Host::connect(site.options()).expect_err("another certificate");
    assert_eq!(error.kind(), ErrorKind::Certificate);
    assert_eq!(site.calls("Login"), logins);
}

#[test]
fn an_expired_login_is_renewed() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let host = site.login();
    site.simulator.expire_sessions();
    host.disks(&site.vm("web")).expect("renewed");
    assert_eq!(site.calls("Login"), 2);
    site.inject("session-expired=times:1");
    host.ticket(&site.vm("web"), "", Access::ReadOnly)
        .expect("renewed");
    assert_eq!(site.calls("Login"), 3);
    host.close().expect("logged out");
}

#[test]
fn a_clone_ticket_lets_in() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let host = site.login();
    let ticket = host.clone_ticket().expect("a ticket");
    let options = site.options_of(Credentials::CloneTicket(ticket));
    let clone = Host::connect(options).expect("a login");
    clone.keep_alive().expect("alive");
    assert!(clone.is_active().expect("an answer"));
    let unknown = Credentials::CloneTicket(Secret::new("unknown".to_owned()));
    let error = Host::connect(site.options_of(unknown)).expect_err("no ticket");
    assert_eq!(error.kind(), ErrorKind::LoginFailed);
}

#[test]
fn tickets_are_given_and_refused() {
    for (profile, _) in PROFILES {
        let site = Site::new(profile);
        let host = site.login();
        let web = site.vm("web");
        let path = "[datastore1] web/web.vmdk";
        for access in [Access::ReadOnly, Access::ReadOnlyDisk, Access::Writable] {
            let ticket = host.ticket(&web, path, access).expect("a ticket");
            assert_eq!(ticket.port(), site.simulator.nfc_port());
            let service = if profile.is_vcenter() {
                "vpxa-nfc"
            } else {
                "nfc"
            };
            assert_eq!(ticket.service(), service);
        }
        let nobody = ManagedObject::vm(if profile.is_vcenter() {
            "vm-999"
        } else {
            "999"
        });
        for access in [Access::ReadOnly, Access::Writable] {
            let error = host.ticket(&nobody, path, access).expect_err("no machine");
            assert_eq!(error.kind(), ErrorKind::VmNotFound, "{error}");
        }
        for (plan, kind) in [
            (
                "soap-fault=method:NfcGetVmFiles,type:NoPermission",
                ErrorKind::PermissionDenied,
            ),
            ("maintenance=state:in", ErrorKind::HostInMaintenance),
            (
                "maintenance=state:entering",
                ErrorKind::HostEnteringMaintenance,
            ),
            ("host-disconnected", ErrorKind::HostNotConnected),
            ("unknown-vm", ErrorKind::VmNotFound),
            ("http-error=status:503", ErrorKind::CannotConnect),
        ] {
            site.inject(plan);
            let error = host.ticket(&web, path, Access::ReadOnly).expect_err(plan);
            assert_eq!(error.kind(), kind, "{plan}: {error:?}");
            site.simulator.clear(None);
            host.ticket(&web, path, Access::ReadOnly)
                .expect("it is over");
        }
    }
}

#[test]
fn snapshots_and_changes() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let host = site.login();
    let web = site.vm("web");
    let snapshot = host
        .create_snapshot(&web, &SnapshotOptions::new("nightly <2>"))
        .expect("a snapshot");
    let before = host.disks(&snapshot).expect("its disks");
    let now = host.disks(&web).expect("disks");
    assert_eq!(before[0].files[0], "[datastore1] web/web-000001.vmdk");
    assert_eq!(now[0].files[1..], before[0].files);
    let mut start = ByteLen::new(0);
    let mut pieces = 0;
    while start < before[0].capacity {
        let changed = host
            .changed_areas(&web, Some(&snapshot), 2000, start, "*")
            .expect("areas");
        assert!(!changed.covered.is_empty());
        pieces += changed.areas.len();
        start = changed.covered.end().byte_offset().expect("a disk");
    }
    assert!(pieces > 0, "something is in use");
    let error = host.changed_areas(&web, Some(&snapshot), 2000, ByteLen::new(0), "nonsense");
    assert_eq!(error.expect_err("no id").kind(), ErrorKind::InvalidArgument);
    host.remove_snapshot(&snapshot).expect("removed");
    let error = host.remove_snapshot(&snapshot).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::ObjectNotFound);
}

#[test]
fn access_is_prepared_at_vcenters_only() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let host = site.login();
    let web = site.vm("web");
    host.prepare_access(&web, "one").expect("prepared");
    let error = host
        .prepare_access(&web, "one")
        .expect_err("prepared already");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    host.end_access(&web, "one").expect("ended");
    host.prepare_access(&web, "two").expect("prepared");
    host.end_access(&web, "two").expect("ended");

    let site = Site::new(Profile::Esxi8Direct);
    let error = site
        .login()
        .prepare_access(&site.vm("web"), "one")
        .expect_err("no vCenter");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn first_class_disks_are_found_with_their_machine() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let host = site.login();
    let fcd = &site.inventory.fcds[0];
    let mut spec = FcdSpec {
        id: fcd.id.clone(),
        datastore: site.inventory.datastores[0].moref.clone(),
        snapshot: None,
    };
    let found = host.fcd(&spec).expect("found");
    assert_eq!(found.path, "[datastore1] fcd/volume-000001.vmdk");
    assert_eq!(found.vm, Some(site.vm("db")));
    assert_eq!(
        host.fcd_snapshots(&spec).expect("snapshots"),
        [fcd.snapshots[0].id.clone()]
    );
    spec.snapshot = Some(fcd.snapshots[0].id.clone());
    assert_eq!(
        host.fcd(&spec).expect("found").path,
        "[datastore1] fcd/volume.vmdk"
    );
    spec.id = "00000000-0000-0000-0000-000000000001".to_owned();
    assert_eq!(
        host.fcd(&spec).expect_err("none").kind(),
        ErrorKind::ObjectNotFound
    );
}

fn dial(site: &Site, host: &Arc<Host>, transport: Transport) -> Result<(), Error> {
    let place = DiskPlace {
        vm: site.vm("web"),
        path: "[datastore1] web/web.vmdk".to_owned(),
        access: Access::ReadOnly,
        transport,
    };
    DiskDialer::new(Arc::clone(host), place).dial().map(drop)
}

#[test]
fn the_way_into_a_host() {
    for (profile, _) in PROFILES {
        let site = Site::new(profile);
        let host = Arc::new(site.login());
        for transport in [Transport::Nbd, Transport::NbdSsl] {
            dial(&site, &host, transport).expect("a connection");
        }
        for (plan, transport, kind, tickets) in [
            (
                "ticket-thumbprint",
                Transport::NbdSsl,
                Some(ErrorKind::Certificate),
                1,
            ),
            (
                "announced-sha256",
                Transport::Nbd,
                Some(ErrorKind::Certificate),
                1,
            ),
            (
                "second-certificate",
                Transport::NbdSsl,
                Some(ErrorKind::Certificate),
                1,
            ),
            ("second-certificate", Transport::Nbd, None, 1),
            (
                "ticket-refused=how:line",
                Transport::Nbd,
                Some(ErrorKind::TicketRejected),
                2,
            ),
            (
                "ticket-refused=how:close",
                Transport::Nbd,
                Some(ErrorKind::ConnectionLost),
                2,
            ),
            (
                "ticket-refused=how:line,times:1",
                Transport::NbdSsl,
                None,
                2,
            ),
            (
                "ticket-refused=how:close,times:1",
                Transport::NbdSsl,
                None,
                2,
            ),
            ("greeting=without:sha256", Transport::NbdSsl, None, 1),
            (
                "greeting=without:nfcssl",
                Transport::NbdSsl,
                Some(ErrorKind::Unsupported),
                1,
            ),
            ("greeting=without:nfcssl", Transport::Nbd, None, 1),
            (
                "proxy-refused",
                Transport::NbdSsl,
                Some(ErrorKind::Protocol),
                1,
            ),
        ] {
            let before = site.calls("NfcGetVmFiles");
            site.inject(plan);
            let result = dial(&site, &host, transport);
            site.simulator.clear(None);
            assert_eq!(
                result.as_ref().err().map(Error::kind),
                kind,
                "{plan}: {result:?}"
            );
            assert_eq!(site.calls("NfcGetVmFiles") - before, tickets, "{plan}");
        }
        // What was in the way is gone.
        dial(&site, &host, Transport::NbdSsl).expect("a connection");
    }
}
