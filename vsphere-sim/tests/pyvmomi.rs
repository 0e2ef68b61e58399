//! pyVmomi, an independent client of the management port, as a backup program uses it.
//!
//! `VSPHERE_SIM_PYTHON` names a Python that has pyVmomi; without it, `python3` is tried.

mod common;

use std::env;
use std::fs;
use std::process::Command;

use common::Demo;
use vsphere_sim::Profile;

/// A Python with pyVmomi; none, loudly, if there is none, which is an error in CI.
fn python() -> Option<String> {
    let python = env::var("VSPHERE_SIM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python)
        .args(["-c", "import pyVmomi, pyVim"])
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(
        env::var("CI").is_err(),
        "pyVmomi is missing: pip install pyvmomi"
    );
    eprintln!("SKIPPED: pyVmomi is missing: pip install pyvmomi, and VSPHERE_SIM_PYTHON=python");
    None
}

#[test]
fn pyvmomi_logs_in_finds_disks_and_makes_and_removes_a_snapshot() {
    let Some(python) = python() else { return };
    for profile in Profile::ALL {
        let demo = Demo::start(profile);
        let user = &demo.inventory.users[0];
        let password = demo.folder.path().join("password");
        fs::write(&password, user.password.reveal()).expect("a file");
        let before = demo.bytes("[datastore1] db/db.vmdk");
        let output = Command::new(&python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pyvmomi.py"))
            .args([
                "127.0.0.1",
                &demo.simulator.address().port().to_string(),
                &user.name,
            ])
            .arg(&password)
            .arg("db")
            .output()
            .expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{profile}: {told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let vm = &demo.inventory.vms[1];
        let api = if profile == Profile::Esxi8Vcenter {
            "VirtualCenter"
        } else {
            "HostAgent"
        };
        for line in [
            "wrong-password=refused".to_owned(),
            format!("api={api} "),
            format!("user={}", user.name),
            format!("vm={} poweredOff", vm.moref),
            "disk=2000 [datastore1] db/db.vmdk".to_owned(),
            "frozen=[datastore1] db/db.vmdk".to_owned(),
            "after=[datastore1] db/db.vmdk".to_owned(),
            "logged-out=yes".to_owned(),
        ] {
            assert!(
                told.contains(&line),
                "{profile}: {line} is missing:\n{told}"
            );
        }
        assert!(
            demo.bytes("[datastore1] db/db.vmdk") == before,
            "{profile}: the disk is as it was"
        );
        let links = fs::read_dir(demo.folder.path().join("db"))
            .expect("the folder")
            .count();
        assert_eq!(links, 1, "{profile}: the snapshot's link is gone");
    }
}
