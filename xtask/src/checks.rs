//! Checks of the tree that no other tool makes: which crate may depend on which, and unfinished work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::shell::{cargo, command, root};

/// Which of our crates each one may use, outside its tests. Data flows one way; nothing uses tests or tools.
const ALLOWED: &[(&str, &[&str])] = &[
    ("disk-units", &[]),
    ("vmdk-engine", &["disk-units"]),
    ("vsphere-nfc", &["disk-units"]),
    ("vixdisklib-sys", &[]),
    ("vixmntapi-sys", &["vixdisklib-sys"]),
    (
        "vixdisklib-open",
        &["disk-units", "vixdisklib-sys", "vmdk-engine", "vsphere-nfc"],
    ),
    (
        "vixdisklib-open-cdylib",
        &["vixdisklib-open", "vixdisklib-sys"],
    ),
    (
        "vixdisklib-rule-check",
        &["vixdisklib-open", "vixdisklib-sys"],
    ),
    ("vddk-like", &["vixdisklib-open", "vixdisklib-sys"]),
    (
        "vixdisklib",
        &["disk-units", "vixdisklib-open", "vixdisklib-sys"],
    ),
    ("vsphere-sim", &["vmdk-engine", "vsphere-nfc"]),
    (
        "vixdisklib-bench",
        &["vixdisklib", "vixdisklib-open", "vixdisklib-sys"],
    ),
    ("vixdisklib-examples", &[]),
    ("conformance", &[]),
    (
        "fuzz-harness",
        &[
            "disk-units",
            "vixdisklib",
            "vmdk-engine",
            "vsphere-nfc",
            "vsphere-sim",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that must forbid unsafe code at their root.
const WITHOUT_UNSAFE: &[&str] = &["disk-units", "vmdk-engine", "vsphere-nfc", "vsphere-sim"];

pub(crate) fn run() -> Result {
    let mut faults = Vec::new();
    directions(&mut faults)?;
    forbidden_unsafe(&mut faults)?;
    unfinished(&mut faults)?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n").into())
    }
}

fn directions(faults: &mut Vec<String>) -> Result {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    for package in packages {
        let user = name(package);
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == user) else {
            faults.push(format!(
                "{user}: say in xtask/src/checks.rs which crates it may use"
            ));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        // Dependencies of tests and examples carry the kind "dev".
        for used in dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .map(name)
        {
            if ours.contains(&used) && !allowed.contains(&used.as_str()) {
                faults.push(format!("{user} must not depend on {used}"));
            }
        }
    }
    Ok(())
}

fn forbidden_unsafe(faults: &mut Vec<String>) -> Result {
    for name in WITHOUT_UNSAFE {
        let file = root().join(name).join("src/lib.rs");
        if !fs::read_to_string(&file)?.contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{}: must forbid unsafe code", file.display()));
        }
    }
    Ok(())
}

/// Marks of unfinished work, in files that git knows.
fn unfinished(faults: &mut Vec<String>) -> Result {
    let listed = command("git")
        .args(["ls-files", "*.rs", "*.h", "*.c", "*.cpp", "*.py", "*.mjs"])
        .output()?;
    // Spelled in two parts, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("unimplemented", "!("),
    ];
    for name in String::from_utf8(listed.stdout)?.lines() {
        let Ok(text) = fs::read_to_string(root().join(Path::new(name))) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                faults.push(format!("{name}:{}: {mark}", number + 1));
            }
        }
    }
    Ok(())
}
