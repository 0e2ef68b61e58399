//! Our SOAP client against a simulator of others: vcsim, the one of govmomi.
//!
//! `VIXDISKLIB_TEST_VCSIM` names the program, which `cargo xtask peers` builds from `tests/vcsim`. vcsim 0.24 speaks API
//! 6.5, and knows neither tickets for disks nor the disabling of methods: those it must refuse, and we understand that.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use vsphere_nfc::{
    Access, ApiType, ConnectOptions, Credentials, ErrorKind, FcdSpec, Host, ManagedObject, Secret,
    SnapshotOptions, Thumbprint, TrustedCertificate, VmSpec,
};

const USER: &str = "dom\\user <&>";
const PASSWORD: &str = "p4ss & 'wörd\" <x>";

/// vcsim, as a process that ends with this.
struct Vcsim {
    process: Child,
    port: u16,
    thumbprint: Thumbprint,
}

impl Vcsim {
    /// None, and a loud word about it, where it was not built; a failure where nothing may be left out.
    fn start(model: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("VIXDISKLIB_TEST_VCSIM") else {
            let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!in_ci, "nothing may be left out when CI=true: vcsim");
            eprintln!("SKIPPED: vcsim is not here (VIXDISKLIB_TEST_VCSIM, cargo xtask peers)");
            return None;
        };
        let mut process = Command::new(program)
            .args([model, USER, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("vcsim starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let (port, thumbprint) = line.trim().split_once(' ').expect("two words");
        Some(Self {
            process,
            port: port.parse().expect("a port"),
            thumbprint: thumbprint.parse().expect("a thumbprint"),
        })
    }

    fn options(&self, credentials: Credentials) -> ConnectOptions {
        ConnectOptions::new("127.0.0.1", credentials)
            .port(self.port)
            .trusted(TrustedCertificate::Thumbprint(self.thumbprint))
    }

    fn login(&self) -> Host {
        Host::connect(self.options(password(PASSWORD))).expect("a login")
    }
}

impl Drop for Vcsim {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("it ends with its input");
    }
}

fn password(password: &str) -> Credentials {
    Credentials::Password {
        user: USER.to_owned(),
        password: Secret::new(password.to_owned()),
    }
}

#[test]
fn logins_by_password_and_clone_ticket() {
    let Some(vcsim) = Vcsim::start("vpx") else {
        return;
    };
    let host = vcsim.login();
    assert_eq!(host.api_type(), ApiType::VirtualCenter);
    assert_eq!(host.api_version(), "6.5");
    host.keep_alive().expect("alive");
    assert!(host.is_active().expect("an answer"));

    let ticket = host.clone_ticket().expect("a ticket");
    let second = Host::connect(vcsim.options(Credentials::CloneTicket(ticket))).expect("a login");
    second.keep_alive().expect("alive");
    second.close().expect("logged out");
    host.keep_alive().expect("still alive");
    host.close().expect("logged out");

    let wrong = Host::connect(vcsim.options(password("wrong"))).expect_err("a wrong password");
    assert_eq!(wrong.kind(), ErrorKind::LoginFailed);
    assert_eq!(wrong.fault(), Some("InvalidLogin"));
    let wrong = Credentials::CloneTicket(Secret::new("no-such-ticket".to_owned()));
    let wrong = Host::connect(vcsim.options(wrong)).expect_err("a wrong ticket");
    assert_eq!(wrong.kind(), ErrorKind::LoginFailed);
    let wrong = Credentials::SessionCookie(Secret::new("no-such-session".to_owned()));
    let wrong = Host::connect(vcsim.options(wrong)).expect_err("a wrong cookie");
    assert_eq!(wrong.kind(), ErrorKind::NotAuthenticated);

    let stranger = TrustedCertificate::Thumbprint(Thumbprint::sha1_of(b"another"));
    let options = vcsim.options(password(PASSWORD)).trusted(stranger);
    let error = Host::connect(options).expect_err("another certificate");
    assert_eq!(error.kind(), ErrorKind::Certificate);
}

#[test]
fn machines_and_disks_of_both_models() {
    for (model, path, datacenter) in [
        ("vpx", "DC0/vm/DC0_H0_VM0", "DC0"),
        ("esx", "ha-datacenter/vm/ha-host_VM0", "ha-datacenter"),
    ] {
        let Some(vcsim) = Vcsim::start(model) else {
            return;
        };
        let host = vcsim.login();
        let vm = host
            .vm(&VmSpec::InventoryPath(path.to_owned()))
            .expect("a machine");
        assert_eq!(vm.kind(), "VirtualMachine");
        let disks = host.disks(&vm).expect("disks");
        let [disk] = disks.as_slice() else {
            panic!("{disks:?}");
        };
        assert_eq!(disk.files.len(), 1, "{disk:?}");
        assert!(disk.files[0].ends_with("/disk1.vmdk"), "{disk:?}");
        assert!(
            disk.capacity.get() > 0 && !disk.label.is_empty(),
            "{disk:?}"
        );
        assert_eq!(host.disk_key(&vm, &disk.files[0]).expect("a key"), disk.key);
        let error = host.disk_key(&vm, "[x] y.vmdk").expect_err("no such disk");
        assert_eq!(error.kind(), ErrorKind::FileNotFound);

        let vmx = disk.files[0].replace("disk1.vmdk", &format!("{}.vmx", name(path)));
        let spec = VmSpec::DatastorePath {
            datacenter: datacenter.to_owned(),
            path: vmx,
        };
        match host.vm(&spec) {
            Ok(found) => assert_eq!(found, vm),
            // Older releases of vcsim cannot.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
        let error = host
            .vm(&VmSpec::InventoryPath("DC0/vm/none".to_owned()))
            .expect_err("none");
        assert_eq!(error.kind(), ErrorKind::VmNotFound);
        let error = host.vm(&VmSpec::Uuid(
            "00000000-0000-0000-0000-000000000000".to_owned(),
        ));
        assert_eq!(error.expect_err("none").kind(), ErrorKind::VmNotFound);
        let error = host.disks(&ManagedObject::vm("vm-none")).expect_err("none");
        assert_eq!(error.kind(), ErrorKind::VmNotFound);
        host.close().expect("logged out");
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().expect("a name")
}

#[test]
fn snapshots_are_made_and_removed() {
    let Some(vcsim) = Vcsim::start("vpx") else {
        return;
    };
    let host = vcsim.login();
    let path = VmSpec::InventoryPath("DC0/vm/DC0_H0_VM0".to_owned());
    let vm = host.vm(&path).expect("a machine");
    let options = SnapshotOptions::new("nightly <1> & \"more\"");
    let snapshot = host.create_snapshot(&vm, &options).expect("a snapshot");
    assert_eq!(snapshot.kind(), "VirtualMachineSnapshot");
    assert_eq!(host.disks(&snapshot).expect("its disks").len(), 1);
    host.track_changes(&vm).expect("tracked");
    host.remove_snapshot(&snapshot).expect("removed");
    let error = host.remove_snapshot(&snapshot).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::ObjectNotFound);
}

#[test]
fn what_it_does_not_know_is_refused_and_understood() {
    let Some(vcsim) = Vcsim::start("vpx") else {
        return;
    };
    let host = vcsim.login();
    let path = VmSpec::InventoryPath("DC0/vm/DC0_H0_VM0".to_owned());
    let vm = host.vm(&path).expect("a machine");
    let ticket = host
        .ticket(&vm, "[x] y.vmdk", Access::ReadOnly)
        .expect_err("no tickets");
    assert_eq!(ticket.kind(), ErrorKind::Unsupported, "{ticket:?}");
    let access = host.prepare_access(&vm, "me").expect_err("no disabling");
    assert_eq!(access.kind(), ErrorKind::Unsupported, "{access:?}");
    let start = disk_units::ByteLen::new(0);
    let changes = host
        .changed_areas(&vm, None, 2000, start, "*")
        .expect_err("no tracking");
    assert_eq!(changes.kind(), ErrorKind::Unsupported, "{changes:?}");
    let fcd = FcdSpec {
        id: "00000000-0000-0000-0000-000000000000".to_owned(),
        datastore: "datastore-none".to_owned(),
        snapshot: None,
    };
    let missing = host.fcd(&fcd).expect_err("no such disk");
    assert!(missing.fault().is_some(), "{missing:?}");
}
