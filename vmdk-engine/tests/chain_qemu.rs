//! Chains that qemu-img makes: it writes and we read, we write the leaf and it reads and checks.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::image::{GRAIN, SparseImage, child_of};
use support::{Numbers, content, has_qemu, range, run};
use vmdk_engine::{Disk, ErrorKind, OpenOptions, Sector, SectorRange, ZeroMode};

/// 3 MiB and a part of a grain.
const SECTORS: u64 = 6144 + 77;

fn qemu_content(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    let content = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    content
}

/// Random writes and zeros by qemu.
fn qemu_changes(path: &Path, numbers: &mut Numbers) {
    let mut command = Command::new("qemu-io");
    command.args(["-f", "vmdk"]);
    for _ in 0..8 {
        let start = numbers.below(SECTORS - 300);
        let count = 1 + numbers.below(300);
        let what = match numbers.below(4) {
            0 => "write -z".to_owned(),
            _ => format!("write -P {}", 1 + numbers.below(255)),
        };
        command.args(["-c", &format!("{what} {} {}", start * 512, count * 512)]);
    }
    run(command.arg(path));
}

/// Random writes, zeros and trims by us.
fn our_changes(path: &Path, numbers: &mut Numbers) -> Vec<u8> {
    let disk = Disk::open(path, &OpenOptions::new().writable(true)).unwrap();
    for _ in 0..12 {
        let start = numbers.below(SECTORS - 300);
        let count = 1 + numbers.below(300);
        let range = range(start, start + count);
        match numbers.below(5) {
            0 => disk.write_zeroes(range, ZeroMode::MayFree).unwrap(),
            1 => disk.write_zeroes(range, ZeroMode::MustAllocate).unwrap(),
            2 => disk.trim(range).unwrap(),
            _ => {
                let mut bytes = vec![0; usize::try_from(count).unwrap() * 512];
                numbers.fill(&mut bytes);
                disk.write_at(Sector::new(start), &bytes).unwrap();
            }
        }
    }
    let after = content(&disk);
    disk.close().unwrap();
    after
}

fn create(path: &Path, kind: &str, parent: Option<&Path>) {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "vmdk", "-o", kind]);
    if let Some(parent) = parent {
        command
            .args(["-F", "vmdk", "-b"])
            .arg(parent.file_name().unwrap());
    }
    run(command
        .arg(path)
        .args(parent.is_none().then(|| (SECTORS * 512).to_string())));
}

fn check(path: &Path) {
    run(Command::new("qemu-img").args(["check", "-q"]).arg(path));
}

#[test]
fn chains_read_the_same_on_both_sides() {
    if !has_qemu() {
        return;
    }
    let bases = [
        "subformat=monolithicSparse",
        "subformat=monolithicFlat",
        "subformat=twoGbMaxExtentSparse",
        "subformat=twoGbMaxExtentFlat",
        "subformat=monolithicSparse,zeroed_grain=on",
    ];
    let children = [
        "subformat=monolithicSparse",
        "subformat=twoGbMaxExtentSparse",
        "subformat=monolithicSparse,zeroed_grain=on",
    ];
    let mut numbers = Numbers::new(5);
    for (round, base) in bases.into_iter().enumerate() {
        let scratch = tempfile::tempdir().unwrap();
        let name = |number: usize| scratch.path().join(format!("{number}.vmdk"));
        create(&name(0), base, None);
        qemu_changes(&name(0), &mut numbers);
        for number in 1..=3 {
            let path = name(number);
            let kind = children[(round + number) % children.len()];
            create(&path, kind, Some(&name(number - 1)));
            let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
            assert_eq!(disk.info().links, u32::try_from(number + 1).unwrap());
            drop(disk);
            // Each link is changed by both sides, and each reads what the other wrote.
            qemu_changes(&path, &mut numbers);
            let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
            assert!(
                content(&disk) == qemu_content(&path),
                "{kind} at depth {number} over {base}, written by qemu"
            );
            drop(disk);
            let ours = our_changes(&path, &mut numbers);
            assert!(
                ours == qemu_content(&path),
                "{kind} at depth {number} over {base}, written by us"
            );
            check(&path);
        }
    }
}

/// Grains and extents of the links end in different places.
#[test]
fn unlike_borders_read_the_same_on_both_sides() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = |number: usize| scratch.path().join(format!("{number}.vmdk"));
    let mut numbers = Numbers::new(23);
    create(&path(0), "subformat=monolithicSparse", None);
    qemu_changes(&path(0), &mut numbers);
    for (number, grain) in [(1_usize, 8_u64), (2, 512), (3, 32)] {
        let parent = fs::read(path(number - 1)).unwrap();
        let start = parent
            .windows(5)
            .position(|part| part == b"\nCID=")
            .unwrap();
        let digits: String = parent[start + 5..]
            .iter()
            .map(|byte| char::from(*byte))
            .take_while(char::is_ascii_hexdigit)
            .collect();
        let cid = u32::from_str_radix(&digits, 16).unwrap();
        let image = SparseImage::monolithic(SECTORS);
        let text = child_of(&image.text, 77, cid, &format!("{}.vmdk", number - 1));
        let image = SparseImage {
            grain,
            text,
            ..image
        };
        fs::write(path(number), image.build()).unwrap();
        let ours = our_changes(&path(number), &mut numbers);
        assert!(ours == qemu_content(&path(number)), "grain {grain}");
        check(&path(number));
    }
    // Three extents over one, none of them whole grains long.
    let borders = [1000, 3333, SECTORS - 4333];
    let top = path(4);
    create(&top, "subformat=twoGbMaxExtentSparse", Some(&path(3)));
    let text = fs::read_to_string(&top).unwrap();
    let line = text.lines().find(|line| line.starts_with("RW ")).unwrap();
    let lines: Vec<String> = borders
        .iter()
        .enumerate()
        .map(|(index, sectors)| {
            let name = format!("part-{index}");
            let extent = SparseImage::extent(*sectors).build();
            fs::write(scratch.path().join(&name), extent).unwrap();
            format!("RW {sectors} SPARSE \"{name}\"")
        })
        .collect();
    fs::write(&top, text.replace(line, &lines.join("\n"))).unwrap();
    let ours = our_changes(&top, &mut numbers);
    assert!(ours == qemu_content(&top), "split at odd borders");
    assert_ne!(borders[0] % GRAIN, 0);
}

/// QEMU lets a child be larger than its parent; here that has to be asked for.
#[test]
fn a_larger_child_reads_the_same_on_both_sides() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name);
    let mut numbers = Numbers::new(7);
    // The parent ends inside a grain of the child, which has a child of its own.
    create(&file("base.vmdk"), "subformat=monolithicSparse", None);
    qemu_changes(&file("base.vmdk"), &mut numbers);
    let size = ((SECTORS + 1000) * 512).to_string();
    let create_child = |name: &str, parent: &str, numbers: &mut Numbers| {
        let mut qemu = Command::new("qemu-img");
        qemu.args(["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent]);
        run(qemu.arg(file(name)).arg(&size));
        qemu_changes(&file(name), numbers);
    };
    create_child("child.vmdk", "base.vmdk", &mut numbers);
    create_child("leaf.vmdk", "child.vmdk", &mut numbers);
    for name in ["child.vmdk", "leaf.vmdk"] {
        let error = Disk::open(file(name), &OpenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CapacityMismatch, "{name}");
        let options = OpenOptions::new().tolerate_smaller_parent(true);
        let disk = Disk::open(file(name), &options).unwrap();
        assert!(content(&disk) == qemu_content(&file(name)), "{name}");
        let mut end = 0;
        for run in disk.extents(SectorRange::whole(disk.capacity())) {
            let run = run.unwrap();
            assert_eq!(run.range.start().get(), end);
            end = run.range.end().get();
        }
        assert_eq!(end, SECTORS + 1000);
        drop(disk);
    }
    // Written by us: parts of the grain at the end of the parent, of grains behind it, zeros and trims.
    let options = OpenOptions::new()
        .tolerate_smaller_parent(true)
        .writable(true);
    let disk = Disk::open(file("leaf.vmdk"), &options).unwrap();
    let mut model = content(&disk);
    let mut write = |start: u64, count: u64, value: Option<u8>| {
        let range = range(start, start + count);
        let [from, to] = [start, start + count].map(|sector| usize::try_from(sector).unwrap());
        let bytes = from * 512..to * 512;
        match value {
            Some(value) => disk
                .write_at(range.start(), &vec![value; bytes.len()])
                .unwrap(),
            None => disk.write_zeroes(range, ZeroMode::MayFree).unwrap(),
        }
        model[bytes].fill(value.unwrap_or(0));
    };
    write(SECTORS - 1, 1, Some(1));
    write(SECTORS + 300, 1, Some(2));
    write(SECTORS - 200, 210, None);
    write(SECTORS + 299, 300, None);
    write(SECTORS, 1, Some(3));
    disk.close().unwrap();
    assert!(qemu_content(&file("leaf.vmdk")) == model);
    let disk = Disk::open(file("leaf.vmdk"), &options).unwrap();
    assert!(content(&disk) == model);
}

#[test]
fn long_chains_read_the_same_on_both_sides() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let name = |number: usize| -> PathBuf { scratch.path().join(format!("{number}.vmdk")) };
    create(&name(0), "subformat=monolithicFlat", None);
    let mut numbers = Numbers::new(64);
    for number in 1..=65 {
        create(
            &name(number),
            "subformat=monolithicSparse",
            Some(&name(number - 1)),
        );
        if number == 65 {
            break;
        }
        let disk = Disk::open(name(number), &OpenOptions::new().writable(true)).unwrap();
        let mut bytes = [0; 700];
        numbers.fill(&mut bytes);
        let start = Sector::new(numbers.below(SECTORS - 1));
        disk.write_at(start, &bytes[..512]).unwrap();
        disk.close().unwrap();
    }
    let error = Disk::open(name(65), &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), vmdk_engine::ErrorKind::TooManyLinks);
    let disk = Disk::open(name(64), &OpenOptions::new()).unwrap();
    assert_eq!(disk.info().links, 65);
    assert!(content(&disk) == qemu_content(&name(64)));
    drop(disk);
    let ours = our_changes(&name(64), &mut numbers);
    assert!(ours == qemu_content(&name(64)));
    check(&name(64));
}
