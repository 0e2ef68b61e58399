//! The programs in Python and JavaScript that copy a disk through our shared library.

use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::client::{
    checks_clean, command, convert_to_raw, output, qemu_img, run, same_content,
};
use conformance::disk::{Kind, SECTOR, raw_with_data, space_taken};
use conformance::{arguments, artefact, checksum, need};

/// The end is within a chunk and within a grain.
const CAPACITY: u64 = (40 << 20) + 7 * SECTOR;

/// Copies a disk of every kind, and a chain. The program is to be given a source, a target, and the library.
fn copies(program: impl Fn() -> Command) {
    for kind in Kind::ALL {
        let folder = tempfile::tempdir().expect("there is room");
        let raw = raw_with_data(folder.path(), CAPACITY, 12, 1);
        copies_one(
            &program,
            &artefact::library(),
            &kind.convert(folder.path(), &raw),
            &raw,
        );
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), CAPACITY, 12, 2);
    let parent = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let child = folder.path().join("child.vmdk");
    qemu_img(arguments![
        "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child
    ]);
    // Which keeps the rules of VDDK too.
    copies_one(&program, &artefact::rule_check(), &child, &raw);
}

fn copies_one(program: &impl Fn() -> Command, library: &Path, disk: &Path, raw: &Path) {
    let copy = disk.with_file_name("copy.vmdk");
    let arguments =
        |source: &Path| -> [PathBuf; 3] { [source.to_owned(), copy.clone(), library.to_owned()] };
    let printed = run(program().args(arguments(disk)));
    assert_eq!(printed, format!("{}\n", checksum::file(raw)), "{disk:?}");
    let found = disk.with_file_name("found");
    convert_to_raw(&copy, &found);
    assert!(same_content(raw, &found), "{disk:?}");
    assert!(checks_clean(&copy));
    if !disk.ends_with("monolithicFlat.vmdk") && !disk.ends_with("twoGbMaxExtentFlat.vmdk") {
        assert!(space_taken(&copy) < CAPACITY / 2, "only data is copied");
    }

    let before = checksum::file(&copy);
    for (source, word) in [
        (disk, "already exists"),
        (Path::new("/absent.vmdk"), "(code 4)"),
    ] {
        let refused = output(program().args(arguments(source)));
        assert_eq!(refused.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert!(errors.contains(word), "{errors}");
    }
    assert_eq!(checksum::file(&copy), before);
}

#[test]
fn python_copies_disks() {
    if !need::have(&["qemu-img", need::PYTHON]) {
        return;
    }
    copies(|| {
        let mut python = command(need::PYTHON);
        python.arg(artefact::repository().join("examples/python/copy.py"));
        python
    });
}

#[test]
fn node_copies_disks() {
    if !need::have(&["qemu-img", "node"]) {
        return;
    }
    let Some(program) = artefact::node_program() else {
        need::skip("the packages of examples/node are not installed");
        return;
    };
    copies(|| {
        let mut node = command("node");
        node.arg(&program);
        node
    });
}
