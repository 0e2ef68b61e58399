//! The examples on disks of a simulated vSphere: what they do with one is what they do with the same disk on this machine.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use conformance::artefact;
use conformance::backup::{Copying, partial};
use conformance::checksum;
use conformance::client::{
    checks_clean, command, convert_to_raw, nbdcopy, output, qemu_io, run, same_content,
};
use conformance::disk::{GRAIN, SECTOR};
use conformance::need;
use conformance::server::Serve;
use conformance::vsphere::Vsphere;

/// A disk of the snapshot of a machine that runs, and one of a machine that does not.
const PAST: &str = "[datastore1] web/web.vmdk";
const OFF: &str = "[datastore1] db/db.vmdk";
/// The capacity of all disks of the demonstration.
const BYTES: u64 = (16 << 20) + 8 * SECTOR;

fn have_clients() -> bool {
    need::have(&["nbdinfo", "nbdcopy", "qemu-img", "qemu-io"])
}

/// The content of a disk, as QEMU reads its file.
fn raw(vsphere: &Vsphere, disk: &str) -> PathBuf {
    let raw = vsphere.path("local.raw");
    convert_to_raw(&vsphere.file(disk), &raw);
    assert_eq!(raw.metadata().expect("made").len(), BYTES);
    raw
}

/// Fills the disk of the machine that does not run, so that copying it takes a while.
fn filled(vsphere: &Vsphere) -> PathBuf {
    let writes: Vec<_> = (0..16)
        .map(|mib| format!("write -P {} {mib}M 1M", 17 + mib))
        .collect();
    qemu_io("vmdk", vsphere.file(OFF), &writes);
    raw(vsphere, OFF)
}

/// The options for the disk of the snapshot.
fn past(vsphere: &Vsphere) -> Vec<OsString> {
    let snapshot = vsphere.moref("snapshot", "nightly");
    let mut options = vsphere.options("web");
    options.extend(["--snapshot".into(), snapshot.into()]);
    options
}

fn copy(options: &[OsString], more: &[&str], disk: &str, target: &Path) -> String {
    let mut program = command(artefact::program("copy"));
    program.args(options).args(more).arg(disk);
    run(program.arg(target))
}

/// Runs a program, which must end with code 1; what it says.
fn refused(program: &str, arguments: &[OsString]) -> String {
    let output = output(command(artefact::program(program)).args(arguments));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// Whether machines may be moved again, and nobody is logged in or has a disk open.
fn all_is_left(vsphere: &Vsphere) {
    assert!(vsphere.may_move(), "{}", vsphere.transcript());
    assert_eq!(vsphere.count("logged_in"), vsphere.count("logged_out"));
    let transcript = vsphere.transcript();
    assert!(
        !transcript.contains(&vsphere.password()),
        "a secret is in it"
    );
}

#[test]
fn a_snapshot_is_served_as_it_is() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&[]);
    let raw = raw(&vsphere, PAST);
    for (transports, compression) in [
        ("nbdssl", "skipz"),
        ("nbd", "fastlz"),
        ("nbdssl:nbd", "zlib"),
    ] {
        let options = ["--transports", transports, "--compression", compression];
        let server = Serve::disk(Path::new(PAST))
            .read_only()
            .arguments(past(&vsphere))
            .arguments(options)
            .start();
        let info = run(command("nbdinfo").args(["--json", server.uri()]));
        for line in [
            &format!("\"export-size\": {BYTES},"),
            "\"is_read_only\": true,",
        ] {
            assert!(info.contains(line), "{info}");
        }
        let back = vsphere.path("back.raw");
        nbdcopy(server.uri(), &back);
        assert_eq!(checksum::file(&raw), checksum::file(&back), "{transports}");
        server.stop();
    }
    all_is_left(&vsphere);
}

#[test]
fn what_is_written_over_nbd_is_in_the_disk() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&[]);
    let raw = raw(&vsphere, OFF);
    let places = [
        (31 * GRAIN - SECTOR, 3 * SECTOR),
        (BYTES - 9 * SECTOR, 9 * SECTOR),
        (0, 3 << 20),
    ];
    let writes = places.map(|(start, length)| format!("write -P 0x61 {start} {length}"));
    let reads = places.map(|(start, length)| format!("read -P 0x61 {start} {length}"));
    let zero = format!("write -z {} {}", 5 << 20, 1 << 20);
    let commands = [&writes[..], &[zero, "flush".to_owned()], &reads[..]].concat();
    let server = Serve::disk(Path::new(OFF))
        .arguments(vsphere.options("db"))
        .start();
    qemu_io("raw", server.uri(), &commands);
    qemu_io("raw", &raw, &commands);
    let back = vsphere.path("back.raw");
    nbdcopy(server.uri(), &back);
    assert_eq!(checksum::file(&raw), checksum::file(&back));
    server.stop();
    convert_to_raw(&vsphere.file(OFF), &back);
    assert!(same_content(&raw, &back), "what a client wrote stays");
    assert!(checks_clean(&vsphere.file(OFF)));
    all_is_left(&vsphere);
}

#[test]
fn extents_are_those_of_the_file() {
    let vsphere = Vsphere::start(&[]);
    let remote = past(&vsphere);
    for form in [&["--json"][..], &[], &["--json", "--chunk", "512"]] {
        let said = |options: &[OsString], disk: &Path| {
            let mut program = command(artefact::program("dump_extents"));
            run(program.args(form).args(options).arg(disk))
        };
        let local = said(&[], &vsphere.file(PAST));
        assert_eq!(said(&remote, Path::new(PAST)), local);
        assert!(local.contains("hole") || local.contains("false"), "{local}");
    }
    all_is_left(&vsphere);
}

#[test]
fn a_backup_holds_what_the_snapshot_holds() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&[]);
    let raw = raw(&vsphere, PAST);
    let image = vsphere.path("backup.raw");
    let disk = vsphere.path("backup.vmdk");
    let said = copy(&past(&vsphere), &["--verify"], PAST, &image);
    assert!(said.contains(&format!("{BYTES} bytes verified")), "{said}");
    assert_eq!(checksum::file(&raw), checksum::file(&image));
    copy(&past(&vsphere), &["--compression", "fastlz"], PAST, &disk);
    assert!(checks_clean(&disk));
    let back = vsphere.path("back.raw");
    convert_to_raw(&disk, &back);
    assert_eq!(checksum::file(&raw), checksum::file(&back));
    assert_eq!(
        vsphere.calls("DisableMethods"),
        2,
        "the machine stays where it is"
    );
    all_is_left(&vsphere);
}

#[test]
fn a_host_alone_cannot_keep_machines_from_moving_and_need_not() {
    let vsphere = Vsphere::start(&["--profile", "esxi8-direct"]);
    let image = vsphere.path("backup.raw");
    let mut program = command(artefact::program("copy"));
    let output = output(program.args(past(&vsphere)).arg(PAST).arg(&image));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("going on, although the machine may be moved"),
        "{said}"
    );
    if have_clients() {
        assert_eq!(checksum::file(&raw(&vsphere, PAST)), checksum::file(&image));
    }
    all_is_left(&vsphere);
}

#[test]
fn a_later_backup_takes_what_changed() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&[]);
    let backup = vsphere.path("backup.raw");
    copy(&vsphere.options("db"), &[], OFF, &backup);
    let before = vsphere.calls("DisableMethods");
    qemu_io(
        "vmdk",
        vsphere.file(OFF),
        &["write -P 0x77 6M 2M".to_owned()],
    );
    let areas = vsphere.path("areas");
    fs::write(&areas, format!("{} {}\n", 6 << 20, 2 << 20)).expect("there is room");
    let areas = areas.to_str().expect("a plain name");
    let options = ["--changed-areas", areas, "--verify"];
    let said = copy(&vsphere.options("db"), &options, OFF, &backup);
    assert!(said.contains("2097152 of 2097152 bytes"), "{said}");
    assert_eq!(checksum::file(&raw(&vsphere, OFF)), checksum::file(&backup));
    assert_eq!(vsphere.calls("DisableMethods"), before + 1);
    all_is_left(&vsphere);
}

/// Starts a copy that takes a while.
fn slow(vsphere: &Vsphere, backup: &Path) -> Copying {
    let mut options = vsphere.options("db");
    options.extend(["--checkpoint", "1", "--in-flight", "1"].map(OsString::from));
    Copying::start(&options, &[Path::new(OFF), backup])
}

#[test]
fn a_killed_backup_goes_on() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&["--latency", "5"]);
    let raw = filled(&vsphere);
    let backup = vsphere.path("backup.vmdk");
    let done = slow(&vsphere, &backup).kill_after(3, &backup);
    assert!(done < BYTES / SECTOR);
    assert_eq!(vsphere.calls("DisableMethods"), 1);
    assert_eq!(
        vsphere.calls("EnableMethods"),
        0,
        "a dead process ends nothing"
    );

    let options = ["--resume", "--verify"];
    let said = copy(&vsphere.options("db"), &options, OFF, &backup);
    assert!(
        said.contains(&format!("of {} bytes", BYTES - done * SECTOR)),
        "{said}"
    );
    let back = vsphere.path("back.raw");
    convert_to_raw(&backup, &back);
    assert_eq!(checksum::file(&raw), checksum::file(&back));
    assert_eq!(vsphere.calls("DisableMethods"), 2);
    assert_eq!(
        vsphere.calls("EnableMethods"),
        2,
        "it ended what was left over, too"
    );
}

#[test]
fn ctrl_c_ends_the_access() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&["--latency", "5"]);
    let raw = filled(&vsphere);
    let backup = vsphere.path("backup.raw");
    let output = slow(&vsphere, &backup).interrupt_after(3, &backup);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("--resume goes on with it"), "{said}");
    assert_eq!(vsphere.calls("DisableMethods"), 1);
    all_is_left(&vsphere);
    copy(&vsphere.options("db"), &["--resume"], OFF, &backup);
    assert_eq!(checksum::file(&raw), checksum::file(&backup));
    all_is_left(&vsphere);
}

#[test]
fn a_lost_connection_loses_nothing() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&["--latency", "5"]);
    let raw = filled(&vsphere);
    let backup = vsphere.path("backup.raw");
    let mut copying = slow(&vsphere, &backup);
    copying.stop_after(3, &backup);
    vsphere.tell("disconnect");
    let output = copying.go_on();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert!(said.contains("--resume goes on with it"), "{said}");
        assert!(partial(&backup).exists() && !backup.exists());
        copy(&vsphere.options("db"), &["--resume"], OFF, &backup);
    }
    assert_eq!(checksum::file(&raw), checksum::file(&backup));
    all_is_left(&vsphere);
}

#[test]
fn a_wrong_password_is_named_and_not_said() {
    let vsphere = Vsphere::start(&[]);
    let wrong = vsphere.path("wrong");
    fs::write(&wrong, "geheim-4711\n").expect("there is room");
    let wrong = wrong.to_str().expect("a plain name");
    let vm = vsphere.moref("vm", "db");
    let options = vsphere.login_with(&[("--password-file", wrong), ("--vm", &vm)]);
    for program in ["serve_nbd", "dump_extents", "copy"] {
        let target = vsphere.path("target");
        let mut arguments = options.clone();
        arguments.push(OFF.into());
        if program == "copy" {
            arguments.push(target.clone().into());
        }
        let said = refused(program, &arguments);
        assert!(
            said.contains("hint: the server refused the user name, password"),
            "{said}"
        );
        assert!(!said.contains("geheim"), "{said}");
        assert!(!target.exists() && !partial(&target).exists());
    }
    assert_eq!(vsphere.count("logged_in"), 0);
    assert!(vsphere.count("login_refused") >= 3);
    assert_eq!(vsphere.calls("DisableMethods"), 0);
    assert!(!vsphere.transcript().contains("geheim"));
}

#[test]
fn a_wrong_thumbprint_is_told_nothing() {
    let vsphere = Vsphere::start(&[]);
    let wrong = vec!["AB"; 20].join(":");
    let vm = vsphere.moref("vm", "db");
    let options = vsphere.login_with(&[("--thumbprint", &wrong), ("--vm", &vm)]);
    for program in ["serve_nbd", "dump_extents", "copy"] {
        let target = vsphere.path("target");
        let mut arguments = options.clone();
        arguments.push(OFF.into());
        if program == "copy" {
            arguments.push(target.clone().into());
        }
        let said = refused(program, &arguments);
        assert!(said.contains("thumbprint"), "{said}");
        assert!(!said.contains(&vsphere.password()), "{said}");
        assert!(!target.exists() && !partial(&target).exists());
    }
    assert_eq!(vsphere.calls("Login"), 0);
    assert_eq!(vsphere.count("called"), 0, "{}", vsphere.transcript());
    assert_eq!(vsphere.count("login_refused"), 0);
}

#[test]
fn a_first_class_disk_is_copied_by_its_id() {
    if !have_clients() {
        return;
    }
    let vsphere = Vsphere::start(&[]);
    let id_of = |key| vsphere.fact(key).split_once(' ').expect("an id and more");
    let ((snapshot, path), (id, _)) = (id_of("fcd-snapshot"), id_of("fcd"));
    let (datastore, _) = id_of("datastore");
    let raw = raw(&vsphere, path);
    let backup = vsphere.path("backup.raw");
    let mut program = command(artefact::program("copy"));
    program.args(vsphere.login()).args(["--fcd", id]);
    program.args(["--fcd-snapshot", snapshot, "--datastore", datastore]);
    run(program.arg(&backup));
    assert_eq!(checksum::file(&raw), checksum::file(&backup));
    all_is_left(&vsphere);
}
