//! Which disks `serve_nbd` serves under which names: one, several, those of a folder, those of a wildcard, new ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use conformance::artefact;
use conformance::client::{
    checks_clean, command, convert_to_raw, nbdcopy, output, qemu_img, run, same_content,
};
use conformance::disk::{GRAIN, Kind, raw_with_data};
use conformance::need::{self, PYTHON};
use conformance::server::{Serve, Server};
use conformance::session::Session;
use serde_json::Value;
use tempfile::TempDir;

fn ready() -> bool {
    need::have(&["qemu-img", "nbdinfo", "nbdcopy"]) && need::have_libnbd()
}

/// A disk of some size in a file of this name.
fn disk(folder: &Path, name: &str, grains: u64) -> PathBuf {
    let disk = folder.join(name);
    let size = (grains * GRAIN).to_string();
    qemu_img(conformance::arguments![
        "create", "-q", "-f", "vmdk", disk, size
    ]);
    disk
}

/// The names and sizes that clients are told.
fn listed(uri: &str) -> Vec<(String, u64)> {
    let text = run(command("nbdinfo").args(["--list", "--json", uri]));
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let exports = list["exports"].as_array().expect("a list").iter();
    exports
        .map(|export| {
            let name = export["export-name"].as_str().expect("a name");
            (
                name.to_owned(),
                export["export-size"].as_u64().expect("a size"),
            )
        })
        .collect()
}

/// The URI of another export of a server at a Unix socket.
fn uri_of(server: &Server, name: &str) -> String {
    let (_, socket) = server.uri().split_once("?socket=").expect("a Unix socket");
    let escaped = name.bytes().map(|byte| match byte {
        b'/' | b'.' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    let name: String = escaped.collect();
    format!("nbd+unix:///{name}?socket={socket}")
}

fn size(uri: &str) -> Option<u64> {
    let told = output(command("nbdinfo").args(["--size", uri]));
    let printed = String::from_utf8_lossy(&told.stdout).into_owned();
    told.status
        .success()
        .then(|| printed.trim().parse().expect("a number"))
}

fn refused(arguments: &[&str], disks: &[&Path]) -> String {
    let mut program = command(artefact::program("serve_nbd"));
    let Output {
        status,
        stdout,
        stderr,
    } = output(program.args(["-U", "-"]).args(arguments).args(disks));
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn several_disks_are_found_by_the_names_of_their_files() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let first = disk(folder.path(), "first.vmdk", 3);
    let second = disk(folder.path(), "zweite Ünïcode.vmdk", 5);
    let server = Serve::disk(&first).arguments([&second]).start();
    let uris = [Some(server.uri().to_owned()), server.line()];
    // The order of the command line: arguments come before the disk here.
    assert!(
        uris[0]
            .as_ref()
            .is_some_and(|uri| uri.contains("zweite%20%C3%9Cn%C3%AFcode.vmdk")),
        "{uris:?}"
    );
    assert_eq!(size(uris[0].as_ref().expect("a line")), Some(5 * GRAIN));
    assert_eq!(
        size(uris[1].as_ref().expect("a line for each")),
        Some(3 * GRAIN)
    );
    assert_eq!(size(&uri_of(&server, "")), None, "no name is no disk");
    let mut found = listed(server.uri());
    found.sort();
    let expected = [("first.vmdk", 3), ("zweite Ünïcode.vmdk", 5)];
    assert_eq!(
        found,
        expected.map(|(name, grains)| (name.to_owned(), grains * GRAIN))
    );
    // Each is a disk of its own.
    let mut session = Session::connect(&uri_of(&server, "first.vmdk"));
    session.write(0, &[1; 512], &[]).expect("a write works");
    let mut other = Session::connect(server.uri());
    assert_eq!(other.read(0, 512), Ok(vec![0; 512]));
    drop((session, other));
    server.stop();

    let server = Serve::disk(&first)
        .arguments(["-e", "two", "-e", "one/ü", "--default-export", "one/ü"])
        .arguments([&second])
        .start();
    assert_eq!(size(&uri_of(&server, "two")), Some(5 * GRAIN));
    assert_eq!(size(&uri_of(&server, "one/ü")), Some(3 * GRAIN));
    assert_eq!(size(&uri_of(&server, "")), Some(3 * GRAIN));
    assert_eq!(size(&uri_of(&server, "first.vmdk")), None);
    let script = artefact::repository().join("tests/python/options.py");
    run(command(PYTHON)
        .arg(script)
        .args([server.uri(), "two", "one/ü"]));
    server.stop();
}

#[test]
fn names_that_do_not_fit_are_refused() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let other = tempfile::tempdir().expect("there is room");
    let (one, two) = (
        disk(folder.path(), "one.vmdk", 1),
        disk(folder.path(), "two.vmdk", 1),
    );
    let same = disk(other.path(), "one.vmdk", 1);
    let said = refused(&[], &[&one, &same]);
    assert!(
        said.contains("one.vmdk") && said.contains("--exportname"),
        "{said}"
    );
    let said = refused(&["-e", "a"], &[&one, &two]);
    assert!(
        said.contains("--exportname is given 1 times, for 2 disks"),
        "{said}"
    );
    let said = refused(&["-e", "a", "-e", "a"], &[&one, &two]);
    assert!(said.contains("\"a\""), "{said}");
    let said = refused(&["--default-export", "three"], &[&one, &two]);
    assert!(said.contains("\"three\""), "{said}");
}

/// Disks of every kind, with files of which clients must see nothing.
fn full_folder() -> (TempDir, Vec<(String, PathBuf)>) {
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), 20 * GRAIN, 5, 3);
    let mut disks: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| {
            (
                format!("{}.vmdk", kind.name()),
                kind.convert(folder.path(), &raw),
            )
        })
        .collect();
    disks.sort();
    fs::write(folder.path().join("notes.txt"), "nothing").expect("there is room");
    fs::create_dir(folder.path().join("folder.vmdk")).expect("there is room");
    // A part of no disk that is there is a file like others.
    fs::write(folder.path().join("lonely-flat.vmdk"), "no disk").expect("there is room");
    (folder, disks)
}

fn names(disks: &[(String, PathBuf)]) -> Vec<String> {
    disks.iter().map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_folder_is_served_disk_by_disk() {
    if !ready() {
        return;
    }
    let (folder, disks) = full_folder();
    let server = Serve::disk(folder.path()).read_only().start();
    let copy = tempfile::tempdir().expect("there is room");
    let copy = copy.path().join("copy");
    for name in names(&disks) {
        nbdcopy(&uri_of(&server, &name), &copy);
        assert!(
            same_content(&folder.path().join("content.raw"), &copy),
            "{name}"
        );
        fs::remove_file(&copy).expect("nbdcopy made it");
    }
    for name in [
        "",
        "notes.txt",
        "no such disk",
        "../a.vmdk",
        "folder.vmdk",
        "monolithicFlat-flat.vmdk",
        "lonely-flat.vmdk",
    ] {
        assert_eq!(size(&uri_of(&server, name)), None, "{name}");
    }
    let said = server.stderr();
    assert!(
        said.lines().count() == 1 && said.contains("lonely-flat.vmdk"),
        "{said}"
    );
    assert!(said.contains(&*folder.path().to_string_lossy()), "{said}");
    // It is there, and clients are told so, without a path.
    let uri = uri_of(&server, "lonely-flat.vmdk");
    let told = output(command("qemu-img").args(["info", "-f", "raw", &uri]));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let text = "export \"lonely-flat.vmdk\" is there but cannot be opened: ";
    let (_, reason) = told.split_once(text).unwrap_or_else(|| panic!("{told}"));
    assert!(reason.contains("(VIX_E_"), "{told}");
    assert!(!reason.contains('/') && !reason.contains("--"), "{told}");
    let told = output(command("nbdinfo").args(["--size", &uri]));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.contains("no export"), "{told}");
    let told = output(command("nbdinfo").args(["--size", &uri_of(&server, "none.vmdk")]));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("no export named 'none.vmdk'"), "{told}");
    let broken = folder.path().join("lonely-flat.vmdk");
    fs::remove_file(broken).expect("it is there");
    let mut expected = names(&disks);
    assert_eq!(
        listed(server.uri())
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        expected
    );
    // One that comes later is there, too.
    disk(folder.path(), "zz later.vmdk", 2);
    expected.push("zz later.vmdk".to_owned());
    let found = listed(server.uri());
    assert_eq!(
        found
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>(),
        expected
    );
    assert_eq!(found.last().map(|(_, size)| *size), Some(2 * GRAIN));
}

#[test]
fn a_wildcard_is_matched_against_the_name_that_a_client_asks_for() {
    if !ready() {
        return;
    }
    let (folder, disks) = full_folder();
    let server = Serve::disk(&folder.path().join("mono*Spa??e.vmdk")).start();
    assert_eq!(listed(server.uri()).len(), 1);
    let uri = uri_of(&server, "monolithicSparse.vmdk");
    assert_eq!(size(&uri), Some(20 * GRAIN));
    assert_eq!(size(&uri_of(&server, "monolithicFlat.vmdk")), None);
    // A disk is open while it is used, and closed then: others can write to it.
    let mut session = Session::connect(&uri);
    session.write(0, &[9; 512], &[]).expect("a write works");
    drop(session);
    let disk = &disks
        .iter()
        .find(|(name, _)| name == "monolithicSparse.vmdk")
        .expect("made above")
        .1;
    let second = Serve::disk(disk).start();
    let mut session = Session::connect(second.uri());
    assert_eq!(session.read(0, 512), Ok(vec![9; 512]));
    let busy = output(command("nbdinfo").args(["--size", &uri]));
    assert!(!busy.status.success());
    let said = server.stderr();
    assert!(
        said.contains("monolithicSparse.vmdk") && said.contains("lock"),
        "{said}"
    );
    drop(session);
    second.stop();
    assert_eq!(said.lines().count(), 1, "{said}");

    let said = refused(&[], &[Path::new("/no/such/folder/*.vmdk")]);
    assert!(said.contains("/no/such/folder"), "{said}");
}

#[test]
fn disks_are_created() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), 5 << 20, 9, 4);
    for kind in [
        "monolithicSparse",
        "monolithicFlat",
        "splitSparse",
        "splitFlat",
    ] {
        let disk = folder.path().join(format!("{kind}.vmdk"));
        let server = Serve::disk(&disk)
            .arguments(["--create", "5M", "--create-type", kind])
            .start();
        run(command("nbdcopy").arg(&raw).arg(server.uri()));
        server.stop();
        let found = folder.path().join("found");
        convert_to_raw(&disk, &found);
        assert!(same_content(&raw, &found), "{kind}");
        assert!(checks_clean(&disk));
        fs::remove_file(found).expect("it is there");
    }
    let before = fs::read(folder.path().join("monolithicSparse.vmdk")).expect("it is there");
    let there = folder.path().join("monolithicSparse.vmdk");
    let said = refused(&["--create", "5M"], &[&there]);
    assert!(
        said.contains("--create") && said.contains("monolithicSparse.vmdk"),
        "{said}"
    );
    assert_eq!(fs::read(&there).expect("it is there"), before);
    let new = folder.path().join("new.vmdk");
    let said = refused(&["--create", "5M", "--create-type", "vmfsThin"], &[&new]);
    assert!(said.contains("--create"), "{said}");
    let said = refused(&["--create", "5M"], &[&new, &there]);
    assert!(said.contains("--create makes one disk"), "{said}");
    let said = refused(&["--create", "5M", "-e", "a", "-e", "b"], &[&new]);
    assert!(said.contains("--exportname"), "{said}");
    assert!(!new.exists(), "what was refused leaves a disk");
}
