//! Descriptors as programs and people leave them: each shape is read as it was meant, or refused with one clear error.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure here fails the test"
)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use support::content;
use support::esx::CowdImage;
use support::image::{MemoryGate, SECTOR, SparseImage, child_of, descriptor};
use vmdk_engine::{
    Adapter, Disk, DiskInfo, DiskKind, Error, ErrorKind, Geometry, OpenOptions, Sector,
};

const LINE: &str = "RW 8 FLAT \"a\" 0";

/// A good text of a flat disk.
fn good() -> String {
    descriptor("monolithicFlat", &[LINE])
}

/// The files that the lines may name, behind a text: 8 sectors of sevens, and sparse extents of 2048 sectors.
fn gate(text: impl Into<Vec<u8>>) -> MemoryGate {
    MemoryGate::default()
        .with("disk.vmdk", text)
        .with("a", [7; 8 * SECTOR])
        .with("s", SparseImage::extent(2048).build())
        .with("cow", CowdImage::new(2048, 1).build())
}

fn open(text: impl Into<Vec<u8>>) -> Result<Disk, Error> {
    Disk::open("disk.vmdk", &gate(text).options())
}

fn info(text: String) -> DiskInfo {
    open(text).unwrap().info()
}

fn refused(text: impl Into<Vec<u8>>) -> ErrorKind {
    open(text).unwrap_err().kind()
}

#[test]
fn lines_of_every_shape_are_read() {
    let with = |from: &str, to: &str| good().replacen(from, to, 1);
    for (name, text) in [
        ("CRLF", good().replace('\n', "\r\n")),
        ("CRLF on one line alone", with("CID=1f2e3d4c\n", "CID=1f2e3d4c\r\n")),
        ("no end of the last line", good().trim_end().to_owned()),
        ("blanks before comments and keys", good().replace('\n', "\n \t")),
        ("blanks around every equals sign", good().replace('=', " \t= ")),
        ("a blank behind each value", with("version=1\n", "version=1 \n")),
        ("no blanks in the data base", good().replace(" = ", "=")),
        ("everything quoted", with("version=1", "version=\"1\"").replacen("CID=1f2e3d4c", "CID=\"1f2e3d4c\"", 1)),
        ("nothing quoted", with("\"monolithicFlat\"", "monolithicFlat").replace("\"lsilogic\"", "lsilogic")),
        ("an unquoted file name", with("\"a\"", "a")),
        ("upper-cased keys", good().replace("version", "VERSION").replace("createType", "CREATETYPE").replace("CID", "Cid").replace("ddb", "DDB")),
        ("lower-cased words of extents", with(LINE, "rw 8 flat \"a\" 0")),
        ("other headings", good().replace("# Disk DescriptorFile", "# created by a converter").replace("# The Disk Data Base ", "#disk database")),
        ("no headings", good().lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()),
        ("headings without a blank", good().replace("# ", "#")),
        ("an empty line before an extent", with(LINE, &format!("\n{LINE}"))),
        ("tabs between the fields of an extent", with(LINE, "RW\t8\tFLAT\t\"a\"\t0")),
        ("blanks in front of an extent", with(LINE, &format!("   {LINE}   "))),
        ("the data base in front of the extents", "version=1\nCID=1f2e3d4c\nparentCID=ffffffff\nddb.adapterType = \"lsilogic\"\nRW 8 FLAT \"a\" 0\ncreateType=\"monolithicFlat\"\n".to_owned()),
        ("the extents in front of the header", with("CID=", "RW 8 FLAT \"a\" 0\nCID=").replace(&format!("{LINE}\n\n#"), "\n#")),
        ("a NUL and rubbish behind the text", good() + "\0RW 8 NONSENSE \"\r"),
        ("unknown keys and lines", good() + "future.key = \"x\"\nnot a key\nddb.future = \"y\"\n"),
    ] {
        let disk = open(text.clone()).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(content(&disk), [7; 8 * SECTOR], "{name}");
        let info = disk.info();
        assert_eq!(info.kind, DiskKind::MonolithicFlat, "{name}");
        assert_eq!(info.adapter, Adapter::LsiLogic, "{name}");
    }
}

/// A write must find the id wherever and however it stands, change nothing else, and never touch the parent's.
#[test]
fn writing_keeps_every_shape() {
    for text in [
        good(),
        good().replace('\n', "\r\n"),
        good().replace('=', " = ") + "unknown = \"kept\"\nCID=00000001\n",
        good().replacen("CID=1f2e3d4c\n", "", 1).replacen(
            "parentCID=ffffffff",
            "parentCID=ffffffff\nCID=\"1F2E3D4C\"",
            1,
        ),
        good() + "\0behind the end\r\n",
    ] {
        let gate = gate(text.clone());
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        disk.write_at(Sector::new(1), &[1; SECTOR]).unwrap();
        disk.close().unwrap();
        let written = String::from_utf8(gate.bytes("disk.vmdk")).unwrap();
        assert_eq!(written.len(), text.len());
        let differing: Vec<_> = text
            .lines()
            .zip(written.lines())
            .filter(|(old, new)| old != new)
            .collect();
        assert!((1..=2).contains(&differing.len()), "{differing:?}");
        for (old, new) in differing {
            let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
            assert_eq!(key(old), key(new));
            assert!(
                ["CID", "ddb.longContentID"].contains(&key(old).as_str()),
                "{old}"
            );
            assert!(
                !old.contains("00000001"),
                "a repeated key has no meaning: {new}"
            );
        }
        let again = Disk::open("disk.vmdk", &gate.options()).unwrap();
        assert_eq!(content(&again)[SECTOR..2 * SECTOR], [1; SECTOR]);
    }
}

#[test]
fn header_keys() {
    use ErrorKind::{
        Encoding, Encrypted, InvalidChain, InvalidDisk, ParentNotFound, UnsupportedVersion,
    };
    let with = |from: &str, to: &str| good().replacen(from, to, 1);
    let parent = |more: &str| with("parentCID=ffffffff", &format!("parentCID=12345678{more}"));
    let sparse_child = |more: &str| parent(more).replace(LINE, "RW 2048 SPARSE \"s\"");
    for (name, text) in [
        ("version 2", with("version=1", "version=2")),
        (
            "version 3, tracked changes",
            with("version=1", "version=3")
                + "\n# Change Tracking File\nchangeTrackPath=\"gone-ctk.vmdk\"\n",
        ),
        ("a short content id", with("CID=1f2e3d4c", "CID=f")),
        ("an id of zero", with("CID=1f2e3d4c", "CID=00000000")),
        (
            "an id that was never changed",
            with("CID=1f2e3d4c", "CID=fffffffe"),
        ),
        ("an id in upper case", with("CID=1f2e3d4c", "CID=1F2E3D4C")),
        ("no content id at all", with("CID=1f2e3d4c\n", "")),
        ("no parent's content id", with("parentCID=ffffffff\n", "")),
        (
            "a hint alone",
            with(
                "parentCID=ffffffff",
                "parentCID=FFFFFFFF\nparentFileNameHint=\"gone.vmdk\"",
            ),
        ),
        (
            "a native snapshot without a parent",
            with("createType", "isNativeSnapshot=\"yes\"\ncreateType"),
        ),
        (
            "the first of two types",
            with("createType", "createType=\"monolithicFlat\"\ncreateType").replace(
                "createType=\"monolithicFlat\"\ncreateType=\"monolithicFlat\"",
                "createType=\"monolithicFlat\"\ncreateType=\"streamOptimized\"",
            ),
        ),
        (
            "an unknown charset and ASCII names",
            with("UTF-8", "x-klingon"),
        ),
        (
            "two parents' ids",
            with(
                "parentCID=ffffffff",
                "parentCID=ffffffff\nparentCID=12345678",
            ),
        ),
    ] {
        let disk = open(text.clone()).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(content(&disk), [7; 8 * SECTOR], "{name}");
        assert_eq!(disk.info().kind, DiskKind::MonolithicFlat, "{name}");
        assert_eq!(disk.info().parent_hint, None, "{name}");
        assert_eq!(disk.info().links, 1, "{name}");
    }
    for (name, text, expected) in [
        ("version 0", with("version=1", "version=0"), InvalidDisk),
        (
            "version 4",
            with("version=1", "version=4"),
            UnsupportedVersion,
        ),
        ("no number", with("version=1", "version=one"), InvalidDisk),
        (
            "something before the version",
            with("version=1\n", "encoding=\"UTF-8\"\nversion=1\n"),
            InvalidDisk,
        ),
        (
            "an id that is too long",
            with("CID=1f2e3d4c", "CID=11f2e3d4c"),
            InvalidDisk,
        ),
        (
            "an id with a sign",
            with("CID=1f2e3d4c", "CID=+1f2e3d"),
            InvalidDisk,
        ),
        ("an empty id", with("CID=1f2e3d4c", "CID="), InvalidDisk),
        ("a child without a hint", sparse_child(""), ParentNotFound),
        (
            "a child whose parent is gone",
            sparse_child("\nparentFileNameHint=\"gone.vmdk\""),
            ParentNotFound,
        ),
        (
            "a hint that looks like a network address",
            sparse_child("\nparentFileNameHint=\"nbd:127.0.0.1:10809\""),
            ParentNotFound,
        ),
        (
            "a native snapshot",
            sparse_child("\nparentFileNameHint=\"a\"\nisNativeSnapshot=\"YES\""),
            ErrorKind::Unsupported,
        ),
        (
            "a child without an id of its own",
            sparse_child("\nparentFileNameHint=\"a\"").replacen("CID=1f2e3d4c\n", "", 1),
            InvalidChain,
        ),
        (
            "a flat child",
            parent("\nparentFileNameHint=\"s\""),
            InvalidChain,
        ),
        (
            "an unknown charset and other names",
            with("UTF-8", "x-klingon").replace("\"a\"", "\"ä\""),
            Encoding,
        ),
        (
            "a key to the disk",
            good() + "encryptionKeys=\"vmware:key/list/(...)\"\nKeySafe=\"vmware:key\"\n",
            Encrypted,
        ),
        (
            "an encrypted body",
            "# Disk DescriptorFile\nversion=2\nencoding=\"UTF-8\"\n".to_owned()
                + &"c2VjcmV0".repeat(10)
                + "==\n",
            Encrypted,
        ),
    ] {
        assert_eq!(refused(text.clone()), expected, "{name}\n{text}");
    }
}

#[test]
fn extent_lines() {
    use ErrorKind::{ExtentNotFound, InvalidDisk, Unsupported};
    let sevens = |count: usize| vec![7; count * SECTOR];
    let zeros = |count: usize| vec![0; count * SECTOR];
    for (lines, expected) in [
        ("RW 8 FLAT \"a\"", sevens(8)),
        ("RW 6 FLAT \"a\" 2", sevens(6)),
        (
            "RW 3 FLAT \"a\" 1 {0dd5e4a2-6f3c-4c8b-9a47-0c8d1b9f2f10} 0",
            sevens(3),
        ),
        ("RW 8 VMFS \"a\"", sevens(8)),
        ("RDONLY 8 FLAT \"a\" 0", sevens(8)),
        ("RW 8 ZERO", zeros(8)),
        ("RW 8 ZERO ", zeros(8)),
        ("RW 8 ZERO \"a\"", zeros(8)),
        (
            "RDONLY 0 ZERO\nRW 8 FLAT \"a\" 0\nRW 0 FLAT \"a\" 3\nRW 0 ZERO",
            sevens(8),
        ),
        (
            "RW 3 ZERO\nRW 2 FLAT \"a\" 6\nRW 1 ZERO",
            [zeros(3), sevens(2), zeros(1)].concat(),
        ),
        (
            "RW 1 FLAT \"a\" 7\nRW 1 FLAT \"a\" 0\nRW 1 VMFS \"a\"",
            sevens(3),
        ),
        (
            "RW 2048 SPARSE \"s\"\nRW 5 FLAT \"a\" 0",
            [zeros(2048), sevens(5)].concat(),
        ),
        (
            "RW 2000 SPARSE \"s\" 0\nRW 5 FLAT \"a\" 0",
            [zeros(2000), sevens(5)].concat(),
        ),
        ("RW 2048 VMFSSPARSE \"cow\"", zeros(2048)),
    ] {
        let disk =
            open(descriptor("custom", &[lines])).unwrap_or_else(|error| panic!("{lines}: {error}"));
        assert!(content(&disk) == expected, "{lines}");
        assert_eq!(disk.info().kind, DiskKind::Custom);
    }
    for (lines, expected) in [
        ("RW 8 VMFS \"a\" 0", InvalidDisk),
        ("RW 8 SPARSE \"s\" 8", InvalidDisk),
        ("RW 18446744073709551615 ZERO", InvalidDisk),
        ("RW 18014398509481984 ZERO", InvalidDisk),
        (
            "RW 9007199254740992 ZERO\nRW 9007199254740992 ZERO",
            InvalidDisk,
        ),
        ("RW -8 FLAT \"a\" 0", InvalidDisk),
        ("RW +8 FLAT \"a\" 0", InvalidDisk),
        ("RW 0x8 FLAT \"a\" 0", InvalidDisk),
        ("RW FLAT \"a\" 0", InvalidDisk),
        ("RW 8 FLAT \"a\" -1", InvalidDisk),
        ("RW 8 FLAT \"a", InvalidDisk),
        ("RX 8 FLAT \"a\" 0", InvalidDisk),
        ("RW 0 FLAT \"a\" 0", InvalidDisk),
        ("RW 8 CLOUD \"a\"", Unsupported),
        ("RW 8 FLAT \"gone\" 0", ExtentNotFound),
        // Which size counts, where two disagree.
        ("RW 9 FLAT \"a\" 0", InvalidDisk),
        ("RW 8 FLAT \"a\" 1", InvalidDisk),
        ("RW 2049 SPARSE \"s\"", InvalidDisk),
        ("RW 1920 SPARSE \"s\"", InvalidDisk),
        ("RW 2047 VMFSSPARSE \"cow\"", InvalidDisk),
        ("RW 2049 VMFSSPARSE \"cow\"", InvalidDisk),
        // One format under the name of another.
        ("RW 2048 SPARSE \"cow\"", InvalidDisk),
        ("RW 2048 VMFSSPARSE \"s\"", InvalidDisk),
        ("RW 8 SPARSE \"disk.vmdk\"", InvalidDisk),
        ("RW 1 FLAT \"disk.vmdk\" 0", InvalidDisk),
    ] {
        assert_eq!(refused(descriptor("custom", &[lines])), expected, "{lines}");
    }
}

#[test]
fn lines_that_name_no_file_open_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.vmdk");
    fs::create_dir(folder.path().join("folder")).unwrap();
    for line in [
        "RW 8 FLAT",
        "RW 8 FLAT \"\" 0",
        "RW 8 SPARSE \".\"",
        "RW 8 SPARSE \"folder\"",
        "RW 8 FLAT \"/\" 0",
        "RW 8 FLAT \"..\" 0",
        "RW 8 FLAT \"/dev/null\" 0",
    ] {
        fs::write(&disk, descriptor("custom", &[line])).unwrap();
        let error = Disk::open(&disk, &OpenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AccessRefused, "{line}: {error}");
    }
}

/// A header that is rounded up, as VirtualBox does, holds sectors that the disk does not have.
#[test]
fn the_size_of_the_line_counts() {
    let mut image = SparseImage::monolithic(256);
    image.text = image.text.replace("RW 256", "RW 130");
    let gate = MemoryGate::default().with("disk.vmdk", image.build());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    assert_eq!(disk.capacity().get(), 130);
    disk.write_at(Sector::new(120), &[3; 10 * SECTOR]).unwrap();
    let error = disk
        .write_at(Sector::new(129), &[3; 2 * SECTOR])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
    disk.close().unwrap();
    // What the last grain has behind the end of the disk is zeros.
    let bytes = gate.bytes("disk.vmdk");
    assert!(
        bytes[bytes.len() - 126 * SECTOR..]
            .iter()
            .all(|byte| *byte == 0)
    );
    let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
    assert_eq!(content(&disk)[120 * SECTOR..], [3; 10 * SECTOR]);
}

/// Files are renamed: what the line of an embedded descriptor calls its own does not matter.
#[test]
fn an_embedded_extent_needs_no_name() {
    for name in ["\"before it was renamed.vmdk\"", "\"\"", "\"a\"", ""] {
        let mut image = SparseImage::monolithic(2048);
        image.text = image.text.replace("\"disk.vmdk\"", name);
        let disk = Disk::open("disk.vmdk", &gate(image.build()).options()).unwrap();
        assert!(content(&disk).iter().all(|byte| *byte == 0), "{name}");
    }
    for line in [
        "RW 2048 FLAT \"a\" 0",
        "RW 2048 VMFSSPARSE \"cow\"",
        "NOACCESS 2048 SPARSE \"disk.vmdk\"",
        "RW 1024 SPARSE \"disk.vmdk\"\nRW 1024 SPARSE \"s\"",
    ] {
        let mut image = SparseImage::monolithic(2048);
        image.text = descriptor("monolithicSparse", &[line]);
        assert_eq!(refused(image.build()), ErrorKind::InvalidDisk, "{line}");
    }
}

#[test]
fn keys_of_the_data_base() {
    let with = |more: &str| good().replacen("ddb.adapterType = \"lsilogic\"\n", more, 1);
    for (value, adapter) in [
        ("ide", Adapter::Ide),
        ("IDE", Adapter::Ide),
        ("buslogic", Adapter::BusLogic),
        ("lsilogic", Adapter::LsiLogic),
        ("legacyESX", Adapter::Unknown),
        ("pvscsi", Adapter::Unknown),
        ("", Adapter::Unknown),
    ] {
        let text = with(&format!("ddb.adapterType = \"{value}\"\n"));
        assert_eq!(info(text).adapter, adapter, "{value}");
    }
    assert_eq!(info(with("")).adapter, Adapter::Unknown);

    let computed = Geometry::for_disk(Adapter::Unknown, vmdk_engine::SectorCount::new(8));
    for odd in ["0", "", "many", "-1", "99999999999"] {
        let text = with(&format!(
            "ddb.geometry.cylinders = \"{odd}\"\nddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\n"
        ));
        assert_eq!(info(text).physical_geometry, computed, "{odd}");
    }
    let text = with(
        "ddb.geometry.biosCylinders = \"5221\"\nddb.geometry.biosHeads = \"255\"\nddb.geometry.biosSectors = \"63\"\n",
    );
    let bios = Geometry {
        cylinders: 5221,
        heads: 255,
        sectors: 63,
    };
    assert_eq!(info(text).bios_geometry, bios);

    let uuid = "60 00 C2 91 5c 6a 2c 1e-1b 3c 44 93 05 c5 0b 9a";
    assert_eq!(
        info(with(&format!("ddb.uuid = \"{uuid}\"\n")))
            .uuid
            .as_deref(),
        Some(uuid)
    );
    for (logical, physical) in [(512, 512), (512, 4096), (4096, 4096)] {
        let text = with(&format!(
            "ddb.logicalSectorSize = \"{logical}\"\nddb.physicalSectorSize = \"{physical}\"\n"
        ));
        let info = info(text);
        assert_eq!(
            (info.logical_sector_size, info.physical_sector_size),
            (logical, physical)
        );
    }
    for key in ["logicalSectorSize", "physicalSectorSize"] {
        for size in ["520", "0", "", "1024", "huge"] {
            let text = with(&format!("ddb.{key} = \"{size}\"\n"));
            assert_eq!(refused(text), ErrorKind::Unsupported, "{key} {size}");
        }
    }

    let text = with(
        "ddb.comment = \"two\\nlines\"\nddb.sidecars = \"x_1.vmfd\"\nddb.uuid.image=\"0f-1\"\nddb.x = \"a\" b \"c\"\nDDB.Comment = \"again\"\n",
    );
    let disk = open(text).unwrap();
    assert_eq!(disk.metadata("COMMENT").as_deref(), Some("two\\nlines"));
    assert_eq!(
        disk.metadata("x").as_deref(),
        Some("a"),
        "the value ends at the next quote"
    );
    assert_eq!(disk.metadata("gone"), None);
    assert_eq!(
        disk.metadata_keys(),
        ["comment", "sidecars", "uuid.image", "x", "longContentID"]
    );
}

#[test]
fn kinds_of_disks() {
    for (create_type, kind) in [
        ("monolithicSparse", DiskKind::MonolithicSparse),
        ("2GbMaxExtentSparse", DiskKind::SplitSparse),
        ("2GbMaxExtentFlat", DiskKind::SplitFlat),
        ("vmfsPreallocated", DiskKind::VmfsFlat),
        ("vmfsEagerZeroedThick", DiskKind::VmfsFlat),
        ("vmfsThin", DiskKind::VmfsThin),
        ("custom", DiskKind::Custom),
        ("galactic", DiskKind::Custom),
        ("", DiskKind::Custom),
    ] {
        let disk = open(descriptor(create_type, &[LINE])).unwrap();
        assert_eq!(disk.info().kind, kind, "{create_type}");
        assert_eq!(content(&disk), [7; 8 * SECTOR]);
    }
    let thin = descriptor("vmfs", &[LINE]) + "ddb.thinProvisioned = \"1\"\n";
    assert_eq!(info(thin).kind, DiskKind::VmfsThin);
}

/// Names and hints as Windows and ESX hosts in other parts of the world write them.
#[test]
fn names_in_the_declared_charset_lead_to_files() {
    let text_in = |charset: &str, name: &[u8]| {
        let text = good().replace("UTF-8", charset);
        let (before, after) = text.split_once("\"a\"").unwrap();
        [before.as_bytes(), b"\"", name, b"\"", after.as_bytes()].concat()
    };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.vmdk");
    for (charset, name, file) in [
        (
            "windows-1252",
            &b"B\xfcro-flat.vmdk"[..],
            "Büro-flat.vmdk".as_bytes(),
        ),
        (
            "windows-1251",
            b"\xe4\xe8\xf1\xea.vmdk",
            "диск.vmdk".as_bytes(),
        ),
        (
            "Shift_JIS",
            b"\x83\x5c\x83\x74\x83\x67.vmdk",
            "ソフト.vmdk".as_bytes(),
        ),
        (
            "windows-936",
            b"\xd0\xe9\xc4\xe2.vmdk",
            "虚拟.vmdk".as_bytes(),
        ),
        ("Big5", b"\xa5\x5c.vmdk", "功.vmdk".as_bytes()),
        ("EUC-KR", b"\xc7\xd1.vmdk", "한.vmdk".as_bytes()),
        ("UTF-8", b"not \xff UTF-8.vmdk", b"not \xff UTF-8.vmdk"),
    ] {
        let extent = folder.path().join(OsStr::from_bytes(file));
        fs::write(&extent, [9; 8 * SECTOR]).unwrap();
        fs::write(&disk, text_in(charset, name)).unwrap();
        let opened = Disk::open(&disk, &OpenOptions::new().writable(true))
            .unwrap_or_else(|error| panic!("{charset}: {error}"));
        opened.write_at(Sector::new(2), &[8; SECTOR]).unwrap();
        opened.close().unwrap();
        assert_eq!(fs::read(&extent).unwrap()[2 * SECTOR], 8, "{charset}");
        assert!(
            fs::read(&disk)
                .unwrap()
                .windows(name.len())
                .any(|part| part == name)
        );
    }

    fs::write(&disk, text_in("Shift_JIS", b"\x83")).unwrap();
    let error = Disk::open(&disk, &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encoding);
    assert!(error.to_string().contains("Shift_JIS"), "{error}");

    // Newer ESX versions note the charset in the data base; and comments are in it, too.
    let text = String::from_utf8(text_in("x", b"NAME")).unwrap();
    let text =
        text.replace("encoding=\"x\"\n", "") + "ddb.encoding = \"GBK\"\nddb.comment = \"NAME\"\n";
    let (one, rest) = text.split_once("NAME").unwrap();
    let (two, three) = rest.split_once("NAME").unwrap();
    let name = b"\xd0\xe9\xc4\xe2.vmdk";
    fs::write(
        &disk,
        [one.as_bytes(), name, two.as_bytes(), name, three.as_bytes()].concat(),
    )
    .unwrap();
    let opened = Disk::open(&disk, &OpenOptions::new()).unwrap();
    assert_eq!(opened.metadata("comment").as_deref(), Some("虚拟.vmdk"));
}

#[test]
fn hints_in_the_declared_charset_lead_to_parents() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
    write("親.vmdk", SparseImage::monolithic(2048).build());
    let mut image = SparseImage::monolithic(2048);
    image.text = child_of(&image.text, 2, 0x1f2e_3d4c, "HINT!").replace("UTF-8", "windows-932");
    let mut bytes = image.build();
    let place = bytes.windows(5).position(|part| part == b"HINT!").unwrap();
    bytes[place..place + 5].copy_from_slice(b"\x90\x65.vm");
    let text = String::from("dk");
    // The rest of the name takes the place of the quote and what follows, which moves on.
    let end = bytes[place..].iter().position(|byte| *byte == 0).unwrap() + place;
    bytes.copy_within(place + 5..end, place + 5 + text.len());
    bytes[place + 5..place + 5 + text.len()].copy_from_slice(text.as_bytes());
    write("child.vmdk", bytes);
    let disk = Disk::open(folder.path().join("child.vmdk"), &OpenOptions::new()).unwrap();
    assert_eq!(disk.info().links, 2);
    assert_eq!(disk.info().parent_hint.as_deref(), Some("親.vmdk"));
}
