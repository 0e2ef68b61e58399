//! Devices and folders that descriptors may only name where the caller allows it.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure here fails the test"
)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::image::{SECTOR, SparseImage, child_of, descriptor};
use support::{Numbers, content, range, run};
use vmdk_engine::{
    Allocation, Disk, Error, ErrorKind, FileStorage, GrowOptions, ListGate, OpenOptions, Sector,
    SectorCount, Storage, ZeroMode, grow, rename, unlink, unwatched,
};

const SECTORS: u64 = 4096;

fn gate(gate: ListGate) -> OpenOptions {
    OpenOptions::new().gate(Arc::new(gate))
}

fn allowing(device: &Path) -> OpenOptions {
    gate(ListGate::new().allow_devices([device]))
}

/// A file that stands for a device, outside the folder of the disk, with random content.
fn device(folder: &Path) -> (PathBuf, Vec<u8>) {
    let mut bytes = vec![0; usize::try_from(SECTORS).unwrap() * SECTOR];
    Numbers::new(5).fill(&mut bytes);
    fs::create_dir_all(folder.join("dev")).unwrap();
    let path = folder.join("dev/disk");
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn write_disk(folder: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(folder.join("vm")).unwrap();
    let path = folder.join("vm/disk.vmdk");
    fs::write(&path, text).unwrap();
    path
}

fn full(device: &Path) -> String {
    let line = format!("RW {SECTORS} FLAT \"{}\" 0", device.display());
    descriptor("fullDevice", &[&line])
}

/// As VirtualBox describes a disk whose second partition is not given away: a file for the partition table, and ranges
/// of the device.
fn partitioned(device: &Path) -> String {
    let device = device.display();
    descriptor(
        "partitionedDevice",
        &[
            "RW 63 FLAT \"disk-pt.vmdk\" 0",
            "RW 1 ZERO ",
            &format!("RW 1000 FLAT \"{device}\" 64"),
            "RW 936 ZERO",
            &format!("RW 2064 FLAT \"{device}\" 2000"),
            "RW 32 FLAT \"disk-pt.vmdk\" 63",
        ],
    )
}

fn kind(result: Result<Disk, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_device_opens_only_where_it_is_allowed() {
    let scratch = tempfile::tempdir().unwrap();
    let (device, bytes) = device(scratch.path());
    let disk = write_disk(scratch.path(), &full(&device));
    for options in [
        OpenOptions::new(),
        gate(ListGate::new()),
        gate(ListGate::new().allow_devices([scratch.path().join("dev/other")])),
        gate(ListGate::new().allow_devices(["disk", "dev/disk", ""])),
    ] {
        assert_eq!(kind(Disk::open(&disk, &options)), ErrorKind::AccessRefused);
    }
    let opened = Disk::open(&disk, &allowing(&device)).unwrap();
    assert!(content(&opened) == bytes);
    let writable = Disk::open(&disk, &allowing(&device).writable(true));
    assert_eq!(kind(writable), ErrorKind::AlreadyLocked);
    drop(opened);

    // By way of a link, and for writing.
    let link = scratch.path().join("by-id");
    symlink(&device, &link).unwrap();
    let opened = Disk::open(&disk, &allowing(&link).writable(true)).unwrap();
    opened.write_at(Sector::new(17), &[9; SECTOR]).unwrap();
    opened.close().unwrap();
    let mut expected = bytes;
    expected[17 * SECTOR..18 * SECTOR].fill(9);
    assert!(fs::read(&device).unwrap() == expected);
    let beside: Vec<_> = fs::read_dir(scratch.path().join("dev")).unwrap().collect();
    assert_eq!(beside.len(), 1, "no lock folder is made beside a device");
}

/// What a device is called on one host may be anything on another, so it is no device where none is allowed.
#[test]
fn raw_mappings_are_devices_or_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (device, bytes) = device(scratch.path());
    for (keyword, create_type) in [("VMFSRDM", "vmfsRawDeviceMap"), ("VMFSRAW", "vmfsRaw")] {
        let pointer = format!("RW {SECTORS} {keyword} \"disk-rdm.vmdk\"");
        let disk = write_disk(scratch.path(), &descriptor(create_type, &[&pointer]));
        fs::write(scratch.path().join("vm/disk-rdm.vmdk"), &bytes).unwrap();
        for options in [OpenOptions::new(), allowing(&device)] {
            let error = Disk::open(&disk, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(keyword), "{error}");
        }
        let line = format!("RW {SECTORS} {keyword} \"{}\"", device.display());
        let disk = write_disk(scratch.path(), &descriptor(create_type, &[&line]));
        assert_eq!(
            kind(Disk::open(&disk, &OpenOptions::new())),
            ErrorKind::Unsupported
        );
        assert!(content(&Disk::open(&disk, &allowing(&device)).unwrap()) == bytes);
        let writable = allowing(&device).writable(true);
        assert_eq!(kind(Disk::open(&disk, &writable)), ErrorKind::Unsupported);
        // Given read-only, it opens beside what is writable.
        let lines = [line.replace("RW", "RDONLY"), "RW 8 ZERO".to_owned()];
        let text = descriptor(create_type, &[&lines[0], &lines[1]]);
        let disk = Disk::open(write_disk(scratch.path(), &text), &writable).unwrap();
        let error = disk.write_at(Sector::new(1), &[1; SECTOR]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
    }
}

/// The bytes that a disk of parts has: the table, zeros, and two parts of the device.
fn put_together(table: &[u8], device: &[u8]) -> Vec<u8> {
    let part = |bytes: &[u8], start: usize, count: usize| {
        bytes[start * SECTOR..(start + count) * SECTOR].to_vec()
    };
    [
        part(table, 0, 63),
        vec![0; SECTOR],
        part(device, 64, 1000),
        vec![0; 936 * SECTOR],
        part(device, 2000, 2064),
        part(table, 63, 32),
    ]
    .concat()
}

fn check_partitioned(folder: &Path, device: &Path, mut bytes: Vec<u8>) {
    let disk = write_disk(folder, &partitioned(device));
    let mut table = vec![0; 95 * SECTOR];
    Numbers::new(6).fill(&mut table);
    let table_path = folder.join("vm/disk-pt.vmdk");
    fs::write(&table_path, &table).unwrap();
    assert_eq!(
        kind(Disk::open(&disk, &OpenOptions::new())),
        ErrorKind::AccessRefused
    );
    let opened = Disk::open(&disk, &allowing(device).writable(true)).unwrap();
    assert!(content(&opened) == put_together(&table, &bytes));
    assert_eq!(opened.capacity().get(), 4096);

    // Across the border of the table, within both parts, and what is not given away.
    opened.write_at(Sector::new(60), &[1; 3 * SECTOR]).unwrap();
    table[60 * SECTOR..63 * SECTOR].fill(1);
    opened
        .write_at(Sector::new(1060), &[2; 4 * SECTOR])
        .unwrap();
    bytes[1060 * SECTOR..1064 * SECTOR].fill(2);
    opened
        .write_zeroes(range(1990, 2010), ZeroMode::MayFree)
        .unwrap();
    bytes[2000 * SECTOR..2010 * SECTOR].fill(0);
    opened
        .write_at(Sector::new(4060), &[3; 10 * SECTOR])
        .unwrap();
    bytes[4060 * SECTOR..4064 * SECTOR].fill(3);
    table[63 * SECTOR..69 * SECTOR].fill(3);
    let error = opened
        .write_at(Sector::new(1500), &[4; SECTOR])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(content(&opened) == put_together(&table, &bytes));
    opened.close().unwrap();

    assert!(fs::read(&table_path).unwrap() == table);
    let mut found = vec![0; bytes.len()];
    File::open(device)
        .unwrap()
        .read_exact_at(&mut found, 0)
        .unwrap();
    assert!(found == bytes, "nothing outside the parts has changed");
    let opened = Disk::open(&disk, &allowing(device)).unwrap();
    assert!(content(&opened) == put_together(&table, &bytes));
}

#[test]
fn a_partitioned_device_is_put_together() {
    let scratch = tempfile::tempdir().unwrap();
    let (device, bytes) = device(scratch.path());
    check_partitioned(scratch.path(), &device, bytes);
}

/// A snapshot of a raw disk: the device is only read, and a child without the allowance does not get at it either.
#[test]
fn a_child_lies_over_a_device() {
    let scratch = tempfile::tempdir().unwrap();
    let (device, bytes) = device(scratch.path());
    write_disk(scratch.path(), &full(&device));
    let mut image = SparseImage::monolithic(SECTORS);
    image.text = child_of(&image.text, 2, 0x1f2e_3d4c, "disk.vmdk");
    let child = scratch.path().join("vm/child.vmdk");
    fs::write(&child, image.build()).unwrap();
    let refused = Disk::open(&child, &OpenOptions::new());
    assert_eq!(kind(refused), ErrorKind::AccessRefused);
    let opened = Disk::open(&child, &allowing(&device).writable(true)).unwrap();
    opened.write_at(Sector::new(300), &[9; SECTOR]).unwrap();
    let mut expected = bytes.clone();
    expected[300 * SECTOR..301 * SECTOR].fill(9);
    assert!(content(&opened) == expected);
    opened.close().unwrap();
    assert!(fs::read(&device).unwrap() == bytes);
}

/// Removing, renaming and growing a disk is about its own files; the device is not one of them, allowed or not.
#[test]
fn a_device_outlives_its_disk() {
    for is_allowed in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let (device, bytes) = device(scratch.path());
        let disk = write_disk(scratch.path(), &full(&device));
        let gate = match is_allowed {
            true => ListGate::new().allow_devices([&device]),
            false => ListGate::new(),
        };
        let options = GrowOptions::new().gate(Arc::new(gate.clone()));
        let larger = SectorCount::new(SECTORS + 1000);
        grow(&disk, larger, &options, &mut unwatched).unwrap_err();
        assert_eq!(fs::read(&disk).unwrap(), full(&device).as_bytes());
        let renamed = disk.with_file_name("renamed.vmdk");
        rename(&disk, &renamed, &[], &gate).unwrap();
        assert!(content(&Disk::open(&renamed, &allowing(&device)).unwrap()) == bytes);
        unlink(&renamed, &gate).unwrap();
        assert!(!renamed.exists());
        assert!(fs::read(&device).unwrap() == bytes, "allowed: {is_allowed}");
        let left: Vec<_> = fs::read_dir(scratch.path().join("dev")).unwrap().collect();
        assert_eq!(left.len(), 1);
    }
}

#[test]
fn parts_of_a_device_must_not_overlap() {
    let scratch = tempfile::tempdir().unwrap();
    let (device, _) = device(scratch.path());
    let name = device.display();
    let both = |one: &str, two: &str| {
        let lines = [one, two].map(|line| line.replace("DEVICE", &name.to_string()));
        descriptor("partitionedDevice", &[&lines[0], &lines[1]])
    };
    use ErrorKind::InvalidDisk;
    for (text, expected) in [
        (
            both("RW 100 FLAT \"DEVICE\" 0", "RW 100 FLAT \"DEVICE\" 100"),
            None,
        ),
        (
            both("RW 100 FLAT \"DEVICE\" 100", "RW 100 FLAT \"DEVICE\" 0"),
            None,
        ),
        (
            both("RW 100 FLAT \"DEVICE\" 0", "RDONLY 100 FLAT \"DEVICE\" 100"),
            None,
        ),
        (
            both("RW 100 FLAT \"DEVICE\" 0", "RW 100 FLAT \"DEVICE\" 99"),
            Some(InvalidDisk),
        ),
        (
            both("RW 100 FLAT \"DEVICE\" 0", "RDONLY 100 FLAT \"DEVICE\" 99"),
            Some(InvalidDisk),
        ),
        (
            both("RDONLY 100 FLAT \"DEVICE\" 0", "RW 100 FLAT \"DEVICE\" 100"),
            Some(InvalidDisk),
        ),
        (
            both("RW 100 FLAT \"DEVICE\" 0", "RW 1 FLAT \"disk.vmdk\" 0"),
            Some(InvalidDisk),
        ),
        (
            both("RW 100 FLAT \"DEVICE\" 0", "RW 100 FLAT \"DEVICE\" 100")
                .replace("partitionedDevice", "custom"),
            Some(InvalidDisk),
        ),
    ] {
        let disk = write_disk(scratch.path(), &text);
        let options = allowing(&device).writable(true);
        let found = Disk::open(&disk, &options).err().map(|error| error.kind());
        assert_eq!(found, expected, "{text}");
        if !text.contains("disk.vmdk") {
            Disk::open(&disk, &allowing(&device)).unwrap();
        }
    }
}

#[test]
fn a_device_that_is_too_short_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (device, _) = device(scratch.path());
    let text = full(&device).replace("4096", "4097");
    let disk = write_disk(scratch.path(), &text);
    assert_eq!(
        kind(Disk::open(&disk, &allowing(&device))),
        ErrorKind::InvalidDisk
    );
    for path in ["/dev/null", "/dev/tty"] {
        let text = full(Path::new(path));
        let disk = write_disk(scratch.path(), &text);
        let options = allowing(Path::new(path));
        assert_eq!(
            kind(Disk::open(&disk, &options)),
            ErrorKind::AccessRefused,
            "{path}"
        );
    }
}

#[test]
fn folders_open_only_where_they_are_allowed() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    for name in ["one/deep", "two", "three"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let file = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    file("one/deep/extent", &[7; 8 * SECTOR]);
    file("secret", &[8; 8 * SECTOR]);
    file("three/base.vmdk", &SparseImage::monolithic(2048).build());
    symlink("../secret", folder.join("one/link")).unwrap();
    let text = |name: &str| {
        let line = format!("RW 8 FLAT \"{}\" 0", folder.join(name).display());
        descriptor("monolithicFlat", &[&line])
    };
    let one = || {
        gate(
            ListGate::new()
                .allow_folder(folder.join("one"))
                .allow_folder(folder.join("gone")),
        )
    };
    let disk = write_disk(folder, &text("one/deep/extent"));
    assert_eq!(
        kind(Disk::open(&disk, &OpenOptions::new())),
        ErrorKind::AccessRefused
    );
    let opened = Disk::open(&disk, &one().writable(true)).unwrap();
    opened.write_at(Sector::new(1), &[1; SECTOR]).unwrap();
    drop(opened);
    assert_eq!(fs::read(folder.join("one/deep/extent")).unwrap()[SECTOR], 1);
    for outside in [
        "secret",
        "one/link",
        "one/../secret",
        "two/../secret",
        "one",
    ] {
        let disk = write_disk(folder, &text(outside));
        assert_eq!(
            kind(Disk::open(&disk, &one())),
            ErrorKind::AccessRefused,
            "{outside}"
        );
    }

    let hint = folder.join("three/base.vmdk");
    let mut image = SparseImage::monolithic(2048);
    image.text = child_of(&image.text, 2, 0x1f2e_3d4c, hint.to_str().unwrap());
    fs::create_dir_all(folder.join("elsewhere/vm")).unwrap();
    let child = folder.join("elsewhere/vm/child.vmdk");
    fs::write(&child, image.build()).unwrap();
    assert_eq!(
        kind(Disk::open(&child, &OpenOptions::new())),
        ErrorKind::AccessRefused
    );
    assert_eq!(kind(Disk::open(&child, &one())), ErrorKind::AccessRefused);
    let three = gate(ListGate::new().allow_folder(folder.join("three")));
    assert_eq!(Disk::open(&child, &three).unwrap().info().links, 2);
}

/// A block device over a file, until it is dropped.
struct Loop(PathBuf);

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        let output = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(file)
            .output();
        let output = output.ok().filter(|output| output.status.success());
        let Some(output) = output else {
            // No program is missing: it takes root and a kernel that lets it.
            eprintln!("SKIPPED: no loop device can be made here");
            return None;
        };
        Some(Self(
            String::from_utf8(output.stdout).unwrap().trim().into(),
        ))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run(Command::new("losetup").arg("-d").arg(&self.0));
    }
}

#[test]
fn a_block_device_is_read_and_written() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, mut bytes) = device(scratch.path());
    let Some(device) = Loop::over(&file) else {
        return;
    };
    let storage = FileStorage::new(File::open(&device.0).unwrap());
    assert_eq!(storage.len().unwrap().get(), SECTORS * 512);
    assert!(!storage.has_holes().unwrap());
    drop(storage);

    let disk = write_disk(scratch.path(), &full(&device.0));
    let error = Disk::open(&disk, &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessRefused);
    assert!(error.to_string().contains("devices are allowed"), "{error}");
    let opened = Disk::open(&disk, &allowing(&device.0).writable(true)).unwrap();
    assert!(content(&opened) == bytes);
    let again = Disk::open(&disk, &allowing(&device.0).writable(true));
    assert_eq!(kind(again), ErrorKind::AlreadyLocked);
    opened.write_at(Sector::new(100), &[5; 3 * SECTOR]).unwrap();
    opened
        .write_zeroes(range(200, 300), ZeroMode::MayFree)
        .unwrap();
    opened
        .write_zeroes(range(300, 310), ZeroMode::MustAllocate)
        .unwrap();
    bytes[100 * SECTOR..103 * SECTOR].fill(5);
    bytes[200 * SECTOR..310 * SECTOR].fill(0);
    assert!(content(&opened) == bytes);
    let states: Vec<_> = opened
        .extents(range(0, SECTORS))
        .map(|run| run.unwrap().state)
        .collect();
    assert_eq!(states, [Allocation::Data]);
    opened.close().unwrap();

    let text = full(&device.0).replace("4096", "4097");
    let longer = write_disk(scratch.path(), &text);
    assert_eq!(
        kind(Disk::open(&longer, &allowing(&device.0))),
        ErrorKind::InvalidDisk
    );
    check_partitioned(scratch.path(), &device.0, bytes.clone());
    drop(device);
    let written = fs::read(&file).unwrap();
    assert!(
        written[100 * SECTOR..103 * SECTOR]
            .iter()
            .all(|byte| *byte == 5)
    );
}
