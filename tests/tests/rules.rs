//! The library that checks VDDK's rules, under programs in other languages.

use std::fs;
use std::process::{Command, Output};

use conformance::artefact;
use conformance::disk::{Kind, SECTOR, raw_with_data};
use conformance::need;

/// What `tests/python/rules.py` can do wrong: names of rules.
const FAULTS: [&str; 7] = [
    "init-null-log",
    "leaked-info",
    "double-free",
    "out-of-range",
    "open-thread",
    "dead-handle",
    "exit-live-connections",
];

fn python(fault: &str, variables: &[(&str, &str)]) -> Option<Output> {
    if !need::have(&["qemu-img", need::PYTHON]) {
        return None;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), 256 * SECTOR, 3, 1);
    let disk = Kind::ALL[0].convert(folder.path(), &raw);
    let mut command = Command::new(need::PYTHON);
    command
        .arg(artefact::repository().join("tests/python/rules.py"))
        .args([&artefact::rule_check(), &disk])
        .arg(fault)
        // All rules as they are by default, also where this runs with some switched off.
        .env_remove("VIXDISKLIB_RULES_OFF")
        .env("VIXDISKLIB_RULES_ON", "init-main-thread")
        .envs(variables.iter().copied());
    Some(command.output().expect("Python starts"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_program_that_does_right_hears_nothing() {
    let Some(output) = python("right", &[]) else {
        return;
    };
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_program_that_breaks_a_rule_ends_with_its_name() {
    for fault in FAULTS {
        let Some(output) = python(fault, &[]) else {
            return;
        };
        let said = stderr(&output);
        assert!(!output.status.success(), "{fault}: {said}");
        let first = format!("vixdisklib-rule-check: RULE BROKEN: {fault}\n");
        assert!(said.starts_with(&first), "{fault}: {said}");
    }
}

#[test]
fn a_report_has_all_that_was_found() {
    for fault in FAULTS {
        let folder = tempfile::tempdir().expect("there is room");
        let report = folder.path().join("report");
        let Some(output) = python(
            fault,
            &[
                ("VIXDISKLIB_RULES", "report"),
                ("VIXDISKLIB_RULES_REPORT", report.to_str().expect("UTF-8")),
            ],
        ) else {
            return;
        };
        assert!(output.status.success(), "{fault}: {}", stderr(&output));
        let text = fs::read_to_string(&report).expect("a report");
        assert!(text.contains("violations: 1\n"), "{fault}: {text}");
        assert!(text.contains(&format!("RULE BROKEN: {fault}\n")), "{text}");
    }
}
