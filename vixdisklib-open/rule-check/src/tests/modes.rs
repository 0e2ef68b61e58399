//! What happens on a violation.

use std::process::Command;
use std::{env, fs, ptr};

use vixdisklib_sys::VixError;

use super::caller::{Caller, Disk};
use crate::rule::Rule;
use crate::settings::{Mode, Settings};
use crate::table::TABLE;
use crate::{report, state};

/// Set for the process that a test starts to be ended.
const CHILD: &str = "VIXDISKLIB_RULE_CHECK_TEST_CHILD";

#[test]
fn the_child_of_another_test() {
    if env::var_os(CHILD).is_some() {
        // SAFETY: null means silence, which is a rule that it breaks.
        unsafe { (TABLE.init_ex)(8, 0, None, None, None, ptr::null(), ptr::null()) };
        // SAFETY: needs nothing.
        unsafe { (TABLE.exit)() };
    }
}

fn child(variables: &[(&str, &str)]) -> (bool, String) {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([
            "tests::modes::the_child_of_another_test",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env_remove("VIXDISKLIB_RULES_OFF")
        .envs(variables.iter().copied())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn by_default_the_process_ends_with_a_message() {
    let (survived, said) = child(&[]);
    assert!(!survived);
    for part in [
        "vixdisklib-rule-check: RULE BROKEN: init-null-log",
        "3 of them are null",
        "#1 VixDiskLib_InitEx(8, 0, ..3 null log functions) on thread ",
        "VIXDISKLIB_RULES_OFF=init-null-log",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn a_rule_can_be_switched_off() {
    let (survived, said) = child(&[("VIXDISKLIB_RULES_OFF", "init-null-log")]);
    assert!(survived, "{said}");
    assert!(!said.contains("BROKEN"), "{said}");
}

#[test]
fn the_report_comes_at_exit_or_in_a_file() {
    let (survived, said) = child(&[("VIXDISKLIB_RULES", "report")]);
    assert!(survived, "{said}");
    assert!(said.contains("violations: 1\n"), "{said}");
    assert!(said.contains("RULE BROKEN: init-null-log"), "{said}");
    assert!(said.contains("1 VixDiskLib_Exit"), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report-%p.txt");
    let (survived, said) = child(&[
        ("VIXDISKLIB_RULES", "report"),
        ("VIXDISKLIB_RULES_REPORT", file.to_str().expect("UTF-8")),
    ]);
    assert!(survived && !said.contains("BROKEN"), "{said}");
    let files: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("readable").path())
        .collect();
    let [file] = &files[..] else {
        panic!("one report, not {files:?}")
    };
    assert!(!file.to_string_lossy().contains("%p"));
    let text = fs::read_to_string(file).expect("readable");
    assert!(text.contains("RULE BROKEN: init-null-log"), "{text}");
}

#[test]
fn errors_are_returned_and_logged_and_nothing_is_passed_on() {
    let caller = Caller::with(&[("VIXDISKLIB_RULES", "error")]);
    caller.with_disk(|disk| {
        let dead = Disk::invented(1);
        assert_eq!(caller.read(dead, 0, 1), VixError::INVALID_HANDLE);
        assert_eq!(caller.read(disk, 0, 0), VixError::INVALID_ARG);
        assert!(caller.read(disk, 0, 1).is_ok());
    });
    assert_eq!(caller.seen(), ["foreign-handle", "zero-length"]);
    let lines = caller.lines();
    let first = "vixdisklib-rule-check: RULE BROKEN: foreign-handle\n";
    assert!(lines.iter().any(|line| line == first), "{lines:?}");
    // The engine would have said so too, had it been asked.
    let engine = lines
        .iter()
        .filter(|line| line.starts_with("VixDiskLib_Read"));
    assert_eq!(engine.count(), 0, "{lines:?}");
}

#[test]
fn a_violation_names_the_call_before() {
    let caller = Caller::checking(Rule::DoubleFree, &[]);
    // SAFETY: needs nothing.
    let text = unsafe { (TABLE.get_error_text)(VixError::FAIL, ptr::null()) };
    for _ in 0..2 {
        // SAFETY: our engine leaves alone what is not on loan.
        unsafe { (TABLE.free_error_text)(text) };
    }
    let state = state::lock();
    let [violation] = &state.violations[..] else {
        panic!("one violation, not {:?}", state.violations)
    };
    let earlier = violation.earlier.as_ref().expect("there is one");
    assert_eq!((earlier.number, violation.call.number), (2, 3));
    assert_eq!(earlier.function, "_FreeErrorText");
    let text = report::text(&state);
    assert!(
        text.contains("  earlier  #2 VixDiskLib_FreeErrorText(0x"),
        "{text}"
    );
    drop(state);
    drop(caller);
}

#[test]
fn settings_say_what_they_did_not_understand() {
    let settings = Settings::from(|name| match name {
        "VIXDISKLIB_RULES" => Some("shout".to_owned()),
        "VIXDISKLIB_RULES_OFF" => Some(" leaked-info , no-such-rule".to_owned()),
        "VIXDISKLIB_RULES_ON" => Some("access-thread".to_owned()),
        _ => None,
    });
    assert_eq!(settings.mode, Mode::Abort);
    assert!(!settings.checks(Rule::LeakedInfo));
    assert!(settings.checks(Rule::AccessThread));
    assert!(!settings.checks(Rule::LongRequest));
    assert_eq!(settings.faults.len(), 2);
    assert!(settings.faults[1].contains("no-such-rule"));
}
