//! Virtual machines: complete enough for clients that know the types of all fields.

use super::{entity, snapshot};
use crate::inventory::{DatastorePath, Power};
use crate::time;
use crate::vim::{Value, optional};
use crate::world::{Machine, MachineDisk, World};

/// The key of the only controller.
const CONTROLLER: i32 = 1000;
/// This unit of a SCSI bus is the controller's own.
const OWN_UNIT: i32 = 7;

pub(super) fn properties(world: &World, machine: &Machine) -> Value {
    let folder = entity::machine_folder(world, &machine.host);
    let current = machine.disks.iter().map(present).collect::<Vec<_>>();
    let mut fields = vec![
        ("parent", Value::moref("Folder", folder)),
        ("name", Value::text(machine.name.clone())),
        ("overallStatus", Value::Enum("ManagedEntityStatus", "green")),
        ("config", config(world, machine, &current)),
        ("runtime", runtime(machine)),
        ("guest", guest(machine)),
        ("summary", summary(machine)),
        (
            "datastore",
            Value::morefs("Datastore", datastores(world, machine)),
        ),
        ("network", Value::morefs("Network", Vec::<String>::new())),
        (
            "resourcePool",
            Value::moref("ResourcePool", entity::pool_of(world, &machine.host)),
        ),
    ];
    fields.extend(optional("snapshot", snapshot::tree(machine)));
    let roots = machine.after(None).map(|snapshot| snapshot.moref.clone());
    fields.push((
        "rootSnapshot",
        Value::morefs("VirtualMachineSnapshot", roots),
    ));
    let disabled = machine
        .disabled
        .iter()
        .map(|(method, _)| Value::text(method.clone()));
    fields.push((
        "disabledMethod",
        Value::List("xsd:string", disabled.collect()),
    ));
    Value::data("VirtualMachine", fields)
}

/// A disk at some time.
pub(super) struct Shown<'a> {
    pub(super) disk: &'a MachineDisk,
    pub(super) links: &'a [DatastorePath],
    pub(super) change_id: Option<&'a str>,
}

fn present(disk: &MachineDisk) -> Shown<'_> {
    Shown {
        disk,
        links: &disk.links,
        change_id: disk.change_id.as_deref(),
    }
}

fn datastores(world: &World, machine: &Machine) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for path in machine.disks.iter().flat_map(|disk| &disk.links) {
        if let Some(store) = world.datastore_named(path.datastore())
            && !found.contains(&store.moref)
        {
            found.push(store.moref.clone());
        }
    }
    found
}

pub(super) fn config(world: &World, machine: &Machine, disks: &[Shown<'_>]) -> Value {
    let text = |text: &str| Value::text(text);
    let home = machine.home();
    let files = Value::data(
        "VirtualMachineFileInfo",
        vec![
            ("vmPathName", Value::Text(machine.configuration())),
            ("snapshotDirectory", text(&home)),
            ("suspendDirectory", text(&home)),
            ("logDirectory", text(&home)),
        ],
    );
    let hardware = Value::data(
        "VirtualHardware",
        vec![
            ("numCPU", Value::Int(1)),
            ("numCoresPerSocket", Value::Int(1)),
            ("memoryMB", Value::Int(1024)),
            (
                "device",
                Value::List("VirtualDevice", devices(world, disks)),
            ),
        ],
    );
    Value::data(
        "VirtualMachineConfigInfo",
        vec![
            ("changeVersion", text("1")),
            ("modified", Value::Time(time::now())),
            ("name", text(&machine.name)),
            ("guestFullName", text("Other Linux (64-bit)")),
            ("version", text("vmx-19")),
            ("uuid", text(&machine.uuid)),
            ("instanceUuid", text(&machine.instance_uuid)),
            ("template", Value::Bool(false)),
            ("guestId", text("otherLinux64Guest")),
            ("alternateGuestName", text("")),
            ("annotation", text("")),
            ("files", files),
            ("flags", Value::data("VirtualMachineFlagInfo", Vec::new())),
            (
                "defaultPowerOps",
                Value::data("VirtualMachineDefaultPowerOpInfo", Vec::new()),
            ),
            ("hardware", hardware),
            (
                "changeTrackingEnabled",
                Value::Bool(machine.change_tracking),
            ),
            ("firmware", text("bios")),
        ],
    )
}

/// The controller and the disks.
fn devices(world: &World, disks: &[Shown<'_>]) -> Vec<Value> {
    let keys = disks
        .iter()
        .map(|shown| Value::Int(shown.disk.key))
        .collect();
    let controller = Value::data(
        "ParaVirtualSCSIController",
        vec![
            ("key", Value::Int(CONTROLLER)),
            (
                "deviceInfo",
                description("SCSI controller 0", "VMware paravirtual SCSI"),
            ),
            ("controllerKey", Value::Int(100)),
            ("unitNumber", Value::Int(3)),
            ("busNumber", Value::Int(0)),
            ("device", Value::List("xsd:int", keys)),
            ("hotAddRemove", Value::Bool(true)),
            ("sharedBus", Value::Enum("VirtualSCSISharing", "noSharing")),
            ("scsiCtlrUnitNumber", Value::Int(OWN_UNIT)),
        ],
    );
    let units = (0..).filter(|unit| *unit != OWN_UNIT);
    let disks = units
        .zip(disks)
        .map(|(unit, shown)| disk(world, unit, shown));
    std::iter::once(controller).chain(disks).collect()
}

fn description(label: &str, summary: &str) -> Value {
    let fields = vec![
        ("label", Value::text(label)),
        ("summary", Value::text(summary)),
    ];
    Value::data("Description", fields)
}

fn disk(world: &World, unit: i32, shown: &Shown<'_>) -> Value {
    let kilobytes = i64::try_from(shown.disk.capacity / 1024).unwrap_or(i64::MAX);
    let bytes = i64::try_from(shown.disk.capacity).unwrap_or(i64::MAX);
    let mut fields = vec![
        ("key", Value::Int(shown.disk.key)),
        (
            "deviceInfo",
            description(
                &format!("Hard disk {}", unit + 1),
                &format!("{kilobytes} KB"),
            ),
        ),
    ];
    fields.extend(optional("backing", backing(world, shown, shown.links)));
    fields.extend([
        ("controllerKey", Value::Int(CONTROLLER)),
        ("unitNumber", Value::Int(unit)),
        ("capacityInKB", Value::Long(kilobytes)),
        ("capacityInBytes", Value::Long(bytes)),
        ("diskObjectId", Value::Text(format!("1-{}", shown.disk.key))),
    ]);
    let first_class = world
        .fcds
        .iter()
        .find(|fcd| shown.links.contains(&fcd.path));
    let id = first_class.map(|fcd| Value::data("ID", vec![("id", Value::text(fcd.id.clone()))]));
    fields.extend(optional("vDiskId", id));
    Value::data("VirtualDisk", fields)
}

/// A file of a disk, and the one that it is based on.
fn backing(world: &World, shown: &Shown<'_>, links: &[DatastorePath]) -> Option<Value> {
    let (path, rest) = links.split_first()?;
    let is_top = links.len() == shown.links.len();
    let mut fields = vec![("fileName", Value::Text(path.to_string()))];
    let datastore = world.datastore_named(path.datastore());
    let datastore = datastore.map(|store| Value::moref("Datastore", store.moref.clone()));
    fields.extend(optional("datastore", datastore));
    fields.extend([
        ("diskMode", Value::text("persistent")),
        ("split", Value::Bool(false)),
        ("writeThrough", Value::Bool(false)),
        ("thinProvisioned", Value::Bool(shown.disk.thin)),
    ]);
    fields.extend(optional("uuid", shown.disk.uuid.clone().map(Value::Text)));
    let change_id = shown.change_id.filter(|_| is_top).map(Value::text);
    fields.extend(optional("changeId", change_id));
    fields.extend(optional("parent", backing(world, shown, rest)));
    Some(Value::data("VirtualDiskFlatVer2BackingInfo", fields))
}

fn power(machine: &Machine) -> Value {
    let state = if machine.power == Power::On {
        "poweredOn"
    } else {
        "poweredOff"
    };
    Value::Enum("VirtualMachinePowerState", state)
}

fn runtime(machine: &Machine) -> Value {
    Value::data(
        "VirtualMachineRuntimeInfo",
        vec![
            ("host", Value::moref("HostSystem", machine.host.clone())),
            (
                "connectionState",
                Value::Enum("VirtualMachineConnectionState", "connected"),
            ),
            ("powerState", power(machine)),
            ("toolsInstallerMounted", Value::Bool(false)),
            ("numMksConnections", Value::Int(0)),
            ("consolidationNeeded", Value::Bool(false)),
        ],
    )
}

fn guest(machine: &Machine) -> Value {
    let state = if machine.power == Power::On {
        "running"
    } else {
        "notRunning"
    };
    Value::data("GuestInfo", vec![("guestState", Value::text(state))])
}

fn summary(machine: &Machine) -> Value {
    let text = |text: &str| Value::text(text);
    let disks = i32::try_from(machine.disks.len()).unwrap_or(i32::MAX);
    let config = Value::data(
        "VirtualMachineConfigSummary",
        vec![
            ("name", text(&machine.name)),
            ("template", Value::Bool(false)),
            ("vmPathName", Value::Text(machine.configuration())),
            ("memorySizeMB", Value::Int(1024)),
            ("numCpu", Value::Int(1)),
            ("numVirtualDisks", Value::Int(disks)),
            ("uuid", text(&machine.uuid)),
            ("instanceUuid", text(&machine.instance_uuid)),
            ("guestId", text("otherLinux64Guest")),
            ("guestFullName", text("Other Linux (64-bit)")),
        ],
    );

    Value::data(
        "VirtualMachineSummary",
        vec![
            ("vm", Value::moref("VirtualMachine", machine.moref.clone())),
            ("runtime", runtime(machine)),
            ("config", config),
            (
                "quickStats",
                Value::data("VirtualMachineQuickStats", Vec::new()),
            ),
            ("overallStatus", Value::Enum("ManagedEntityStatus", "green")),
        ],
    )
}
