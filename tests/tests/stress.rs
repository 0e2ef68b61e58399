//! Hundreds of handles, many threads, requests in flight on all of them: `tests/c/stress.c`.

use std::fs;
use std::path::Path;
use std::process::Command;

use conformance::client::{checks_clean, command, convert_to_raw, run, same_content};
use conformance::native::{Language, test_program, valgrind};
use conformance::need;

/// Runs the program, and looks at the disks that it left.
fn stress(disks: u32, threads: u32, rounds: u32, wrapper: impl Fn(&Path) -> Command) {
    let folder = tempfile::tempdir().expect("there is room");
    let program = test_program(folder.path(), "stress", Language::C);
    let place = folder.path().join("disks");
    fs::create_dir(&place).expect("there is room");
    let printed = run(wrapper(&program)
        .arg(&place)
        .args([disks, threads, rounds].map(|number| number.to_string())));
    assert!(printed.starts_with("requests "), "{printed}");
    let found = folder.path().join("found");
    for number in 0..disks {
        let disk = place.join(format!("{number}.vmdk"));
        convert_to_raw(&disk, &found);
        assert!(
            same_content(&place.join(format!("{number}.raw")), &found),
            "{disk:?}"
        );
    }
    // One of each type.
    for number in 0..disks.min(4) {
        assert!(checks_clean(&place.join(format!("{number}.vmdk"))));
    }
}

#[test]
fn hundreds_of_disks_at_once() {
    if need::have(&["qemu-img", "cc"]) {
        stress(200, 8, 1000, |program| command(program));
    }
}

#[test]
fn many_threads_on_one_handle() {
    if need::have(&["qemu-img", "cc"]) {
        stress(1, 16, 2000, |program| command(program));
    }
}

/// Its threads take turns after every few instructions, so that they meet in places where they otherwise hardly do.
#[test]
fn valgrind_finds_nothing_under_load() {
    if need::have(&["qemu-img", "cc", "valgrind"]) {
        stress(12, 4, 300, |program| {
            let mut valgrind = valgrind();
            valgrind.arg("--fair-sched=yes").arg(program);
            valgrind
        });
    }
}
