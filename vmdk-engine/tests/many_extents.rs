//! Disks of thousands of extents work with few file descriptors, and notice when a file is replaced meanwhile.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use support::image::{SparseImage, descriptor};
use support::{Numbers, content};
use vmdk_engine::{Disk, ErrorKind, OpenOptions, Sector, SectorRange};

/// The sectors of each extent.
const EXTENT: u64 = 8;

/// A disk of many extents, every sixteenth of them sparse.
fn build(folder: &Path, extents: u64) -> PathBuf {
    let sparse = SparseImage {
        grain: 8,
        ..SparseImage::extent(EXTENT)
    };
    let mut lines = Vec::new();
    for number in 0..extents {
        let name = format!("e{number:05}");
        if number % 16 == 0 {
            fs::write(folder.join(&name), sparse.build()).unwrap();
            lines.push(format!("RW {EXTENT} SPARSE \"{name}\""));
        } else {
            let file = File::create(folder.join(&name)).unwrap();
            file.set_len(EXTENT * 512).unwrap();
            lines.push(format!("RW {EXTENT} FLAT \"{name}\" 0"));
        }
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let path = folder.join("disk.vmdk");
    fs::write(&path, descriptor("custom", &lines)).unwrap();
    path
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The most extents that a descriptor may have, with 256 file descriptors, which is fewer than any usual limit.
#[test]
fn sixteen_thousand_extents_in_two_hundred_files() {
    // In memory: thousands of files and lock folders keep the journal of a busy disk at work for a minute.
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let scratch = scratch.unwrap();
    let path = build(scratch.path(), 16_384);
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "as_a_process_with_few_files",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("MANY_EXTENTS_DISK", &path)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        fs::read_dir(scratch.path()).unwrap().count(),
        16_385,
        "no lock is left"
    );
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn as_a_process_with_few_files() {
    let path = PathBuf::from(std::env::var_os("MANY_EXTENTS_DISK").unwrap());
    let before = (open_files(), peak_memory_kib());
    let timed = |what: &str, start: Instant| println!("{what}: {:?}", start.elapsed());

    let start = Instant::now();
    let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
    timed("opening for writing", start);
    let extents = disk.capacity().get() / EXTENT;
    let mut model = vec![0; usize::try_from(extents * EXTENT * 512).unwrap()];
    let start = Instant::now();
    thread::scope(|scope| {
        for (half, model) in model
            .chunks_mut(usize::try_from(extents / 2 * EXTENT * 512).unwrap())
            .enumerate()
        {
            let disk = &disk;
            scope.spawn(move || {
                let mut numbers = Numbers::new(u64::try_from(half).unwrap() + 7);
                let first = u64::try_from(half).unwrap() * (extents / 2) * EXTENT;
                for _ in 0..1000 {
                    let count = 1 + numbers.below(3 * EXTENT);
                    let start = numbers.below(extents / 2 * EXTENT - count);
                    let mut data = vec![0; usize::try_from(count * 512).unwrap()];
                    numbers.fill(&mut data);
                    disk.write_at(Sector::new(first + start), &data).unwrap();
                    let place = usize::try_from(start * 512).unwrap();
                    model[place..place + data.len()].copy_from_slice(&data);
                }
            });
        }
    });
    timed("2000 writes all over", start);
    assert!(open_files() - before.0 < 200, "{} files", open_files());
    let start = Instant::now();
    disk.flush().unwrap();
    timed("flushing", start);
    let start = Instant::now();
    assert!(content(&disk) == model);
    timed("reading everything", start);
    let whole = SectorRange::whole(disk.capacity());
    assert!(disk.extents(whole).all(|extent| extent.is_ok()));
    assert!(open_files() - before.0 < 200, "{} files", open_files());
    let start = Instant::now();
    disk.close().unwrap();
    timed("closing", start);
    let start = Instant::now();
    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    timed("opening for reading", start);
    assert!(content(&disk) == model);
    // The model and the content are the test's own.
    let memory = peak_memory_kib() - before.1;
    let own = u64::try_from(2 * model.len() / 1024).unwrap();
    println!("memory at the peak: {memory} KiB, of which {own} are the test's own");
    assert!(memory < own + 32 * 1024);
}

/// Opened, replaced, and used again: nobody's bytes but its own.
#[test]
fn a_file_that_was_replaced_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = build(scratch.path(), 400);
    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    let read = |extent: u64| {
        let mut sector = [1; 512];
        disk.read_at(Sector::new(extent * EXTENT), &mut sector)
    };
    // It was opened long ago, and closed for those behind it.
    let victim = scratch.path().join("e00101");
    let aside = scratch.path().join("aside");
    fs::rename(&victim, &aside).unwrap();
    let error = read(101).unwrap_err();
    assert!(error.path().unwrap().ends_with("e00101"), "{error}");
    fs::write(&victim, [9; 512 * 8]).unwrap();
    let error = read(101).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    fs::rename(&aside, &victim).unwrap();
    read(101).unwrap();
    for extent in 0..400 {
        read(extent).unwrap();
    }
}
