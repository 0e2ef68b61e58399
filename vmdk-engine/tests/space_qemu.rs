//! Shrinking and defragmenting disks that qemu fragmented: it reads the same before and after, and finds them clean.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use support::{Numbers, content, has_qemu, run};
use vmdk_engine::{Disk, OpenOptions, unwatched};

const GRAIN: u64 = 65536;
const GRAINS: u64 = 160;

fn create(path: &Path, kind: &str, parent: Option<&Path>) {
    let kind = format!("subformat={kind}");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "vmdk", "-o", &kind]);
    match parent {
        Some(parent) => {
            let parent = parent.file_name().unwrap();
            command.args(["-F", "vmdk", "-b"]).arg(parent).arg(path)
        }
        None => command.arg(path).arg((GRAINS * GRAIN).to_string()),
    };
    run(&mut command);
}

/// Grains in no order, about a third of them zeros that are written as data.
fn fragment(path: &Path, numbers: &mut Numbers) {
    let mut command = Command::new("qemu-io");
    command.args(["-f", "vmdk"]);
    for _ in 0..120 {
        let grain = numbers.below(GRAINS);
        let byte = [0, 17, 200][usize::try_from(numbers.below(3)).unwrap()];
        let start = grain * GRAIN;
        let count = if numbers.below(4) == 0 { 3072 } else { GRAIN };
        command.args(["-c", &format!("write -P {byte} {start} {count}")]);
    }
    run(command.arg(path));
}

fn qemu_sum(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    let sum = Sha256::digest(fs::read(&raw).unwrap());
    fs::remove_file(raw).unwrap();
    sum.to_vec()
}

/// The size of the only extent of a disk.
fn size(folder: &Path, base: &str) -> u64 {
    let split = folder.join(format!("{base}-s001.vmdk"));
    let path = if split.exists() {
        split
    } else {
        folder.join(format!("{base}.vmdk"))
    };
    fs::metadata(path).unwrap().len()
}

fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new().writable(true)).unwrap()
}

#[test]
fn qemu_reads_the_same_before_and_after() {
    if !has_qemu() {
        return;
    }
    let mut numbers = Numbers::new(11);
    for kind in [
        "monolithicSparse",
        "twoGbMaxExtentSparse",
        "monolithicSparse,zeroed_grain=on",
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| -> PathBuf { scratch.path().join(name) };
        create(&at("empty.vmdk"), kind, None);
        create(&at("disk.vmdk"), kind, None);
        fragment(&at("disk.vmdk"), &mut numbers);
        let copy = at("copy.vmdk");
        let options = format!("subformat={kind}");
        run(Command::new("qemu-img")
            .args(["convert", "-O", "vmdk", "-o", &options])
            .args([&at("disk.vmdk"), &copy]));
        let before = qemu_sum(&at("disk.vmdk"));
        let mut disk = open(&at("disk.vmdk"));
        let expected = content(&disk);
        assert_eq!(Sha256::digest(&expected).to_vec(), before, "{kind}");
        let kept = expected
            .chunks(usize::try_from(GRAIN).unwrap())
            .filter(|grain| grain.iter().any(|byte| *byte != 0))
            .count();

        disk.shrink(&mut unwatched).unwrap();
        assert!(content(&disk) == expected);
        disk.defragment(&mut unwatched).unwrap();
        assert!(content(&disk) == expected);
        disk.close().unwrap();

        let smallest = u64::try_from(kept).unwrap() * GRAIN;
        assert_eq!(
            size(scratch.path(), "disk"),
            size(scratch.path(), "empty") + smallest,
            "{kind}"
        );
        assert_eq!(qemu_sum(&at("disk.vmdk")), before, "{kind}");
        run(Command::new("qemu-img")
            .args(["check", "-q"])
            .arg(at("disk.vmdk")));
        run(Command::new("qemu-img")
            .args(["compare", "-q"])
            .args([&at("disk.vmdk"), &copy]));

        // It works on: qemu writes, and we read that.
        fragment(&at("disk.vmdk"), &mut numbers);
        let sum = qemu_sum(&at("disk.vmdk"));
        let disk = open(&at("disk.vmdk"));
        assert_eq!(Sha256::digest(content(&disk)).to_vec(), sum, "{kind}");
    }
}

/// Zeros of a child that hide data of its parent stay, others go.
#[test]
fn a_child_of_qemu_shows_the_same_through_the_chain() {
    if !has_qemu() {
        return;
    }
    let mut numbers = Numbers::new(12);
    for kind in ["monolithicSparse", "monolithicSparse,zeroed_grain=on"] {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| -> PathBuf { scratch.path().join(name) };
        create(&at("base.vmdk"), "monolithicSparse", None);
        fragment(&at("base.vmdk"), &mut numbers);
        create(&at("child.vmdk"), kind, Some(&at("base.vmdk")));
        fragment(&at("child.vmdk"), &mut numbers);
        let before = (qemu_sum(&at("child.vmdk")), qemu_sum(&at("base.vmdk")));
        let size_before = size(scratch.path(), "child");
        let mut disk = open(&at("child.vmdk"));
        disk.shrink(&mut unwatched).unwrap();
        disk.defragment(&mut unwatched).unwrap();
        disk.close().unwrap();
        assert!(size(scratch.path(), "child") < size_before, "{kind}");
        let after = (qemu_sum(&at("child.vmdk")), qemu_sum(&at("base.vmdk")));
        assert!(after == before, "{kind}");
        run(Command::new("qemu-img")
            .args(["check", "-q"])
            .arg(at("child.vmdk")));
    }
}
