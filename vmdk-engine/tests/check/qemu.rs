//! What a repair leaves, qemu-img reads as the engine does, and finds nothing wrong with.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::{Numbers, content, has_qemu, range, run};
use super::*;
use vmdk_engine::{OpenOptions, ZeroMode};

fn qemu_content(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    fs::read(raw).unwrap()
}

/// Damage at places that depend on the seed, of disks that qemu-img has made and filled.
#[test]
fn disks_of_qemu_are_repaired_for_qemu() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut numbers = Numbers::new(8);
    for (subformat, extent) in [
        ("monolithicSparse", "disk.vmdk"),
        ("twoGbMaxExtentSparse", "disk-s001.vmdk"),
    ] {
        let folder = scratch.path().join(subformat);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("disk.vmdk");
        let source = folder.join("source");
        let mut bytes = vec![0; 34 << 20];
        for _ in 0..40 {
            let at = usize::try_from(numbers.below(33 << 20)).unwrap();
            numbers.fill(&mut bytes[at..at + 100_000]);
        }
        fs::write(&source, &bytes).unwrap();
        let option = format!("subformat={subformat}");
        run(Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "vmdk", "-o", &option])
            .args([&source, &path]));
        let extent = folder.join(extent);
        let good = fs::read(&extent).unwrap();
        let read = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap());
        let directory = usize::try_from(read(56)).unwrap() * SECTOR;
        for round in 0..5 {
            let mut damaged = good.clone();
            match round {
                0 => put(&mut damaged, 56, &[0; 8]),
                1 => put(&mut damaged, directory, &[0xff; 8]),
                2 => put(&mut damaged, 64, &[0; 8]),
                _ => {
                    // Only one of the copies: all can be restored.
                    let side = if round % 2 == 0 {
                        directory
                    } else {
                        21 * SECTOR
                    };
                    let table = usize::try_from(read(side + 4)).unwrap() * SECTOR;
                    for _ in 0..30 {
                        let entry = usize::try_from(numbers.below(512)).unwrap() * 4;
                        let value =
                            [0, 7, 1 << 30, 1200][usize::try_from(numbers.below(4)).unwrap()];
                        put(&mut damaged, table + entry, &u32::to_le_bytes(value));
                    }
                }
            }
            fs::write(&extent, &damaged).unwrap();
            let found = check(&path, &CheckOptions::new()).unwrap();
            assert!(!found.is_clean(), "{subformat} {round}");
            let report = repair(&path, &RepairOptions::new()).unwrap();
            assert!(report.is_clean(), "{subformat} {round}: {}", lines(&report));
            assert!(check(&path, &CheckOptions::new()).unwrap().is_clean());
            let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
            let ours = content(&disk);
            drop(disk);
            assert!(
                ours == qemu_content(&path),
                "{subformat} {round}: qemu reads otherwise"
            );
            let is_original = ours == bytes;
            assert!(is_original || round > 2, "{subformat} {round}");
            run(Command::new("qemu-img")
                .args(["check", "-f", "vmdk"])
                .arg(&path));
        }
    }
}

/// Disks that nothing is wrong with, whoever wrote them.
#[test]
fn good_disks_of_qemu_are_clean() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let source = scratch.path().join("source");
    let mut bytes = vec![0; 5 << 20];
    Numbers::new(2).fill(&mut bytes[1 << 20..3 << 20]);
    fs::write(&source, &bytes).unwrap();
    for options in [
        "subformat=monolithicSparse",
        "subformat=monolithicSparse,zeroed_grain=on",
        "subformat=monolithicFlat",
        "subformat=twoGbMaxExtentSparse",
        "subformat=twoGbMaxExtentFlat",
        "subformat=streamOptimized",
    ] {
        run(Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "vmdk", "-o", options])
            .args([&source, &path]));
        let report = check(&path, &CheckOptions::new()).unwrap();
        assert_eq!(report.findings(), [], "{options}");
        if options.contains("streamOptimized") {
            continue;
        }
        let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
        disk.write_at(Sector::new(77), &[1; 9 * SECTOR]).unwrap();
        disk.write_zeroes(range(2048, 4096), ZeroMode::MayFree)
            .unwrap();
        disk.close().unwrap();
        let report = check(&path, &CheckOptions::new()).unwrap();
        assert!(report.is_clean(), "{options}: {}", lines(&report));
    }
}

#[test]
fn samples_are_clean() {
    let Some(samples) = super::support::samples() else {
        return;
    };
    for name in [
        "qemu-iotests/iotest-version3.vmdk",
        "dfvfs/ext2.vmdk",
        "vmdk-rs/streamOptimized.vmdk",
        "ganeti/second_disk.vmdk",
        "go-vmdk-parser/vmdk-monolith.img",
    ] {
        let path = samples.join(name);
        let report = check(&path, &CheckOptions::new()).unwrap();
        assert!(report.is_clean(), "{name}: {}", lines(&report));
    }
}
