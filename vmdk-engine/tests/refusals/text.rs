//! Text descriptors.

use std::fs;

use super::support::content;
use super::support::image::{SparseImage, descriptor};
use super::*;
use vmdk_engine::OpenOptions;

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
            "parent with the name of a protocol",
            flat("RW 2048 SPARSE \"s\"").replace(
                "parentCID=ffffffff",
                "parentCID=12345678\nparentFileNameHint=\"nbd://localhost/disk\"",
            ),
            Open(ParentNotFound),
            Open(ParentNotFound),
        ),
        (
            "change tracking",
            format!("{}changeTrackPath=\"x-ctk.vmdk\"\n", flat(good_line)),
            Fine,
            Fine,
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
            "name of the folder",
            flat("RW 8 FLAT \".\" 0"),
            Open(AccessRefused),
            Open(AccessRefused),
        ),
        (
            "name outside the folder",
            flat("RW 8 FLAT \"../../../../../../etc/hostname\" 0"),
            Open(AccessRefused),
            Open(AccessRefused),
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
}
