//! The delta formats of ESX.

use super::support::esx::{
    CowdImage, SE_DIRECTORY, SE_TABLES, SeSparseImage, cowd_text, over_ones, put_long,
    se_sparse_text,
};
use super::support::image::{MemoryGate, descriptor, put, put_entry};
use super::*;

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
    let gate = MemoryGate::default().with("delta", SeSparseImage::new(65536).build());
    let error = Disk::open("delta", &gate.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDisk, "{error}");
}
