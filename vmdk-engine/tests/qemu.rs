//! qemu-img as the other side: it creates, we write, it reads and checks; and the maps agree.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Numbers, content, has_qemu, range, run};
use vmdk_engine::{Allocation, Disk, OpenOptions, Sector, SectorRange, ZeroMode};

const KINDS: [&str; 4] = [
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
];

fn create(path: &Path, kind: &str, sectors: u64, more: &str) {
    run(Command::new("qemu-img")
        .args(["create", "-q", "-f", "vmdk", "-o"])
        .arg(format!("subformat={kind}{more}"))
        .arg(path)
        .arg((sectors * 512).to_string()));
}

/// The content as qemu-img reads it.
fn qemu_content(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    let content = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    content
}

fn qemu_check(path: &Path) {
    let output = Command::new("qemu-img")
        .arg("check")
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_unsupported = errors.contains("does not support checks");
    assert!(
        is_unsupported || text.contains("No errors"),
        "{text}{errors}"
    );
}

fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new().writable(true)).unwrap()
}

/// Random writes, zeros and trims; returns the content that the disk must have.
fn scribble(disk: &Disk, seed: u64, mut model: Vec<u8>) -> Vec<u8> {
    let capacity = disk.capacity().get();
    let mut numbers = Numbers::new(seed);
    for _ in 0..60 {
        let start = numbers.below(capacity);
        let count = 1 + numbers.below((capacity - start).min(700));
        let target = range(start, start + count);
        let part = &mut model[usize::try_from(start * 512).unwrap()..]
            [..usize::try_from(count * 512).unwrap()];
        match numbers.below(6) {
            0 => disk.write_zeroes(target, ZeroMode::MayFree).unwrap(),
            1 => disk.write_zeroes(target, ZeroMode::MustAllocate).unwrap(),
            2 => disk.trim(target).unwrap(),
            _ => {
                numbers.fill(part);
                disk.write_at(target.start(), part).unwrap();
            }
        }
        // What zeros and trims leave is compared elsewhere; here both sides must see the same.
        disk.read_at(target.start(), part).unwrap();
    }
    model
}

#[test]
fn disks_of_qemu_img_written_by_us_are_read_by_qemu_img() {
    if !has_qemu() {
        return;
    }
    for (number, kind) in (0..).zip(KINDS) {
        for sectors in [1, 127, 128, 129, 70_001] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("disk.vmdk");
            create(&path, kind, sectors, "");
            let disk = open(&path);
            assert_eq!(disk.capacity().get(), sectors);
            assert!(
                content(&disk).iter().all(|byte| *byte == 0),
                "{kind} {sectors}: new"
            );
            let empty = vec![0; usize::try_from(sectors * 512).unwrap()];
            let model = scribble(&disk, number * 1000 + sectors, empty);
            assert!(content(&disk) == model, "{kind} {sectors}: before closing");
            disk.close().unwrap();
            qemu_check(&path);
            assert!(
                qemu_content(&path) == model,
                "{kind} {sectors}: read by qemu-img"
            );
            assert!(
                content(&open(&path)) == model,
                "{kind} {sectors}: read by us"
            );
        }
    }
}

#[test]
fn zeroed_grains_are_understood_on_both_sides() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    create(&path, "monolithicSparse", 1000, ",zeroed_grain=on");
    let disk = open(&path);
    disk.write_at(Sector::ZERO, &[5; 1000 * 512]).unwrap();
    disk.write_zeroes(range(100, 1000), ZeroMode::MayFree)
        .unwrap();
    let model = content(&disk);
    assert!(model[100 * 512..].iter().all(|byte| *byte == 0));
    disk.close().unwrap();
    qemu_check(&path);
    assert!(qemu_content(&path) == model);
    run(Command::new("qemu-io")
        .args([
            "-f",
            "vmdk",
            "-c",
            "write -z 0 64k",
            "-c",
            "write -P 9 131072 512",
        ])
        .arg(&path));
    let disk = open(&path);
    let mut expected = vec![0; 1000 * 512];
    expected[131_072..131_584].fill(9);
    assert!(content(&disk) == expected);
}

#[test]
fn streams_of_qemu_img_are_read() {
    if !has_qemu() {
        return;
    }
    for sectors in [1, 128, 129, 584, 70_001_u64] {
        let scratch = tempfile::tempdir().unwrap();
        let raw = scratch.path().join("disk.raw");
        let mut source = vec![0; usize::try_from(sectors * 512).unwrap()];
        let mut numbers = Numbers::new(sectors);
        for part in source.chunks_mut(97 * 512).step_by(3) {
            numbers.fill(part);
        }
        if let Some(last) = source.last_chunk_mut::<512>() {
            last.fill(1);
        }
        fs::write(&raw, &source).unwrap();
        let path = scratch.path().join("disk.vmdk");
        run(Command::new("qemu-img")
            .args([
                "convert",
                "-f",
                "raw",
                "-O",
                "vmdk",
                "-o",
                "subformat=streamOptimized",
            ])
            .args([&raw, &path]));
        let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
        assert!(content(&disk) == source, "{sectors}");
    }
}

/// The parts of qemu's map that hold data, in sectors.
fn qemu_data(path: &Path) -> Vec<(u64, u64)> {
    let json = run(Command::new("qemu-img")
        .args(["map", "--output=json"])
        .arg(path));
    let field = |object: &str, name: &str| -> String {
        let (_, rest) = object.split_once(&format!("\"{name}\": ")).unwrap();
        rest.split([',', '}']).next().unwrap().to_owned()
    };
    let mut data: Vec<(u64, u64)> = Vec::new();
    for object in json.split('{').skip(1) {
        let start: u64 = field(object, "start").parse().unwrap();
        let length: u64 = field(object, "length").parse().unwrap();
        if field(object, "zero") == "true" {
            continue;
        }
        let (start, end) = (start / 512, (start + length) / 512);
        match data.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => data.push((start, end)),
        }
    }
    data
}

fn our_data(path: &Path) -> Vec<(u64, u64)> {
    let disk = Disk::open(path, &OpenOptions::new()).unwrap();
    disk.extents(SectorRange::whole(disk.capacity()))
        .map(|extent| extent.unwrap())
        .filter(|extent| extent.state == Allocation::Data)
        .map(|extent| (extent.range.start().get(), extent.range.end().get()))
        .collect()
}

#[test]
fn maps_agree_with_qemu_img() {
    if !has_qemu() {
        return;
    }
    for kind in KINDS {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        // Over one extent of 2 GiB, so that split disks have two; the last sector lies in a cut grain.
        let sectors = 4_194_304 + 65_536 + 77;
        create(&path, kind, sectors, "");
        let disk = open(&path);
        let mut numbers = Numbers::new(9);
        for _ in 0..40 {
            let start = numbers.below(sectors - 300);
            let mut bytes = vec![0; usize::try_from((1 + numbers.below(300)) * 512).unwrap()];
            numbers.fill(&mut bytes);
            disk.write_at(Sector::new(start), &bytes).unwrap();
        }
        // Across the border of the extents, and the very end.
        disk.write_at(Sector::new(4_194_300), &[1; 8 * 512])
            .unwrap();
        disk.write_at(Sector::new(sectors - 1), &[1; 512]).unwrap();
        disk.close().unwrap();
        assert_eq!(our_data(&path), qemu_data(&path), "{kind}");
    }
}

/// Positions past every 32-bit border. The sparse kind addresses its file with 32 bits, not the guest.
#[test]
fn three_tebibytes_are_addressed_to_the_last_sector() {
    if !has_qemu() {
        return;
    }
    let sectors = 3 << 31;
    for kind in ["monolithicSparse", "monolithicFlat"] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        create(&path, kind, sectors, "");
        let disk = open(&path);
        assert_eq!(disk.capacity().get(), sectors);
        let mut numbers = Numbers::new(77);
        let mut positions = vec![0, (1 << 31) - 1, (1 << 32) - 1, (1 << 32) + 1, sectors - 1];
        positions.extend((0..50).map(|_| numbers.below(sectors)));
        let fill = |number: usize| u8::try_from(number + 1).unwrap();
        for (number, position) in positions.iter().enumerate() {
            disk.write_at(Sector::new(*position), &[fill(number); 512])
                .unwrap();
        }
        disk.close().unwrap();
        let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
        let mut qemu_io = Command::new("qemu-io");
        qemu_io.args(["-r", "-f", "vmdk"]);
        for (number, position) in positions.iter().enumerate() {
            let mut sector = [0; 512];
            disk.read_at(Sector::new(*position), &mut sector).unwrap();
            assert_eq!(sector, [fill(number); 512], "{kind}: sector {position}");
            qemu_io
                .arg("-c")
                .arg(format!("read -P {} {} 512", fill(number), position * 512));
        }
        let output = run(qemu_io.arg(&path));
        assert!(!output.contains("verification failed"), "{kind}: {output}");
        assert_eq!(
            output.matches("read 512/512 bytes").count(),
            positions.len(),
            "{kind}: {output}"
        );
        // The map of all of it, with every written sector in it.
        let data = our_data(&path);
        let holds = |position: u64| {
            data.iter()
                .any(|(start, end)| (*start..*end).contains(&position))
        };
        assert!(positions.iter().all(|position| holds(*position)), "{kind}");
        let total: u64 = data.iter().map(|(start, end)| end - start).sum();
        assert!(total <= 55 * 128 * 2, "{kind}: {total} sectors of data");
    }
}
