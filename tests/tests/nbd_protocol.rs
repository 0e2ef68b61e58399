//! What outside clients make of the protocol: which form of messages they agree on, and what each says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::artefact;
use conformance::client::{command, nbdcopy, output, qemu_io, run};
use conformance::disk::{GRAIN, Kind};
use conformance::need::{self, PYTHON};
use conformance::server::{Serve, Server};
use tempfile::TempDir;

fn ready() -> bool {
    need::have(&["qemu-img", "qemu-io", "nbdinfo", "nbdcopy"]) && need::have_libnbd()
}

/// A disk of ten grains with sevens in the second, and its raw content.
fn disk() -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), 10 * GRAIN);
    let grain = usize::try_from(GRAIN).expect("small");
    qemu_io("vmdk", &disk, &[format!("write -P 7 {GRAIN} {GRAIN}")]);
    let mut content = vec![0; 10 * grain];
    content[grain..2 * grain].fill(7);
    (folder, disk, content)
}

fn serve(disk: &Path) -> Server {
    Serve::disk(disk).read_only().start()
}

/// The block sizes, the flags and the options that qemu asked for, as it traces them.
fn traced(arguments: &[&str]) -> String {
    let mut command = command("qemu-img");
    let output = output(command.args(["--trace", "nbd_*"]).args(arguments));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn qemu_uses_extended_headers_and_gets_the_same_disk() {
    if !ready() {
        return;
    }
    let (folder, disk, content) = disk();
    let server = serve(&disk);
    let copy = folder.path().join("copy");
    let copy_name = copy.to_str().expect("a name of letters");
    let trace = traced(&["convert", "-f", "raw", "-O", "raw", server.uri(), copy_name]);
    assert!(
        trace.contains("option reply 11 (extended headers), type 1 (ack)"),
        "{trace}"
    );
    assert!(!trace.contains("structured reply)"), "{trace}");
    assert!(fs::read(&copy).expect("it was written") == content);

    let map = |uri: &str, format: &str| -> serde_json::Value {
        let arguments = ["map", "--output=json", "-f", format, uri];
        let printed = run(command("qemu-img").args(arguments));
        serde_json::from_str(&printed).expect("JSON")
    };
    let over_nbd = map(server.uri(), "raw");
    server.stop();
    let of_file = map(disk.to_str().expect("a name of letters"), "vmdk");
    let holes = |map: &serde_json::Value| -> Vec<(u64, u64, bool)> {
        let pieces = map.as_array().expect("a list").iter();
        pieces
            .map(|piece| {
                let number = |key: &str| piece[key].as_u64().expect("a number");
                (number("start"), number("length"), piece["zero"] == true)
            })
            .collect()
    };
    assert_eq!(holes(&over_nbd), holes(&of_file));
    assert_eq!(holes(&over_nbd).len(), 3);
}

#[test]
fn libnbd_gets_holes_single_extents_and_errors() {
    if !ready() {
        return;
    }
    let (_folder, disk, _) = disk();
    let server = serve(&disk);
    let script = artefact::repository().join("tests/python/protocol.py");
    for form in ["structured", "simple"] {
        let mut client = Command::new(PYTHON);
        let printed = run(client.arg(&script).args([server.uri(), form]));
        assert_eq!(printed.trim(), "well", "{form}");
    }
    server.stop();
}

#[test]
fn maps_are_asked_for_by_name() {
    if !ready() {
        return;
    }
    let (folder, disk, content) = disk();
    let server = serve(&disk);
    let totals = |name: &str| {
        let map = format!("--map={name}");
        run(command("nbdinfo").args([&map, "--totals", server.uri()]))
    };
    let base = totals("base:allocation");
    assert!(base.contains("65536") && base.contains("589824"), "{base}");
    let depth = totals("qemu:allocation-depth");
    assert!(
        depth.contains("local") && depth.contains("absent"),
        "{depth}"
    );
    let unknown = command("nbdinfo")
        .args(["--map=x-nobody:knows", server.uri()])
        .output()
        .expect("it starts");
    assert!(!unknown.status.success());
    // nbdcopy asks for structured replies and the map, and leaves out what is zero.
    let copy = folder.path().join("copy");
    nbdcopy(server.uri(), &copy);
    assert!(fs::read(&copy).expect("it was written") == content);
    server.stop();
}
