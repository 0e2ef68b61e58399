//! What a client has to know.

use std::io::{self, Write};
use std::path::Path;

use vsphere_sim::{Inventory, Power, Simulator, Snapshot, Vm, VmDisk};

/// Prints it: one key=value in a line, then a command to try, and at last `ready`.
pub(crate) fn print(
    inventory: &Inventory,
    simulator: &Simulator,
    password_file: Option<&Path>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let address = simulator.address();
    writeln!(out, "profile={}", inventory.profile)?;
    writeln!(out, "server={}", address.ip())?;
    writeln!(out, "port={}", address.port())?;
    writeln!(out, "nfc-port={}", simulator.nfc_port())?;
    for user in &inventory.users {
        writeln!(out, "user={}", user.name)?;
    }
    if let Some(file) = password_file {
        writeln!(out, "password-file={}", file.display())?;
    }
    writeln!(out, "thumbprint={}", simulator.thumbprint_sha1())?;
    writeln!(out, "thumbprint-sha256={}", simulator.thumbprint_sha256())?;
    for datastore in &inventory.datastores {
        writeln!(out, "datastore={} {}", datastore.moref, datastore.name)?;
    }
    for vm in &inventory.vms {
        let state = if vm.power == Power::On {
            "running"
        } else {
            "off"
        };
        writeln!(out, "vm={} {} {state}", vm.moref, vm.name)?;
        disks(&mut out, &vm.disks)?;
        for snapshot in &vm.snapshots {
            tree(&mut out, snapshot)?;
        }
    }
    for fcd in &inventory.fcds {
        writeln!(out, "fcd={} {}", fcd.id, fcd.path)?;
        for snapshot in &fcd.snapshots {
            writeln!(out, "fcd-snapshot={} {}", snapshot.id, snapshot.path)?;
        }
    }
    if let (Some((vm, disk)), Some(file)) = (example(inventory), password_file) {
        writeln!(
            out,
            "try=serve_nbd --server {} --server-port {} --nfc-port {} --user {} --password-file {} \
             --thumbprint {} --vm {} --read-only '{}'",
            address.ip(),
            address.port(),
            simulator.nfc_port(),
            inventory
                .users
                .first()
                .map(|user| user.name.as_str())
                .unwrap_or_default(),
            file.display(),
            simulator.thumbprint_sha1(),
            vm.moref,
            disk.path,
        )?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

fn disks(out: &mut impl Write, disks: &[VmDisk]) -> io::Result<()> {
    for disk in disks {
        writeln!(out, "disk={} {}", disk.key, disk.path)?;
    }
    Ok(())
}

fn tree(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    writeln!(out, "snapshot={} {}", snapshot.moref, snapshot.name)?;
    disks(out, &snapshot.disks)?;
    for child in &snapshot.children {
        tree(out, child)?;
    }
    Ok(())
}

/// A disk that can be opened: one of a snapshot, or of a machine that does not run.
fn example(inventory: &Inventory) -> Option<(&Vm, &VmDisk)> {
    inventory.vms.iter().find_map(|vm| {
        let past = vm
            .snapshots
            .first()
            .and_then(|snapshot| snapshot.disks.first());
        let present = vm.disks.first().filter(|_| vm.power == Power::Off);
        past.or(present).map(|disk| (vm, disk))
    })
}
