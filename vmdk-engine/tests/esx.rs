//! The delta formats of ESX: worked examples, damage, and qemu-img reading what the tests build.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::process::Command;

use support::esx::{CowdImage, SE_DIRECTORY, SE_TABLES, SeGrain, SeSparseImage, put_long};
use support::image::{MemoryGate, child_of, descriptor, put, put_entry};
use support::{Numbers, content, has_qemu, range, run};
use vmdk_engine::{Allocation, Disk, DiskKind, ErrorKind, MapExtent, Sector, ZeroMode};

/// The content id that `descriptor` gives a base.
const BASE: u32 = 0x1f2e_3d4c;

fn cowd_text(capacity: u64) -> String {
    let line = format!("RW {capacity} VMFSSPARSE \"delta\"");
    child_of(&descriptor("vmfsSparse", &[&line]), 2, BASE, "base.vmdk")
}

fn se_sparse_text(capacity: u64) -> String {
    let line = format!("RW {capacity} SESPARSE \"delta\"");
    child_of(&descriptor("seSparse", &[&line]), 2, BASE, "base.vmdk")
}

/// A child over a parent filled with 0x11.
fn over_ones(text: String, delta: Vec<u8>, capacity: u64) -> MemoryGate {
    let line = format!("RW {capacity} FLAT \"flat\" 0");
    MemoryGate::default()
        .with("child.vmdk", text)
        .with("delta", delta)
        .with("base.vmdk", descriptor("monolithicFlat", &[&line]))
        .with("flat", vec![0x11; usize::try_from(capacity).unwrap() * 512])
}

fn sector(content: &[u8], number: usize) -> &[u8] {
    &content[number * 512..(number + 1) * 512]
}

fn map(disk: &Disk, start: u64, end: u64) -> Vec<(u64, u64, Allocation, u32)> {
    disk.extents(range(start, end))
        .map(|extent| {
            let MapExtent {
                range,
                state,
                depth,
                ..
            } = extent.unwrap();
            (range.start().get(), range.end().get(), state, depth)
        })
        .collect()
}

#[test]
fn a_cowd_extent_byte_for_byte() {
    let image = CowdImage::new(8192, 1)
        .fill(4101, 0xa5)
        .fill(4102, 0x5a)
        .zero(4103)
        .build();
    let head = [
        0x43, 0x4f, 0x57, 0x44, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0x20, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2,
        0, 0, 0, 0x27, 0, 0, 0,
    ];
    let mut expected = vec![0; 19968];
    put(&mut expected, 0, &head);
    put(&mut expected, 2048, &[0, 0, 0, 0, 5, 0, 0, 0]);
    let entries = [0x25, 0, 0, 0, 0x26, 0, 0, 0, 1, 0, 0, 0];
    put(&mut expected, 2560 + 5 * 4, &entries);
    expected[18944..19456].fill(0xa5);
    expected[19456..19968].fill(0x5a);
    assert!(image == expected);

    let gate = over_ones(cowd_text(8192), image, 8192);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 8192 * 512];
    expected[4101 * 512..4102 * 512].fill(0xa5);
    expected[4102 * 512..4103 * 512].fill(0x5a);
    expected[4103 * 512..4104 * 512].fill(0);
    assert!(content(&disk) == expected);
    assert_eq!(
        map(&disk, 4000, 8192),
        [
            (4000, 4101, Allocation::Data, 1),
            (4101, 4103, Allocation::Data, 0),
            (4103, 4104, Allocation::Zero, 0),
            (4104, 8192, Allocation::Data, 1),
        ]
    );
    let info = disk.info();
    assert_eq!(info.kind, DiskKind::VmfsSparse);
    assert_eq!(info.links, 2);
    assert_eq!(info.preferred_io.get(), 8);
    assert_eq!(info.parent_hint.as_deref(), Some("base.vmdk"));

    let alone = Disk::open("child.vmdk", &gate.options().single_link(true)).unwrap();
    assert_eq!(alone.info().links, 1);
    assert_eq!(sector(&content(&alone), 4101), [0xa5; 512]);
    assert_eq!(sector(&content(&alone), 0), [0; 512]);
    assert_eq!(map(&alone, 0, 100), [(0, 100, Allocation::Hole, 0)]);
}

#[test]
fn an_se_sparse_extent_byte_for_byte() {
    let mut image = SeSparseImage::new(65536)
        .fill(4096, 0, 0xa1)
        .fill(4097, 2, 0xc3);
    image.grains.insert(4098, SeGrain::Zero);
    image.grains.insert(4099, SeGrain::Unmapped);
    let bytes = image.build();
    let long = |sector: usize, index: usize| {
        let position = sector * 512 + index * 8;
        u64::from_le_bytes(bytes[position..position + 8].try_into().unwrap())
    };
    assert_eq!(long(4096, 0), 0);
    assert_eq!(long(4096, 1), 0x1000_0000_0000_0000);
    let entries: Vec<u64> = (0..5).map(|index| long(6144, index)).collect();
    assert_eq!(
        entries,
        [
            0x3000_0000_0000_0000,
            0x3002_0000_0000_0000,
            0x2000_0000_0000_0000,
            0x1001_0000_0000_0000,
            0
        ]
    );
    assert_eq!(bytes[12288 * 512..][..512], [0xa1; 512]);
    assert_eq!(bytes[12304 * 512..][..512], [0xc3; 512]);

    let gate = over_ones(se_sparse_text(65536), bytes, 65536);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 65536 * 512];
    for (first, byte) in [(32768, 0xa1), (32776, 0xc3), (32784, 0), (32792, 0)] {
        expected[first * 512..(first + 8) * 512].fill(byte);
    }
    assert!(content(&disk) == expected);
    assert_eq!(
        map(&disk, 32000, 33000),
        [
            (32000, 32768, Allocation::Data, 1),
            (32768, 32784, Allocation::Data, 0),
            (32784, 32800, Allocation::Zero, 0),
            (32800, 33000, Allocation::Data, 1),
        ]
    );
    assert_eq!(disk.info().kind, DiskKind::SeSparse);
    let error = Disk::open("child.vmdk", &gate.options().writable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// The grain index of an entry is stored in two parts.
#[test]
fn a_large_grain_index_is_put_together() {
    let image = SeSparseImage::new(65536).fill(0, 4096 + 5, 0x77).build();
    let gate = over_ones(se_sparse_text(65536), image, 65536);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut buffer = [0; 8 * 512];
    disk.read_at(Sector::ZERO, &mut buffer).unwrap();
    assert_eq!(buffer, [0x77; 8 * 512]);
}

#[test]
fn damaged_cowd_extents_are_refused() {
    use ErrorKind::{Corrupt, InvalidDisk, NeedsRepair, UnsupportedVersion};
    let good = CowdImage::new(8192, 1).fill(4101, 0xa5).build();
    let field = |position: usize, value: u32| {
        let mut image = good.clone();
        put(&mut image, position, &value.to_le_bytes());
        image
    };
    for (name, image, kind) in [
        ("magic", field(0, 0), InvalidDisk),
        ("version", field(4, 2), UnsupportedVersion),
        ("capacity 0", field(12, 0), InvalidDisk),
        ("capacity below the line", field(12, 8191), InvalidDisk),
        ("capacity above the line", field(12, 8193), InvalidDisk),
        ("grain 0", field(16, 0), InvalidDisk),
        ("grain 3", field(16, 3), InvalidDisk),
        ("grain of 2 MiB", field(16, 4096), InvalidDisk),
        ("directory in the header", field(20, 3), InvalidDisk),
        ("directory behind the end", field(20, 38), InvalidDisk),
        (
            "directory far behind the end",
            field(20, u32::MAX),
            InvalidDisk,
        ),
        ("too few directory entries", field(24, 1), InvalidDisk),
        (
            "too many directory entries",
            field(24, u32::MAX),
            InvalidDisk,
        ),
        ("cut header", good[..2047].to_vec(), InvalidDisk),
        ("empty", Vec::new(), InvalidDisk),
    ] {
        let gate = over_ones(cowd_text(8192), image, 8192);
        for writable in [false, true] {
            let error = Disk::open("child.vmdk", &gate.options().writable(writable));
            assert_eq!(error.unwrap_err().kind(), kind, "{name}");
        }
    }
    let with_entry = |sector, index, entry| {
        let mut image = good.clone();
        put_entry(&mut image, sector, index, entry);
        image
    };
    for (name, image) in [
        ("table in the header", with_entry(4, 1, 3)),
        ("table behind the end", with_entry(4, 1, 30)),
        ("grain in the header", with_entry(5, 5, 3)),
        ("grain in the directory", with_entry(5, 5, 4)),
        ("grain behind the end", with_entry(5, 5, 38)),
    ] {
        let gate = over_ones(cowd_text(8192), image, 8192);
        let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
        let mut buffer = [0; 512];
        let error = disk.read_at(Sector::new(4101), &mut buffer).unwrap_err();
        assert_eq!(error.kind(), Corrupt, "{name}: {error}");
        disk.read_at(Sector::new(0), &mut buffer).unwrap();
        assert_eq!(buffer, [0x11; 512], "{name}");
        let error = Disk::open("child.vmdk", &gate.options().writable(true)).unwrap_err();
        assert_eq!(error.kind(), NeedsRepair, "{name}: {error}");
    }
    // A name of the parent without its NUL is of no interest: the descriptor has the hint.
    let mut image = good.clone();
    image[32..1056].fill(b'x');
    let gate = over_ones(cowd_text(8192), image, 8192);
    Disk::open("child.vmdk", &gate.options()).unwrap();
}

#[test]
fn damaged_se_sparse_extents_are_refused() {
    use ErrorKind::{Corrupt, InvalidDisk, NeedsRepair, UnsupportedVersion};
    let good = SeSparseImage::new(65536).fill(4096, 0, 0xa1).build();
    let with = |changes: &[(u64, u64, u64)]| {
        let mut image = good.clone();
        for (sector, index, value) in changes {
            put_long(&mut image, *sector, *index, *value);
        }
        image
    };
    for (name, image, kind) in [
        ("magic", with(&[(0, 0, 1)]), InvalidDisk),
        (
            "version",
            with(&[(0, 1, 0x2_0000_0002)]),
            UnsupportedVersion,
        ),
        ("capacity 0", with(&[(0, 2, 0)]), InvalidDisk),
        ("capacity", with(&[(0, 2, 65528)]), InvalidDisk),
        ("endless capacity", with(&[(0, 2, u64::MAX)]), InvalidDisk),
        ("grain size", with(&[(0, 3, 16)]), UnsupportedVersion),
        ("table size", with(&[(0, 4, 32)]), UnsupportedVersion),
        ("flags", with(&[(0, 5, 1)]), UnsupportedVersion),
        (
            "first reserved field",
            with(&[(0, 6, 1)]),
            UnsupportedVersion,
        ),
        (
            "last reserved field",
            with(&[(0, 9, 1)]),
            UnsupportedVersion,
        ),
        ("start of the pad", with(&[(0, 26, 1)]), UnsupportedVersion),
        (
            "end of the pad",
            with(&[(0, 63, 1 << 63)]),
            UnsupportedVersion,
        ),
        ("no volatile header", with(&[(1, 0, 0)]), InvalidDisk),
        (
            "volatile header behind the end",
            with(&[(0, 10, 1 << 40)]),
            InvalidDisk,
        ),
        ("pending journal", with(&[(1, 3, 1)]), NeedsRepair),
        (
            "directory on the journal",
            with(&[(0, 16, 4095)]),
            InvalidDisk,
        ),
        ("directory on the header", with(&[(0, 16, 0)]), InvalidDisk),
        (
            "directory on the tables",
            with(&[(0, 17, 2049)]),
            InvalidDisk,
        ),
        ("tables on the bitmap", with(&[(0, 19, 2049)]), InvalidDisk),
        (
            "grains on the back map",
            with(&[(0, 24, 12287)]),
            InvalidDisk,
        ),
        (
            "region past all numbers",
            with(&[(0, 24, u64::MAX)]),
            InvalidDisk,
        ),
        (
            "directory behind the end",
            with(&[(0, 16, 1 << 30)]),
            InvalidDisk,
        ),
        (
            "tables behind the end",
            with(&[(0, 18, 1 << 30)]),
            InvalidDisk,
        ),
        ("no directory", with(&[(0, 17, 0)]), InvalidDisk),
        (
            "cut in its tables",
            good[..8000 * 512].to_vec(),
            InvalidDisk,
        ),
        ("cut in its header", good[..100].to_vec(), InvalidDisk),
    ] {
        let gate = over_ones(se_sparse_text(65536), image, 65536);
        let error = Disk::open("child.vmdk", &gate.options()).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
    }
    let mut large = SeSparseImage::new(1 << 40);
    large.grains.clear();
    let line = "RW 1099511627776 SESPARSE \"delta\"";
    let gate = over_ones(descriptor("seSparse", &[line]), large.build(), 8);
    let error = Disk::open("child.vmdk", &gate.options()).unwrap_err();
    assert_eq!(error.kind(), InvalidDisk, "directory too small: {error}");

    let entry = |value| with(&[(SE_TABLES, 0, value)]);
    for (name, image) in [
        ("table of no kind", with(&[(SE_DIRECTORY, 1, 5)])),
        ("table of another kind", with(&[(SE_DIRECTORY, 1, 2 << 60)])),
        (
            "table with odd bits",
            with(&[(SE_DIRECTORY, 1, 1 << 60 | 1 << 32)]),
        ),
        (
            "table behind the region",
            with(&[(SE_DIRECTORY, 1, 1 << 60 | 32)]),
        ),
        ("no kind, but bits", entry(7)),
        ("unknown kind", entry(4 << 60)),
        ("another unknown kind", entry(u64::MAX)),
        ("grain behind the end", entry(3 << 60 | 1 << 48)),
        (
            "grain far behind the end",
            entry(3 << 60 | 0xffff_ffff_ffff),
        ),
    ] {
        let gate = over_ones(se_sparse_text(65536), image, 65536);
        let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
        let mut buffer = [0; 512];
        let error = disk.read_at(Sector::new(32768), &mut buffer);
        assert_eq!(error.expect_err(name).kind(), Corrupt, "{name}");
        disk.read_at(Sector::new(0), &mut buffer).unwrap();
        assert_eq!(buffer, [0x11; 512], "{name}");
    }
    // The area of grains may end before the size that the header gives it.
    let gate = over_ones(se_sparse_text(65536), good, 65536);
    Disk::open("child.vmdk", &gate.options()).unwrap();
}

/// Bare extents have no descriptor to say what they belong to.
#[test]
fn bare_extents_are_refused() {
    for (image, kind) in [
        (CowdImage::new(8192, 1).build(), ErrorKind::Unsupported),
        (SeSparseImage::new(65536).build(), ErrorKind::InvalidDisk),
    ] {
        let gate = MemoryGate::default().with("delta", image);
        let error = Disk::open("delta", &gate.options()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

/// What the header of a COWD extent notes while it is written, and that space behind the noted end is not used.
#[test]
fn cowd_headers_are_kept_up_to_date() {
    let mut image = CowdImage::new(8192, 1).fill(4101, 0xa5).build();
    put(&mut image, 28, &100_u32.to_le_bytes());
    let gate = over_ones(cowd_text(8192), image, 8192);
    let options = gate.options().writable(true);
    let disk = Disk::open("child.vmdk", &options).unwrap();
    disk.write_at(Sector::new(7), &[7; 1024]).unwrap();
    disk.write_at(Sector::new(4102), &[8; 512]).unwrap();
    disk.flush().unwrap();
    assert_eq!(gate.bytes("delta")[1648], 1);
    disk.write_zeroes(range(4101, 4102), ZeroMode::MayFree)
        .unwrap();
    disk.trim(range(8000, 8001)).unwrap();
    disk.close().unwrap();
    let image = gate.bytes("delta");
    assert_eq!(image[1648], 0);
    // Three sectors of data and a table.
    assert_eq!(image[28..32], (100_u32 + 3 + 32).to_le_bytes());
    assert_eq!(image.len(), 135 * 512);
    let entry = |sector, index| support::image::entry(&image, sector, index);
    assert_eq!(entry(4, 0), 103);
    assert_eq!((entry(103, 7), entry(103, 8)), (100, 101));
    assert_eq!((entry(5, 5), entry(5, 6)), (1, 102));
    assert_eq!(entry(5, 8000 - 4096), 1);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 8192 * 512];
    expected[7 * 512..9 * 512].fill(7);
    expected[4101 * 512..4102 * 512].fill(0);
    expected[4102 * 512..4103 * 512].fill(8);
    expected[8000 * 512..8001 * 512].fill(0);
    assert!(content(&disk) == expected);
}

#[test]
fn qemu_reads_the_same() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let mut numbers = Numbers::new(11);
    for (round, capacity) in [8192_u64, 70_000, 40_960].into_iter().enumerate() {
        let mut flat = vec![0; usize::try_from(capacity).unwrap() * 512];
        numbers.fill(&mut flat);
        let line = format!("RW {capacity} FLAT \"flat\" 0");
        fs::write(
            folder.join("base.vmdk"),
            descriptor("monolithicFlat", &[&line]),
        )
        .unwrap();
        fs::write(folder.join("flat"), &flat).unwrap();

        // Entries for zeros only where a grain is a sector: else qemu-img 10 shows the header and the directory there.
        let grain = [1, 8, 16][round];
        let mut cowd = CowdImage::new(u32::try_from(capacity).unwrap(), grain);
        let mut se_sparse = SeSparseImage::new(capacity);
        for index in 0..200 {
            let mut bytes = vec![0; usize::try_from(grain).unwrap() * 512];
            numbers.fill(&mut bytes);
            let number = numbers.below(capacity.div_ceil(u64::from(grain)));
            cowd.grains
                .insert(number, (grain > 1 || index % 3 != 0).then_some(bytes));
            let mut bytes = vec![0; 8 * 512];
            numbers.fill(&mut bytes);
            let state = match index % 4 {
                0 => SeGrain::Zero,
                1 => SeGrain::Unmapped,
                _ => SeGrain::Data(index, bytes),
            };
            se_sparse
                .grains
                .insert(numbers.below(capacity.div_ceil(8)), state);
        }
        for (text, delta) in [
            (cowd_text(capacity), cowd.build()),
            (se_sparse_text(capacity), se_sparse.build()),
        ] {
            let path = folder.join("child.vmdk");
            fs::write(&path, &text).unwrap();
            fs::write(folder.join("delta"), delta).unwrap();
            let raw = folder.join("raw");
            let convert = || {
                run(Command::new("qemu-img")
                    .args(["convert", "-f", "vmdk", "-O", "raw"])
                    .args([&path, &raw]));
                fs::read(&raw).unwrap()
            };
            let options = vmdk_engine::OpenOptions::new();
            let disk = Disk::open(&path, &options).unwrap();
            let (ours, theirs) = (content(&disk), convert());
            let differs = ours
                .chunks(512)
                .zip(theirs.chunks(512))
                .position(|(one, other)| one != other);
            assert_eq!((ours.len(), differs), (theirs.len(), None), "{text}");
            drop(disk);
            if text.contains("SESPARSE") {
                continue;
            }
            let disk = Disk::open(&path, &options.writable(true)).unwrap();
            for _ in 0..50 {
                let start = numbers.below(capacity - 40);
                let mut bytes = vec![0; usize::try_from(1 + numbers.below(39)).unwrap() * 512];
                numbers.fill(&mut bytes);
                disk.write_at(Sector::new(start), &bytes).unwrap();
                let start = numbers.below(capacity - 40);
                let zeros = range(start, start + 1 + numbers.below(39));
                disk.write_zeroes(zeros, ZeroMode::MayFree).unwrap();
            }
            let ours = content(&disk);
            disk.close().unwrap();
            assert!(ours == convert(), "written: {text}");
        }
    }
}

/// Random damage to the metadata of a delta ends in a result, whatever it is.
#[test]
fn damaged_deltas_end_in_a_result() {
    let cowd = CowdImage::new(8192, 1).fill(5, 1).fill(4101, 2).zero(4103);
    let se_sparse = SeSparseImage::new(8192).fill(5, 0, 1).fill(6, 5000, 2);
    let mut numbers = Numbers::new(3);
    // Where something stands: headers, directory, tables. Not the first free sector of a COWD extent: a large one only
    // makes a large hole, which files in memory do not have.
    let places = [
        (
            cowd_text(8192),
            cowd.build(),
            [(0, 28), (1640, 16), (2048, 8), (2560, 64)],
        ),
        (
            se_sparse_text(8192),
            se_sparse.build(),
            [(0, 208), (512, 32), (4096 * 512, 16), (6144 * 512, 64)],
        ),
    ];
    for (text, good, places) in places {
        for round in 0..200_usize {
            let mut image = good.clone();
            for _ in 0..1 + numbers.below(3) {
                let (start, length) = places[round % places.len()];
                let at = start + usize::try_from(numbers.below(length)).unwrap();
                image[at] = u8::try_from(numbers.below(256)).unwrap();
            }
            let gate = over_ones(text.clone(), image, 8192);
            for writable in [false, true] {
                let options = gate.options().writable(writable);
                let Ok(disk) = Disk::open("child.vmdk", &options) else {
                    continue;
                };
                let mut buffer = vec![0; 64 * 512];
                for start in (0..8192).step_by(64) {
                    disk.read_at(Sector::new(start), &mut buffer).ok();
                }
                let mut end = 0;
                for extent in disk.extents(range(0, 8192)).map_while(Result::ok) {
                    assert_eq!(extent.range.start().get(), end);
                    end = extent.range.end().get();
                }
                if writable {
                    disk.write_at(Sector::new(4090), &buffer).ok();
                    disk.close().ok();
                }
            }
        }
    }
}
