//! Backups by `copy`: killed and resumed, brought up to date, verified.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use conformance::artefact;
use conformance::backup::{Copying, journal, partial};
use conformance::client::{
    checks_clean, command, convert_to_raw, output, qemu_img, qemu_io, run, same_content,
};
use conformance::disk::{GRAIN, Kind, SECTOR, raw_with_data};
use conformance::need;
use conformance::random::Random;
use rustix::process::Signal;
use tempfile::TempDir;

const BYTES: u64 = (40 << 20) + 7 * SECTOR;
const MIB: u64 = 1 << 20;

/// A disk, and what is in it.
struct Disk {
    folder: TempDir,
    disk: PathBuf,
    raw: PathBuf,
}

impl Disk {
    /// With data in most of its MiBs, none of which compresses, and holes between; nothing without QEMU.
    fn new(seed: u64) -> Option<Self> {
        if !need::have(&["qemu-img", "qemu-io"]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("there is room");
        let raw = raw_with_data(folder.path(), BYTES, 3, seed);
        let file = File::options().write(true).open(&raw).expect("it is ours");
        let mut random = Random::new(seed);
        for place in 1..40 {
            let data = random.bytes(usize::try_from(MIB / 2).expect("small"));
            file.write_all_at(&data, place * MIB)
                .expect("there is room");
        }
        let disk = Kind::MonolithicSparse.convert(folder.path(), &raw);
        Some(Self { folder, disk, raw })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether a backup, raw or not, holds just this.
    fn is_in(&self, backup: &Path) -> bool {
        if backup.extension().is_none_or(|name| name != "vmdk") {
            return same_content(&self.raw, backup);
        }
        assert!(checks_clean(backup));
        let back = self.path("back.raw");
        convert_to_raw(backup, &back);
        same_content(&self.raw, &back)
    }
}

fn copy(options: &[&str], source: &Path, target: &Path) -> String {
    run(command(artefact::program("copy"))
        .args(options)
        .arg(source)
        .arg(target))
}

/// Runs `copy`, which must end with this code; what it says.
fn refused(code: i32, options: &[&str], source: &Path, target: &Path) -> String {
    let mut program = command(artefact::program("copy"));
    let output = output(program.args(options).arg(source).arg(target));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn a_new_disk_is_sparse_and_whole() {
    let Some(disk) = Disk::new(1) else { return };
    for name in ["backup.vmdk", "backup.raw"] {
        let backup = disk.path(name);
        let said = copy(&["--verify"], &disk.disk, &backup);
        assert!(said.contains(&format!("{BYTES} bytes verified")), "{said}");
        assert!(disk.is_in(&backup), "{name}");
        assert!(!partial(&backup).exists());
        let blocks = backup.metadata().expect("it is there").blocks();
        assert!(blocks * SECTOR < 30 * MIB, "{name}: zeroes became data");
    }
}

/// What is behind the last entry of the journal may be anything, and the last entry may be torn.
#[test]
fn after_a_kill_the_journal_alone_is_trusted() {
    let Some(disk) = Disk::new(2) else { return };
    for name in ["killed.vmdk", "killed.raw"] {
        let backup = disk.path(name);
        let copying = Copying::start(&["--checkpoint", "1"], &[&disk.disk, &backup]);
        let done = copying.kill_after(4, &backup);
        assert!(done < (BYTES - (8 << 20)) / SECTOR, "it was not half way");
        assert!(!backup.exists(), "it has no name before it is whole");

        let again = refused(1, &[], &disk.disk, &backup);
        assert!(again.contains("--resume goes on"), "{again}");
        let data = partial(&backup).join(name);
        if name.ends_with("raw") {
            let file = File::options().write(true).open(&data);
            let file = file.expect("it is ours");
            file.write_all_at(&vec![0xEE; 8 << 20], done * SECTOR)
                .expect("there is room");
        } else {
            let junk = format!("write -P 0xee {} 8M", done * SECTOR);
            qemu_io("vmdk", &data, &[junk]);
        }
        let entries = journal(&backup);
        let path = partial(&backup).join("journal");
        fs::write(&path, format!("{entries}done {}", BYTES / SECTOR)).expect("it is ours");

        let said = copy(&["--resume"], &disk.disk, &backup);
        let rest = format!("{0} of {0} bytes", BYTES - done * SECTOR);
        assert!(said.contains(&rest), "{said}");
        assert!(disk.is_in(&backup), "{name}");
        assert!(!partial(&backup).exists());
    }
}

#[test]
fn a_disk_that_changed_meanwhile_is_not_mixed_in() {
    let Some(disk) = Disk::new(3) else { return };
    let backup = disk.path("backup.raw");
    let copying = Copying::start(&["--checkpoint", "1"], &[&disk.disk, &backup]);
    copying.kill_after(2, &backup);
    qemu_io("vmdk", &disk.disk, &["write -P 1 0 64k".to_owned()]);
    let said = refused(1, &["--resume"], &disk.disk, &backup);
    assert!(
        said.contains("the interrupted copy was another one"),
        "{said}"
    );
    assert!(said.contains("to begin again"), "{said}");
    fs::remove_dir_all(partial(&backup)).expect("it is ours");
    copy(&["--resume"], &disk.disk, &backup);
    convert_to_raw(&disk.disk, &disk.raw);
    assert!(
        disk.is_in(&backup),
        "without anything to resume it is a new one"
    );
}

#[test]
fn two_do_not_work_on_one_backup() {
    let Some(disk) = Disk::new(4) else { return };
    let backup = disk.path("backup.raw");
    let mut copying = Copying::start(&["--checkpoint", "1"], &[&disk.disk, &backup]);
    copying.stop_after(1, &backup);
    let said = refused(1, &["--resume"], &disk.disk, &backup);
    assert!(said.contains("another process is at work"), "{said}");
    let output = copying.go_on();
    assert!(output.status.success());
    assert!(disk.is_in(&backup));
}

#[test]
fn a_signal_ends_it_so_that_it_can_go_on() {
    let Some(disk) = Disk::new(5) else { return };
    // The last one is what a terminal sends when it goes away.
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let backup = disk.path(&format!("backup{code}.vmdk"));
        let copying = Copying::start(&["--checkpoint", "1"], &[&disk.disk, &backup]);
        let output = copying.signal_after(signal, 2, &backup);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("--resume goes on with it"), "{said}");
        copy(&["--resume", "--verify"], &disk.disk, &backup);
        assert!(disk.is_in(&backup));
    }
}

/// Changes the disk; the areas that change tracking, which counts in blocks, would report.
fn change(disk: &Disk) -> [(u64, u64); 3] {
    let last = BYTES - 3 * SECTOR;
    let changes = [(0, 5 * GRAIN), (20 << 20, 3 << 20), (last, 3 * SECTOR)];
    let commands: Vec<_> = changes
        .iter()
        .zip(["-z", "-P 0x5a", "-P 0xa5"])
        .map(|((start, length), how)| format!("write {how} {start} {length}"))
        .collect();
    qemu_io("vmdk", &disk.disk, &commands);
    convert_to_raw(&disk.disk, &disk.raw);
    changes.map(|(start, length)| {
        let first = start / GRAIN * GRAIN;
        (first, (start + length).next_multiple_of(GRAIN) - first)
    })
}

fn json(areas: &[(u64, u64)], start: u64, length: u64) -> String {
    let changed = areas.iter().map(|(start, length)| {
        format!(r#"{{"_vimtype": "vim.VirtualMachine.DiskChangeInfo.DiskChangeExtent", "start": {start}, "length": {length}}}"#)
    });
    let changed: Vec<_> = changed.collect();
    format!(
        r#"{{"_vimtype": "vim.VirtualMachine.DiskChangeInfo", "startOffset": {start}, "length": {length}, "changedArea": [{}]}}"#,
        changed.join(", ")
    )
}

#[test]
fn changes_go_into_an_earlier_backup_whatever_form_the_list_has() {
    let Some(disk) = Disk::new(6) else { return };
    let earlier = ["earlier.vmdk", "earlier.raw"].map(|name| disk.path(name));
    for backup in &earlier {
        copy(&[], &disk.disk, backup);
    }
    let areas = change(&disk);
    let half = 20 << 20;
    let lists = [
        areas
            .map(|(start, length)| format!("{start} {length}\n"))
            .concat(),
        json(&areas, 0, BYTES),
        format!(
            "[{}, {}]",
            json(&areas[1..], half, BYTES - half),
            json(&areas[..1], 0, half)
        ),
        format!(r#"[{{"start": 0, "length": {BYTES}}}]"#),
        // Made of XML, where a list of one looks like no list.
        format!(
            r#"{{"startOffset": 0, "length": {BYTES}, "changedArea": {{"start": 0, "length": {BYTES}}}}}"#
        ),
    ];
    let file = disk.path("areas");
    for (number, list) in lists.iter().enumerate() {
        fs::write(&file, list).expect("there is room");
        for backup in &earlier {
            let name = format!(
                "later{number}-{}",
                backup.file_name().expect("a name").display()
            );
            let later = disk.path(&name);
            fs::rename(backup, &later).expect("it is ours");
            fs::copy(&later, backup).expect("there is room");
            if name.ends_with("vmdk") {
                // It has its own name in it.
                fs::remove_file(&later).expect("it is ours");
                qemu_img(conformance::arguments![
                    "convert", "-f", "vmdk", "-O", "vmdk", backup, later
                ]);
            }
            let file = file.to_str().expect("a plain name");
            let said = copy(&["--changed-areas", file, "--verify"], &disk.disk, &later);
            assert!(said.contains("bytes verified"), "{said}");
            assert!(disk.is_in(&later), "{name}");
            fs::remove_file(&later).expect("it is ours");
        }
    }
    // A list that ends early says nothing of the rest.
    fs::write(&file, json(&areas[..1], 0, half)).expect("there is room");
    let file = file.to_str().expect("a plain name");
    let said = refused(1, &["--changed-areas", file], &disk.disk, &earlier[1]);
    assert!(said.contains("ask with startOffset=20971520 too"), "{said}");
    // What is no list of areas is not taken for an empty one.
    let list = format!(r#"{{"startOffset": 0, "length": {BYTES}, "changedArea": "0 65536"}}"#);
    fs::write(file, list).expect("there is room");
    let said = refused(1, &["--changed-areas", file], &disk.disk, &earlier[1]);
    assert!(
        said.contains("no start and length in \"0 65536\""),
        "{said}"
    );
    // What should have written the list may have failed.
    fs::write(file, "\n").expect("there is room");
    let said = refused(1, &["--changed-areas", file], &disk.disk, &earlier[1]);
    assert!(said.contains("it is empty"), "{said}");
}

#[test]
fn an_earlier_backup_stays_what_it_was_until_the_later_one_is_whole() {
    let Some(disk) = Disk::new(7) else { return };
    let backup = disk.path("backup.raw");
    copy(&[], &disk.disk, &backup);
    let mode = |file: &Path| file.metadata().expect("it is there").permissions().mode() & 0o777;
    fs::set_permissions(&backup, Permissions::from_mode(0o600)).expect("it is ours");
    let before = disk.path("before.raw");
    fs::copy(&backup, &before).expect("there is room");
    change(&disk);
    let areas = disk.path("areas");
    // All of it, so that it takes a while.
    fs::write(&areas, format!("0 {BYTES}\n")).expect("there is room");
    let options = ["--changed-areas", areas.to_str().expect("a plain name")];
    let copying = Copying::start(
        &[&options[..], &["--checkpoint", "1"]].concat(),
        &[&disk.disk, &backup],
    );
    copying.kill_after(3, &backup);
    assert_eq!(mode(&partial(&backup).join("backup.raw")), 0o600);
    assert!(
        same_content(&before, &backup),
        "the earlier one was touched"
    );
    copy(&[&options[..], &["--resume"]].concat(), &disk.disk, &backup);
    assert!(disk.is_in(&backup));
    assert_eq!(mode(&backup), 0o600, "others may read it now");
}

#[test]
fn changes_do_not_go_into_a_part_of_a_backup() {
    let Some(disk) = Disk::new(9) else { return };
    let backup = disk.path("backup.raw");
    copy(&[], &disk.disk, &backup);
    let file = File::options().write(true).open(&backup);
    file.expect("it is ours").set_len(8 * MIB).expect("shorter");
    let areas = disk.path("areas");
    fs::write(&areas, "0 65536\n").expect("there is room");
    let areas = areas.to_str().expect("a plain name");
    for options in [
        &["--changed-areas", areas][..],
        &["--changed-areas", areas, "--in-place"],
    ] {
        let said = refused(1, options, &disk.disk, &backup);
        assert!(said.contains("a backup of the same disk"), "{said}");
        assert_eq!(backup.metadata().expect("it is there").len(), 8 * MIB);
    }
}

#[test]
fn what_is_not_the_same_is_found() {
    let Some(disk) = Disk::new(8) else { return };
    let backup = disk.path("backup.raw");
    copy(&[], &disk.disk, &backup);
    let nothing = disk.path("nothing");
    fs::write(&nothing, "[]").expect("there is room");
    let options = [
        "--verify",
        "--changed-areas",
        nothing.to_str().expect("a plain name"),
    ];
    // Inside data, and in a hole.
    for place in [5 * MIB + 3, MIB * 5 / 2] {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&backup)
            .expect("it is ours");
        let mut byte = [0];
        file.read_exact_at(&mut byte, place)
            .expect("it is long enough");
        file.write_all_at(&[!byte[0]], place)
            .expect("there is room");
        let said = refused(3, &options, &disk.disk, &backup);
        let sector = format!("sector {} of the target", place / SECTOR);
        assert!(said.contains(&sector), "{said}");
        fs::remove_dir_all(partial(&backup)).expect("it is ours");
        file.write_all_at(&byte, place).expect("there is room");
    }
    copy(&options, &disk.disk, &backup);
}
