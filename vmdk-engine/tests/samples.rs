//! Public sample disks, written by many programs: every one has the content that its manifest says.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use support::{range, samples};
use vmdk_engine::{Allocation, Disk, DiskKind, ErrorKind, OpenOptions, Sector};

/// The SHA-256 of a disk's content, from the table in the manifest.
fn expected_sha256(manifest: &str, name: &str) -> String {
    let row = manifest
        .lines()
        .find(|line| line.starts_with(&format!("| {name} |")))
        .unwrap_or_else(|| panic!("the manifest has no row for {name}"));
    row.split('|').nth(8).unwrap().trim().to_owned()
}

fn sha256(disk: &Disk) -> String {
    let capacity = disk.capacity().get();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    while position < capacity {
        let count = (capacity - position).min(2048);
        let part = &mut buffer[..usize::try_from(count * 512).unwrap()];
        disk.read_at(Sector::new(position), part).unwrap();
        hasher.update(&*part);
        position += count;
    }
    hasher
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_sample_has_the_content_of_its_manifest() {
    let Some(folder) = samples() else { return };
    let manifest = fs::read_to_string(folder.join("MANIFEST.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    // Two samples are kept compressed with gzip; unpacked, they stand beside their descriptors.
    for (packed, unpacked) in [
        (
            "vmdk-rs/twoGbMaxExtentSparse-s001.vmdk.gz",
            "twoGbMaxExtentSparse-s001.vmdk",
        ),
        ("ganeti/compr_disk.vmdk.gz", "compr_disk.vmdk"),
    ] {
        let mut packed = GzDecoder::new(File::open(folder.join(packed)).unwrap());
        io::copy(
            &mut packed,
            &mut File::create(scratch.path().join(unpacked)).unwrap(),
        )
        .unwrap();
    }
    let split = "vmdk-rs/twoGbMaxExtentSparse.vmdk";
    fs::copy(
        folder.join(split),
        scratch.path().join("twoGbMaxExtentSparse.vmdk"),
    )
    .unwrap();

    for (name, path) in [
        ("dfvfs/ext2.vmdk", folder.join("dfvfs/ext2.vmdk")),
        (
            "vmdk-rs/streamOptimized.vmdk",
            folder.join("vmdk-rs/streamOptimized.vmdk"),
        ),
        (split, scratch.path().join("twoGbMaxExtentSparse.vmdk")),
        (
            "vmdk-rs/vmfs_thick.vmdk",
            folder.join("vmdk-rs/vmfs_thick.vmdk"),
        ),
        (
            "ganeti/second_disk.vmdk",
            folder.join("ganeti/second_disk.vmdk"),
        ),
        (
            "ganeti/compr_disk.vmdk.gz",
            scratch.path().join("compr_disk.vmdk"),
        ),
        (
            "go-vmdk-parser/vmdk-monolith.img",
            folder.join("go-vmdk-parser/vmdk-monolith.img"),
        ),
        (
            "vmdk-forensic/compressed_stream_opt.vmdk",
            folder.join("vmdk-forensic/compressed_stream_opt.vmdk"),
        ),
        (
            "vmdk-forensic/tw_sparse.vmdk",
            folder.join("vmdk-forensic/tw_sparse.vmdk"),
        ),
        (
            "vmdk-forensic/mono_flat.vmdk",
            folder.join("vmdk-forensic/mono_flat.vmdk"),
        ),
    ] {
        let disk = open(&path);
        assert_eq!(sha256(&disk), expected_sha256(&manifest, name), "{name}");
        // What the map calls anything but data reads as zeros.
        let mut covered = 0;
        for extent in disk.extents(range(0, disk.capacity().get())) {
            let extent = extent.unwrap();
            assert_eq!(extent.range.start().get(), covered, "{name}");
            covered = extent.range.end().get();
            if extent.state != Allocation::Data {
                let bytes = extent.range.bytes().unwrap().get();
                let mut hole = vec![1; usize::try_from(bytes).unwrap()];
                disk.read_at(extent.range.start(), &mut hole).unwrap();
                assert!(hole.iter().all(|byte| *byte == 0), "{name}: {extent:?}");
            }
        }
        assert_eq!(covered, disk.capacity().get(), "{name}");
    }
}

/// 16 GiB with 151 sectors of data, compared with their rule: that content has the checksum of the manifest, which
/// takes minutes to compute.
#[test]
fn a_large_esx_stream_is_read_to_the_last_sector() {
    let Some(folder) = samples() else { return };
    let name = "qemu-iotests/iotest-version3.vmdk";
    let disk = open(&folder.join(name));
    assert_eq!(disk.info().kind, DiskKind::StreamOptimized);
    let capacity = disk.capacity().get();
    assert_eq!(capacity, 33_554_432);
    let step = 8192;
    let mut buffer = vec![0; 8192 * 512];
    let mut expected = vec![0; 8192 * 512];
    // Each is filled with the last digit of its number in its row.
    let digit = |i: u64| b'0' + u8::try_from(i % 10).unwrap();
    let near = (0..100).map(|i| (1281 * i, digit(i)));
    let far = (1..52).map(|i| (1281 * 512 * i, digit(i)));
    let marked: Vec<(u64, u8)> = near.chain(far).collect();
    let mut met = 0;
    for start in (0..capacity).step_by(step) {
        expected.fill(0);
        for (sector, digit) in &marked {
            if (start..start + 8192).contains(sector) {
                let offset = usize::try_from((sector - start) * 512).unwrap();
                expected[offset..offset + 512].fill(*digit);
                met += 1;
            }
        }
        disk.read_at(Sector::new(start), &mut buffer).unwrap();
        assert!(buffer == expected, "differs behind sector {start}");
    }
    assert_eq!(met, marked.len());
}

#[test]
fn samples_without_content_are_refused_and_say_why() {
    let Some(folder) = samples() else { return };
    for (name, kind, needle) in [
        ("qemu-iotests/afl9.vmdk", ErrorKind::InvalidDisk, "newline"),
        (
            "vmdk-forensic/ms3-win.vmdk",
            ErrorKind::ExtentNotFound,
            "-s001.vmdk",
        ),
        (
            "vmdk-rs/vmfs_thick-000001.vmdk",
            ErrorKind::ExtentNotFound,
            "-delta.vmdk",
        ),
    ] {
        for single_link in [false, true] {
            let options = OpenOptions::new().single_link(single_link);
            let error = Disk::open(folder.join(name), &options).unwrap_err();
            assert_eq!(error.kind(), kind, "{name}: {error}");
            assert!(error.to_string().contains(needle), "{error}");
            assert!(
                error.to_string().contains(name.rsplit('/').next().unwrap()),
                "{error}"
            );
        }
    }
}
