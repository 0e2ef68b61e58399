//! Disks that QEMU makes, of every sub-format and of awkward capacities: all that is read is what QEMU reads.

use std::fs;
use std::path::Path;
use std::time::Instant;

use conformance::backend::Backend;
use conformance::checksum;
use conformance::client::{convert_to_raw, nbdcopy, qemu_img, same_content};
use conformance::disk::{GRAIN, Kind, ODD_GIB, SECTOR, SPLIT, raw_with_data};
use conformance::need;
use conformance::server::Serve;

/// The checksum of the content of the disks of one GiB, so that no test has to work it out for them.
const ODD_GIB_CONTENT: &str = "6f414d6b965f5946872e2447cf60e215b1b58d29dde18e2bf5a97e34c93e3026";

/// Serves the disk through every back end and compares all of it with the raw file it was made from, which has the
/// checksum `expected`.
fn is_served_whole(disk: &Path, raw: &Path, expected: &str, folder: &Path) {
    let oracle = folder.join("oracle");
    convert_to_raw(disk, &oracle);
    assert!(same_content(raw, &oracle), "QEMU reads another disk");
    for backend in Backend::all() {
        let copy = folder.join("copy");
        let server = Serve::disk(disk).backend(&backend).read_only().start();
        nbdcopy(server.uri(), &copy);
        server.stop();
        assert!(same_content(raw, &copy), "{disk:?} through {backend:?}");
        // One checksum a disk is enough: the comparison is as strict, and costs nothing where there are holes.
        if backend == Backend::Embedded {
            assert_eq!(checksum::file(&copy), expected, "{disk:?}");
        }
        fs::remove_file(copy).expect("it is there");
    }
}

fn small_disks(kind: Kind) {
    if !need::have(&["qemu-img", "nbdcopy"]) {
        return;
    }
    for sectors in [1, 127, 128, 129, 513] {
        for pieces in [0, 3] {
            let folder = tempfile::tempdir().expect("there is room");
            let raw = raw_with_data(folder.path(), sectors * SECTOR, pieces, sectors);
            let disk = kind.convert(folder.path(), &raw);
            is_served_whole(&disk, &raw, &checksum::file(&raw), folder.path());
        }
        let folder = tempfile::tempdir().expect("there is room");
        let raw = folder.path().join("empty.raw");
        let file = fs::File::create(&raw).expect("there is room");
        file.set_len(sectors * SECTOR).expect("there is room");
        let disk = kind.convert(folder.path(), &raw);
        is_served_whole(&disk, &raw, &checksum::file(&raw), folder.path());
    }
}

fn large_disk(kind: Kind) {
    if !need::have(&["qemu-img", "nbdcopy"]) {
        return;
    }
    let start = Instant::now();
    let folder = tempfile::tempdir().expect("there is room");
    let raw = raw_with_data(folder.path(), ODD_GIB * SECTOR, 60, 1);
    let disk = kind.convert(folder.path(), &raw);
    is_served_whole(&disk, &raw, ODD_GIB_CONTENT, folder.path());
    println!(
        "{} took {:.1} s",
        kind.name(),
        start.elapsed().as_secs_f64()
    );
}

macro_rules! for_each_kind {
    ($($module:ident: $kind:ident),*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn of_one_to_a_few_hundred_sectors() {
                small_disks(Kind::$kind);
            }

            #[test]
            fn of_one_gib_without_a_sector() {
                large_disk(Kind::$kind);
            }
        }
    )*};
}

for_each_kind!(
    monolithic_sparse: MonolithicSparse,
    monolithic_flat: MonolithicFlat,
    two_gb_max_extent_sparse: TwoGbMaxExtentSparse,
    two_gb_max_extent_flat: TwoGbMaxExtentFlat,
    stream_optimized: StreamOptimized
);

/// Two extents, with data across their border; compared, not summed, for the disks are mostly holes.
#[test]
fn split_disks_of_more_than_one_extent() {
    if !need::have(&["qemu-img", "nbdcopy"]) {
        return;
    }
    for kind in [Kind::TwoGbMaxExtentSparse, Kind::TwoGbMaxExtentFlat] {
        let folder = tempfile::tempdir().expect("there is room");
        let raw = raw_with_data(folder.path(), SPLIT + 37 * SECTOR + 5 * GRAIN, 40, 2);
        let disk = kind.convert(folder.path(), &raw);
        let text = fs::read_to_string(&disk).expect("a split disk has a text");
        assert_eq!(text.matches("\nRW ").count(), 2, "{text}");
        for backend in Backend::all() {
            let copy = folder.path().join("copy");
            let server = Serve::disk(&disk).backend(&backend).read_only().start();
            nbdcopy(server.uri(), &copy);
            server.stop();
            assert!(same_content(&raw, &copy), "{} {backend:?}", kind.name());
            fs::remove_file(copy).expect("it is there");
        }
    }
}

/// Grains of zeros that take no space, which only version 2 of the format has.
#[test]
fn zeroed_grains() {
    if !need::have(&["qemu-img", "qemu-io", "nbdcopy"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = folder.path().join("zeroed.vmdk");
    qemu_img(conformance::arguments![
        "create",
        "-q",
        "-f",
        "vmdk",
        "-o",
        "subformat=monolithicSparse,zeroed_grain=on",
        disk,
        (20 * GRAIN).to_string(),
    ]);
    let commands = [
        "write -P 0x5a 0 1M",
        "write -z 128k 256k",
        "write -P 0xa5 192k 4k",
    ];
    conformance::client::qemu_io("vmdk", &disk, &commands.map(str::to_owned));
    let raw = folder.path().join("raw");
    convert_to_raw(&disk, &raw);
    is_served_whole(&disk, &raw, &checksum::file(&raw), folder.path());
}
