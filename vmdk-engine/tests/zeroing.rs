//! Zeros and trims on file systems with and without holes.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use support::image::{MemoryGate, SparseImage, descriptor};
use support::recording::{Failure, Recording};
use support::{content, range};
use vmdk_engine::{Allocation, Disk, ErrorKind, OpenOptions, Sector, ZeroMode};

fn states(disk: &Disk) -> Vec<Allocation> {
    disk.extents(range(0, disk.capacity().get()))
        .map(|extent| extent.unwrap().state)
        .collect()
}

#[test]
fn a_sparse_disk_frees_grains_anywhere_but_zeroes_parts_fast_only_with_holes() {
    let recording = Recording::new(SparseImage::monolithic(512).build());
    recording.fail(Failure::Holes);
    let disk = Disk::open("disk.vmdk", &recording.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[7; 256 * 512]).unwrap();
    let before = content(&disk);
    let refused = |from: u64, to: u64, mode| {
        let error = disk.write_zeroes(range(from, to), mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFast, "{error}");
        assert!(content(&disk) == before);
    };
    refused(1, 100, ZeroMode::FastMayFree);
    refused(100, 200, ZeroMode::FastMayFree);
    refused(0, 128, ZeroMode::FastMustAllocate);
    // Nothing to do, and whole grains.
    disk.write_zeroes(range(300, 350), ZeroMode::FastMayFree)
        .unwrap();
    disk.write_zeroes(range(100, 256), ZeroMode::FastMayFree)
        .unwrap();
    let mut expected = vec![7; 100 * 512];
    expected.resize(512 * 512, 0);
    assert!(content(&disk) == expected);
    assert_eq!(states(&disk), [Allocation::Data, Allocation::Hole]);
    // The slow way works everywhere.
    disk.write_zeroes(range(50, 400), ZeroMode::MustAllocate)
        .unwrap();
    expected[50 * 512..].fill(0);
    assert!(content(&disk) == expected);
    assert_eq!(states(&disk), [Allocation::Data]);
    disk.close().unwrap();
}

/// The file system is asked by a hole behind the end of the file, which is where other threads put new grains.
#[test]
fn a_growing_file_is_not_asked_for_holes() {
    let recording = Recording::new(SparseImage::monolithic(512).build());
    let disk = Disk::open("disk.vmdk", &recording.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[7; 128 * 512]).unwrap();
    disk.write_zeroes(range(1, 100), ZeroMode::FastMayFree)
        .unwrap();
    disk.write_zeroes(range(0, 200), ZeroMode::FastMustAllocate)
        .unwrap();
    disk.close().unwrap();
    assert_eq!(recording.asked_for_holes(), [0]);
}

#[test]
fn a_flat_disk_without_holes_writes_zeros_and_ignores_trims() {
    let flat = Recording::new(vec![7; 64 * 512]);
    flat.fail(Failure::Holes);
    let gate = MemoryGate::default()
        .with(
            "disk.vmdk",
            descriptor("monolithicFlat", &["RW 64 FLAT \"flat\" 0"]),
        )
        .with_recording("flat", &flat);
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    for mode in [ZeroMode::FastMayFree, ZeroMode::FastMustAllocate] {
        let error = disk.write_zeroes(range(0, 8), mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFast);
    }
    disk.trim(range(0, 8)).unwrap();
    assert!(content(&disk) == [7; 64 * 512]);
    disk.write_zeroes(range(1, 8), ZeroMode::MayFree).unwrap();
    disk.write_zeroes(range(8, 9), ZeroMode::MustAllocate)
        .unwrap();
    disk.close().unwrap();
    let bytes = flat.bytes();
    assert!(bytes[512..9 * 512].iter().all(|byte| *byte == 0));
    assert!(
        bytes[..512]
            .iter()
            .chain(&bytes[9 * 512..])
            .all(|byte| *byte == 7)
    );
}

/// Thin files get holes; files that their owner filled keep their space.
#[test]
fn trims_of_flat_files_follow_how_the_file_was_made() {
    for (is_full, is_marked) in [(true, false), (true, true), (false, false)] {
        let scratch = tempfile::tempdir().unwrap();
        let (path, flat) = (
            scratch.path().join("disk.vmdk"),
            scratch.path().join("flat"),
        );
        let mut text = descriptor("vmfs", &["RW 2048 VMFS \"flat\""]);
        if is_marked {
            text.push_str("ddb.thinProvisioned = \"1\"\n");
        }
        fs::write(&path, text).unwrap();
        if is_full {
            fs::write(&flat, [7; 2048 * 512]).unwrap();
        } else {
            File::create(&flat).unwrap().set_len(2048 * 512).unwrap();
        }
        let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
        disk.write_at(Sector::ZERO, &[8; 2048 * 512]).unwrap();
        disk.flush().unwrap();
        let blocks = || fs::metadata(&flat).unwrap().blocks();
        assert!(blocks() >= 2048);
        disk.trim(range(0, 1024)).unwrap();
        disk.flush().unwrap();
        assert!(content(&disk)[..1024 * 512].iter().all(|byte| *byte == 0));
        assert!(content(&disk)[1024 * 512..].iter().all(|byte| *byte == 8));
        let keeps_space = is_full && !is_marked;
        assert_eq!(
            blocks() >= 2048,
            keeps_space,
            "full {is_full}, marked {is_marked}"
        );
        disk.write_zeroes(range(0, 1024), ZeroMode::MustAllocate)
            .unwrap();
        disk.flush().unwrap();
        assert!(blocks() >= 2048, "there is space again");
        assert_eq!(fs::metadata(&flat).unwrap().len(), 2048 * 512);
    }
}
