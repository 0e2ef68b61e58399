//! Snapshots of virtual machines.

use super::machine::{Shown, config};
use crate::inventory::Power;
use crate::vim::{Value, optional};
use crate::world::{Machine, MachineSnapshot, World};

pub(super) fn properties(world: &World, machine: &Machine, snapshot: &MachineSnapshot) -> Value {
    let shown = |disk: &crate::world::SnapshotDisk| {
        machine.disk(disk.key).map(|known| (known, disk.clone()))
    };
    let disks: Vec<_> = snapshot.disks.iter().filter_map(shown).collect();
    let disks: Vec<_> = disks
        .iter()
        .map(|(known, then)| Shown {
            disk: known,
            links: &then.links,
            change_id: then.change_id.as_deref(),
        })
        .collect();
    let children = machine
        .after(Some(&snapshot.moref))
        .map(|after| after.moref.clone());
    Value::data(
        "VirtualMachineSnapshot",
        vec![
            ("config", config(world, machine, &disks)),
            (
                "childSnapshot",
                Value::morefs("VirtualMachineSnapshot", children),
            ),
            ("vm", Value::moref("VirtualMachine", machine.moref.clone())),
        ],
    )
}

/// All snapshots of a machine; none if there are none.
pub(super) fn tree(machine: &Machine) -> Option<Value> {
    let roots = branches(machine, None);
    if roots.is_empty() {
        return None;
    }
    let current = machine.current.clone();
    let current = current.map(|id| Value::moref("VirtualMachineSnapshot", id));
    let mut fields = optional("currentSnapshot", current);
    fields.push((
        "rootSnapshotList",
        Value::List("VirtualMachineSnapshotTree", roots),
    ));
    Some(Value::data("VirtualMachineSnapshotInfo", fields))
}

fn branches(machine: &Machine, parent: Option<&str>) -> Vec<Value> {
    let branch = |snapshot: &MachineSnapshot| {
        let children = branches(machine, Some(&snapshot.moref));
        let state = if machine.power == Power::On {
            "poweredOn"
        } else {
            "poweredOff"
        };
        Value::data(
            "VirtualMachineSnapshotTree",
            vec![
                (
                    "snapshot",
                    Value::moref("VirtualMachineSnapshot", snapshot.moref.clone()),
                ),
                ("vm", Value::moref("VirtualMachine", machine.moref.clone())),
                ("name", Value::text(snapshot.name.clone())),
                ("description", Value::text(snapshot.description.clone())),
                ("id", Value::Int(snapshot.number)),
                ("createTime", Value::Time(snapshot.created.clone())),
                ("state", Value::Enum("VirtualMachinePowerState", state)),
                ("quiesced", Value::Bool(snapshot.quiesced)),
                (
                    "childSnapshotList",
                    Value::List("VirtualMachineSnapshotTree", children),
                ),
                ("replaySupported", Value::Bool(false)),
            ],
        )
    };
    machine.after(parent).map(branch).collect()
}
