//! Chains: how parents are found and checked, what shows through, and what a missing parent does.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::image::{MemoryGate, SparseImage, StreamImage, child_of, descriptor};
use support::{content, range};
use vmdk_engine::{
    Allocation, Disk, Error, ErrorKind, MapExtent, OpenOptions, Sector, SectorRange, ZeroMode,
};

/// The content id that test descriptors have unless told otherwise.
const BASE: u32 = 0x1f2e_3d4c;

/// A sparse child of a few grains; `flags` 7 lets it have entries for zeros.
fn child(cid: u32, parent: u32, hint: &str, flags: u32) -> Vec<u8> {
    let image = SparseImage::monolithic(1000);
    SparseImage {
        flags,
        version: if flags & 4 == 0 { 1 } else { 2 },
        text: child_of(&image.text, cid, parent, hint),
        ..image
    }
    .build()
}

fn base_text(name: &str) -> String {
    descriptor("monolithicFlat", &[&format!("RW 1000 FLAT \"{name}\" 0")])
}

/// A base of 1000 sectors filled with 0x11, and `disk.vmdk` over it.
fn over_ones(flags: u32) -> MemoryGate {
    MemoryGate::default()
        .with("disk.vmdk", child(2, BASE, "base.vmdk", flags))
        .with("base.vmdk", base_text("flat"))
        .with("flat", vec![0x11; 1000 * 512])
}

fn map(disk: &Disk) -> Vec<(u64, u64, Allocation, u32)> {
    disk.extents(SectorRange::whole(disk.capacity()))
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

fn open(path: &Path) -> Result<Disk, Error> {
    Disk::open(path, &OpenOptions::new())
}

#[test]
fn a_write_copies_the_rest_of_its_grains() {
    for flags in [3, 7] {
        let gate = over_ones(flags);
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        let mut model = vec![0x11; 1000 * 512];
        assert!(content(&disk) == model);
        disk.write_at(Sector::new(130), &[5; 512 * 200]).unwrap();
        model[130 * 512..330 * 512].fill(5);
        disk.write_at(Sector::new(999), &[6; 512]).unwrap();
        model[999 * 512..].fill(6);
        assert!(content(&disk) == model);
        disk.close().unwrap();
        assert_eq!(gate.bytes("flat"), vec![0x11; 1000 * 512]);
        assert_eq!(gate.bytes("base.vmdk"), base_text("flat").as_bytes());
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        assert!(content(&disk) == model);
        assert_eq!(
            map(&disk),
            [
                (0, 128, Allocation::Data, 1),
                (128, 384, Allocation::Data, 0),
                (384, 896, Allocation::Data, 1),
                (896, 1000, Allocation::Data, 0),
            ]
        );
        // What the child holds itself has the parent's content in it, so that it does not need the parent.
        let options = gate.options().single_link(true);
        let alone = content(&Disk::open("disk.vmdk", &options).unwrap());
        assert!(alone[128 * 512..384 * 512] == model[128 * 512..384 * 512]);
        assert!(alone[..128 * 512].iter().all(|byte| *byte == 0));
    }
}

/// Threads that meet in grains which all of them have to copy from the parent.
#[test]
fn writers_of_the_same_new_grains_lose_nothing() {
    for flags in [3, 7] {
        let gate = over_ones(flags);
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let disk = &disk;
                scope.spawn(move || {
                    for step in 0..200 {
                        let sector = step * 5 + u64::from(thread);
                        disk.write_at(Sector::new(sector), &[thread + 1; 512])
                            .unwrap();
                    }
                });
            }
        });
        let read = content(&disk);
        for (number, sector) in read.chunks(512).enumerate() {
            let expected = [1, 2, 3, 4, 0x11][number % 5];
            assert!(sector.iter().all(|byte| *byte == expected), "{number}");
        }
    }
}

/// Zeros hide the parent: by an entry of their own where the format has one, else in grains of zeros.
#[test]
fn zeros_in_a_child_hide_its_parent() {
    for (flags, state) in [(3, Allocation::Data), (7, Allocation::Zero)] {
        let gate = over_ones(flags);
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        disk.write_at(Sector::new(128), &[5; 128 * 512]).unwrap();
        disk.write_zeroes(range(128, 400), ZeroMode::MayFree)
            .unwrap();
        let mut model = vec![0x11; 1000 * 512];
        model[128 * 512..400 * 512].fill(0);
        assert!(content(&disk) == model);
        disk.close().unwrap();
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        assert!(content(&disk) == model);
        let expected = if flags == 3 {
            vec![
                (0, 128, Allocation::Data, 1),
                (128, 512, state, 0),
                (512, 1000, Allocation::Data, 1),
            ]
        } else {
            vec![
                (0, 128, Allocation::Data, 1),
                (128, 384, state, 0),
                (384, 512, Allocation::Data, 0),
                (512, 1000, Allocation::Data, 1),
            ]
        };
        assert_eq!(map(&disk), expected);
    }
}

/// Zeros where the parents have none need no space, and trimmed grains give theirs back.
#[test]
fn zeros_over_a_hole_stay_a_hole() {
    let gate = MemoryGate::default()
        .with("disk.vmdk", child(2, BASE, "base.vmdk", 3))
        .with("base.vmdk", SparseImage::monolithic(1000).build());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::new(128), &[5; 128 * 512]).unwrap();
    disk.write_zeroes(range(0, 700), ZeroMode::MayFree).unwrap();
    assert_eq!(map(&disk), [(0, 1000, Allocation::Hole, 1)]);
    disk.write_at(Sector::new(3), &[5; 512]).unwrap();
    disk.trim(range(0, 128)).unwrap();
    assert_eq!(map(&disk), [(0, 1000, Allocation::Hole, 1)]);
    assert!(content(&disk).iter().all(|byte| *byte == 0));
}

#[test]
fn a_trim_never_shows_what_the_parent_has() {
    for flags in [3, 7] {
        let gate = over_ones(flags);
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        disk.write_at(Sector::ZERO, &[5; 256 * 512]).unwrap();
        disk.trim(range(0, 512)).unwrap();
        let mut model = vec![0x11; 1000 * 512];
        model[..256 * 512].fill(0);
        if flags == 7 {
            model[..512 * 512].fill(0);
        }
        assert!(content(&disk) == model, "flags {flags}");
        disk.close().unwrap();
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        assert!(content(&disk) == model, "flags {flags}, reopened");
    }
}

#[test]
fn a_missing_parent_is_refused_or_its_sectors_are_reported() {
    let gate = MemoryGate::default()
        .with("disk.vmdk", child(3, 2, "middle.vmdk", 7))
        .with("middle.vmdk", child(2, BASE, "base.vmdk", 7));
    for writable in [false, true] {
        let options = gate.options().writable(writable);
        let error = Disk::open("disk.vmdk", &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ParentNotFound);
        assert_eq!(error.path(), Some(Path::new("middle.vmdk")));
        assert!(error.to_string().contains("base.vmdk"), "{error}");
    }
    let options = gate.options().tolerate_missing_parent(true);
    let disk = Disk::open("disk.vmdk", &options.clone().writable(true)).unwrap();
    assert_eq!(disk.info().links, 2);
    assert_eq!(map(&disk), [(0, 1000, Allocation::Unknown, 2)]);
    let mut buffer = [0; 512];
    let error = disk.read_at(Sector::new(5), &mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    // Whole grains need nothing from below, parts do.
    disk.write_at(Sector::new(128), &[5; 128 * 512]).unwrap();
    disk.write_zeroes(range(256, 384), ZeroMode::MayFree)
        .unwrap();
    let error = disk.write_at(Sector::new(5), &[5; 512]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    let error = disk
        .write_zeroes(range(5, 6), ZeroMode::MayFree)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    disk.close().unwrap();

    let disk = Disk::open("disk.vmdk", &options).unwrap();
    assert_eq!(
        map(&disk),
        [
            (0, 128, Allocation::Unknown, 2),
            (128, 256, Allocation::Data, 0),
            (256, 384, Allocation::Zero, 0),
            (384, 1000, Allocation::Unknown, 2),
        ]
    );
    let mut known = vec![1; 256 * 512];
    disk.read_at(Sector::new(128), &mut known).unwrap();
    assert!(known[..128 * 512].iter().all(|byte| *byte == 5));
    assert!(known[128 * 512..].iter().all(|byte| *byte == 0));
    let error = disk.read_at(Sector::new(127), &mut known).unwrap_err();
    assert_eq!(
        error.to_string(),
        "reading sectors 127..383 failed: disk.vmdk: sectors 127..128 are in a parent that is missing"
    );
}

#[test]
fn chains_that_do_not_fit_are_refused() {
    use ErrorKind::{CapacityMismatch, CidMismatch, InvalidChain, ParentNotFound};
    let with_base = |base: String| {
        MemoryGate::default()
            .with("disk.vmdk", child(2, BASE, "base.vmdk", 3))
            .with("base.vmdk", base)
            .with("flat", vec![0x11; 1000 * 512])
    };
    let stream = StreamImage::build(&[1; 1000 * 512], true);
    let text = descriptor("streamOptimized", &["RDONLY 1000 SPARSE \"s\""]);
    let mut child_stream = stream.bytes.clone();
    let text = child_of(&text, 2, BASE, "base.vmdk");
    child_stream[512..512 + 2048].fill(0);
    child_stream[512..512 + text.len()].copy_from_slice(text.as_bytes());
    let hintless = child_of(&SparseImage::monolithic(1000).text, 2, BASE, "x");
    let hintless = SparseImage {
        text: hintless.replace("parentFileNameHint=\"x\"\n", ""),
        ..SparseImage::monolithic(1000)
    };
    for (name, gate, kind) in [
        (
            "another content id",
            with_base(base_text("flat").replace("CID=1f2e3d4c", "CID=1f2e3d4d")),
            CidMismatch,
        ),
        (
            "no content id",
            with_base(base_text("flat").replace("CID=1f2e3d4c\n", "")),
            CidMismatch,
        ),
        (
            "a smaller parent",
            with_base(base_text("flat").replace("RW 1000", "RW 999")),
            CapacityMismatch,
        ),
        (
            "a larger parent",
            with_base(base_text("flat") + "RW 1 ZERO\n"),
            CapacityMismatch,
        ),
        ("no disk", with_base("hello".into()), ErrorKind::InvalidDisk),
        (
            "a parent without its extent",
            with_base(base_text("gone")),
            ErrorKind::ExtentNotFound,
        ),
        (
            "its own parent",
            MemoryGate::default().with("disk.vmdk", child(2, 2, "disk.vmdk", 3)),
            InvalidChain,
        ),
        (
            "a circle",
            MemoryGate::default()
                .with("disk.vmdk", child(2, 3, "b", 3))
                .with("b", child(3, 4, "c", 3))
                .with("c", child(4, 3, "b", 3)),
            InvalidChain,
        ),
        (
            "no hint",
            MemoryGate::default().with("disk.vmdk", hintless.build()),
            ParentNotFound,
        ),
        (
            "a stream as child",
            MemoryGate::default().with("disk.vmdk", child_stream),
            InvalidChain,
        ),
        (
            "a snapshot of the array",
            MemoryGate::default().with("disk.vmdk", {
                let image = SparseImage::monolithic(1000);
                let text = child_of(&image.text, 2, BASE, "base.vmdk");
                let text = text.replace("createType", "isNativeSnapshot=\"yes\"\ncreateType");
                SparseImage { text, ..image }.build()
            }),
            ErrorKind::Unsupported,
        ),
    ] {
        let error = Disk::open("disk.vmdk", &gate.options()).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
    }
    // A stream may be a parent, and a hint without a parent's content id means nothing.
    let gate = MemoryGate::default()
        .with("disk.vmdk", child(2, BASE, "base.vmdk", 3))
        .with("base.vmdk", stream.bytes);
    let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
    assert!(content(&disk).iter().all(|byte| *byte == 1));
    let gate = MemoryGate::default().with("disk.vmdk", child(2, u32::MAX, "gone", 3));
    let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
    assert_eq!((disk.info().links, disk.info().parent_hint), (1, None));
}

/// A parent that reads the very file that is written would change under its child.
/// What lies behind the end of a smaller parent is zeros, whatever is below that, known or missing.
#[test]
fn a_smaller_parent_is_tolerated_on_demand() {
    let smaller = |parent: u32, hint: &str| {
        let image = SparseImage::monolithic(700);
        SparseImage {
            text: child_of(&image.text, 9, parent, hint),
            ..image
        }
        .build()
    };
    let gate = MemoryGate::default()
        .with("disk.vmdk", child(2, 9, "middle.vmdk", 3))
        .with("middle.vmdk", smaller(BASE, "base.vmdk"))
        .with("base.vmdk", base_text("flat").replace("RW 1000", "RW 700"))
        .with("flat", vec![0x11; 1000 * 512]);
    let options = gate.options().writable(true);
    let kind = Disk::open("disk.vmdk", &options).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::CapacityMismatch);
    let options = options.tolerate_smaller_parent(true);
    let disk = Disk::open("disk.vmdk", &options).unwrap();
    let mut model = vec![0x11; 1000 * 512];
    model[700 * 512..].fill(0);
    assert!(content(&disk) == model);
    assert_eq!(
        map(&disk),
        [
            (0, 700, Allocation::Data, 2),
            (700, 1000, Allocation::Zero, 1)
        ]
    );
    // A grain across the end, one behind it, and zeros that need no space there.
    disk.write_at(Sector::new(699), &[5; 512]).unwrap();
    disk.write_at(Sector::new(900), &[6; 512]).unwrap();
    disk.write_zeroes(range(768, 896), ZeroMode::MayFree)
        .unwrap();
    model[699 * 512..700 * 512].fill(5);
    model[900 * 512..901 * 512].fill(6);
    assert!(content(&disk) == model);
    let states: Vec<_> = map(&disk).iter().map(|run| (run.0, run.3)).collect();
    assert_eq!(states, [(0, 2), (640, 0), (768, 1), (896, 0)]);
    disk.close().unwrap();
    assert!(content(&Disk::open("disk.vmdk", &options).unwrap()) == model);

    let cut = MemoryGate::default()
        .with("disk.vmdk", child(2, 9, "middle.vmdk", 3))
        .with("middle.vmdk", smaller(BASE, "gone.vmdk"));
    let options = cut.options().tolerate_smaller_parent(true);
    let options = options.tolerate_missing_parent(true);
    assert_eq!(
        map(&Disk::open("disk.vmdk", &options).unwrap()),
        [
            (0, 700, Allocation::Unknown, 2),
            (700, 1000, Allocation::Zero, 1)
        ]
    );
    // A larger parent has sectors that the child does not: nobody makes that.
    let larger = MemoryGate::default()
        .with("disk.vmdk", child(2, BASE, "base.vmdk", 3))
        .with("base.vmdk", base_text("flat") + "RW 1 ZERO\n")
        .with("flat", vec![0x11; 1000 * 512]);
    let options = larger.options().tolerate_smaller_parent(true);
    let kind = Disk::open("disk.vmdk", &options).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::CapacityMismatch);
}

#[test]
fn a_file_is_not_written_and_read_at_once() {
    let line = "RW 1000 SPARSE \"shared\"";
    let text = descriptor("twoGbMaxExtentSparse", &[line]);
    let gate = MemoryGate::default()
        .with("disk.vmdk", child_of(&text, 2, BASE, "base.vmdk"))
        .with("base.vmdk", text)
        .with("shared", SparseImage::extent(1000).build());
    Disk::open("disk.vmdk", &gate.options()).unwrap();
    let error = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidChain);
}

#[test]
fn sixty_four_parents_and_no_more() {
    let mut gate = MemoryGate::default()
        .with("0", base_text("flat"))
        .with("flat", vec![0x11; 1000 * 512]);
    for number in 1..=65 {
        let parent = if number == 1 { BASE } else { number - 1 };
        let hint = (number - 1).to_string();
        gate = gate.with(&number.to_string(), child(number, parent, &hint, 3));
    }
    let error = Disk::open("65", &gate.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyLinks);
    let disk = Disk::open("64", &gate.options().writable(true)).unwrap();
    assert_eq!(disk.info().links, 65);
    disk.write_at(Sector::new(3), &[5; 512]).unwrap();
    let read = content(&disk);
    assert_eq!(read[3 * 512..4 * 512], [5; 512]);
    assert_eq!(read[4 * 512..5 * 512], [0x11; 512]);
    assert_eq!(
        map(&disk),
        [
            (0, 128, Allocation::Data, 0),
            (128, 1000, Allocation::Data, 64)
        ]
    );
}

#[test]
fn metadata_comes_from_the_first_link_that_has_it() {
    let text = "version=1\nCID=00000002\nparentCID=1f2e3d4c\nparentFileNameHint=\"base.vmdk\"\n\
        createType=\"twoGbMaxExtentSparse\"\nRW 1000 SPARSE \"e\"\nddb.longContentID = \"own\"\nddb.New = \"1\"\n";
    let base = base_text("flat")
        + "ddb.uuid = \"60 00\"\nddb.new = \"2\"\nddb.geometry.cylinders = \"7\"\n\
           ddb.geometry.heads = \"8\"\nddb.geometry.sectors = \"9\"\n";
    let gate = MemoryGate::default()
        .with("disk.vmdk", text)
        .with("e", SparseImage::extent(1000).build())
        .with("base.vmdk", base)
        .with("flat", vec![0x11; 1000 * 512]);
    let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
    assert_eq!(disk.metadata("longContentID").as_deref(), Some("own"));
    assert_eq!(disk.metadata("new").as_deref(), Some("1"));
    assert_eq!(disk.metadata("adapterType").as_deref(), Some("lsilogic"));
    assert_eq!(
        disk.metadata_keys(),
        [
            "longContentID",
            "New",
            "adapterType",
            "uuid",
            "geometry.cylinders",
            "geometry.heads",
            "geometry.sectors"
        ]
    );
    let info = disk.info();
    assert_eq!(info.uuid.as_deref(), Some("60 00"));
    assert_eq!(info.physical_geometry.heads, 8);
    assert_eq!(info.adapter, vmdk_engine::Adapter::LsiLogic);
}

/// Disks are moved, hints are not.
#[test]
fn parents_are_found_where_disks_are_moved_to() {
    let scratch = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(scratch.path()).unwrap();
    for folder in ["vms/clone", "vms/base", "far"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let path = root.join("vms/clone/disk.vmdk");
    let put_base = |folder: &str, cid: &str| {
        let folder = root.join(folder);
        let text = base_text("p-flat.vmdk").replace("CID=1f2e3d4c", cid);
        fs::write(folder.join("p.vmdk"), text).unwrap();
        fs::write(folder.join("p-flat.vmdk"), vec![0x22; 1000 * 512]).unwrap();
    };
    let hint = |hint: &str| fs::write(&path, child(2, BASE, hint, 3)).unwrap();
    let absolute = root.join("vms/base/p.vmdk");
    let hints = [
        "../base/p.vmdk",
        "/vmfs/volumes/5f/base/p.vmdk",
        r"C:\VMs\base\p.vmdk",
        "[store] base/p.vmdk",
        absolute.to_str().unwrap(),
    ];
    put_base("vms/base", "CID=1f2e3d4c");
    for text in hints {
        hint(text);
        let disk = open(&path).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(content(&disk), vec![0x22; 1000 * 512], "{text}");
    }
    // A disk of that name in the child's own folder comes first, unless it is another one.
    put_base("vms/clone", "CID=00000009");
    hint("/vmfs/volumes/5f/base/p.vmdk");
    open(&path).unwrap();
    fs::remove_file(root.join("vms/base/p.vmdk")).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CidMismatch);
    assert!(error.to_string().contains("clone/p.vmdk"), "{error}");
    put_base("vms/clone", "CID=1f2e3d4c");
    open(&path).unwrap();

    // The child itself, met under the parent's name on the way to the parent, is passed over.
    hint("/gone/base/disk.vmdk");
    put_base("vms/base", "CID=1f2e3d4c");
    fs::rename(
        root.join("vms/base/p.vmdk"),
        root.join("vms/base/disk.vmdk"),
    )
    .unwrap();
    open(&path).unwrap();

    // Outside, even if it is the right one.
    put_base("far", "CID=1f2e3d4c");
    for text in [
        "../../far/p.vmdk",
        root.join("far/p.vmdk").to_str().unwrap(),
    ] {
        fs::remove_file(root.join("vms/clone/p.vmdk")).ok();
        hint(text);
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AccessRefused, "{text}: {error}");
    }
    hint("nbd://localhost/p.vmdk");
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    hint(".");
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::AccessRefused);

    // A loop through another name of the same file.
    fs::write(&path, child(2, 2, "link.vmdk", 3)).unwrap();
    symlink("disk.vmdk", root.join("vms/clone/link.vmdk")).unwrap();
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::InvalidChain);
    fs::remove_file(root.join("vms/clone/link.vmdk")).unwrap();
    fs::hard_link(&path, root.join("vms/clone/link.vmdk")).unwrap();
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::InvalidChain);
}

/// A writer's new content id is what tells children that their parent has changed.
#[test]
fn writing_to_a_parent_breaks_its_child() {
    let gate = over_ones(3);
    Disk::open("disk.vmdk", &gate.options()).unwrap();
    let base = Disk::open("base.vmdk", &gate.options().writable(true)).unwrap();
    base.write_at(Sector::ZERO, &[1; 512]).unwrap();
    base.close().unwrap();
    let error = Disk::open("disk.vmdk", &gate.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CidMismatch);
}
