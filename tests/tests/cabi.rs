//! Our shared library as programs in other languages use it: compiled against the headers, or loaded by a script.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::artefact;
use conformance::client::{checks_clean, command, convert_to_raw, run, same_content};
use conformance::disk::{Kind, SECTOR, raw_with_data};
use conformance::native::{Language, test_program, valgrind};
use conformance::need;
use tempfile::TempDir;

/// The end is within a chunk and within a grain.
const CAPACITY: u64 = (40 << 20) + 7 * SECTOR;

/// A folder with a disk in it, and the raw file it was made from.
fn disk(kind: Kind) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), CAPACITY, 12, 1);
    let disk = kind.convert(folder.path(), &raw);
    (folder, disk, raw)
}

/// What a program printed behind this word, line by line.
fn said<'a>(printed: &'a str, word: &str) -> Vec<&'a str> {
    let lines = printed.lines();
    lines
        .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .collect()
}

/// Runs the program on a disk of every kind; `wrapper` may be a checker.
fn tour_of_every_kind(language: Language, wrapper: impl Fn(&Path) -> Command) {
    let programs = tempfile::tempdir().expect("there is room");
    let program = test_program(programs.path(), "tour", language);
    for kind in Kind::ALL {
        let (folder, disk, raw) = disk(kind);
        let output = folder.path().join("output");
        let printed = run(wrapper(&program).arg(&disk).arg(&output).arg("ro"));
        assert!(same_content(&raw, &output), "{}", kind.name());
        assert_eq!(
            said(&printed, "capacity"),
            [(CAPACITY / SECTOR).to_string()]
        );
        assert_eq!(said(&printed, "links"), ["1"]);
        assert_eq!(said(&printed, "transport"), ["file"]);
        assert_eq!(said(&printed, "sector size"), ["512"]);
        // What qemu-img writes.
        assert_eq!(said(&printed, "adapter"), ["1"], "IDE");
        assert_eq!(said(&printed, "heads"), ["16"]);
        assert_eq!(said(&printed, "sectors"), ["63"]);
        let metadata = said(&printed, "metadata");
        assert!(metadata.contains(&"adapterType=ide"), "{metadata:?}");
        blocks_are_where_the_data_is(&printed, &raw);

        if kind != Kind::StreamOptimized {
            run(wrapper(&program).arg(&disk).arg(&output).arg("rw"));
            let found = folder.path().join("found");
            convert_to_raw(&disk, &found);
            assert!(same_content(&output, &found), "{}", kind.name());
            assert!(!same_content(&raw, &found), "nothing was written");
            assert!(checks_clean(&disk));
        }
    }
}

/// The blocks lie in whole chunks inside the disk, and all that is not zero lies in them.
fn blocks_are_where_the_data_is(printed: &str, raw: &Path) {
    let mut content = fs::read(raw).expect("a disk of some megabytes");
    let blocks = said(printed, "block");
    assert!(blocks.len() > 3, "{printed}");
    let whole = CAPACITY / SECTOR / 128 * 128;
    let mut end = 0;
    for block in blocks {
        let (start, length) = block.split_once(' ').expect("two numbers");
        let (start, length): (u64, u64) = (
            start.parse().expect("a number"),
            length.parse().expect("a number"),
        );
        assert!(
            start % 128 == 0 && length % 128 == 0 && length > 0,
            "{block}"
        );
        assert!(
            end == 0 || start > end,
            "blocks are in order and merged: {block}"
        );
        end = start + length;
        assert!(end <= whole, "{block}");
        let bytes = |sectors: u64| usize::try_from(sectors * SECTOR).expect("a small disk");
        content[bytes(start)..bytes(end)].fill(0);
    }
    // The rest of the last chunk cannot be asked for.
    content.truncate(usize::try_from(whole * SECTOR).expect("a small disk"));
    let lost = content.iter().position(|byte| *byte != 0);
    assert_eq!(lost, None, "data outside the blocks");
}

/// Runs the program that makes, changes and removes disks; what it leaves is a disk with the content that it wrote.
fn life_of_a_disk(language: Language, wrapper: impl Fn(&Path) -> Command) {
    let folder = tempfile::tempdir().expect("there is room");
    let program = test_program(folder.path(), "life", language);
    let disks = folder.path().join("disks");
    fs::create_dir(&disks).expect("made");
    let output = folder.path().join("output");
    run(wrapper(&program).arg(&disks).arg(&output));
    let names: Vec<_> = fs::read_dir(&disks)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["whole.vmdk"]);
    let disk = disks.join("whole.vmdk");
    let found = folder.path().join("found");
    convert_to_raw(&disk, &found);
    assert!(same_content(&output, &found));
    assert!(checks_clean(&disk));
}

#[test]
fn a_program_in_c11() {
    if !need::have(&["qemu-img", "cc"]) {
        return;
    }
    tour_of_every_kind(Language::C, |program| command(program));
    life_of_a_disk(Language::C, |program| command(program));
}

#[test]
fn a_program_in_cxx17() {
    if !need::have(&["qemu-img", "c++"]) {
        return;
    }
    tour_of_every_kind(Language::Cxx, |program| command(program));
    life_of_a_disk(Language::Cxx, |program| command(program));
}

/// No invalid access, no use of what was not set, and nothing left when the library was stopped.
#[test]
fn valgrind_finds_nothing() {
    if !need::have(&["qemu-img", "cc", "valgrind"]) {
        return;
    }
    let under_valgrind = |program: &Path| {
        let mut valgrind = valgrind();
        valgrind.arg(program);
        valgrind
    };
    tour_of_every_kind(Language::C, under_valgrind);
    life_of_a_disk(Language::C, under_valgrind);
}

#[test]
fn a_script_that_loads_the_library() {
    if !need::have(&["qemu-img", need::PYTHON]) {
        return;
    }
    for kind in Kind::ALL {
        let (folder, disk, raw) = disk(kind);
        let output = folder.path().join("output");
        let script = artefact::repository().join("tests/python/tour.py");
        let printed =
            run(command(need::PYTHON)
                .arg(script)
                .args([&artefact::library(), &disk, &output]));
        assert!(same_content(&raw, &output), "{}", kind.name());
        assert_eq!(
            said(&printed, "capacity"),
            [(CAPACITY / SECTOR).to_string()]
        );
        assert_eq!(said(&printed, "links"), ["1"]);
        assert!(
            said(&printed, "key").contains(&"geometry.cylinders"),
            "{printed}"
        );
        blocks_are_where_the_data_is(&printed, &raw);
    }
}

/// A program that asks the loader for the library by the name in its headers' manual finds every function.
#[test]
fn the_library_has_its_name_and_every_function() {
    if !need::have(&["readelf", "nm"]) {
        return;
    }
    let library = artefact::library();
    let dynamic = run(command("readelf").args(["-d"]).arg(&library));
    assert!(
        dynamic.contains("soname: [libvixDiskLib.so.8]"),
        "{dynamic}"
    );
    let symbols = run(command("nm").args(["-D", "--defined-only"]).arg(&library));
    let exported: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    for header in ["vixDiskLib.h", "vixDiskLibExt.h"] {
        let path = artefact::libdir().join("include").join(header);
        let text = fs::read_to_string(path).expect("the headers are laid out");
        let declared: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once('('))
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("VixDiskLib_") || name.starts_with("VixDiskLibExt_"))
            .collect();
        assert!(declared.len() > 3, "the header is not understood");
        for name in declared {
            assert!(exported.contains(&name), "{name} is not exported");
        }
    }
    let foreign = exported
        .iter()
        .filter(|name| !name.starts_with("VixDiskLib"));
    assert_eq!(foreign.count(), 0, "{exported:?}");
}
