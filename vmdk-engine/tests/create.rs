//! New disks: their files, their descriptors, what refuses to be made, and what is left when making one fails.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use support::world::World;
use support::{Numbers, content};
use vmdk_engine::{
    Adapter, ByteLen, CreateOptions, Disk, DiskKind, ErrorKind, FileAccess, FolderGate, GateError,
    Geometry, OpenGate, OpenOptions, OpenedFile, Progress, Sector, SectorCount, unlink, unwatched,
};

const KINDS: [DiskKind; 6] = [
    DiskKind::MonolithicSparse,
    DiskKind::MonolithicFlat,
    DiskKind::SplitSparse,
    DiskKind::SplitFlat,
    DiskKind::VmfsFlat,
    DiskKind::VmfsThin,
];

fn options(kind: DiskKind, sectors: u64) -> CreateOptions {
    CreateOptions::new(kind, SectorCount::new(sectors))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A folder in which somebody else makes a draft anew just after it was made, as one does who takes it for left behind.
#[derive(Debug, Default)]
struct Meddled {
    theirs: Mutex<Option<OpenedFile>>,
}

impl OpenGate for Meddled {
    fn open_disk(&self, path: &Path, access: FileAccess) -> Result<OpenedFile, GateError> {
        FolderGate.open_disk(path, access)
    }

    fn open_extent(
        &self,
        descriptor: &Path,
        name: &OsStr,
        access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        FolderGate.open_extent(descriptor, name, access)
    }

    fn open_parent(&self, child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        FolderGate.open_parent(child, name)
    }

    fn create(&self, path: &Path) -> Result<OpenedFile, GateError> {
        let ours = FolderGate.create(path)?;
        let mut theirs = self.theirs.lock().unwrap();
        if theirs.is_none() {
            FolderGate.remove(path)?;
            let file = FolderGate.create(path)?;
            file.storage.write_all_at(b"theirs", ByteLen::ZERO)?;
            assert!(file.storage.try_lock()?);
            *theirs = Some(file);
        }
        Ok(ours)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        FolderGate.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), GateError> {
        FolderGate.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), GateError> {
        FolderGate.sync_folder(path)
    }
}

/// Of two who make the same disk at once, neither takes the half-made files of the other.
#[test]
fn the_draft_of_somebody_else_is_left_alone() {
    for kind in KINDS {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        let options = options(kind, 300).gate(Arc::new(Meddled::default()));
        let error = Disk::create(&path, &options, &mut unwatched).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyLocked, "{error}");
        assert_eq!(names(scratch.path()), ["disk.vmdk.draft"]);
        let draft = fs::read(scratch.path().join("disk.vmdk.draft")).unwrap();
        assert_eq!(draft, b"theirs");
    }
}

/// Somebody who found a draft before it was replaced must not remove the new one.
#[test]
fn makers_of_one_disk_at_once_leave_one_whole_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    for round in 0..30 {
        let kind = KINDS[round % KINDS.len()];
        fs::write(scratch.path().join("disk.vmdk.draft"), "left behind").unwrap();
        let made = thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(
                        || match Disk::create(&path, &options(kind, 300), &mut unwatched) {
                            Ok(disk) => {
                                disk.close().unwrap();
                                true
                            }
                            Err(error) => {
                                let kind = error.kind();
                                assert!(
                                    [ErrorKind::AlreadyExists, ErrorKind::AlreadyLocked]
                                        .contains(&kind),
                                    "{error}"
                                );
                                false
                            }
                        },
                    )
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap())
                .filter(|made| *made)
                .count()
        });
        assert!(made <= 1, "{made}");
        if made == 1 {
            Disk::open(&path, &OpenOptions::new().writable(true))
                .unwrap()
                .close()
                .unwrap();
        }
        let _ = unlink(&path, &FolderGate);
        assert!(
            names(scratch.path()).is_empty(),
            "{:?}",
            names(scratch.path())
        );
    }
}

#[test]
fn every_kind_is_open_for_writing_and_opens_again() {
    for kind in KINDS {
        for sectors in [1, 129, 5001] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("disk.vmdk");
            let disk = Disk::create(&path, &options(kind, sectors), &mut unwatched).unwrap();
            assert!(disk.is_writable());
            assert_eq!(disk.capacity().get(), sectors);
            assert!(content(&disk).iter().all(|byte| *byte == 0), "{kind:?}");
            let mut model = vec![0; usize::try_from(sectors).unwrap() * 512];
            let mut numbers = Numbers::new(sectors);
            for _ in 0..20 {
                let start = usize::try_from(numbers.below(sectors)).unwrap();
                let end = (start + 100).min(model.len() / 512);
                let part = &mut model[start * 512..end * 512];
                numbers.fill(part);
                disk.write_at(Sector::new(u64::try_from(start).unwrap()), part)
                    .unwrap();
            }
            disk.close().unwrap();
            let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
            assert_eq!(disk.info().kind, kind);
            assert!(content(&disk) == model, "{kind:?} {sectors}");
        }
    }
}

#[test]
fn files_have_the_names_and_sizes_of_vmware() {
    let gib = 2 * 1024 * 1024;
    for (kind, sectors, expected) in [
        (
            DiskKind::MonolithicSparse,
            4 * gib,
            vec![("d.vmdk", 589_824)],
        ),
        (
            DiskKind::SplitSparse,
            4_192_256 + 10 * 2048,
            vec![("d-s001.vmdk", 327_680), ("d-s002.vmdk", 65_536)],
        ),
        (
            DiskKind::MonolithicFlat,
            2049,
            vec![("d-flat.vmdk", 2049 * 512)],
        ),
        (DiskKind::SplitFlat, 2048, vec![("d-f001.vmdk", 2048 * 512)]),
        (DiskKind::VmfsFlat, 2048, vec![("d-flat.vmdk", 2048 * 512)]),
        (
            DiskKind::VmfsThin,
            40 * gib,
            vec![("d-flat.vmdk", 40 * gib * 512)],
        ),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("d.vmdk");
        drop(Disk::create(&path, &options(kind, sectors), &mut unwatched).unwrap());
        let mut all: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        if !all.contains(&"d.vmdk") {
            all.push("d.vmdk");
        }
        assert_eq!(names(scratch.path()), all, "{kind:?}");
        for (name, bytes) in expected {
            let metadata = fs::metadata(scratch.path().join(name)).unwrap();
            assert_eq!(metadata.len(), bytes, "{name}");
            let is_thick = matches!(
                kind,
                DiskKind::MonolithicFlat | DiskKind::SplitFlat | DiskKind::VmfsFlat
            );
            assert_eq!(
                metadata.blocks() * 512 >= bytes,
                is_thick,
                "{kind:?} {name}"
            );
        }
    }
}

#[test]
fn the_descriptor_says_what_was_asked_for() {
    let world = World::default();
    let geometry = Geometry {
        cylinders: 3,
        heads: 4,
        sectors: 5,
    };
    let options = options(DiskKind::MonolithicFlat, 4096)
        .gate(world.gate())
        .adapter(Adapter::Ide)
        .hardware_version(21)
        .sector_sizes(4096, 4096)
        .geometry(geometry)
        .uuid("60 00 C2 91 00 11 22 33-44 55 66 77 88 99 aa bb");
    let disk = Disk::create("a b.vmdk", &options, &mut unwatched).unwrap();
    let info = disk.info();
    assert_eq!(info.adapter, Adapter::Ide);
    assert_eq!(info.physical_geometry, geometry);
    assert_eq!(
        (info.logical_sector_size, info.physical_sector_size),
        (4096, 4096)
    );
    disk.close().unwrap();
    let text = String::from_utf8(world.bytes("a b.vmdk")).unwrap();
    let id = |key: &str, digits| text.split_once(key).unwrap().1.split_at(digits).0;
    let (cid, long) = (id("\nCID=", 8), id("longContentID = \"", 32));
    assert!(long.ends_with(cid));
    assert_eq!(
        text,
        format!(
            "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID={cid}\nparentCID=ffffffff\n\
             isNativeSnapshot=\"no\"\ncreateType=\"monolithicFlat\"\n\n# Extent description\n\
             RW 4096 FLAT \"a b-flat.vmdk\" 0\n\n# The Disk Data Base \n#DDB\n\n\
             ddb.adapterType = \"ide\"\nddb.geometry.cylinders = \"3\"\nddb.geometry.heads = \"4\"\n\
             ddb.geometry.sectors = \"5\"\nddb.logicalSectorSize = \"4096\"\n\
             ddb.longContentID = \"{long}\"\nddb.physicalSectorSize = \"4096\"\n\
             ddb.uuid = \"60 00 C2 91 00 11 22 33-44 55 66 77 88 99 aa bb\"\n\
             ddb.virtualHWVersion = \"21\"\n"
        )
    );
}

#[test]
fn thin_disks_say_so_and_ids_differ() {
    let world = World::default();
    let mut uuids = Vec::new();
    for name in ["a.vmdk", "b.vmdk"] {
        let options = options(DiskKind::VmfsThin, 4096).gate(world.gate());
        let disk = Disk::create(name, &options, &mut unwatched).unwrap();
        assert_eq!(disk.metadata("thinProvisioned").as_deref(), Some("1"));
        assert_eq!(disk.info().kind, DiskKind::VmfsThin);
        let uuid = disk.info().uuid.unwrap();
        assert!(uuid.starts_with("60 00 C2 9"), "{uuid}");
        uuids.push(uuid);
    }
    assert_ne!(uuids[0], uuids[1]);
}

#[test]
fn what_makes_no_sense_is_refused_and_makes_nothing() {
    use ErrorKind::{FileTooBig, InvalidArgument, NotFound, Unsupported};
    let sparse = |sectors| options(DiskKind::MonolithicSparse, sectors);
    let no_geometry = Geometry::default();
    for (name, options, kind) in [
        ("d.vmdk", sparse(0), InvalidArgument),
        ("d.vmdk", sparse(1 << 32), FileTooBig),
        (
            "d.vmdk",
            options(DiskKind::MonolithicFlat, 1 << 54),
            FileTooBig,
        ),
        ("d.vmdk", options(DiskKind::VmfsSparse, 100), Unsupported),
        ("d.vmdk", options(DiskKind::SeSparse, 100), Unsupported),
        ("d.vmdk", options(DiskKind::Custom, 100), Unsupported),
        (
            "d.vmdk",
            sparse(8).adapter(Adapter::Unknown),
            InvalidArgument,
        ),
        ("d.vmdk", sparse(8).hardware_version(0), InvalidArgument),
        ("d.vmdk", sparse(8).sector_sizes(4096, 512), InvalidArgument),
        ("d.vmdk", sparse(8).sector_sizes(520, 520), InvalidArgument),
        (
            "d.vmdk",
            sparse(9).sector_sizes(4096, 4096),
            InvalidArgument,
        ),
        ("d.vmdk", sparse(8).geometry(no_geometry), InvalidArgument),
        ("d.vmdk", sparse(8).uuid("60 00\""), InvalidArgument),
        ("a\"b.vmdk", sparse(8), InvalidArgument),
        ("a\nb.vmdk", sparse(8), InvalidArgument),
        ("..", sparse(8), InvalidArgument),
        ("no/such/folder.vmdk", sparse(8), NotFound),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let error = Disk::create(scratch.path().join(name), &options, &mut unwatched).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(names(scratch.path()).is_empty(), "{error}");
    }
}

#[test]
fn no_file_is_overwritten() {
    for (kind, taken) in [
        (DiskKind::MonolithicSparse, "d.vmdk"),
        (DiskKind::MonolithicFlat, "d.vmdk"),
        (DiskKind::MonolithicFlat, "d-flat.vmdk"),
        (DiskKind::SplitSparse, "d-s002.vmdk"),
        (DiskKind::SplitFlat, "d-f001.vmdk"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(taken), "precious").unwrap();
        let path = scratch.path().join("d.vmdk");
        let sectors = if kind == DiskKind::SplitSparse {
            4_192_257
        } else {
            10
        };
        let error = Disk::create(&path, &options(kind, sectors), &mut unwatched).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(error.to_string().contains(taken), "{error}");
        assert_eq!(names(scratch.path()), [taken]);
        assert_eq!(fs::read(scratch.path().join(taken)).unwrap(), b"precious");
    }
}

#[test]
fn cancelled_anywhere_nothing_is_left() {
    for kind in KINDS {
        let world = World::default();
        let options = options(kind, 300).gate(world.gate());
        let mut reports = 0;
        for stop_at in 0.. {
            let mut seen = 0;
            let result = Disk::create("d.vmdk", &options, &mut |_: Progress| {
                seen += 1;
                if seen > stop_at {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            match result {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
            }
            assert!(world.names().is_empty(), "{kind:?}: {:?}", world.names());
            reports += 1;
        }
        assert!(reports >= 2, "{kind:?}: at the start and at the end");
    }
}

/// What a crash of the machine leaves is the whole disk, or nothing that opens; removing it makes room for another try.
#[test]
fn a_crash_leaves_the_whole_disk_or_none() {
    for kind in KINDS {
        let world = World::default();
        let options = options(kind, 300).gate(world.gate());
        drop(Disk::create("d.vmdk", &options, &mut unwatched).unwrap());
        let mut numbers = Numbers::new(9);
        let mut seen = [0, 0];
        for events in 0..=world.len() {
            for attempt in 0..5 {
                let after = match attempt {
                    0 => world.killed(events),
                    _ => world.crashed(events, &mut numbers),
                };
                let case = format!("{kind:?}: {events} of {}, {:?}", world.len(), after.names());
                let gate = options.clone().gate(after.gate());
                let is_whole = match Disk::open("d.vmdk", &after.options()) {
                    Ok(disk) => {
                        assert!(content(&disk).iter().all(|byte| *byte == 0), "{case}");
                        true
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NotFound, "{case}: {error}");
                        false
                    }
                };
                seen[usize::from(is_whole)] += 1;
                if is_whole {
                    unlink("d.vmdk", &after).unwrap();
                } else if Disk::create("d.vmdk", &gate, &mut unwatched).is_err() {
                    unlink("d.vmdk", &after).unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert!(after.names().is_empty(), "{case}: {:?}", after.names());
                    drop(Disk::create("d.vmdk", &gate, &mut unwatched).unwrap());
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{kind:?}: {seen:?}");
    }
}

#[test]
fn what_fails_leaves_nothing_that_opens() {
    for kind in KINDS {
        for events in 0.. {
            let world = World::default();
            world.fail_from(events);
            let options = options(kind, 300).gate(world.gate());
            if Disk::create("d.vmdk", &options, &mut unwatched).is_ok() {
                break;
            }
            let world = world.restarted();
            let opened = Disk::open("d.vmdk", &world.options());
            // The very last sync may fail for a disk that is whole.
            assert!(
                opened.is_ok_and(|disk| content(&disk).iter().all(|byte| *byte == 0))
                    || !world.names().contains(&"d.vmdk".to_owned()),
                "{kind:?} {events}: {:?}",
                world.names()
            );
        }
    }
}
