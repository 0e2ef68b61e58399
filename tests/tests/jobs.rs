//! The programs of `examples/c`: built as C11 and as C++17 by their own Makefile, run on disks of QEMU and on disks that
//! they made, and what they did looked at by QEMU.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::client::{checks_clean, command, convert_to_raw, output, qemu_map, run};
use conformance::disk::{GRAIN, Kind, SECTOR, raw_with_data};
use conformance::map::{self, Run};
use conformance::native::{Language, examples, valgrind};
use conformance::{arguments, artefact, checksum, need};
use tempfile::TempDir;

/// The end is within a chunk and within a grain.
const CAPACITY: u64 = (34 << 20) + 7 * SECTOR;

/// The words for the types of local disks.
const TYPES: [&str; 6] = [
    "sparse",
    "flat",
    "split-sparse",
    "split-flat",
    "vmfs-flat",
    "stream",
];

/// The programs, and how they are run.
struct Jobs {
    programs: TempDir,
    wrapper: fn(&Path) -> Command,
}

impl Jobs {
    fn new(language: Language, wrapper: fn(&Path) -> Command) -> Self {
        Self::with(&artefact::libdir(), language, wrapper)
    }

    /// With the library of this distribution.
    fn with(distribution: &Path, language: Language, wrapper: fn(&Path) -> Command) -> Self {
        let programs = folder();
        examples(programs.path(), language, distribution);
        Self { programs, wrapper }
    }

    fn command(&self, name: &str, arguments: Vec<OsString>) -> Command {
        let mut command = (self.wrapper)(&self.programs.path().join(name));
        command.args(arguments);
        command
    }

    /// What a program prints that must succeed, without a complaint.
    fn run(&self, name: &str, arguments: Vec<OsString>) -> String {
        let mut command = self.command(name, arguments);
        let output = output(&mut command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        assert!(!errors.contains("warning"), "{command:?}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What a program prints that must succeed, whatever the library warns of.
    fn run_with_warnings(&self, name: &str, arguments: Vec<OsString>) -> String {
        run(&mut self.command(name, arguments))
    }

    /// The status of a program that must fail, and what it complains of.
    fn refused(&self, name: &str, arguments: Vec<OsString>) -> (i32, String) {
        let output = output(&mut self.command(name, arguments));
        let code = output.status.code().expect("no signal ends it");
        assert_ne!(code, 0);
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

/// A folder with a disk of QEMU, and the raw file it was made from.
fn disk(kind: Kind, seed: u64) -> (TempDir, PathBuf, PathBuf) {
    let folder = folder();
    let raw = raw_with_data(folder.path(), CAPACITY, 12, seed);
    let disk = kind.convert(folder.path(), &raw);
    (folder, disk, raw)
}

/// The content of a disk, as QEMU reads it.
fn content(disk: &Path) -> Vec<u8> {
    let folder = folder();
    let raw = folder.path().join("raw");
    convert_to_raw(disk, &raw);
    fs::read(&raw).expect("a disk of some megabytes")
}

fn holds(disk: &Path, raw: &Path) {
    assert!(content(disk) == fs::read(raw).expect("there"), "{disk:?}");
}

/// A position in the content of a small disk.
fn place(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a small disk")
}

fn sees_what_qemu_made(jobs: &Jobs) {
    for kind in Kind::ALL {
        let (folder, disk, raw) = disk(kind, 1);
        let info = jobs.run("info", arguments![disk]);
        for line in [
            &format!("capacity: {} sectors of 512 bytes", CAPACITY / SECTOR),
            "controller: IDE",
            "links: 1",
            "transport: file",
            "sector size: 512 bytes logical, 512 bytes physical",
        ] {
            assert!(
                info.lines().any(|found| found == line),
                "no {line:?}: {info}"
            );
        }
        blocks_are_those_of_qemu(jobs, kind, &disk);
        for (first, count) in [(0, 1), (CAPACITY / SECTOR - 5, 5), (100, 3000)] {
            dump_is_the_content(jobs, &disk, &raw, first, count);
        }
        for threads in ["1", "5"] {
            let copy = folder.path().join(format!("copy-{threads}.vmdk"));
            jobs.run("copy", arguments![disk, copy, threads]);
            holds(&copy, &raw);
            assert!(checks_clean(&copy));
        }
        assert_eq!(
            jobs.run("check", arguments![disk]),
            format!("{}: good\n", disk.display())
        );
    }
}

/// In chunks, and with the rest of the last one as data.
fn blocks_are_those_of_qemu(jobs: &Jobs, kind: Kind, disk: &Path) {
    let printed = jobs.run("blocks", arguments![disk]);
    assert_eq!(printed, jobs.run("blocks-cpp", arguments![disk]));
    if !kind.is_sparse() {
        // What a file system takes for a hole is not what QEMU asks of it.
        return;
    }
    let numbers = |line: &str| {
        let mut words = line.split(' ').map(|word| word.parse::<u64>());
        let mut bytes = || words.next()?.ok().map(|sectors| sectors * SECTOR);
        (
            bytes().expect("a first sector"),
            bytes().expect("a number of sectors"),
        )
    };
    let blocks: Vec<_> = printed.lines().map(numbers).collect();
    let mut chunks = map::in_chunks(&qemu_map("vmdk", disk), GRAIN);
    let tail = CAPACITY / GRAIN * GRAIN;
    let last = chunks.last_mut().expect("a disk is not empty");
    last.length = tail - last.offset;
    chunks.push(Run {
        offset: tail,
        length: CAPACITY - tail,
        hole: false,
    });
    let expected: Vec<_> = map::merged(&chunks)
        .iter()
        .filter(|run| !run.hole)
        .map(|run| (run.offset, run.length))
        .collect();
    assert!(expected.len() > 3, "{expected:?}");
    assert_eq!(blocks, expected, "{}", kind.name());
}

fn dump_is_the_content(jobs: &Jobs, disk: &Path, raw: &Path, first: u64, count: u64) {
    let words = [first.to_string(), count.to_string()];
    let printed = jobs.run("dump", arguments![disk, words[0], words[1]]);
    let mut found = Vec::new();
    for line in printed.lines() {
        let (position, rest) = line.split_once("  ").expect("a position");
        let expected = first * SECTOR + u64::try_from(found.len()).expect("short");
        assert_eq!(u64::from_str_radix(position, 16), Ok(expected), "{line}");
        let (bytes, text) = rest.split_once("  ").expect("bytes");
        assert_eq!(text.len(), 16, "{line}");
        let bytes = bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16));
        found.extend(bytes.map(|byte| byte.expect("hexadecimal")));
    }
    let content = fs::read(raw).expect("there");
    let expected = &content[place(first * SECTOR)..place((first + count) * SECTOR)];
    assert!(found == expected, "{printed}");
}

fn makes_disks_of_every_type(jobs: &Jobs) {
    let folder = folder();
    let zeroes = vec![0; 5 << 20];
    for word in TYPES {
        let disk = folder.path().join(format!("{word}.vmdk"));
        jobs.run("create", arguments![disk, "5", word]);
        assert!(content(&disk) == zeroes, "{word}");
        let before = checksum::folder(folder.path());
        let (code, errors) = jobs.refused("create", arguments![disk, "6", word]);
        assert!(code == 1 && errors.contains("already exists"), "{errors}");
        assert_eq!(checksum::folder(folder.path()), before);
    }
    let (_source, disk, raw) = disk(Kind::TwoGbMaxExtentSparse, 2);
    for word in TYPES {
        let copy = folder.path().join(format!("copy-{word}.vmdk"));
        let printed = jobs.run("clone", arguments![disk, copy, word]);
        assert!(printed.starts_with("space needed: "), "{printed}");
        holds(&copy, &raw);
        let (code, errors) = jobs.refused("clone", arguments![disk, copy, word]);
        assert!(code == 1 && errors.contains("already exists"), "{errors}");
    }
}

/// A child of one of QEMU's disks takes what is written; the disk stays as it is.
fn writes_to_a_child(jobs: &Jobs) {
    let (folder, disk, raw) = disk(Kind::MonolithicSparse, 3);
    let parent = checksum::file(&disk);
    for (word, links) in [("sparse", 2), ("split-sparse", 2)] {
        let child = folder.path().join(format!("{word}.vmdk"));
        jobs.run("redo", arguments![disk, child, word]);
        holds(&child, &raw);
        jobs.run("fill", arguments![child, "1000", "3000", "0x5c"]);
        jobs.run("fill", arguments![child, "65000", "1", "0"]);
        let mut expected = fs::read(&raw).expect("there");
        expected[place(1000 * SECTOR)..place(4000 * SECTOR)].fill(0x5c);
        expected[place(65000 * SECTOR)..place(65001 * SECTOR)].fill(0);
        assert!(content(&child) == expected, "{word}");
        let info = jobs.run("info", arguments![child]);
        assert!(info.contains(&format!("links: {links}\n")), "{info}");
        assert!(
            info.contains("parent: ") && info.contains("monolithicSparse.vmdk\n"),
            "{info}"
        );
        // What is copied is the chain.
        let copy = folder.path().join(format!("copy-{word}.vmdk"));
        jobs.run("copy", arguments![child, copy]);
        assert!(content(&copy) == expected, "{word}");
    }
    assert_eq!(checksum::file(&disk), parent);
}

fn keeps_metadata(jobs: &Jobs) {
    let (_folder, disk, raw) = disk(Kind::MonolithicSparse, 4);
    assert_eq!(
        jobs.run("metadata", arguments![disk, "adapterType"]),
        "ide\n"
    );
    jobs.run("metadata", arguments![disk, "note", "5 % of what = was"]);
    let all = jobs.run("metadata", arguments![disk]);
    for line in ["adapterType = ide", "note = 5 % of what = was"] {
        assert!(all.lines().any(|found| found == line), "no {line:?}: {all}");
    }
    let (code, errors) = jobs.refused("metadata", arguments![disk, "nothing"]);
    assert!(code == 1 && errors.contains("(code 16052)"), "{errors}");
    holds(&disk, &raw);
}

fn measures(jobs: &Jobs) {
    let (_folder, disk, raw) = disk(Kind::MonolithicSparse, 5);
    let content = fs::read(&raw).expect("there");
    let words = content.chunks_exact(8);
    let sum = words.fold(0_u64, |sum, word| {
        let word = word.try_into().expect("eight bytes");
        sum.wrapping_add(u64::from_le_bytes(word))
    });
    for way in [["sync", "64", "1"], ["async", "64", "16"]] {
        let [way, size, requests] = way;
        let printed = jobs.run("bench", arguments![disk, "read", way, size, requests]);
        assert!(printed.starts_with("34.0 MiB in "), "{printed}");
        assert!(
            printed.ends_with(&format!("sum: {sum:016x}\n")),
            "{printed}"
        );
    }
    holds(&disk, &raw);
    for way in ["sync", "async"] {
        let clean = disk.with_file_name(format!("{way}.vmdk"));
        fs::copy(&disk, &clean).expect("there is room");
        jobs.run("bench", arguments![clean, "write", way]);
        let filled = vec![0xa5; place(CAPACITY)];
        assert!(self::content(&clean) == filled, "{way}");
        assert!(checks_clean(&clean));
    }
}

fn repairs(jobs: &Jobs) {
    let (folder, disk, raw) = disk(Kind::MonolithicSparse, 6);
    // The first entry of the first directory of the disk points nowhere; there is a copy.
    let file = File::options().read(true).write(true).open(&disk);
    let file = file.expect("there");
    let mut field = [0; 8];
    file.read_exact_at(&mut field, 56).expect("the header");
    let directory = u64::from_le_bytes(field) * SECTOR;
    file.write_all_at(&[0xFF; 4], directory).expect("there");
    let damaged = checksum::file(&disk);
    assert_eq!(jobs.refused("check", arguments![disk]).0, 3);
    assert_eq!(checksum::file(&disk), damaged, "a check changes nothing");
    jobs.run_with_warnings("check", arguments![disk, "repair"]);
    assert!(checks_clean(&disk));
    holds(&disk, &raw);
    jobs.run("check", arguments![disk]);

    let text = folder.path().join("text.vmdk");
    fs::write(&text, "Dear reader,\n").expect("there is room");
    assert_eq!(jobs.refused("check", arguments![text, "repair"]).0, 4);
    assert_eq!(fs::read(&text).expect("there"), b"Dear reader,\n");
    let absent = folder.path().join("absent.vmdk");
    let (code, errors) = jobs.refused("check", arguments![absent]);
    assert!(code == 1 && errors.contains("(code 4)"), "{errors}");
}

/// Wrong calls and wrong disks end with a word about them, and change nothing.
fn refuses(jobs: &Jobs) {
    let (folder, disk, _raw) = disk(Kind::MonolithicFlat, 7);
    let before = checksum::folder(folder.path());
    let end = (CAPACITY / SECTOR).to_string();
    let absent = folder.path().join("absent.vmdk");
    let other = folder.path().join("other.vmdk");
    for (name, arguments, code, word) in [
        ("info", arguments![], 2, "usage: info"),
        ("info", arguments![absent], 1, "(code 4)"),
        ("blocks", arguments![absent], 1, "(code 4)"),
        ("blocks-cpp", arguments![absent], 1, "file not found"),
        ("create", arguments![other, "-1"], 2, "not a number"),
        ("create", arguments![other, "5", "thick"], 2, "no type"),
        ("copy", arguments![absent, other], 1, "(code 4)"),
        ("copy", arguments![disk, disk], 1, "already exists"),
        ("copy", arguments![disk, other, "17"], 2, "too large"),
        ("fill", arguments![disk, end, "1", "1"], 1, "writing"),
        ("fill", arguments![disk, "0", "1", "256"], 2, "too large"),
        ("dump", arguments![disk, end, "1"], 1, "reading"),
        ("bench", arguments![disk, "read", "fast"], 2, "usage"),
        ("redo", arguments![disk, other, "stream"], 1, "creating"),
    ] {
        let (found, errors) = jobs.refused(name, arguments);
        assert_eq!(found, code, "{name}: {errors}");
        assert!(errors.contains(word), "{name}: {errors}");
    }
    assert_eq!(checksum::folder(folder.path()), before);
}

fn do_everything(jobs: &Jobs) {
    sees_what_qemu_made(jobs);
    makes_disks_of_every_type(jobs);
    writes_to_a_child(jobs);
    keeps_metadata(jobs);
    measures(jobs);
    repairs(jobs);
    refuses(jobs);
}

/// Each program once, on disks that they make.
fn do_each_once(jobs: &Jobs) {
    let folder = folder();
    let [base, child, copy, clone] =
        ["base", "child", "copy", "clone"].map(|name| folder.path().join(format!("{name}.vmdk")));
    jobs.run("create", arguments![base, "3"]);
    jobs.run("bench", arguments![base, "write", "async", "64", "4"]);
    jobs.run("redo", arguments![base, child]);
    jobs.run("fill", arguments![child, "100", "300", "7"]);
    jobs.run("metadata", arguments![child, "note", "kept"]);
    assert!(
        jobs.run("metadata", arguments![child])
            .contains("note = kept\n")
    );
    assert!(jobs.run("info", arguments![child]).contains("links: 2\n"));
    assert_eq!(jobs.run("blocks", arguments![child]), "0 6144\n");
    assert_eq!(jobs.run("blocks-cpp", arguments![child]), "0 6144\n");
    let dump = jobs.run("dump", arguments![child, "99", "2"]);
    assert_eq!(dump.matches(" a5").count(), 512, "{dump}");
    jobs.run("copy", arguments![child, copy, "2"]);
    jobs.run("clone", arguments![child, clone, "stream"]);
    jobs.run("check", arguments![child]);
    jobs.run("bench", arguments![copy, "read", "sync"]);

    let mut expected = vec![0xa5; 3 << 20];
    expected[place(100 * SECTOR)..place(400 * SECTOR)].fill(7);
    for disk in [&child, &copy, &clone] {
        assert!(content(disk) == expected, "{disk:?}");
    }
}

#[test]
fn programs_in_c11_do_their_jobs() {
    if need::have(&["qemu-img", "cc", "c++", "make"]) {
        do_everything(&Jobs::new(Language::C, |program| command(program)));
    }
}

#[test]
fn programs_in_cxx17_do_their_jobs() {
    if need::have(&["qemu-img", "c++", "make"]) {
        do_everything(&Jobs::new(Language::Cxx, |program| command(program)));
    }
}

#[test]
fn programs_are_built_with_what_pkg_config_says() {
    if !need::have(&["cc", "make", "pkg-config"]) {
        return;
    }
    let (folder, distribution) = (folder(), artefact::libdir());
    let program = folder.path().join("info");
    let mut make = command("make");
    make.args(["--silent", "-C"])
        .arg(artefact::repository().join("examples/c"))
        .arg(format!("OUT={}", folder.path().display()))
        .arg(format!(
            "PKG_CONFIG_PATH={}/share/pkgconfig",
            distribution.display()
        ));
    run(make.arg(&program));
    let mut info = command(&program);
    info.arg("/absent.vmdk")
        .env("LD_LIBRARY_PATH", distribution.join("lib64"));
    let output = output(&mut info);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("(code 4)"), "{errors}");
}

#[test]
fn programs_run_clean_under_valgrind() {
    if need::have(&["qemu-img", "cc", "c++", "make", "valgrind"]) {
        do_each_once(&Jobs::new(Language::C, |program| {
            let mut valgrind = valgrind();
            valgrind.arg(program);
            valgrind
        }));
    }
}

/// What users copy from here must run on VDDK too. The library that checks its rules stands in for it.
#[test]
fn programs_keep_the_rules_of_vddk() {
    if need::have(&["qemu-img", "cc", "c++", "make"]) {
        let library = artefact::rule_check();
        let distribution = library.ancestors().nth(2).expect("two folders above");
        do_each_once(&Jobs::with(distribution, Language::C, |program| {
            command(program)
        }));
    }
}
