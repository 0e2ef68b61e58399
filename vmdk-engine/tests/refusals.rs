//! Malformed input: each defect is refused with its own kind of error, and never read or written past.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;

use support::image::{MemoryGate, SparseImage, StreamImage, deflate, descriptor, put, put_entry};
use support::{Numbers, content, range};
use vmdk_engine::{Disk, Error, ErrorKind, OpenOptions, Sector};

const SECTOR: usize = 512;

/// What a defect leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Opening fails.
    Open(ErrorKind),
    /// Opening works, reading fails.
    Read(ErrorKind),
    /// All is read.
    Fine,
}

use ErrorKind::{Corrupt, InvalidDisk, NeedsRepair, Unsupported, UnsupportedVersion};
use Outcome::{Fine, Open, Read};

const BAD: Outcome = Open(InvalidDisk);
const TOO_NEW: Outcome = Open(UnsupportedVersion);
const NOT_YET: Outcome = Open(Unsupported);
const REPAIR: Outcome = Open(NeedsRepair);
const DAMAGED: Outcome = Read(Corrupt);

fn outcome(gate: &MemoryGate, writable: bool) -> (Outcome, Option<Error>) {
    let disk = match Disk::open("disk.vmdk", &gate.options().writable(writable)) {
        Ok(disk) => disk,
        Err(error) => return (Open(error.kind()), Some(error)),
    };
    // A disk that claims more than this is one whose size itself is the defect.
    let sectors = usize::try_from(disk.capacity().get()).unwrap().min(1 << 16);
    let mut buffer = vec![0; sectors * SECTOR];
    match disk.read_at(Sector::ZERO, &mut buffer) {
        Ok(()) => (Fine, None),
        Err(error) => (Read(error.kind()), Some(error)),
    }
}

/// A patch of the good image: where, and what.
type Patch = (usize, Vec<u8>);

fn u32_at(position: usize, value: u32) -> Patch {
    (position, value.to_le_bytes().to_vec())
}

fn u64_at(position: usize, value: u64) -> Patch {
    (position, value.to_le_bytes().to_vec())
}

/// 1 MiB with two grains of data, as QEMU writes it: text 1..21, RGD 21, RGT 22, GD 26, GT 27, grains from 128.
fn good() -> Vec<u8> {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(2048).build());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    disk.write_at(Sector::new(640), &[2; 512]).unwrap();
    disk.close().unwrap();
    gate.bytes("disk.vmdk")
}

fn check(name: &str, image: &[u8], read_only: Outcome, writable: Outcome) {
    for (is_writable, expected) in [(false, read_only), (true, writable)] {
        let gate = MemoryGate::default().with("disk.vmdk", image);
        let (found, error) = outcome(&gate, is_writable);
        assert_eq!(
            found, expected,
            "{name}, writable: {is_writable}: {error:?}"
        );
        if let Some(error) = error {
            let text = error.to_string();
            assert!(
                text.contains("disk.vmdk") && !text.contains('\n'),
                "{name}: {text}"
            );
        }
        assert!(
            gate.bytes("disk.vmdk") == image,
            "{name}: the file was changed"
        );
    }
}

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
        ("grain size 7", vec![u64_at(20, 7)], BAD, BAD),
        ("grain size 100", vec![u64_at(20, 100)], BAD, BAD),
        ("grain size 4096", vec![u64_at(20, 4096)], BAD, BAD),
        ("grain size 2^63", vec![u64_at(20, 1 << 63)], BAD, BAD),
        ("grain size 4", vec![u64_at(20, 4)], Fine, NOT_YET),
        ("grain size 8", vec![u64_at(20, 8)], Fine, Fine),
        ("0 table entries", vec![u32_at(44, 0)], BAD, BAD),
        ("513 table entries", vec![u32_at(44, 513)], BAD, BAD),
        ("511 table entries", vec![u32_at(44, 511)], BAD, BAD),
        ("8192 table entries", vec![u32_at(44, 8192)], BAD, BAD),
        ("256 table entries", vec![u32_at(44, 256)], Fine, NOT_YET),
        ("no directory", vec![u64_at(56, 0)], BAD, BAD),
        (
            "directory behind the end",
            vec![u64_at(56, 1 << 20)],
            BAD,
            BAD,
        ),
        ("directory overflows", vec![u64_at(56, 1 << 60)], BAD, BAD),
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
        (
            "copy-on-write disk",
            vec![(0, b"COWD".to_vec())],
            NOT_YET,
            NOT_YET,
        ),
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

#[test]
fn tables_of_sparse_extents() {
    let good = good();
    let both = |index: u64, value: u32| vec![(27, index, value), (22, index, value)];
    for (name, entries, read_only, writable) in [
        (
            "table behind the end",
            vec![(26, 0, 1 << 20)],
            DAMAGED,
            REPAIR,
        ),
        (
            "table at 2^32 - 1",
            vec![(26, 0, u32::MAX)],
            DAMAGED,
            REPAIR,
        ),
        ("table in the text", vec![(26, 0, 5)], DAMAGED, REPAIR),
        ("table in the directory", vec![(26, 0, 26)], DAMAGED, REPAIR),
        (
            "both directories name one table",
            vec![(21, 0, 27)],
            Fine,
            REPAIR,
        ),
        (
            "table in one directory only",
            vec![(21, 0, 0)],
            Fine,
            REPAIR,
        ),
        ("grain behind the end", both(3, 1 << 20), DAMAGED, REPAIR),
        ("grain at 2^32 - 1", both(3, u32::MAX), DAMAGED, REPAIR),
        ("grain in the text", both(3, 2), DAMAGED, REPAIR),
        ("grain in the tables", both(3, 27), DAMAGED, REPAIR),
        ("two grains at one place", both(3, 128), Fine, REPAIR),
        ("copies differ", vec![(22, 5, 0)], Fine, REPAIR),
        ("entry 1 without its flag", both(3, 1), Fine, Fine),
        (
            "table missing in both directories",
            vec![(26, 0, 0), (21, 0, 0)],
            Fine,
            Fine,
        ),
    ] {
        let mut image = good.clone();
        for (sector, index, entry) in entries {
            put_entry(&mut image, sector, index, entry);
        }
        check(name, &image, read_only, writable);
    }
}

/// Damage behind good sectors is an error however the request reaches it, never zeros and never a hole.
#[test]
fn damage_behind_good_sectors_is_no_hole() {
    let border = 65536;
    let image = SparseImage::monolithic(2 * border);
    for (name, behind_grain) in [("behind a hole", false), ("behind data", true)] {
        let gate = MemoryGate::default().with("disk.vmdk", image.build());
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        if behind_grain {
            disk.write_at(Sector::new(border - 1), &[1; SECTOR])
                .unwrap();
        }
        disk.write_at(Sector::new(border), &[2; SECTOR]).unwrap();
        disk.close().unwrap();
        let mut bytes = gate.bytes("disk.vmdk");
        put_entry(&mut bytes, image.directory(), 1, 1 << 20);

        let gate = MemoryGate::default().with("disk.vmdk", bytes);
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        let mut sectors = [0xee; 2 * SECTOR];
        let error = disk
            .read_at(Sector::new(border - 1), &mut sectors)
            .unwrap_err();
        assert_eq!(error.kind(), Corrupt, "{name}: {error}");
        let mapped: Vec<_> = disk.extents(range(border - 200, border + 200)).collect();
        let (last, good) = mapped.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().kind(), Corrupt, "{name}");
        let end = good.last().unwrap().as_ref().unwrap().range.end();
        assert_eq!(end, Sector::new(border), "{name}");
    }
}

/// After a crash, stale redundant tables are expected and mended; anything worse is refused.
#[test]
fn dirty_disks_are_checked_before_they_are_written() {
    let mut stale = good();
    stale[72] = 1;
    put_entry(&mut stale, 22, 5, 0);
    let gate = MemoryGate::default().with("disk.vmdk", stale.clone());
    assert_eq!(outcome(&gate, false).0, Fine);
    assert!(gate.bytes("disk.vmdk") == stale, "a reader changes nothing");
    Disk::open("disk.vmdk", &gate.options().writable(true))
        .unwrap()
        .close()
        .unwrap();
    assert!(gate.bytes("disk.vmdk") == good_like(&stale));

    let mut overlapping = stale.clone();
    for table in [22, 27] {
        put_entry(&mut overlapping, table, 5, 200);
    }
    check(
        "overlapping grains after a crash",
        &overlapping,
        Fine,
        REPAIR,
    );
}

/// A 1 MiB disk whose grains, at these sectors of the file, belong to the guest's grains 0, 1, 2 and so on.
fn with_grains_at(places: &[u64]) -> Vec<u8> {
    let mut image = SparseImage::monolithic(2048).build();
    for (grain, place) in (0_u8..).zip(places) {
        let start = usize::try_from(*place).unwrap() * SECTOR;
        let length = image.len().max(start + 128 * SECTOR);
        image.resize(length, 0);
        image[start..start + 128 * SECTOR].fill(grain + 1);
        for table in [22, 27] {
            put_entry(
                &mut image,
                table,
                u64::from(grain),
                u32::try_from(*place).unwrap(),
            );
        }
    }
    image
}

/// Grains need not lie at multiples of their size, nor all at the same distance from one, but must not overlap.
#[test]
fn grains_may_be_aligned_as_they_like_but_not_overlap() {
    for (name, places, writable) in [
        ("aligned alike", &[138, 266, 394][..], Fine),
        ("aligned in two ways", &[138, 512, 266], Fine),
        ("side by side", &[128, 300, 428, 556], Fine),
        ("an odd one into the next", &[300, 256, 384], REPAIR),
        ("an odd one into the one before", &[384, 511], REPAIR),
        ("one behind an odd one", &[300, 384], REPAIR),
        ("two odd ones", &[138, 200], REPAIR),
        ("aligned in five ways", &[128, 257, 386, 515, 644], REPAIR),
    ] {
        check(name, &with_grains_at(places), Fine, writable);
    }
}

/// New grains lie at multiples of their size; beside odd ones, that is no damage for whoever opens the disk next.
#[test]
fn a_crash_after_writing_between_odd_grains_is_survived() {
    let gate = MemoryGate::default().with("disk.vmdk", with_grains_at(&[138, 266]));
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::new(1000), &[9; SECTOR]).unwrap();
    disk.flush().unwrap();
    // As the file is now, a crash would leave it.
    let crashed = gate.bytes("disk.vmdk");
    assert_eq!(crashed[72], 1);
    let gate = MemoryGate::default().with("disk.vmdk", crashed);
    let (found, error) = outcome(&gate, true);
    assert_eq!(found, Fine, "{error:?}");
}

/// A table at the border of metadata and grains is no place for a grain either.
#[test]
fn a_grain_in_a_table_at_the_border_is_found() {
    let mut image = SparseImage::monolithic(2048).build();
    image.resize(512 * SECTOR, 0);
    // One directory only, and its table across the end of what the header reserves for metadata.
    put(&mut image, 8, &1_u32.to_le_bytes());
    put_entry(&mut image, 26, 0, 126);
    put_entry(&mut image, 126, 0, 128);
    check("grain over half a table", &image, Fine, REPAIR);
}

/// The image with its redundant table mended and its dirty byte cleared.
fn good_like(stale: &[u8]) -> Vec<u8> {
    let mut image = stale.to_vec();
    image[72] = 0;
    let table = image[27 * SECTOR..31 * SECTOR].to_vec();
    put(&mut image, 22 * SECTOR, &table);
    image
}

#[test]
fn streams() {
    let mut source = vec![0; 300 * SECTOR];
    source[..65536].fill(3);
    Numbers::new(3).fill(&mut source[65536..131_072]);
    source[131_072..].fill(4);
    let image = StreamImage::build(&source, true);
    let good = &image.bytes;
    let gate = MemoryGate::default().with("disk.vmdk", good.clone());
    assert!(content(&Disk::open("disk.vmdk", &gate.options()).unwrap()) == source);
    let end = good.len();
    let record = |grain: usize| usize::try_from(image.records[grain]).unwrap() * SECTOR;
    let (first, last) = (record(0), record(2));
    let size = u32::from_le_bytes(good[first + 8..first + 12].try_into().unwrap());
    let data_end = first + 12 + usize::try_from(size).unwrap();
    let replaced = |data: Vec<u8>| {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes().to_vec();
        vec![(first + 8, size), (first + 12, data)]
    };
    let bomb = deflate(&vec![0; 16 << 20]);
    let shorter = deflate(&[3; 65024]);
    let longer = deflate(&[3; 65537]);
    assert!(shorter.len() < SECTOR && longer.len() < SECTOR);
    let no_marker = vec![(end - 3 * SECTOR + 12, vec![1])];
    for (name, patches, expected) in [
        ("nothing", vec![], Fine),
        ("record size 0", vec![u32_at(first + 8, 0)], DAMAGED),
        (
            "record size 2^31 - 1",
            vec![u32_at(first + 8, 0x7fff_ffff)],
            DAMAGED,
        ),
        (
            "record longer than the file",
            vec![u32_at(last + 8, 100_000)],
            DAMAGED,
        ),
        ("other grain's record", vec![u64_at(first, 128)], DAMAGED),
        (
            "checksum wrong",
            vec![(data_end - 1, vec![!good[data_end - 1]])],
            DAMAGED,
        ),
        (
            "checksum missing",
            vec![u32_at(first + 8, size - 4)],
            DAMAGED,
        ),
        ("not zlib", vec![(first + 12, vec![0xff; 8])], DAMAGED),
        (
            "raw deflate",
            vec![
                u32_at(first + 8, size - 2),
                (first + 12, good[first + 14..data_end].to_vec()),
            ],
            DAMAGED,
        ),
        (
            "bytes behind the zlib end",
            vec![u32_at(first + 8, size + 5)],
            Fine,
        ),
        ("inflates to less than a grain", replaced(shorter), DAMAGED),
        ("inflates to one byte more", replaced(longer), DAMAGED),
        ("footer: other marker", no_marker, BAD),
        (
            "footer: magic",
            vec![(end - 2 * SECTOR, b"XXXX".to_vec())],
            BAD,
        ),
        (
            "footer: capacity",
            vec![u64_at(end - 2 * SECTOR + 12, 301)],
            BAD,
        ),
        (
            "footer: directory",
            vec![u64_at(end - 2 * SECTOR + 56, 0)],
            BAD,
        ),
        ("no end of stream", vec![u32_at(end - SECTOR + 12, 7)], BAD),
        (
            "descriptor and directory zeroed",
            vec![(512, vec![0; 20 * SECTOR])],
            BAD,
        ),
    ] {
        let mut bytes = good.clone();
        for (position, patch) in patches {
            put(&mut bytes, position, &patch);
        }
        let writable = if expected == Fine { NOT_YET } else { expected };
        let writable = match writable {
            Read(_) => NOT_YET,
            other => other,
        };
        check(name, &bytes, expected, writable);
    }
    check("cut off", &good[..end - SECTOR], BAD, BAD);
    let mut behind = good.clone();
    behind.extend([0; 65536]);
    check("bytes behind the end", &behind, BAD, BAD);

    let mut bombed = good.clone();
    let start = end / SECTOR;
    bombed.extend(0_u64.to_le_bytes());
    bombed.extend(u32::try_from(bomb.len()).unwrap().to_le_bytes());
    bombed.extend(&bomb);
    bombed.resize(bombed.len().next_multiple_of(SECTOR), 0);
    put(&mut bombed, 56, &image.directory.to_le_bytes());
    let table = u64::from(support::image::entry(good, image.directory, 0));
    put_entry(&mut bombed, table, 0, u32::try_from(start).unwrap());
    check("inflates to 16 MiB", &bombed, DAMAGED, NOT_YET);
}

/// Text descriptors beside good extents `a` (flat, 8 sectors) and `s` (sparse, 2048 sectors).
#[test]
fn descriptors() {
    let flat = |line: &str| descriptor("monolithicFlat", &[line]);
    let good_line = "RW 8 FLAT \"a\" 0";
    use ErrorKind::{
        AccessRefused, Encoding, Encrypted, ExtentNotFound, InvalidChain, ParentNotFound,
    };
    for (name, text, read_only, writable) in [
        ("good", flat(good_line), Fine, Fine),
        ("CRLF", flat(good_line).replace('\n', "\r\n"), Fine, Fine),
        (
            "upper case",
            flat(good_line)
                .replace("version", "VERSION")
                .replace("CID", "cid"),
            Fine,
            Fine,
        ),
        ("lower case line", flat("rw 8 flat \"a\" 0"), Fine, Fine),
        ("no offset", flat("RW 8 FLAT \"a\""), Fine, Fine),
        (
            "blank line before the extent",
            flat("\nRW 8 FLAT \"a\" 0"),
            Fine,
            Fine,
        ),
        (
            "empty extents",
            flat("RW 0 ZERO\nRW 8 FLAT \"a\" 0\nRDONLY 0 ZERO"),
            Fine,
            Fine,
        ),
        (
            "unknown type of disk",
            flat(good_line).replace("monolithicFlat", "galactic"),
            Fine,
            Fine,
        ),
        (
            "lone CR",
            flat(good_line).replacen("CID=1f2e3d4c\n", "CID=1f2e3d4c\r", 1),
            BAD,
            BAD,
        ),
        (
            "no content id",
            flat(good_line).replacen("CID=1f2e3d4c\n", "", 1),
            Fine,
            REPAIR,
        ),
        (
            "NUL before the extents",
            flat(good_line).replacen("createType", "\0", 1),
            BAD,
            BAD,
        ),
        ("VMFS with an offset", flat("RW 8 VMFS \"a\" 0"), BAD, BAD),
        ("VMFS", flat("RW 8 VMFS \"a\""), Fine, Fine),
        (
            "size 2^64 - 1",
            flat("RW 18446744073709551615 FLAT \"a\" 0"),
            BAD,
            BAD,
        ),
        (
            "sizes that overflow",
            flat("RW 9223372036854775808 ZERO\nRW 9223372036854775808 ZERO"),
            BAD,
            BAD,
        ),
        ("2^54 sectors", flat("RW 18014398509481984 ZERO"), BAD, BAD),
        ("negative size", flat("RW -8 FLAT \"a\" 0"), BAD, BAD),
        ("no sectors", flat("RW 0 FLAT \"a\" 0"), BAD, BAD),
        ("file too short", flat("RW 9 FLAT \"a\" 0"), BAD, BAD),
        (
            "file too short from its offset",
            flat("RW 8 FLAT \"a\" 1"),
            BAD,
            BAD,
        ),
        (
            "offset overflows",
            flat("RW 8 FLAT \"a\" 18446744073709551615"),
            BAD,
            BAD,
        ),
        ("file longer", flat("RW 7 FLAT \"a\" 0"), Fine, Fine),
        (
            "extent missing",
            flat("RW 8 FLAT \"gone\" 0"),
            Open(ExtentNotFound),
            Open(ExtentNotFound),
        ),
        (
            "the descriptor as its own extent",
            flat("RW 1 FLAT \"disk.vmdk\" 0"),
            BAD,
            BAD,
        ),
        (
            "the descriptor as a sparse extent",
            flat("RW 1 SPARSE \"disk.vmdk\""),
            BAD,
            BAD,
        ),
        (
            "a text as a sparse extent",
            flat("RW 1 SPARSE \"a\""),
            BAD,
            BAD,
        ),
        (
            "one file twice",
            flat("RW 4 FLAT \"a\" 0\nRW 4 FLAT \"a\" 4"),
            Fine,
            BAD,
        ),
        (
            "sparse line over the header",
            flat("RW 2049 SPARSE \"s\""),
            BAD,
            BAD,
        ),
        (
            "sparse line under the header by less than a grain",
            flat("RW 1921 SPARSE \"s\""),
            Fine,
            Fine,
        ),
        (
            "sparse line under the header by a grain",
            flat("RW 1920 SPARSE \"s\""),
            BAD,
            BAD,
        ),
        ("sparse", flat("RW 2048 SPARSE \"s\""), Fine, Fine),
        ("COWD extent", flat("RW 8 VMFSSPARSE \"a\""), BAD, BAD),
        ("SESparse extent", flat("RW 8 SESPARSE \"a\""), BAD, BAD),
        ("RDM", flat("RW 8 VMFSRDM \"a\""), NOT_YET, NOT_YET),
        ("unknown extent", flat("RW 8 CLOUD \"a\""), NOT_YET, NOT_YET),
        (
            "child with flat extents",
            flat(good_line).replace("ffffffff", "12345678"),
            Open(InvalidChain),
            Open(InvalidChain),
        ),
        (
            "child",
            flat("RW 2048 SPARSE \"s\"").replace(
                "parentCID=ffffffff",
                "parentCID=12345678\nparentFileNameHint=\"p.vmdk\"",
            ),
            Open(ParentNotFound),
            Open(ParentNotFound),
        ),
        (
            "change tracking",
            format!("{}changeTrackPath=\"x-ctk.vmdk\"\n", flat(good_line)),
            Fine,
            NOT_YET,
        ),
        (
            "sector size",
            format!("{}ddb.logicalSectorSize = \"520\"\n", flat(good_line)),
            NOT_YET,
            NOT_YET,
        ),
        (
            "Big5 name",
            flat("RW 8 FLAT \"\u{4e2d}\" 0").replace("UTF-8", "Big5"),
            Open(Encoding),
            Open(Encoding),
        ),
        (
            "encrypted",
            flat(good_line) + "ddb.iofilters = \"vmwarevmcrypt\"\n",
            Open(Encrypted),
            Open(Encrypted),
        ),
        (
            "empty name",
            flat("RW 8 FLAT \"\" 0"),
            Open(AccessRefused),
            Open(AccessRefused),
        ),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name: &str| scratch.path().join(name);
        fs::write(file("disk.vmdk"), &text).unwrap();
        fs::write(file("a"), [7; 8 * SECTOR]).unwrap();
        fs::write(file("s"), SparseImage::extent(2048).build()).unwrap();
        for (is_writable, expected) in [(false, read_only), (true, writable)] {
            let found =
                match Disk::open(file("disk.vmdk"), &OpenOptions::new().writable(is_writable)) {
                    Ok(disk) => {
                        content(&disk);
                        Fine
                    }
                    Err(error) => {
                        assert!(
                            error.to_string().starts_with("opening failed: /"),
                            "{error}"
                        );
                        Open(error.kind())
                    }
                };
            assert_eq!(found, expected, "{name}, writable: {is_writable}");
            assert_eq!(
                fs::read(file("disk.vmdk")).unwrap(),
                text.as_bytes(),
                "{name}: the file was changed"
            );
        }
    }
}

#[test]
fn text_that_is_too_long() {
    let text = descriptor("monolithicFlat", &["RW 8 ZERO"]) + &"#".repeat(1 << 20);
    let gate = MemoryGate::default().with("disk.vmdk", text);
    assert_eq!(outcome(&gate, false).0, BAD);
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

fn kind_of(path: &Path) -> (ErrorKind, String) {
    let error = Disk::open(path, &OpenOptions::new()).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn the_file_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let (kind, text) = kind_of(&path);
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(
        text,
        format!(
            "opening failed: {}: the file does not exist",
            path.display()
        )
    );
    assert_eq!(kind_of(scratch.path()).0, ErrorKind::AccessRefused);
    assert_eq!(kind_of(Path::new("/dev/null")).0, ErrorKind::AccessRefused);

    fs::write(
        &path,
        descriptor("monolithicFlat", &["RW 1 FLAT \"/etc/hostname\" 0"]),
    )
    .unwrap();
    let (kind, text) = kind_of(&path);
    assert_eq!(kind, ErrorKind::AccessRefused, "{text}");
    assert!(text.contains("outside the folder"), "{text}");
    fs::write(
        &path,
        descriptor("monolithicFlat", &["RW 1 FLAT \"gone-flat.vmdk\" 0"]),
    )
    .unwrap();
    let (kind, text) = kind_of(&path);
    assert_eq!(kind, ErrorKind::ExtentNotFound);
    assert_eq!(
        text,
        format!(
            "opening failed: {}: the extent \"gone-flat.vmdk\" that the descriptor names: the file does not exist",
            path.display()
        )
    );
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

/// A child opened alone shows what it holds itself.
#[test]
fn single_links() {
    let image = SparseImage::monolithic(300);
    let child = SparseImage {
        text: image.text.replace(
            "parentCID=ffffffff",
            "parentCID=12345678\nparentFileNameHint=\"base.vmdk\"",
        ),
        ..image
    };
    let gate = MemoryGate::default().with("disk.vmdk", child.build());
    let error = Disk::open("disk.vmdk", &gate.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    assert!(error.to_string().contains("base.vmdk"), "{error}");
    let disk = Disk::open("disk.vmdk", &gate.options().single_link(true)).unwrap();
    assert_eq!(disk.info().parent_hint.as_deref(), Some("base.vmdk"));
    assert!(content(&disk).iter().all(|byte| *byte == 0));
    let error = Disk::open(
        "disk.vmdk",
        &gate.options().single_link(true).writable(true),
    )
    .unwrap_err();
    assert_eq!(error.kind(), Unsupported);
}
