//! `copy` on disks that QEMU made, to images and to other disks, against what QEMU reads afterwards.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use conformance::artefact;
use conformance::backend::Backend;
use conformance::client::{
    checks_clean, command, convert_to_raw, output, qemu_io, run, same_content,
};
use conformance::disk::{GRAIN, Kind, SECTOR, raw_with_data};
use conformance::need;

/// More than one grain table, and a tail that is no whole chunk.
const BYTES: u64 = (40 << 20) + 7 * SECTOR;

/// Runs `copy`; gives back the line that it prints.
fn copy(backend: &Backend, options: &[&str], source: &Path, target: &Path) -> String {
    let mut program = command(artefact::program("copy"));
    program.args(backend.arguments()).args(options);
    run(program.arg(source).arg(target))
}

/// The embedded engine, our library, and our library without what VDDK does not have.
fn backends(folder: &Path) -> Vec<Backend> {
    let mut all = Backend::all();
    all.push(Backend::without_extensions(folder));
    all
}

/// The folder in which a backup is made.
fn partial(target: &Path) -> PathBuf {
    target.with_added_extension("partial")
}

#[test]
fn every_kind_becomes_the_same_image() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), BYTES, 12, 3);
    let plain = tempfile::tempdir().expect("there is room");
    for kind in Kind::ALL {
        let disk = kind.convert(folder.path(), &raw);
        for backend in backends(&plain.path().join(kind.name())) {
            let image = folder.path().join("image");
            copy(&backend, &[], &disk, &image);
            assert!(same_content(&raw, &image), "{kind:?} through {backend:?}");
            let blocks = image.metadata().expect("it is there").blocks();
            assert!(blocks * SECTOR < BYTES, "{kind:?}: zeroes became data");

            // The same again, over an image that is full of something else.
            fs::write(&image, vec![0xEE; 30 << 20]).expect("there is room");
            copy(&backend, &["--in-place"], &disk, &image);
            assert!(same_content(&raw, &image), "{kind:?} over another image");
            fs::remove_file(&image).expect("it is there");
        }
    }
}

#[test]
fn every_kind_goes_into_every_other() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), BYTES, 12, 4);
    let back = folder.path().join("back.raw");
    for from in Kind::ALL {
        let source = from.convert(folder.path(), &raw);
        for to in Kind::WRITABLE {
            let targets = tempfile::tempdir().expect("there is room");
            let target = to.create(targets.path(), BYTES);
            for option in ["--target-is-zero", "--verify"] {
                copy(
                    &Backend::Embedded,
                    &["--in-place", option],
                    &source,
                    &target,
                );
                convert_to_raw(&target, &back);
                assert!(same_content(&raw, &back), "{from:?} to {to:?} {option}");
            }
            if to.is_sparse() {
                assert!(checks_clean(&target), "{from:?} to {to:?}");
            }
        }
    }
}

#[test]
fn a_later_backup_takes_only_what_changed() {
    if !need::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), BYTES, 12, 5);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let (backup, areas) = (folder.path().join("backup"), folder.path().join("areas"));
    copy(&Backend::Embedded, &[], &disk, &backup);

    // Writes, zeroes over data at the start, and a write that reaches the last sector.
    let last = BYTES - 3 * SECTOR;
    let changes = [
        (0, 5 * GRAIN),
        (20 << 20, 70_000 / SECTOR * SECTOR),
        (last, 3 * SECTOR),
    ];
    let commands = [
        format!("write -z {} {}", changes[0].0, changes[0].1),
        format!("write -P 0x5a {} {}", changes[1].0, changes[1].1),
        format!("write -P 0xa5 {} {}", changes[2].0, changes[2].1),
    ];
    qemu_io("vmdk", &disk, &commands);
    // Change tracking counts in blocks, and the last may reach past the end.
    let lines = changes.map(|(start, length)| {
        let (start, end) = (
            start / GRAIN * GRAIN,
            (start + length).next_multiple_of(GRAIN),
        );
        format!("{start} {}\n", end - start)
    });
    fs::write(&areas, lines.concat()).expect("there is room");

    let changed = ["--changed", areas.to_str().expect("a plain name")];
    let plain = tempfile::tempdir().expect("there is room");
    for backend in backends(plain.path()) {
        let later = folder.path().join("later");
        fs::copy(&backup, &later).expect("there is room");
        let said = copy(&backend, &changed, &disk, &later);
        let now = folder.path().join("now.raw");
        convert_to_raw(&disk, &now);
        assert!(same_content(&now, &later), "{backend:?}");
        assert!(!same_content(&backup, &later), "something did change");
        let total: u64 = said
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .expect("begins with what was gone through");
        assert!(total < 10 * GRAIN, "{said}");
    }
}

#[test]
fn statistics_name_the_calls() {
    let folder = tempfile::tempdir().expect("there is room");
    if !need::have(&["qemu-img"]) {
        return;
    }
    let raw = raw_with_data(folder.path(), BYTES, 3, 6);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    for backend in Backend::all() {
        let image = folder.path().join("image");
        let mut program = command(artefact::program("copy"));
        program.arg("--stats").args(backend.arguments());
        let output = output(program.arg(&disk).arg(&image));
        let table = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{table}");
        let read = table
            .lines()
            .find(|line| line.trim_start().starts_with("ReadAsync "));
        assert!(read.is_some(), "{table}");
        fs::remove_file(image).expect("it is there");
    }
}

#[test]
fn what_cannot_be_copied_to_is_refused_in_one_line() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), BYTES, 3, 7);
    let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
    let small = Kind::TwoGbMaxExtentSparse.create(folder.path(), BYTES - SECTOR);
    let long = folder.path().join("long");
    let file = File::create(&long).expect("there is room");
    file.set_len(BYTES + SECTOR).expect("there is room");
    file.write_all_at(&[7; 512], BYTES).expect("there is room");
    let areas = folder.path().join("areas");
    fs::write(&areas, "0 65536\n12 monkeys\n").expect("there is room");
    let far = folder.path().join("far");
    fs::write(&far, format!("{} 512\n", 2 * BYTES)).expect("there is room");
    let earlier = folder.path().join("earlier");
    fs::copy(&raw, &earlier).expect("there is room");
    let split = folder.path().join("split.vmdk");
    fs::write(&split, "# Disk DescriptorFile\n").expect("there is room");
    let option = |file: &Path| vec!["--changed-areas".to_owned(), file.display().to_string()];
    let in_place = || vec!["--in-place".to_owned()];
    let image = folder.path().join("image");
    let cases = [
        (
            in_place(),
            &disk,
            &small,
            "the target has 81926 sectors, the source 81927",
        ),
        (in_place(), &disk, &long, "more than the disk"),
        (in_place(), &disk, &disk, "(hint: "),
        (vec![], &disk, &long, "long\" is there already: remove it"),
        (vec![], &raw, &image, "content.raw"),
        (option(&areas), &disk, &earlier, "areas: line 2 is not"),
        (
            option(&far),
            &disk,
            &earlier,
            "an area begins behind the disk's",
        ),
        (
            option(&far),
            &disk,
            &image,
            "--changed-areas needs an earlier backup",
        ),
        (option(&areas), &disk, &split, "is a disk of several files"),
        (
            vec![],
            &disk,
            &folder.path().join("no folder/image"),
            "no folder/image",
        ),
    ];
    for (options, source, target, words) in cases {
        let mut program = command(artefact::program("copy"));
        let output = output(program.args(options).arg(source).arg(target));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(words), "no {words:?} in {said}");
        assert!(!partial(target).exists(), "nothing was begun");
    }
    let mut seventh = [0];
    File::open(&long)
        .expect("there")
        .read_exact_at(&mut seventh, BYTES)
        .expect("there");
    assert_eq!(seventh, [7], "a target that does not fit is not changed");
}
