//! The largest disks there are open quickly and in bounded memory, however many links they have.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::esx::SeSparseImage;
use support::image::{SparseImage, child_of, descriptor};
use vmdk_engine::{Allocation, Disk, OpenOptions, Sector, SectorRange};

const TIB: u64 = 1 << 31;

/// Sectors of one grain table of a hosted sparse disk, and of an SESparse one.
const HOSTED_TABLE: u64 = 512 * 128;
const SE_TABLE: u64 = 4096 * 8;

/// What is written, far apart: the sector, and its bytes.
const MARKS: [(u64, u8); 3] = [(5, 0x51), (31 * TIB + 7, 0x52), (62 * TIB - 1, 0x53)];

/// A hosted sparse extent of 62 TiB whose directories are all holes, by its header alone.
fn hosted(path: &Path, capacity: u64, text: Option<String>) {
    let image = SparseImage {
        text: text.unwrap_or_default(),
        ..SparseImage::monolithic(HOSTED_TABLE)
    };
    let mut head = image.build();
    head.truncate(21 * 512);
    let directory = (capacity.div_ceil(HOSTED_TABLE) * 4).div_ceil(512);
    let end = (21 + 2 * directory).next_multiple_of(128);
    for (position, value) in [(12, capacity), (48, 21), (56, 21 + directory), (64, end)] {
        head[position..position + 8].copy_from_slice(&value.to_le_bytes());
    }
    let file = File::create(path).unwrap();
    file.write_all_at(&head, 0).unwrap();
    file.set_len(end * 512).unwrap();
}

/// Writes the marks with the engine.
fn mark(path: &Path) {
    let disk = Disk::open(path, &OpenOptions::new().writable(true)).unwrap();
    for (sector, byte) in MARKS {
        disk.write_at(Sector::new(sector), &[byte; 512]).unwrap();
    }
    disk.close().unwrap();
}

fn monolithic(folder: &Path) -> PathBuf {
    let line = format!("RW {} SPARSE \"disk.vmdk\"", 62 * TIB);
    let path = folder.join("disk.vmdk");
    hosted(
        &path,
        62 * TIB,
        Some(descriptor("monolithicSparse", &[&line])),
    );
    mark(&path);
    path
}

/// A file of the regions that SESparse has, in the places that a disk of 62 TiB needs them.
fn write_se_sparse(path: &Path, capacity: u64) {
    let tables = capacity.div_ceil(SE_TABLE);
    let directory = (tables * 8).div_ceil(512).next_multiple_of(2048);
    let first_table = 4096 + directory;
    let (bitmap, table_sectors) = (first_table + 2048, 2048);
    let (back_map, grains) = (bitmap + 2048, bitmap + 4096);
    let mut head = SeSparseImage::new(capacity).build();
    head.truncate(4096 * 512);
    for (index, (offset, size)) in [
        (4096, directory),
        (first_table, table_sectors),
        (bitmap, 2048),
        (back_map, 2048),
        (grains, capacity),
    ]
    .into_iter()
    .enumerate()
    {
        let position = 128 + index * 16;
        head[position..position + 8].copy_from_slice(&u64::to_le_bytes(offset));
        head[position + 8..position + 16].copy_from_slice(&u64::to_le_bytes(size));
    }
    let file = File::create(path).unwrap();
    file.write_all_at(&head, 0).unwrap();
    file.set_len((grains + 64) * 512).unwrap();
    for (number, (sector, byte)) in (0..).zip(MARKS) {
        let entry = u64::to_le_bytes(1 << 60 | number);
        let slot = 4096 * 512 + sector / SE_TABLE * 8;
        file.write_all_at(&entry, slot).unwrap();
        let entry = u64::to_le_bytes(3 << 60 | number << 48);
        let slot = (first_table + number * 64) * 512 + sector % SE_TABLE / 8 * 8;
        file.write_all_at(&entry, slot).unwrap();
        let place = (grains + number * 8 + sector % 8) * 512;
        file.write_all_at(&[byte; 512], place).unwrap();
    }
}

fn se_sparse(folder: &Path) -> PathBuf {
    write_se_sparse(&folder.join("s.vmdk"), 62 * TIB);
    let line = format!("RW {} SESPARSE \"s.vmdk\"", 62 * TIB);
    let path = folder.join("disk.vmdk");
    fs::write(&path, descriptor("seSparse", &[&line])).unwrap();
    path
}

/// Thirty-one extents of 2 TiB.
fn custom(folder: &Path) -> PathBuf {
    let mut lines = Vec::new();
    for number in 0..31 {
        let name = format!("s{number:03}.vmdk");
        hosted(&folder.join(&name), 2 * TIB, None);
        lines.push(format!("RW {} SPARSE \"{name}\"", 2 * TIB));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let path = folder.join("disk.vmdk");
    fs::write(&path, descriptor("custom", &lines)).unwrap();
    mark(&path);
    path
}

/// Sixty-four children of a disk that has the marks; every one of them has 8 MiB of directory, twice.
fn chain(folder: &Path) -> PathBuf {
    let mut parent = monolithic(folder);
    let mut parent_id = Disk::open(&parent, &OpenOptions::new())
        .map(|disk| cid(&disk))
        .unwrap();
    for number in 1..=64_u32 {
        let name = format!("child{number}.vmdk");
        let line = format!("RW {} SPARSE \"{name}\"", 62 * TIB);
        let text = descriptor("monolithicSparse", &[&line]);
        let hint = parent.file_name().unwrap().to_str().unwrap().to_owned();
        let text = child_of(&text, number, parent_id, &hint);
        parent = folder.join(name);
        hosted(&parent, 62 * TIB, Some(text));
        parent_id = number;
    }
    parent
}

/// The content id, from the text of the file.
fn cid(disk: &Disk) -> u32 {
    let id = disk.metadata("longContentID").unwrap();
    u32::from_str_radix(&id[id.len() - 8..], 16).unwrap()
}

fn memory_kib(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Measures in a process of its own, whose peak of memory is that of the disk.
fn measure(role: &str, build: fn(&Path) -> PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = build(scratch.path());
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "as_a_process_that_measures",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("SCALE_DISK", &path)
        .env("SCALE_ROLE", role)
        .status()
        .unwrap();
    assert!(status.success(), "{role}");
}

#[test]
#[ignore = "run by other tests as a process of its own"]
fn as_a_process_that_measures() {
    let path = PathBuf::from(std::env::var_os("SCALE_DISK").unwrap());
    let role = std::env::var("SCALE_ROLE").unwrap();
    // Whatever the first open of a process needs is not the disk's.
    drop(Disk::open(path.with_file_name("none"), &OpenOptions::new()));
    let before = memory_kib("VmRSS");
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
        fastest = fastest.min(start.elapsed());
        drop(disk);
    }
    let opened = memory_kib("VmHWM") - before;
    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    assert_eq!(disk.capacity().get(), 62 * TIB);
    for (sector, byte) in MARKS {
        let mut data = [0; 512];
        disk.read_at(Sector::new(sector), &mut data).unwrap();
        assert_eq!(data, [byte; 512], "{role} {sector}");
    }
    let start = Instant::now();
    for number in 0..500 {
        let sector = (number * 1_234_567_891) % (62 * TIB);
        disk.read_at(Sector::new(sector), &mut [0; 512]).unwrap();
    }
    let read = start.elapsed();
    let start = Instant::now();
    let mut data = 0;
    for extent in disk.extents(SectorRange::whole(disk.capacity())) {
        let extent = extent.unwrap();
        data += u64::from(extent.state == Allocation::Data);
    }
    assert_eq!(data, 3);
    let mapped = start.elapsed();
    let peak = memory_kib("VmHWM") - before;
    println!(
        "{role}: opened in {fastest:?} with {opened} KiB; 500 reads all over in {read:?}, mapped in {mapped:?}; \
         at most {peak} KiB"
    );
    assert!(opened < 8 * 1024, "{role}: {opened} KiB to open");
    assert!(peak < 48 * 1024, "{role}: {peak} KiB");
    // Generous: machines that run tests are busy, and the code is not optimised.
    assert!(fastest < Duration::from_millis(500), "{role}: {fastest:?}");
}

#[test]
fn a_hosted_disk_of_62_tib() {
    measure("one file", monolithic);
}

#[test]
fn an_se_sparse_disk_of_62_tib() {
    measure("SESparse", se_sparse);
}

#[test]
fn thirty_one_extents_of_2_tib() {
    measure("31 extents", custom);
}

#[test]
fn a_chain_of_65_links_of_62_tib() {
    measure("65 links", chain);
}
