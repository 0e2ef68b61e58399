//! The programs that make, copy, describe, check and annotate disks, as a user runs them, through both back ends.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use conformance::artefact;
use conformance::backend::Backend;
use conformance::checksum;
use conformance::client::{checks_clean, command, convert_to_raw, output, same_content};
use conformance::disk::{Kind, SECTOR, raw_with_data};
use conformance::need;
use tempfile::TempDir;

/// 8 MiB and a sector.
const CAPACITY: u64 = (8 << 20) + SECTOR;

/// Kinds by the names that the programs know.
const HOSTED: [&str; 4] = [
    "monolithicSparse",
    "monolithicFlat",
    "splitSparse",
    "splitFlat",
];

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

/// Runs `test` for each back end.
fn on_each_backend(test: impl Fn(&Programs)) {
    for backend in [Backend::Embedded, Backend::ours()] {
        eprintln!("back end: {backend:?}");
        test(&Programs(backend));
    }
}

/// The programs on a back end.
struct Programs(Backend);

impl Programs {
    fn output(&self, program: &str, arguments: &[&str], disks: &[&Path]) -> Output {
        let mut command = command(artefact::program(program));
        output(command.args(self.0.arguments()).args(arguments).args(disks))
    }

    /// Runs a program that must succeed and complain of nothing; what it printed.
    fn run(&self, program: &str, arguments: &[&str], disks: &[&Path]) -> String {
        let (status, printed) = self.status(program, arguments, disks);
        assert_eq!(status, 0, "{program} {arguments:?} {disks:?}: {printed}");
        printed
    }

    /// Runs a program that must have nothing to complain of; its status, and what it printed.
    fn status(&self, program: &str, arguments: &[&str], disks: &[&Path]) -> (i32, String) {
        let output = self.output(program, arguments, disks);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.is_empty(), "{program} {arguments:?} {disks:?}: {said}");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code().expect("no signal"), printed)
    }

    /// Runs a program that must fail, in one line with all of `words` in it.
    fn refused(&self, program: &str, arguments: &[&str], disks: &[&Path], words: &[&str]) {
        let output = self.output(program, arguments, disks);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{program}: {said}");
        assert!(output.stdout.is_empty(), "{program} printed something");
        assert_eq!(said.lines().count(), 1, "{said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    }

    /// What `info` says: a word of 17 letters, with blanks behind it, and its value in each line.
    fn info(&self, disk: &Path) -> HashMap<String, String> {
        let printed = self.run("info", &[], &[disk]);
        let pairs = printed.lines().map(|line| line.split_at(18));
        pairs
            .map(|(word, value)| (word.trim().to_owned(), value.to_owned()))
            .collect()
    }
}

/// The content of a disk as QEMU reads it must be that of `raw`.
fn holds(disk: &Path, raw: &Path) {
    let folder = folder();
    let found = folder.path().join("found");
    convert_to_raw(disk, &found);
    assert!(same_content(raw, &found), "{}", disk.display());
}

/// A file of zeroes as long as a disk.
fn zeroes(folder: &Path) -> PathBuf {
    let path = folder.join("zeroes");
    let file = File::create(&path).expect("there is room");
    file.set_len(CAPACITY).expect("there is room");
    path
}

#[test]
fn created_disks_are_disks() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    on_each_backend(|programs| {
        let raw = folder();
        let raw = zeroes(raw.path());
        for kind in HOSTED {
            let folder = folder();
            let disk = folder.path().join("disk.vmdk");
            let size = CAPACITY.to_string();
            let arguments = [
                "--kind",
                kind,
                "--adapter",
                "ide",
                "--hardware-version",
                "7",
            ];
            let create = [&arguments[..], &[disk.to_str().expect("UTF-8"), &size]].concat();
            assert_eq!(programs.run("create", &create, &[]), "");
            let info = programs.info(&disk);
            let capacity = format!("{} sectors, {CAPACITY} bytes", CAPACITY / SECTOR);
            assert_eq!(info["capacity"], capacity);
            assert_eq!(info["adapter"], "ide");
            assert_eq!(info["hardware version"], "7");
            assert_eq!(info["links"], "1");
            assert_eq!(info["transport"], "file");
            assert!(!info.contains_key("parent"));
            if kind.ends_with("Sparse") {
                assert!(checks_clean(&disk), "{kind}");
            }
            convert_to_raw(&disk, &folder.path().join("found"));
            assert!(same_content(&raw, &folder.path().join("found")), "{kind}");

            let before = checksum::folder(folder.path());
            programs.refused("create", &create, &[], &["creating", "disk.vmdk", "exists"]);
            assert_eq!(checksum::folder(folder.path()), before);
        }
    });
}

#[test]
fn arguments_that_make_no_disk_are_refused() {
    let folder = folder();
    let disk = folder.path().join("disk.vmdk");
    let disk = disk.to_str().expect("UTF-8");
    let programs = Programs(Backend::Embedded);
    for (arguments, word) in [
        (&[disk][..], "required"),
        (&[disk, "0"], "at least one sector"),
        (&[disk, "513"], "512"),
        (&[disk, "10X"], "no number"),
        (&[disk, "20000000T"], "too large"),
        (&["--kind", "qcow2", disk, "1M"], "splitSparse"),
        (&["--adapter", "nvme", disk, "1M"], "buslogic"),
        (&["--child-of", "p.vmdk", disk, "1M"], "cannot be used"),
    ] {
        let output = programs.output("create", arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let thin = ["--kind", "vmfsThin", disk, "1M"];
    programs.refused("create", &thin, &[], &["disk.vmdk", "ESX"]);
    assert!(checksum::folder(folder.path()).is_empty());
}

#[test]
fn clones_have_the_content_of_their_source() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    on_each_backend(|programs| {
        let source = folder();
        let raw = raw_with_data(source.path(), CAPACITY, 20, 4);
        // Every kind once on each side, and no copy of the kind of its source.
        let targets = ["streamOptimized"].into_iter().chain(HOSTED);
        for (from, to) in Kind::ALL.into_iter().zip(targets) {
            let disk = from.convert(source.path(), &raw);
            let folder = folder();
            let copy = folder.path().join("copy.vmdk");
            programs.run("clone", &["--kind", to], &[&disk, &copy]);
            holds(&copy, &raw);
            assert_eq!(programs.info(&copy)["adapter"], "ide");
        }
        let disk = source.path().join("monolithicSparse.vmdk");
        let folder = folder();
        let copy = folder.path().join("copy.vmdk");
        fs::write(&copy, "what was here").expect("there is room");
        programs.refused(
            "clone",
            &[],
            &[&disk, &copy],
            &["cloning", "copy.vmdk", "exists"],
        );
        assert_eq!(fs::read(&copy).expect("still there"), b"what was here");
        fs::remove_file(&copy).expect("there");
        programs.run("clone", &[], &[&disk, &copy]);
        programs.run(
            "clone",
            &["--overwrite", "--kind", "splitFlat"],
            &[&disk, &copy],
        );
        holds(&copy, &raw);
        let absent = folder.path().join("absent.vmdk");
        programs.refused(
            "clone",
            &[],
            &[&absent, &copy],
            &["absent.vmdk", "not found"],
        );
        holds(&copy, &raw);
    });
}

#[test]
fn a_child_reads_as_its_parent() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    on_each_backend(|programs| {
        let folder = folder();
        let raw = raw_with_data(folder.path(), CAPACITY, 20, 5);
        let parent = Kind::TwoGbMaxExtentSparse.convert(folder.path(), &raw);
        let child = folder.path().join("child.vmdk");
        let parent_name = parent.to_str().expect("UTF-8");
        let create = ["--child-of", parent_name, "--kind", "splitSparse"];
        programs.run("create", &create, &[&child]);
        let info = programs.info(&child);
        assert_eq!(info["links"], "2");
        let hint = &info["parent"];
        assert!(hint.contains("twoGbMaxExtentSparse.vmdk"), "{hint}");
        holds(&child, &raw);
        // What is cloned is the chain.
        let copy = folder.path().join("copy.vmdk");
        programs.run("clone", &[], &[&child, &copy]);
        assert_eq!(programs.info(&copy)["links"], "1");
        holds(&copy, &raw);
        programs.refused("create", &create, &[&child], &["child.vmdk", "exists"]);
    });
}

#[test]
fn damage_is_found_and_repaired() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    on_each_backend(|programs| {
        let folder = folder();
        let raw = raw_with_data(folder.path(), CAPACITY, 20, 6);
        let good = Kind::StreamOptimized.convert(folder.path(), &raw);
        let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
        let (status, printed) = programs.status("check", &[], &[&good, &disk]);
        assert_eq!(status, 0, "{printed}");
        assert_eq!(printed.matches(": good").count(), 2, "{printed}");

        // The first entry of the first directory of the disk points nowhere; there is a copy.
        let file = File::options()
            .read(true)
            .write(true)
            .open(&disk)
            .expect("there");
        let mut field = [0; 8];
        file.read_exact_at(&mut field, 56).expect("the header");
        let directory = u64::from_le_bytes(field) * SECTOR;
        file.write_all_at(&[0xFF; 4], directory).expect("there");
        let damaged = checksum::folder(folder.path());
        let (status, printed) = programs.status("check", &[], &[&disk, &good]);
        assert_eq!(status, 2, "the worst counts: {printed}");
        assert!(
            printed.contains("needs repair") && printed.contains(": good"),
            "{printed}"
        );
        assert_eq!(
            checksum::folder(folder.path()),
            damaged,
            "a check changes nothing"
        );
        let (status, printed) = programs.status("check", &["--repair"], &[&disk]);
        assert_eq!(status, 0, "{printed}");
        assert!(checks_clean(&disk));
        holds(&disk, &raw);
        programs.run("check", &[], &[&disk]);

        let text = folder.path().join("text.vmdk");
        fs::write(&text, "Dear reader,\n").expect("there is room");
        let (status, printed) = programs.status("check", &["--repair"], &[&text]);
        assert_eq!(status, 3);
        assert!(
            printed.contains("text.vmdk: cannot be repaired"),
            "{printed}"
        );
        assert_eq!(fs::read(&text).expect("there"), b"Dear reader,\n");
        let absent = folder.path().join("absent.vmdk");
        programs.refused(
            "check",
            &[],
            &[&absent],
            &["checking", "absent.vmdk", "not found"],
        );
    });
}

#[test]
fn metadata_is_listed_read_and_written() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    on_each_backend(|programs| {
        let folder = folder();
        let raw = raw_with_data(folder.path(), CAPACITY, 5, 7);
        for kind in [Kind::MonolithicSparse, Kind::TwoGbMaxExtentFlat] {
            let disk = kind.convert(folder.path(), &raw);
            let name = disk.to_str().expect("UTF-8");
            assert_eq!(
                programs.run("metadata", &[name, "adapterType"], &[]),
                "ide\n"
            );
            assert_eq!(
                programs.run("metadata", &[name, "comment", "Grüße aus 5 % Höhe"], &[]),
                ""
            );
            assert_eq!(
                programs.run("metadata", &[name, "comment"], &[]),
                "Grüße aus 5 % Höhe\n"
            );
            programs.run("metadata", &[name, "toolsVersion", "12352"], &[]);
            assert_eq!(programs.info(&disk)["tools version"], "12352");
            let list = programs.run("metadata", &[name], &[]);
            for line in [
                "adapterType = ide",
                "comment = Grüße aus 5 % Höhe",
                "toolsVersion = 12352",
            ] {
                assert!(
                    list.lines().any(|found| found == line),
                    "no {line:?} in {list}"
                );
            }
            holds(&disk, &raw);

            let before = checksum::folder(folder.path());
            programs.refused("metadata", &[name, "no.such.key"], &[], &["no.such.key"]);
            let broken = [name, "comment", "two\nlines"];
            programs.refused("metadata", &broken, &[], &["control characters"]);
            assert_eq!(checksum::folder(folder.path()), before);
        }
        let stream = Kind::StreamOptimized.convert(folder.path(), &raw);
        let name = stream.to_str().expect("UTF-8");
        programs.refused("metadata", &[name, "comment", "x"], &[], &[name, "reading"]);
    });
}
