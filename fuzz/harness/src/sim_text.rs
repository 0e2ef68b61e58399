//! Texts that tell the simulator what to be: inventory files and injections, which also come over its control socket.
//!
//! The first byte of an input says which of the two it is. Whatever the text, it is refused in words, or what was
//! understood holds together.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use vsphere_sim::{Inventory, Plan, Snapshot};

/// The files of the inventory below; an inventory names only what is there.
const FILES: [&str; 3] = ["web/web.vmdk", "web/web-000001.vmdk", "fcd/volume.vmdk"];

/// What an inventory's folders are relative to, in a folder of this process.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("fuzz-sim-text-{}", std::process::id()));
        for file in FILES.map(|file| folder.join("images").join(file)) {
            let parent = file.parent().expect("it is in a folder");
            fs::create_dir_all(parent).expect("a temporary folder");
            fs::write(file, "").expect("a temporary file");
        }
        folder
    })
}

/// Takes the text that an input stands for, and panics if a claim does not hold.
pub fn run(input: &[u8]) {
    let [first, text @ ..] = input else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    if first % 2 == 0 {
        match Inventory::from_toml(&text, folder()) {
            Ok(inventory) => check_inventory(inventory),
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
        }
    } else {
        match text.parse::<Plan>() {
            Ok(plan) => check_plan(&plan, &text),
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
        }
    }
}

/// Why the text is not taken, if so.
#[must_use]
pub fn refusal(input: &[u8]) -> Option<String> {
    let (first, text) = input.split_first()?;
    let text = String::from_utf8_lossy(text);
    if first % 2 == 0 {
        let inventory = Inventory::from_toml(&text, folder());
        inventory.err().map(|error| format!("{error:?}"))
    } else {
        let plan = text.parse::<Plan>();
        plan.err().map(|error| error.to_string())
    }
}

fn check_inventory(inventory: Inventory) {
    let stores: HashSet<&str> = inventory
        .datastores
        .iter()
        .map(|store| store.name.as_str())
        .collect();
    assert_eq!(stores.len(), inventory.datastores.len(), "names are unique");
    let mut ids = HashSet::new();
    for vm in &inventory.vms {
        assert!(!vm.moref.is_empty(), "a machine has an id");
        assert!(ids.insert(vm.moref.clone()), "{} is twice", vm.moref);
        for disk in &vm.disks {
            assert!(stores.contains(disk.path.datastore()), "{}", disk.path);
            let file = Path::new(disk.path.file());
            assert!(
                file.is_relative() && !file.components().any(|part| part.as_os_str() == ".."),
                "{} leads out",
                disk.path
            );
        }
        vm.snapshots
            .iter()
            .for_each(|snapshot| check_snapshot(snapshot, &mut ids));
    }
    // What was completed needs no more.
    let again = inventory.clone().complete().expect("it is whole");
    assert_eq!(format!("{again:?}"), format!("{inventory:?}"));
}

fn check_snapshot(snapshot: &Snapshot, ids: &mut HashSet<String>) {
    assert!(
        ids.insert(snapshot.moref.clone()),
        "{} is twice",
        snapshot.moref
    );
    for child in &snapshot.children {
        check_snapshot(child, ids);
    }
}

fn check_plan(plan: &Plan, text: &str) {
    let name = plan.injection.to_string();
    assert!(
        text.trim_start().starts_with(&name),
        "{name} is not {text:?}"
    );
    assert_eq!(text.parse::<Plan>().as_ref(), Ok(plan));
}

/// Texts to begin with, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let inventory = "\0profile = \"esxi8-vcenter\"
        [[user]]\nname = \"root\"\npassword = \"secret\"
        [[datacenter]]\nname = \"dc\"
        [[host]]\nname = \"esxi.example\"
        [[datastore]]\nname = \"ds\"\nfolder = \"images\"
        [[vm]]\nname = \"web\"\npower = \"on\"\nchange_tracking = true
        [[vm.disk]]\npath = \"[ds] web/web-000001.vmdk\"
        [[vm.snapshot]]\nname = \"old\"\n[[vm.snapshot.disk]]\npath = \"[ds] web/web.vmdk\"
        [[fcd]]\nname = \"volume\"\npath = \"[ds] fcd/volume.vmdk\"\nconsumer = \"web\"\n";
    let plan = |text: &str| [b"\x01", text.as_bytes()].concat();
    vec![
        ("inventory", inventory.as_bytes().to_vec()),
        (
            "plan_disconnect",
            plan("disconnect-in-read=bytes:1000,after:3,times:1"),
        ),
        (
            "plan_fault",
            plan("soap-fault=method:NfcGetVmFiles,type:NoPermission"),
        ),
        (
            "plan_refused",
            plan("open-refused=code:13,text:broken and so on"),
        ),
        ("plan_switch", plan("host-switch=how:message,after:6")),
    ]
}
