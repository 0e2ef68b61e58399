//! nbdkit's plug-in, unmodified, over our shared library, on disks of a simulated vSphere.

use std::path::Path;

use conformance::backend::Backend;
use conformance::checksum;
use conformance::client::{
    checks_clean, command, convert_to_raw, dump, nbdcopy, qemu_io, run, same_content,
};
use conformance::disk::{GRAIN, SECTOR};
use conformance::map;
use conformance::nbdkit::Nbdkit;
use conformance::need;
use conformance::vsphere::Vsphere;

/// A disk of the snapshot of a machine that runs, and one of a machine that does not.
const PAST: &str = "[datastore1] web/web.vmdk";
const OFF: &str = "[datastore1] db/db.vmdk";
/// The capacity of all disks of the demonstration.
const BYTES: u64 = (16 << 20) + 8 * SECTOR;

/// nbdkit, and a server to use; nothing without the programs.
fn both(disk: &str, vm: &str) -> Option<(Nbdkit, Vsphere)> {
    if !need::have(&["nbdinfo", "nbdcopy", "qemu-img", "qemu-io"]) {
        return None;
    }
    let nbdkit = Nbdkit::new()?;
    let vsphere = Vsphere::start(&[]);
    let nbdkit = nbdkit
        .disk(Path::new(disk))
        .parameters(vsphere.parameters(vm));
    Some((nbdkit, vsphere))
}

#[test]
fn a_snapshot_is_copied_over_every_transport() {
    for (transports, compression) in [
        ("nbdssl", "fastlz"),
        ("nbd", "none"),
        ("nbd:nbdssl", "zlib"),
    ] {
        let Some((nbdkit, vsphere)) = both(PAST, "web") else {
            return;
        };
        let file = vsphere.file(PAST);
        let raw = vsphere.path("local.raw");
        convert_to_raw(&file, &raw);
        let snapshot = vsphere.moref("snapshot", "nightly");
        let server = nbdkit
            .parameters([
                format!("snapshot={snapshot}"),
                format!("transports={transports}"),
                format!("compression={compression}"),
            ])
            .read_only()
            .start();
        let back = vsphere.path("back.raw");
        nbdcopy(&server.uri(), &back);
        assert_eq!(checksum::file(&raw), checksum::file(&back), "{transports}");

        let json = run(command("nbdinfo").args(["--map", "--json", &server.uri()]));
        let runs = map::merged(&map::of_nbdinfo(&json));
        map::assert_covers(&runs, BYTES);
        assert_eq!(runs, dump(&file, &Backend::Embedded, 128));
        let log = server.stop();
        // The library warns of it where it is so.
        let is_expected =
            |line: &str| transports != "nbdssl" && line.contains("nbd sends data in clear text");
        assert!(log.lines().all(is_expected), "{log}");
        assert!(!vsphere.transcript().contains(&vsphere.password()));
    }
}

#[test]
fn what_is_written_is_in_the_disk() {
    let Some((nbdkit, vsphere)) = both(OFF, "db") else {
        return;
    };
    let raw = vsphere.path("local.raw");
    convert_to_raw(&vsphere.file(OFF), &raw);
    let places = [
        (31 * GRAIN - SECTOR, 3 * SECTOR),
        (BYTES - 9 * SECTOR, 9 * SECTOR),
        (0, 3 << 20),
    ];
    let writes = places.map(|(start, length)| format!("write -P 0x61 {start} {length}"));
    let reads = places.map(|(start, length)| format!("read -P 0x61 {start} {length}"));
    let commands = [&writes[..], &["flush".to_owned()], &reads[..]].concat();
    let server = nbdkit.start();
    qemu_io("raw", server.uri(), &commands);
    qemu_io("raw", &raw, &commands);
    let back = vsphere.path("back.raw");
    nbdcopy(&server.uri(), &back);
    assert_eq!(checksum::file(&raw), checksum::file(&back));
    assert_eq!(server.stop(), "");
    convert_to_raw(&vsphere.file(OFF), &back);
    assert!(same_content(&raw, &back), "what a client wrote stays");
    assert!(checks_clean(&vsphere.file(OFF)));
}
