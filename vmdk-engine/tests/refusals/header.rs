//! Headers of hosted sparse extents.

use std::fs;

use super::support::image::{SparseImage, descriptor, put};
use super::*;
use vmdk_engine::OpenOptions;

#[test]
fn headers_of_sparse_extents() {
    let good = good();
    check("nothing", &good, Fine, Fine);
    for (name, patches, read_only, writable) in [
        ("version 0", vec![u32_at(4, 0)], TOO_NEW, TOO_NEW),
        ("version 2", vec![u32_at(4, 2)], Fine, Fine),
        ("version 3", vec![u32_at(4, 3)], Fine, TOO_NEW),
        ("version 4", vec![u32_at(4, 4)], TOO_NEW, TOO_NEW),
        ("unknown low flag", vec![u32_at(8, 0x103)], Fine, Fine),
        (
            "unknown high flag",
            vec![u32_at(8, 0x8_0003)],
            TOO_NEW,
            TOO_NEW,
        ),
        (
            "markers without compression",
            vec![u32_at(8, 0x2_0003)],
            BAD,
            BAD,
        ),
        ("capacity 0", vec![u64_at(12, 0)], BAD, BAD),
        ("capacity 2^64 - 1", vec![u64_at(12, u64::MAX)], BAD, BAD),
        ("capacity 2^55", vec![u64_at(12, 1 << 55)], BAD, BAD),
        (
            "capacity that no directory holds",
            vec![u64_at(12, 1 << 50)],
            BAD,
            BAD,
        ),
        ("capacity under the line", vec![u64_at(12, 2047)], BAD, BAD),
        (
            "capacity a grain over the line",
            vec![u64_at(12, 2049)],
            BAD,
            BAD,
        ),
        ("grain size 0", vec![u64_at(20, 0)], BAD, BAD),
        ("grain size 1", vec![u64_at(20, 1)], Fine, NOT_YET),
        ("grain size 7", vec![u64_at(20, 7)], BAD, BAD),
        ("grain size 100", vec![u64_at(20, 100)], BAD, BAD),
        ("grain size 4096", vec![u64_at(20, 4096)], BAD, BAD),
        ("grain size 2^21 + 1", vec![u64_at(20, 0x20_0001)], BAD, BAD),
        ("grain size 2^63", vec![u64_at(20, 1 << 63)], BAD, BAD),
        ("grain size 4", vec![u64_at(20, 4)], Fine, NOT_YET),
        ("grain size 8", vec![u64_at(20, 8)], Fine, Fine),
        ("1 table entry", vec![u32_at(44, 1)], Fine, NOT_YET),
        (
            "a fuzzer's find: a directory beyond any sense",
            vec![
                u64_at(12, 0x1eff_fffc_1b00_0001),
                u32_at(44, 506),
                u64_at(48, 71),
                u64_at(56, 0x2800_0000_0000_0000),
                (73, vec![0; 4]),
            ],
            BAD,
            BAD,
        ),
        ("0 table entries", vec![u32_at(44, 0)], BAD, BAD),
        ("513 table entries", vec![u32_at(44, 513)], BAD, BAD),
        ("511 table entries", vec![u32_at(44, 511)], BAD, BAD),
        ("8192 table entries", vec![u32_at(44, 8192)], BAD, BAD),
        ("256 table entries", vec![u32_at(44, 256)], Fine, NOT_YET),
        (
            "no directory and no copy",
            vec![u32_at(8, 1), u64_at(56, 0)],
            BAD,
            BAD,
        ),
        (
            "directory behind the end, no copy",
            vec![u32_at(8, 1), u64_at(56, 1 << 20)],
            BAD,
            BAD,
        ),
        (
            "directory overflows, no copy",
            vec![u32_at(8, 1), u64_at(56, 1 << 60)],
            BAD,
            BAD,
        ),
        (
            "both directories behind the end",
            vec![u64_at(48, 1 << 20), u64_at(56, 1 << 20)],
            BAD,
            BAD,
        ),
        (
            "directory at the end, no footer",
            vec![u64_at(56, u64::MAX)],
            BAD,
            BAD,
        ),
        (
            "overhead behind the end",
            vec![u64_at(64, 1 << 20)],
            BAD,
            BAD,
        ),
        ("overhead 0", vec![u64_at(64, 0)], Fine, REPAIR),
        ("newline bytes", vec![(73, b"\n\n\r\n".to_vec())], BAD, BAD),
        (
            "newline bytes not claimed",
            vec![u32_at(8, 2), (73, vec![0; 4])],
            Fine,
            Fine,
        ),
        ("algorithm 2", vec![(77, vec![2, 0])], NOT_YET, NOT_YET),
        ("algorithm without flag", vec![(77, vec![1, 0])], BAD, BAD),
        (
            "flag without algorithm",
            vec![u32_at(8, 0x1_0003)],
            BAD,
            BAD,
        ),
        ("no descriptor", vec![u64_at(28, 0)], BAD, BAD),
        ("descriptor of size 0", vec![u64_at(36, 0)], BAD, BAD),
        (
            "descriptor of size 2^40",
            vec![u64_at(36, 1 << 40)],
            BAD,
            BAD,
        ),
        (
            "descriptor behind the end",
            vec![u64_at(28, 1 << 20)],
            BAD,
            BAD,
        ),
        (
            "descriptor over the directory",
            vec![u64_at(36, 21)],
            Fine,
            BAD,
        ),
        ("no redundant directory", vec![u64_at(48, 0)], Fine, Fine),
        (
            "redundant directory is the directory",
            vec![u64_at(48, 26)],
            Fine,
            Fine,
        ),
        (
            "redundant directory behind the end",
            vec![u64_at(48, 1 << 30)],
            Fine,
            REPAIR,
        ),
        (
            "redundancy not claimed",
            vec![u32_at(8, 1), u64_at(48, 1 << 30)],
            Fine,
            Fine,
        ),
        ("other case", vec![(0, b"kdmv".to_vec())], BAD, BAD),
        ("copy-on-write disk", vec![(0, b"COWD".to_vec())], BAD, BAD),
        ("SESparse", vec![u64_at(0, 0xcafe_babe)], BAD, BAD),
        (
            "unknown signature",
            vec![(0, b"QFI\xfb".to_vec())],
            BAD,
            BAD,
        ),
    ] {
        let mut image = good.clone();
        for (position, bytes) in patches {
            put(&mut image, position, &bytes);
        }
        check(name, &image, read_only, writable);
    }
}

#[test]
fn files_that_end_too_early() {
    let good = good();
    for length in [
        0,
        3,
        4,
        511,
        512,
        700,
        5 * SECTOR,
        26 * SECTOR,
        27 * SECTOR,
        127 * SECTOR,
    ] {
        check(&format!("cut at {length}"), &good[..length], BAD, BAD);
    }
    // What is left of the last grain is still there; the rest is an error, not zeros.
    let cut = &good[..300 * SECTOR];
    check("last grain cut", cut, DAMAGED, REPAIR);
    let gate = MemoryGate::default().with("disk.vmdk", cut);
    let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
    let mut sector = [0; SECTOR];
    disk.read_at(Sector::new(640), &mut sector).unwrap();
    assert_eq!(sector, [2; SECTOR]);
}

/// A file with holes can be as long as a header likes; what is held in memory for it is bounded all the same.
#[test]
fn a_directory_too_large_for_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    for (tables, expected) in [(1_u64 << 22, None), ((1 << 22) + 1, Some(InvalidDisk))] {
        let capacity = tables * 65536;
        let mut image = SparseImage::monolithic(2048).build();
        let line = format!("RW {capacity} SPARSE");
        let text = String::from_utf8(image[512..21 * SECTOR].to_vec()).unwrap();
        let text = text.replace("RW 2048 SPARSE", &line);
        put(&mut image, 512, &text.as_bytes()[..20 * SECTOR]);
        put(&mut image, 12, &capacity.to_le_bytes());
        put(&mut image, 8, &1_u32.to_le_bytes());
        put(&mut image, 56, &128_u64.to_le_bytes());
        fs::write(&path, &image).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        let result = Disk::open(&path, &OpenOptions::new());
        assert_eq!(result.err().map(|error| error.kind()), expected);
    }
}

/// Many lines may name one file; what each of them costs adds up.
#[test]
fn directories_too_large_together() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name);
    let tables = 1_u64 << 20;
    let capacity = tables * 65536;
    let mut image = SparseImage::extent(2048).build();
    put(&mut image, 12, &capacity.to_le_bytes());
    put(&mut image, 8, &1_u32.to_le_bytes());
    put(&mut image, 56, &128_u64.to_le_bytes());
    fs::write(file("s"), &image).unwrap();
    let extent = fs::File::options().write(true).open(file("s")).unwrap();
    extent.set_len(1 << 30).unwrap();
    let line = format!("RW {capacity} SPARSE \"s\"");
    for (lines, expected) in [(4, None), (5, Some(InvalidDisk)), (500, Some(InvalidDisk))] {
        let lines = vec![line.as_str(); lines];
        fs::write(
            file("disk.vmdk"),
            descriptor("twoGbMaxExtentSparse", &lines),
        )
        .unwrap();
        let result = Disk::open(file("disk.vmdk"), &OpenOptions::new());
        assert_eq!(result.err().map(|error| error.kind()), expected);
    }
}

/// An extent of a split disk is no disk.
#[test]
fn bare_extents() {
    let image = SparseImage::extent(300).build();
    check("no descriptor", &image, BAD, BAD);
    // QEMU reserves an area for text in extents of split disks too, and leaves it empty.
    let mut reserved = SparseImage::extent(2048).build();
    put(&mut reserved, 28, &1_u64.to_le_bytes());
    put(&mut reserved, 36, &20_u64.to_le_bytes());
    check("empty descriptor", &reserved, BAD, BAD);
    let gate = MemoryGate::default()
        .with(
            "disk.vmdk",
            descriptor("twoGbMaxExtentSparse", &["RW 2048 SPARSE \"e\""]),
        )
        .with("e", reserved);
    assert_eq!(outcome(&gate, true).0, Fine);
}
