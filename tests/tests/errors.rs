//! Bad input, to both programs: one line that names the file and the cause, a failure as exit status, nothing on
//! standard output, nothing changed.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::artefact;
use conformance::backend::{Backend, distribution_without};
use conformance::checksum;
use conformance::client::{output, qemu_img};
use conformance::disk::{GRAIN, Kind, SECTOR, raw_with_data};
use conformance::need;
use conformance::random::Random;
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = ["dump_extents", "serve_nbd"];

/// Runs both programs through both back ends; each must refuse `disk` in one line with all of `words` in it.
fn is_refused(disk: &Path, words: &[&str]) {
    for backend in [Backend::Embedded, Backend::ours()] {
        for program in PROGRAMS {
            let said = refusal(program, &backend, disk, &mut Command::new("timeout"));
            for word in words {
                assert!(said.contains(word), "no {word:?} in {said}");
            }
        }
    }
}

/// Runs a program, by way of `wrapper`, which must refuse `disk`; gives back its one line.
fn refusal(program: &str, backend: &Backend, disk: &Path, wrapper: &mut Command) -> String {
    if wrapper.get_program() == "timeout" {
        wrapper.arg("30");
    }
    let socket = tempfile::tempdir().expect("there is room");
    wrapper
        .arg(artefact::program(program))
        .args(backend.arguments());
    if program == "serve_nbd" {
        wrapper.arg("--unix").arg(socket.path().join("socket"));
    }
    let start = Instant::now();
    let output = output(wrapper.arg(disk));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{wrapper:?}: {said}");
    assert!(output.stdout.is_empty(), "{wrapper:?} printed something");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.len() < 1500, "{said}");
    for word in ["panicked", "RUST_BACKTRACE", "Err(", "Some(", "\\n"] {
        assert!(!said.contains(word), "{said}");
    }
    let socket = fs::read_dir(socket.path()).expect("it is there");
    assert_eq!(socket.count(), 0, "a socket is left behind");
    assert!(start.elapsed() < Duration::from_secs(10));
    said
}

/// A folder with one file, to be refused with all of `words`; the folder must not change.
fn bytes_are_refused(name: &str, bytes: &[u8], words: &[&str]) {
    let folder = tempfile::tempdir().expect("there is room");
    let disk = folder.path().join(name);
    fs::write(&disk, bytes).expect("there is room");
    let before = checksum::folder(folder.path());
    is_refused(&disk, &[&[name], words].concat());
    assert_eq!(
        checksum::folder(folder.path()),
        before,
        "{name} was changed"
    );
}

/// A disk of 40 MiB with some data, and its folder.
fn disk(kind: Kind) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), 40 << 20, 10, 1);
    let disk = kind.convert(folder.path(), &raw);
    fs::remove_file(raw).expect("it is there");
    (folder, disk)
}

#[test]
fn no_such_file() {
    let folder = tempfile::tempdir().expect("there is room");
    is_refused(&folder.path().join("absent.vmdk"), &["absent.vmdk"]);
    is_refused(
        &folder.path().join("no folder/absent.vmdk"),
        &["absent.vmdk"],
    );
    assert!(checksum::folder(folder.path()).is_empty());
}

#[test]
fn not_a_regular_file() {
    let folder = tempfile::tempdir().expect("there is room");
    let directory = folder.path().join("folder.vmdk");
    fs::create_dir(&directory).expect("there is room");
    is_refused(&directory, &["folder.vmdk"]);
    is_refused(Path::new("/dev/null"), &["/dev/null"]);
    let pipe = folder.path().join("pipe.vmdk");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("coreutils")
            .success()
    );
    is_refused(&pipe, &["pipe.vmdk"]);
}

#[test]
fn a_name_with_a_line_break_stays_one_line() {
    let folder = tempfile::tempdir().expect("there is room");
    is_refused(&folder.path().join("two\nlines.vmdk"), &["lines.vmdk"]);
}

#[test]
fn not_a_vmdk() {
    bytes_are_refused("empty.vmdk", b"", &[]);
    bytes_are_refused("short.vmdk", b"KDM", &[]);
    bytes_are_refused("text.vmdk", b"Dear reader,\nthis is not a disk.\n", &[]);
    bytes_are_refused("zeros.vmdk", &[0; 100_000], &[]);
    for seed in 0..5 {
        bytes_are_refused("random.vmdk", &Random::new(seed).bytes(70_000), &[]);
    }
    let mut qcow = b"QFI\xfb".to_vec();
    qcow.resize(65_536, 0);
    bytes_are_refused("other.qcow2", &qcow, &[]);
}

#[test]
fn a_text_that_makes_no_disk() {
    let text = |lines: &str| {
        format!("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n{lines}")
    };
    for (name, lines) in [
        ("extents.vmdk", "createType=\"monolithicFlat\"\n"),
        (
            "size.vmdk",
            "createType=\"monolithicFlat\"\nRW 18446744073709551615 FLAT \"x\" 0\n",
        ),
        (
            "minus.vmdk",
            "createType=\"monolithicFlat\"\nRW -5 FLAT \"x\" 0\n",
        ),
        (
            "itself.vmdk",
            "createType=\"twoGbMaxExtentSparse\"\nRW 2048 SPARSE \"itself.vmdk\"\n",
        ),
        (
            "absent.vmdk",
            "createType=\"monolithicFlat\"\nRW 2048 FLAT \"gone.bin\" 0\n",
        ),
    ] {
        bytes_are_refused(name, text(lines).as_bytes(), &[]);
    }
}

/// A text may not lead to files outside its folder.
#[test]
fn an_extent_outside_the_folder() {
    let folder = tempfile::tempdir().expect("there is room");
    let secret = folder.path().join("secret");
    fs::write(&secret, [7; 4096]).expect("there is room");
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).expect("there is room");
    for name in [
        &*secret.to_string_lossy(),
        "../secret",
        "/etc/hostname",
        "/dev/zero",
    ] {
        let disk = inside.join("disk.vmdk");
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\nRW 1 FLAT \"{name}\" 0\n"
        );
        fs::write(&disk, text).expect("there is room");
        is_refused(&disk, &[name]);
    }
}

#[test]
fn a_truncated_disk() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    for kind in [Kind::MonolithicSparse, Kind::StreamOptimized] {
        let (folder, disk) = disk(kind);
        let bytes = fs::read(&disk).expect("a small file");
        fs::remove_file(&disk).expect("it is there");
        // Within the header, behind it, within the text, within the tables.
        for length in [4, 511, 512, 1000, 8000, 11_000, 12_000] {
            fs::write(&disk, &bytes[..length]).expect("there is room");
            let before = checksum::folder(folder.path());
            is_refused(&disk, &[&format!("{}.vmdk", kind.name())]);
            assert_eq!(checksum::folder(folder.path()), before);
        }
    }
}

#[test]
fn a_flat_extent_that_is_too_short() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let (folder, disk) = disk(Kind::MonolithicFlat);
    let flat = folder.path().join("monolithicFlat-flat.vmdk");
    let file = fs::File::options()
        .write(true)
        .open(&flat)
        .expect("it is there");
    file.set_len((40 << 20) - SECTOR).expect("it is ours");
    let before = checksum::folder(folder.path());
    is_refused(&disk, &["monolithicFlat-flat.vmdk"]);
    assert_eq!(checksum::folder(folder.path()), before);
}

#[test]
fn a_missing_extent() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    for (kind, extent) in [
        (Kind::MonolithicFlat, "monolithicFlat-flat.vmdk"),
        (Kind::TwoGbMaxExtentFlat, "twoGbMaxExtentFlat-f001.vmdk"),
        (Kind::TwoGbMaxExtentSparse, "twoGbMaxExtentSparse-s001.vmdk"),
    ] {
        let (folder, disk) = disk(kind);
        fs::remove_file(folder.path().join(extent)).expect("it is there");
        let before = checksum::folder(folder.path());
        is_refused(&disk, &[extent]);
        assert_eq!(checksum::folder(folder.path()), before);
    }
}

/// Kinds that are known and not supported yet are refused by name, not by accident.
#[test]
fn an_unsupported_kind() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let mut cowd = vec![0; 70_000];
    cowd[..24].copy_from_slice(b"COWD\x01\0\0\0\x03\0\0\0\0\x08\0\0\x01\0\0\0\x04\0\0\0");
    bytes_are_refused("cowd.vmdk", &cowd, &[]);

    let text = |kind: &str, line: &str| {
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
             createType=\"{kind}\"\n\n# Extent description\n{line}\n"
        )
    };
    for (kind, line) in [
        ("seSparse", "RW 2048 SESPARSE \"extent.vmdk\""),
        ("vmfsRawDeviceMap", "RW 2048 VMFSRDM \"extent.vmdk\""),
    ] {
        let folder = tempfile::tempdir().expect("there is room");
        let disk = folder.path().join("disk.vmdk");
        fs::write(&disk, text(kind, line)).expect("there is room");
        fs::write(folder.path().join("extent.vmdk"), &cowd).expect("there is room");
        let before = checksum::folder(folder.path());
        is_refused(&disk, &["disk.vmdk"]);
        assert_eq!(checksum::folder(folder.path()), before);
    }
}

/// A child reads what its parent holds: without the parent it must be refused, never read as if there were holes.
#[test]
fn a_child_is_not_read_without_its_parent() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let (folder, parent) = disk(Kind::MonolithicSparse);
    let child = folder.path().join("child.vmdk");
    qemu_img(conformance::arguments![
        "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child
    ]);
    let name = parent.file_name().expect("a file").to_str().expect("ours");
    let before = checksum::folder(folder.path());
    fs::rename(&parent, folder.path().join("elsewhere")).expect("it is ours");
    is_refused(&child, &["child.vmdk", name]);
    fs::rename(folder.path().join("elsewhere"), &parent).expect("it is ours");
    assert_eq!(checksum::folder(folder.path()), before);
}

/// Root may read anything, so where the test is root the programs run as nobody.
#[test]
fn no_permission() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let (folder, disk) = disk(Kind::MonolithicFlat);
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    // The programs have to be where nobody may go.
    let programs = tempfile::tempdir().expect("there is room");
    for public in [folder.path(), programs.path()] {
        mode(public, 0o755);
    }
    let flat = folder.path().join("monolithicFlat-flat.vmdk");
    let root = rustix::process::geteuid().is_root();
    for name in PROGRAMS {
        let program = programs.path().join(name);
        fs::copy(artefact::program(name), &program).expect("there is room");
        for (path, file_mode) in [(&disk, 0o000), (&flat, 0o000)] {
            mode(path, file_mode);
            let mut wrapper = if root {
                let mut wrapper = Command::new("setpriv");
                wrapper.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                wrapper
            } else {
                Command::new("env")
            };
            let mut arguments = vec![program.clone().into_os_string()];
            if name == "serve_nbd" {
                arguments.push("--read-only".into());
                arguments.push("--listen".into());
                arguments.push("127.0.0.1:0".into());
            }
            let output = output(wrapper.args(arguments).arg(&disk));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            mode(path, 0o644);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            let file = path
                .file_name()
                .expect("a disk has a name")
                .to_string_lossy();
            assert!(said.contains(&*file), "{said}");
            assert!(said.to_lowercase().contains("permission"), "{said}");
        }
    }
}

/// A file that may be read and not written: serving it for writing is refused before a client comes.
#[test]
fn no_permission_to_write() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    if rustix::process::geteuid().is_root() {
        eprintln!("root may write anything: tried as nobody in no_permission only");
        return;
    }
    let (_folder, disk) = disk(Kind::MonolithicSparse);
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o444)).expect("it is ours");
    let said = refusal(
        "serve_nbd",
        &Backend::Embedded,
        &disk,
        &mut Command::new("timeout"),
    );
    assert!(said.to_lowercase().contains("permission"), "{said}");
}

/// Every way in which `--libdir` can be wrong; the disk is fine.
#[test]
fn a_bad_library_folder() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    let (disks, disk) = disk(Kind::MonolithicSparse);
    let before = checksum::folder(disks.path());
    let folder = tempfile::tempdir().expect("there is room");
    let make = |name: &str, library: Option<&[u8]>| {
        let root = folder.path().join(name);
        fs::create_dir_all(root.join("lib64")).expect("there is room");
        if let Some(bytes) = library {
            fs::write(root.join("lib64/libvixDiskLib.so.8"), bytes).expect("there is room");
        }
        root
    };
    let good = fs::read(artefact::library()).expect("our library is readable");
    let mut other_machine = good.clone();
    // e_machine: s390, which the tests do not run on.
    other_machine[18..20].copy_from_slice(&22_u16.to_le_bytes());
    let file = folder.path().join("a file");
    fs::write(&file, "text").expect("there is room");
    let missing = folder.path().join("one symbol less");
    fs::create_dir(&missing).expect("there is room");
    let missing = distribution_without(&missing, "VixDiskLib_GetInfo");
    let cases = [
        (
            folder.path().join("no such folder"),
            &["no such folder"][..],
        ),
        (file, &["a file"]),
        (make("no library", None), &["no library"]),
        (make("empty library", Some(b"")), &["libvixDiskLib.so.8"]),
        (
            make("text library", Some(b"not a library\n")),
            &["libvixDiskLib.so.8"],
        ),
        (
            make("cut library", Some(&good[..5000])),
            &["libvixDiskLib.so.8"],
        ),
        (
            make("other machine", Some(&other_machine)),
            &["libvixDiskLib.so.8"],
        ),
        (missing, &["VixDiskLib_GetInfo", "libvixDiskLib.so.8"]),
    ];
    let libraries = checksum::folder(folder.path());
    for (libdir, words) in cases {
        for program in PROGRAMS {
            let backend = Backend::Library(libdir.clone());
            let said = refusal(program, &backend, &disk, &mut Command::new("timeout"));
            for word in words {
                assert!(said.contains(word), "no {word:?} in {said}");
            }
        }
    }
    assert_eq!(checksum::folder(folder.path()), libraries);
    assert_eq!(checksum::folder(disks.path()), before);
}

/// A stream cannot be written in place: without `--read-only` it is either refused or served for reading.
#[test]
fn a_stream_is_not_written() {
    if !need::have(&["qemu-img"]) || !need::have_libnbd() {
        return;
    }
    let (folder, disk) = disk(Kind::StreamOptimized);
    let before = checksum::folder(folder.path());
    let said = refusal(
        "serve_nbd",
        &Backend::Embedded,
        &disk,
        &mut Command::new("timeout"),
    );
    assert!(said.contains("streamOptimized.vmdk"), "{said}");
    assert_eq!(checksum::folder(folder.path()), before);
}

/// A table that points outside the file is found when it is read. Its copy helps; where that is wrong too, only that part
/// of the disk is lost.
#[test]
fn a_broken_table_fails_reads_there_and_nowhere_else() {
    if !need::have(&["qemu-img"]) || !need::have_libnbd() {
        return;
    }
    let (folder, disk) = disk(Kind::MonolithicSparse);
    let mut bytes = fs::read(&disk).expect("a small file");
    let content = |disk: &Path| {
        let server = conformance::server::Serve::disk(disk).read_only().start();
        let mut session = conformance::session::Session::connect(server.uri());
        session.read(0, 512)
    };
    let good = content(&disk).expect("nothing is broken yet");
    // The first entry of the first grain table, and of its copy, through their directories.
    let number = |place: Range<usize>| {
        let bytes = bytes[place].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let table = |field: Range<usize>| {
        let directory = number(field) * 512;
        number(directory..directory + 4) * 512
    };
    let (first, copy) = (table(56..64), table(48..56));
    bytes[first..first + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    fs::write(&disk, &bytes).expect("there is room");
    assert_eq!(content(&disk), Ok(good), "the copy is good");
    bytes[copy..copy + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    fs::write(&disk, &bytes).expect("there is room");
    let before = checksum::folder(folder.path());
    let server = conformance::server::Serve::disk(&disk).read_only().start();
    let mut session = conformance::session::Session::connect(server.uri());
    assert_eq!(session.read(0, 512), Err("EIO".to_owned()));
    let border = session
        .read(9 * GRAIN - 3 * SECTOR, SECTOR)
        .expect("the rest is fine");
    assert!(border.iter().any(|byte| *byte != 0));
    drop(session);
    drop(server);
    assert_eq!(checksum::folder(folder.path()), before);
}
