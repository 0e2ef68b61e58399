//! What a login is good for, against servers that follow a script.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use disk_units::ByteLen;
use support::soap::{Answer, Request, Server, esxi, fault, usual, value};
use vsphere_nfc::{Access, ErrorKind, FcdSpec, Host, ManagedObject, SnapshotOptions, VmSpec};

const THUMBPRINT: &str = "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09";

/// Two disks, of which the second has two parents, among other devices.
const DEVICES: &str = "<val xsi:type=\"ArrayOfVirtualDevice\">\
    <VirtualDevice xsi:type=\"VirtualIDEController\"><key>200</key></VirtualDevice>\
    <VirtualDevice xsi:type=\"VirtualDisk\"><key>2000</key>\
      <deviceInfo><label>Hard disk 1</label><summary>1,024 KB</summary></deviceInfo>\
      <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] v/v.vmdk</fileName>\
        <datastore type=\"Datastore\">datastore-1</datastore><diskMode>persistent</diskMode></backing>\
      <capacityInKB>1024</capacityInKB></VirtualDevice>\
    <VirtualDevice xsi:type=\"VirtualDisk\"><key>2001</key>\
      <deviceInfo><label>Hard disk 2</label></deviceInfo>\
      <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] v/w-000002.vmdk</fileName>\
        <changeId>52 de c0/7</changeId>\
        <parent><fileName>[ds] v/w-000001.vmdk</fileName><changeId>52 de c0/3</changeId>\
          <parent><fileName>[ds] v/w.vmdk</fileName></parent></parent></backing>\
      <capacityInKB>1</capacityInKB><capacityInBytes>10737418240</capacityInBytes></VirtualDevice></val>";

fn properties(sets: &str) -> Answer {
    value(format!(
        "<objects><obj type=\"VirtualMachine\">vm-1</obj>{sets}</objects>"
    ))
}

fn set(name: &str, val: &str) -> String {
    format!("<propSet><name>{name}</name>{val}</propSet>")
}

fn machine(request: &Request) -> Answer {
    let host = set(
        "runtime.host",
        "<val type=\"HostSystem\" xsi:type=\"ManagedObjectReference\">host-9</val>",
    );
    let devices = set("config.hardware.device", DEVICES);
    match request.method.as_str() {
        _ if !request.has_cookie() => usual(request),
        "RetrievePropertiesEx" if request.body.contains(">vm-404<") => Answer::Fault(
            "ManagedObjectNotFound",
            "<obj type=\"VirtualMachine\">vm-404</obj>".to_owned(),
            "The object has already been deleted or has not been completely created",
        ),
        "RetrievePropertiesEx" if request.body.contains("<pathSet>config.hardware.device") => {
            properties(&format!("{host}{devices}"))
        }
        "RetrievePropertiesEx" => properties(&host),
        "NfcGetVmFiles" | "NfcRandomAccessOpenDisk" | "NfcRandomAccessOpenReadonly" => {
            value(format!(
                "<host>esx.test</host><port>902</port><sslThumbprint>{THUMBPRINT}</sslThumbprint>\
             <service>vpxa-nfc</service><serviceVersion>1.1</serviceVersion><sessionId>52-{}</sessionId>",
                request.method
            ))
        }
        "NfcGetServerNfcLibVersion" => value("11"),
        _ => usual(request),
    }
}

fn login(server: &Server) -> Host {
    Host::connect(server.options()).expect("a login")
}

#[test]
fn the_disks_of_a_machine_and_their_parents_are_listed() {
    let server = Server::new(machine);
    let host = login(&server);
    let disks = host.disks(&ManagedObject::vm("vm-1")).expect("disks");
    let seen: Vec<_> = disks
        .iter()
        .map(|disk| {
            (
                disk.key,
                disk.label.as_str(),
                disk.capacity.get(),
                disk.files.join(","),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (2000, "Hard disk 1", 1 << 20, "[ds] v/v.vmdk".to_owned()),
            (
                2001,
                "Hard disk 2",
                10 << 30,
                "[ds] v/w-000002.vmdk,[ds] v/w-000001.vmdk,[ds] v/w.vmdk".to_owned()
            ),
        ]
    );
    assert_eq!(disks[0].change_id, None);
    assert_eq!(disks[1].change_id.as_deref(), Some("52 de c0/7"));
    let request = server.last("RetrievePropertiesEx").body;
    let spec = "<_this type=\"PropertyCollector\">propertyCollector</_this><specSet><propSet><type>VirtualMachine</type>\
        <pathSet>config.hardware.device</pathSet></propSet><objectSet><obj type=\"VirtualMachine\">vm-1</obj>\
        </objectSet></specSet><options></options></RetrievePropertiesEx>";
    assert!(request.contains(spec), "{request}");
}

#[test]
fn a_path_anywhere_in_the_chain_names_the_disk() {
    let server = Server::new(machine);
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    for (path, key) in [
        ("[ds] v/v.vmdk", 2000),
        ("[ds] v/w-000002.vmdk", 2001),
        ("[ds] v/w-000001.vmdk", 2001),
        ("[ds] v/w.vmdk", 2001),
    ] {
        assert_eq!(host.disk_key(&vm, path).expect(path), key);
    }
    for path in ["[ds] v/x.vmdk", "[DS] v/v.vmdk", "v.vmdk", ""] {
        let error = host.disk_key(&vm, path).expect_err(path);
        assert_eq!(error.kind(), ErrorKind::FileNotFound, "{error}");
    }
    let error = host
        .disk_key(&ManagedObject::vm("vm-404"), "x")
        .expect_err("no machine");
    assert_eq!(error.kind(), ErrorKind::VmNotFound);
    assert_eq!(error.object(), Some("VirtualMachine:vm-404"));
}

#[test]
fn tickets_are_taken_for_a_machine_or_a_disk() {
    let server = Server::new(machine);
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    let path = "[ds] v/w.vmdk";
    let this = "<_this type=\"NfcService\">nfc-1</_this><vm type=\"VirtualMachine\">vm-1</vm>";
    let disk = "<diskDeviceKey>2001</diskDeviceKey><hostForAccess type=\"HostSystem\">host-9</hostForAccess>";
    for (access, method, arguments) in [
        (Access::ReadOnly, "NfcGetVmFiles", this.to_owned()),
        (
            Access::ReadOnlyDisk,
            "NfcRandomAccessOpenReadonly",
            format!("{this}{disk}"),
        ),
        (
            Access::Writable,
            "NfcRandomAccessOpenDisk",
            format!("{this}{disk}"),
        ),
    ] {
        let ticket = host.ticket(&vm, path, access).expect(method);
        assert_eq!(
            (ticket.host(), ticket.port(), ticket.service()),
            ("esx.test", 902, "vpxa-nfc")
        );
        assert!(!format!("{ticket:?}").contains("52-"));
        let body = server.last(method).body;
        assert!(
            body.contains(&format!(
                "<{method} xmlns=\"urn:vim25\">{arguments}</{method}>"
            )),
            "{body}"
        );
    }
    assert_eq!(
        server.count("RetrieveInternalContent"),
        1,
        "it is asked for once"
    );
    let error = host
        .ticket(&vm, "[ds] x.vmdk", Access::Writable)
        .expect_err("no such disk");
    assert_eq!(error.kind(), ErrorKind::FileNotFound);
    assert_eq!(host.nfc_version(&vm).expect("a version"), Some(11));
}

#[test]
fn hosts_in_maintenance_and_too_old_hosts_are_told() {
    let server = Server::new(|request| match request.method.as_str() {
        "NfcGetVmFiles" if request.body.contains(">vm-2<") => {
            fault("InvalidState", "The host is entering maintenance mode.")
        }
        "NfcGetVmFiles" => fault(
            "HostNotConnected",
            "Unable to communicate with the remote host.",
        ),
        "NfcGetServerNfcLibVersion" => {
            fault("InvalidRequest", "no method NfcGetServerNfcLibVersion")
        }
        _ => machine(request),
    });
    let host = login(&server);
    for (vm, kind) in [
        ("vm-1", ErrorKind::HostNotConnected),
        ("vm-2", ErrorKind::HostEnteringMaintenance),
    ] {
        let error = host
            .ticket(&ManagedObject::vm(vm), "x", Access::ReadOnly)
            .expect_err(vm);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.server_text().is_some());
    }
    assert_eq!(
        host.nfc_version(&ManagedObject::vm("vm-1"))
            .expect("too old"),
        None
    );
}

#[test]
fn properties_come_in_pages() {
    let server = Server::new(|request| match request.method.as_str() {
        "RetrievePropertiesEx" => {
            let host = set("runtime.host", "<val type=\"HostSystem\">host-9</val>");
            value(format!(
                "<token>t-1</token><objects><obj type=\"VirtualMachine\">vm-1</obj>{host}</objects>"
            ))
        }
        "ContinueRetrievePropertiesEx" if request.body.contains("<token>t-1</token>") => {
            value("<token>t-2</token>")
        }
        "ContinueRetrievePropertiesEx" => properties(&set("config.hardware.device", DEVICES)),
        _ => usual(request),
    });
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    assert_eq!(host.disk_key(&vm, "[ds] v/w.vmdk").expect("a disk"), 2001);
    assert_eq!(server.count("ContinueRetrievePropertiesEx"), 2);
}

#[test]
fn pages_without_end_are_given_up() {
    let server = Server::new(|request| match request.method.as_str() {
        "RetrievePropertiesEx" | "ContinueRetrievePropertiesEx" => value("<token>t</token>"),
        _ => usual(request),
    });
    let error = login(&server)
        .disks(&ManagedObject::vm("vm-1"))
        .expect_err("no end");
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn properties_that_may_not_be_read_are_told() {
    let server = Server::new(|request| match request.method.as_str() {
        "RetrievePropertiesEx" => properties(
            "<missingSet><path>config.hardware.device</path><fault><fault xsi:type=\"NoPermission\">\
             <object type=\"VirtualMachine\">vm-1</object><privilegeId>System.Read</privilegeId></fault>\
             <localizedMessage>Permission to perform this operation was denied.</localizedMessage></fault></missingSet>",
        ),
        _ => usual(request),
    });
    let error = login(&server)
        .disks(&ManagedObject::vm("vm-1"))
        .expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("System.Read"), "{error}");
}

#[test]
fn machines_are_found_by_any_name() {
    let server = Server::new(|request| {
        match request.method.as_str() {
        "FindByUuid" if request.body.contains("<uuid>u-1</uuid><vmSearch>true</vmSearch>") => Answer::Value(
            "<returnval type=\"VirtualMachine\">vm-1</returnval>".to_owned(),
        ),
        "FindByInventoryPath" if request.body.contains("<inventoryPath>DC</inventoryPath>") => {
            Answer::Value("<returnval type=\"Datacenter\">datacenter-2</returnval>".to_owned())
        }
        "FindByInventoryPath" if request.body.contains(">DC/vm/a&amp;b</") => {
            Answer::Value("<returnval type=\"VirtualMachine\">vm-3</returnval>".to_owned())
        }
        "FindByDatastorePath"
            if request.body.contains("<datacenter type=\"Datacenter\">datacenter-2</datacenter><path>[ds] v/v.vmx</path>") =>
        {
            Answer::Value("<returnval type=\"VirtualMachine\">vm-4</returnval>".to_owned())
        }
        "FindByUuid" | "FindByInventoryPath" | "FindByDatastorePath" => Answer::Value(String::new()),
        _ => usual(request),
    }
    });
    let host = login(&server);
    let by_path = |datacenter: &str, path: &str| VmSpec::DatastorePath {
        datacenter: datacenter.to_owned(),
        path: path.to_owned(),
    };
    for (spec, id) in [
        (VmSpec::Moref("vm-77".to_owned()), "vm-77"),
        (VmSpec::Uuid("u-1".to_owned()), "vm-1"),
        (VmSpec::InstanceUuid("u-1".to_owned()), "vm-1"),
        (VmSpec::InventoryPath("DC/vm/a&b".to_owned()), "vm-3"),
        (by_path("DC", "[ds] v/v.vmx"), "vm-4"),
    ] {
        assert_eq!(host.vm(&spec).expect("found").id(), id, "{spec:?}");
    }
    assert!(
        server
            .last("FindByUuid")
            .body
            .contains("<instanceUuid>true</instanceUuid>")
    );
    for (spec, kind) in [
        (VmSpec::Uuid("u-2".to_owned()), ErrorKind::VmNotFound),
        // A datacenter is no virtual machine.
        (
            VmSpec::InventoryPath("DC".to_owned()),
            ErrorKind::VmNotFound,
        ),
        (by_path("DC", "[ds] none.vmx"), ErrorKind::VmNotFound),
        (by_path("DC2", "[ds] v/v.vmx"), ErrorKind::ObjectNotFound),
    ] {
        assert_eq!(
            host.vm(&spec).expect_err("not found").kind(),
            kind,
            "{spec:?}"
        );
    }
}

fn task_info(state: &str, more: &str) -> Answer {
    value(format!(
        "<objects><obj type=\"Task\">task-1</obj><propSet><name>info</name><val xsi:type=\"TaskInfo\">\
         <key>task-1</key><state>{state}</state>{more}</val></propSet></objects>"
    ))
}

#[test]
fn snapshots_are_waited_for() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::new(|request| match request.method.as_str() {
        "CreateSnapshot_Task" | "RemoveSnapshot_Task" | "ReconfigVM_Task" => {
            ASKED.store(0, Ordering::SeqCst);
            Answer::Value("<returnval type=\"Task\">task-1</returnval>".to_owned())
        }
        "RetrievePropertiesEx" => match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 => task_info("queued", ""),
            1 => task_info("running", "<progress>50</progress>"),
            _ => task_info(
                "success",
                "<result type=\"VirtualMachineSnapshot\" xsi:type=\"ManagedObjectReference\">snapshot-8</result>",
            ),
        },
        _ => usual(request),
    });
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    let mut options = SnapshotOptions::new("nightly <1>");
    options.quiesce = true;
    let snapshot = host.create_snapshot(&vm, &options).expect("a snapshot");
    assert_eq!(snapshot, ManagedObject::snapshot("snapshot-8"));
    let body = server.last("CreateSnapshot_Task").body;
    let arguments = "<_this type=\"VirtualMachine\">vm-1</_this><name>nightly &lt;1&gt;</name><description></description>\
        <memory>false</memory><quiesce>true</quiesce></CreateSnapshot_Task>";
    assert!(body.contains(arguments), "{body}");
    host.remove_snapshot(&snapshot).expect("removed");
    let body = server.last("RemoveSnapshot_Task").body;
    let arguments = "<_this type=\"VirtualMachineSnapshot\">snapshot-8</_this><removeChildren>false</removeChildren>";
    assert!(body.contains(arguments), "{body}");
    host.track_changes(&vm).expect("tracked");
    let body = server.last("ReconfigVM_Task").body;
    assert!(
        body.contains("<spec><changeTrackingEnabled>true</changeTrackingEnabled></spec>"),
        "{body}"
    );
}

#[test]
fn failed_tasks_are_told() {
    let server = Server::new(|request| match request.method.as_str() {
        "CreateSnapshot_Task" => {
            Answer::Value("<returnval type=\"Task\">task-1</returnval>".to_owned())
        }
        "RemoveSnapshot_Task" => fault("TaskInProgress", "Another task is already in progress."),
        "RetrievePropertiesEx" => task_info(
            "error",
            "<error><fault xsi:type=\"InvalidPowerState\"/><localizedMessage>The operation is not allowed in the \
             current state.</localizedMessage></error>",
        ),
        _ => usual(request),
    });
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    let error = host
        .create_snapshot(&vm, &SnapshotOptions::new("s"))
        .expect_err("failed");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.fault(), Some("InvalidPowerState"));
    assert_eq!(
        error.server_text(),
        Some("The operation is not allowed in the current state.")
    );
    let error = host
        .remove_snapshot(&ManagedObject::snapshot("s-1"))
        .expect_err("failed");
    assert_eq!(
        (error.kind(), error.fault()),
        (ErrorKind::Failed, Some("TaskInProgress"))
    );
}

#[test]
fn changed_areas_are_asked_for_in_bytes_and_told_in_sectors() {
    let server = Server::new(|request| match request.method.as_str() {
        "QueryChangedDiskAreas" if request.body.contains("<changeId>old</changeId>") => {
            Answer::Fault(
                "InvalidArgument",
                "<invalidProperty>changeId</invalidProperty>".to_owned(),
                "wrong",
            )
        }
        "QueryChangedDiskAreas" => value(
            "<startOffset>1048576</startOffset><length>9437184</length>\
             <changedArea><start>1048576</start><length>65536</length></changedArea>\
             <changedArea><start>4194304</start><length>131072</length></changedArea>",
        ),
        _ => usual(request),
    });
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    let snapshot = ManagedObject::snapshot("snapshot-8");
    let start = ByteLen::new(1 << 20);
    let changed = host
        .changed_areas(&vm, Some(&snapshot), 2000, start, "52 de c0/7")
        .expect("areas");
    assert_eq!(
        (changed.covered.start().get(), changed.covered.end().get()),
        (2048, 20480)
    );
    let areas: Vec<_> = changed
        .areas
        .iter()
        .map(|area| (area.start().get(), area.count().get()))
        .collect();
    assert_eq!(areas, [(2048, 128), (8192, 256)]);
    let body = server.last("QueryChangedDiskAreas").body;
    let arguments = "<_this type=\"VirtualMachine\">vm-1</_this>\
        <snapshot type=\"VirtualMachineSnapshot\">snapshot-8</snapshot><deviceKey>2000</deviceKey>\
        <startOffset>1048576</startOffset><changeId>52 de c0/7</changeId></QueryChangedDiskAreas>";
    assert!(body.contains(arguments), "{body}");
    let error = host
        .changed_areas(&vm, None, 2000, start, "old")
        .expect_err("wrong");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("changeId"), "{error}");
}

#[test]
fn relocation_is_forbidden_and_permitted() {
    let server = Server::new(|request| match request.method.as_str() {
        "DisableMethods" if request.body.contains(">taken<") => {
            fault("MethodAlreadyDisabledFault", "already disabled")
        }
        "DisableMethods" | "EnableMethods" => Answer::Value(String::new()),
        _ => usual(request),
    });
    let host = login(&server);
    let vm = ManagedObject::vm("vm-1");
    host.prepare_access(&vm, "me").expect("forbidden");
    host.end_access(&vm, "me").expect("permitted");
    let forbid = "<DisableMethods xmlns=\"urn:internalvim25\"><_this type=\"AuthorizationManager\">AM-1</_this>\
        <entity type=\"VirtualMachine\">vm-1</entity><method><method>RelocateVM_Task</method>\
        <reasonId>vsphere-nfc</reasonId></method><sourceId>me</sourceId></DisableMethods>";
    let permit = "<EnableMethods xmlns=\"urn:internalvim25\"><_this type=\"AuthorizationManager\">AM-1</_this>\
        <entity type=\"VirtualMachine\">vm-1</entity><method>RelocateVM_Task</method><sourceId>me</sourceId></EnableMethods>";
    assert!(server.last("DisableMethods").body.contains(forbid));
    assert!(server.last("EnableMethods").body.contains(permit));

    let error = host.prepare_access(&vm, "taken").expect_err("busy");
    assert_eq!(error.kind(), ErrorKind::Busy);
    for identity in ["", &"x".repeat(51)] {
        let error = host
            .prepare_access(&vm, identity)
            .expect_err("a bad identity");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    host.prepare_access(&vm, &"é".repeat(50))
        .expect("50 characters");
}

fn first_class(request: &Request) -> Answer {
    let object = |consumer: &str| {
        value(format!(
            "<config><id><id>fcd-1</id></id><name>d</name><backing xsi:type=\"BaseConfigInfoDiskFileBackingInfo\">\
             <datastore type=\"Datastore\">datastore-1</datastore><filePath>[ds] fcd/d.vmdk</filePath></backing>\
             <capacityInMB>10</capacityInMB>{consumer}</config>"
        ))
    };
    match request.method.as_str() {
        "RetrieveVStorageObject" if request.body.contains("<id><id>gone</id></id>") => {
            fault("NotFound", "gone")
        }
        "RetrieveVStorageObject" if request.body.contains("<id><id>loose</id></id>") => object(""),
        "RetrieveVStorageObject" if request.body.contains("<id><id>by-uuid</id></id>") => object(
            "<consumerId><id>0-unknown</id></consumerId><consumerId><id>5021-4</id></consumerId>",
        ),
        "RetrieveVStorageObject" => object("<consumerId><id>vm-12</id></consumerId>"),
        "FindByUuid" if request.body.contains("<uuid>5021-4</uuid>") => {
            Answer::Value("<returnval type=\"VirtualMachine\">vm-13</returnval>".to_owned())
        }
        "FindByUuid" => Answer::Value(String::new()),
        "RetrieveSnapshotInfo" => value(
            "<snapshots><id><id>s-1</id></id><description>a</description></snapshots>\
             <snapshots><id><id>s-2</id></id><description>b</description></snapshots>",
        ),
        "RetrieveSnapshotDetails"
            if request
                .body
                .contains("<snapshotId><id>s-2</id></snapshotId>") =>
        {
            value(
                "<path>[ds] fcd/d-000001.vmdk</path><changedBlockTrackingId>52 aa/1</changedBlockTrackingId>",
            )
        }
        _ => usual(request),
    }
}

#[test]
fn first_class_disks_are_looked_up() {
    let server = Server::new(first_class);
    let host = login(&server);
    let spec = |id: &str, snapshot: Option<&str>| FcdSpec {
        id: id.to_owned(),
        datastore: "datastore-1".to_owned(),
        snapshot: snapshot.map(str::to_owned),
    };
    for (id, vm) in [
        ("fcd-1", Some("vm-12")),
        ("by-uuid", Some("vm-13")),
        ("loose", None),
    ] {
        let fcd = host.fcd(&spec(id, None)).expect(id);
        assert_eq!(fcd.path, "[ds] fcd/d.vmdk");
        assert_eq!(fcd.vm.as_ref().map(ManagedObject::id), vm);
        assert_eq!(fcd.change_id, None);
    }
    let body = server.last("RetrieveVStorageObject").body;
    let arguments = "<_this type=\"VcenterVStorageObjectManager\">VSOM-1</_this><id><id>loose</id></id>\
        <datastore type=\"Datastore\">datastore-1</datastore></RetrieveVStorageObject>";
    assert!(body.contains(arguments), "{body}");
    assert_eq!(
        host.fcd_snapshots(&spec("fcd-1", None)).expect("snapshots"),
        ["s-1", "s-2"]
    );
    let fcd = host.fcd(&spec("fcd-1", Some("s-2"))).expect("a snapshot");
    assert_eq!(fcd.path, "[ds] fcd/d-000001.vmdk");
    assert_eq!(fcd.change_id.as_deref(), Some("52 aa/1"));
    let error = host.fcd(&spec("gone", None)).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::ObjectNotFound);
    assert_eq!(error.object(), Some("gone"));
}

#[test]
fn first_class_disks_are_a_matter_of_vcenters() {
    let server = Server::new(|request| match request.method.as_str() {
        "RetrieveServiceContent" => esxi(),
        _ => first_class(request),
    });
    let spec = FcdSpec {
        id: "fcd-1".to_owned(),
        datastore: "datastore-1".to_owned(),
        snapshot: None,
    };
    let error = login(&server).fcd(&spec).expect_err("no vCenter");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn whether_a_login_lives_can_be_asked() {
    let server = Server::new(|request| match request.method.as_str() {
        "SessionIsActive"
            if request.body.contains(
                "<sessionID>key-1</sessionID><userName>backup@vsphere.local</userName>",
            ) =>
        {
            value("true")
        }
        _ => usual(request),
    });
    let host = login(&server);
    assert!(host.is_active().expect("an answer"));
    let server = Server::new(|request| match request.method.as_str() {
        "SessionIsActive" => fault("NotAuthenticated", "gone"),
        _ => usual(request),
    });
    let host = login(&server);
    assert!(!host.is_active().expect("an answer"));
    assert_eq!(server.count("Login"), 1, "it is not renewed");
}
