//! Making, changing and removing disks as a whole, on every back end; QEMU looks at the results.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{flat_disk, on_each_backend, pattern};
use tempfile::TempDir;
use vixdisklib::{
    Adapter, CloneOptions, Connection, CreateOptions, Disk, DiskKind, DiskUuid, ErrorKind,
    Geometry, GrowGeometry, Health, Library, MetadataKey, OpenFlags, Progress, Sector, SectorCount,
    SectorRange, ZeroMode,
};

/// 4 MiB and a sector less: whole cylinders of no geometry, no whole number of grains.
const CAPACITY: u64 = 8191;

const HOSTED: [DiskKind; 4] = [
    DiskKind::MONOLITHIC_SPARSE,
    DiskKind::MONOLITHIC_FLAT,
    DiskKind::SPLIT_SPARSE,
    DiskKind::SPLIT_FLAT,
];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn local(library: &Library) -> Connection {
    library.connect_local().expect("local")
}

fn quiet(_: Progress) {}

#[track_caller]
fn kind<T>(result: vixdisklib::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it should be refused"),
        Err(error) => error.kind(),
    }
}

fn create(connection: &Connection, path: &Path, kind: DiskKind) -> Disk {
    let options = CreateOptions::new(kind, SectorCount::new(CAPACITY));
    connection
        .create_disk(path, &options, quiet)
        .expect("created");
    connection
        .open_disk(path, OpenFlags::empty())
        .expect("opens")
}

fn content(disk: &Disk) -> Vec<u8> {
    let sectors = usize::try_from(disk.capacity().get()).unwrap();
    let mut bytes = vec![0; sectors * 512];
    disk.read_at(Sector::ZERO, &mut bytes).expect("reads");
    bytes
}

/// The bytes that the files of a folder take.
fn space(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().blocks() * 512)
        .sum()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What a run of qemu-img printed, or `None` without it.
fn qemu_img(arguments: &[&str], disk: &Path) -> Option<String> {
    let output = match Command::new("qemu-img").args(arguments).arg(disk).output() {
        Ok(output) => output,
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            assert!(env::var("CI").as_deref() != Ok("true"), "no qemu-img");
            eprintln!("SKIPPED: qemu-img is not installed");
            return None;
        }
        Err(error) => panic!("qemu-img: {error}"),
    };
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {output:?}"
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Has QEMU check a disk and read all of it.
fn qemu_agrees(disk: &Path, kind: DiskKind, expected: &[u8]) {
    let is_sparse = [DiskKind::MONOLITHIC_SPARSE, DiskKind::SPLIT_SPARSE].contains(&kind);
    if is_sparse && qemu_img(&["check", "-q", "-f", "vmdk"], disk).is_none() {
        return;
    }
    let folder = folder();
    let raw = folder.path().join("raw");
    let raw_text = raw.to_str().unwrap();
    let disk_text = disk.to_str().unwrap();
    let convert = ["convert", "-f", "vmdk", "-O", "raw", disk_text];
    if qemu_img(&convert, &raw).is_some() {
        assert!(fs::read(raw_text).unwrap() == expected, "{kind} differs");
    }
}

#[test]
fn disks_of_every_kind_are_created() {
    on_each_backend(|library| {
        let connection = local(library);
        for kind in HOSTED {
            let folder = folder();
            let path = folder.path().join("disk.vmdk");
            let options = CreateOptions::new(kind, SectorCount::new(CAPACITY))
                .adapter(Adapter::BusLogic)
                .hardware_version(11);
            let mut heard: Vec<Progress> = Vec::new();
            connection
                .create_disk(&path, &options, |progress| heard.push(progress))
                .expect("created");
            assert!(
                heard.is_sorted_by_key(|progress| progress.percent),
                "{heard:?}"
            );
            assert_eq!(
                heard.last().map(|progress| progress.percent),
                Some(100),
                "{kind}"
            );
            let all = SectorCount::new(CAPACITY).bytes();
            assert_eq!(heard.last().and_then(|progress| progress.done()), all);

            let again = connection.create_disk(&path, &options, quiet);
            assert_eq!(self::kind(again), ErrorKind::AlreadyExists);

            let disk = connection
                .open_disk(&path, OpenFlags::empty())
                .expect("opens");
            assert_eq!(disk.capacity(), SectorCount::new(CAPACITY));
            assert_eq!(disk.info().adapter, Adapter::BusLogic);
            assert_eq!(disk.database().hardware_version().expect("read"), Some(11));
            assert!(content(&disk).iter().all(|byte| *byte == 0));
            let mut model = vec![0; content(&disk).len()];
            let data = pattern(300);
            disk.write_at(Sector::new(CAPACITY - 300), &data)
                .expect("writes");
            let start = model.len() - data.len();
            model[start..].copy_from_slice(&data);
            disk.close().expect("closes");
            qemu_agrees(&path, kind, &model);
        }
    });
}

#[test]
fn sector_sizes_arrive() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let path = folder.path().join("disk.vmdk");
        let options = CreateOptions::new(DiskKind::MONOLITHIC_SPARSE, SectorCount::new(8192))
            .sector_sizes(512, 4096);
        connection
            .create_disk(&path, &options, quiet)
            .expect("created");
        let disk = connection
            .open_disk(&path, OpenFlags::empty())
            .expect("opens");
        assert_eq!(disk.info().logical_sector_size, Some(512));
        assert_eq!(disk.info().physical_sector_size, Some(4096));
    });
}

#[test]
fn disks_that_cannot_be_created_are_refused() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let path = folder.path().join("disk.vmdk");
        let create = |options: &CreateOptions| kind(connection.create_disk(&path, options, quiet));
        let size = SectorCount::new(CAPACITY);
        // Only hosts make these, and nobody that one.
        for kind in [DiskKind::VMFS_THIN, DiskKind::VMFS_SPARSE] {
            assert_eq!(
                create(&CreateOptions::new(kind, size)),
                ErrorKind::Unsupported,
                "{kind}"
            );
        }
        let unknown = create(&CreateOptions::new(DiskKind::from_raw(77), size));
        assert!([ErrorKind::Unsupported, ErrorKind::InvalidArgument].contains(&unknown));
        let options = CreateOptions::new(DiskKind::MONOLITHIC_SPARSE, size);
        assert_eq!(
            create(&options.clone().sector_sizes(300, 512)),
            ErrorKind::InvalidArgument
        );
        assert!(files(folder.path()).is_empty());
        let four_kib = options.clone().sector_sizes(4096, 4096);
        assert_eq!(
            create(&four_kib),
            ErrorKind::InvalidArgument,
            "no whole number of sectors"
        );
        let nowhere = folder.path().join("no folder/disk.vmdk");
        assert_eq!(
            kind(connection.create_disk(nowhere, &options, quiet)),
            ErrorKind::NotFound
        );
    });
}

#[test]
fn a_disk_grows() {
    on_each_backend(|library| {
        let connection = local(library);
        for kind in HOSTED {
            let folder = folder();
            let path = folder.path().join("disk.vmdk");
            let disk = create(&connection, &path, kind);
            let before = disk.database().geometry().expect("read");
            disk.write_at(Sector::ZERO, &pattern(8)).expect("writes");
            let open = connection.grow(&path, SectorCount::new(9000), GrowGeometry::Keep, quiet);
            assert_eq!(self::kind(open), ErrorKind::Locked, "{kind}");
            disk.close().expect("closes");

            let larger = SectorCount::new(100_000);
            connection
                .grow(&path, SectorCount::new(9000), GrowGeometry::Keep, quiet)
                .expect("grown");
            let disk = connection
                .open_disk(&path, OpenFlags::READ_ONLY)
                .expect("opens");
            assert_eq!(disk.database().geometry().expect("read"), before, "{kind}");
            disk.close().expect("closes");
            let mut heard = Vec::new();
            connection
                .grow(&path, larger, GrowGeometry::Update, |progress| {
                    heard.push(progress)
                })
                .expect("grown");
            assert!(heard.iter().all(|progress| progress.total.is_none()));
            let smaller = connection.grow(&path, SectorCount::new(9), GrowGeometry::Keep, quiet);
            assert_eq!(self::kind(smaller), ErrorKind::InvalidArgument);

            let disk = connection
                .open_disk(&path, OpenFlags::READ_ONLY)
                .expect("opens");
            assert_eq!(disk.capacity(), larger);
            assert_ne!(disk.database().geometry().expect("read"), before, "{kind}");
            let mut model = vec![0; 100_000 * 512];
            model[..8 * 512].copy_from_slice(&pattern(8));
            assert!(content(&disk) == model);
        }
    });
}

#[test]
fn a_sparse_disk_shrinks_and_is_put_in_order() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let path = folder.path().join("disk.vmdk");
        let mut disk = create(&connection, &path, DiskKind::MONOLITHIC_SPARSE);
        let mut model = vec![0; content(&disk).len()];
        // From the end to the start, so that grains are out of order; then zeroes over half of it.
        for index in (0..60_usize).rev() {
            let (at, data) = (index * 128, pattern(128));
            disk.write_at(Sector::new(at as u64), &data)
                .expect("writes");
            model[at * 512..][..data.len()].copy_from_slice(&data);
        }
        let zeroed = SectorRange::new(Sector::ZERO, SectorCount::new(30 * 128)).unwrap();
        disk.write_zeroes(zeroed, ZeroMode::MustAllocate)
            .expect("zeroes");
        model[..30 * 128 * 512].fill(0);
        disk.flush().expect("flushes");
        let before = space(folder.path());

        let mut heard = Vec::new();
        disk.shrink(|progress| heard.push(progress.percent))
            .expect("shrunk");
        assert!(heard.is_sorted() && heard.last() == Some(&100), "{heard:?}");
        let after = space(folder.path());
        assert!(
            after + 29 * 64 * 1024 < before,
            "{before} bytes, then {after}"
        );
        assert!(content(&disk) == model);
        disk.defragment(quiet).expect("in order");
        assert!(content(&disk) == model);
        disk.close().expect("closes");
        qemu_agrees(&path, DiskKind::MONOLITHIC_SPARSE, &model);

        let mut disk = connection
            .open_disk(&path, OpenFlags::READ_ONLY)
            .expect("opens");
        assert_eq!(kind(disk.shrink(quiet)), ErrorKind::ReadOnly);
        assert_eq!(kind(disk.defragment(quiet)), ErrorKind::ReadOnly);

        let flat = flat_disk(folder.path(), &pattern(100));
        let mut disk = connection.open_disk(flat, OpenFlags::empty());
        if let Ok(disk) = &mut disk {
            disk.defragment(quiet).expect("nothing to do");
        }
    });
}

#[test]
fn a_disk_is_cloned_into_every_kind() {
    on_each_backend(|library| {
        let connection = local(library);
        let other = local(library);
        let source = folder();
        let path = source.path().join("source.vmdk");
        let disk = create(&connection, &path, DiskKind::SPLIT_SPARSE);
        disk.write_at(Sector::new(77), &pattern(3000))
            .expect("writes");
        let model = content(&disk);
        disk.close().expect("closes");

        for kind in HOSTED.into_iter().chain([DiskKind::STREAM_OPTIMIZED]) {
            let folder = folder();
            let copy = folder.path().join("copy.vmdk");
            let options = CloneOptions::new(kind);
            let mut heard: Vec<Progress> = Vec::new();
            connection
                .clone_disk(&path, &other, &copy, &options, |progress| {
                    heard.push(progress)
                })
                .expect("cloned");
            assert_eq!(
                heard.last().map(|progress| progress.percent),
                Some(100),
                "{kind}"
            );
            let total = SectorCount::new(CAPACITY).bytes();
            assert!(heard.iter().all(|progress| progress.total == total));
            let again = connection.clone_disk(&path, &other, &copy, &options, quiet);
            assert_eq!(self::kind(again), ErrorKind::AlreadyExists);
            connection
                .clone_disk(&path, &other, &copy, &options.overwrite(true), quiet)
                .expect("replaced");

            let source = connection
                .open_disk(&path, OpenFlags::READ_ONLY)
                .expect("opens");
            let needed = source.space_needed_for_clone(Some(kind)).expect("known");
            let taken = space(folder.path());
            assert!(
                needed.get() > 0 && taken <= needed.get() + 65_536,
                "{kind}: {taken} of {needed}"
            );
            source.space_needed_for_clone(None).expect("known");
            let clone = other.open_disk(&copy, OpenFlags::READ_ONLY).expect("opens");
            assert_eq!(clone.info().adapter, source.info().adapter);
            assert!(content(&clone) == model, "{kind}");
            clone.close().expect("closes");
            qemu_agrees(&copy, kind, &model);
        }
        let absent = source.path().join("absent.vmdk");
        let options = CloneOptions::new(DiskKind::MONOLITHIC_FLAT);
        let clone = connection.clone_disk(&absent, &other, "/nowhere.vmdk", &options, quiet);
        assert_eq!(kind(clone), ErrorKind::NotFound);
    });
}

/// A disk with data, and a child of it.
fn family(connection: &Connection, folder: &Path) -> (PathBuf, PathBuf, Vec<u8>) {
    let parent = folder.join("parent.vmdk");
    let child = folder.join("child.vmdk");
    let mut disk = create(connection, &parent, DiskKind::MONOLITHIC_SPARSE);
    disk.write_at(Sector::new(100), &pattern(500))
        .expect("writes");
    let content = content(&disk);
    disk.close().expect("closes");
    disk = connection
        .open_disk(&parent, OpenFlags::READ_ONLY)
        .expect("opens");
    disk.create_child(&child, DiskKind::MONOLITHIC_SPARSE, quiet)
        .expect("a child");
    disk.close().expect("closes");
    (parent, child, content)
}

#[test]
fn a_child_is_created_and_attached() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let (parent, child, mut model) = family(&connection, folder.path());

        // As a whole it finds its parent by itself.
        let disk = connection
            .open_disk(&child, OpenFlags::READ_ONLY)
            .expect("opens");
        assert_eq!(disk.info().links, 2);
        assert!(content(&disk) == model);
        disk.close().expect("closes");

        let mut disk = connection
            .open_disk(&child, OpenFlags::SINGLE_LINK)
            .expect("opens");
        assert_eq!(disk.info().links, 1);
        let base = connection
            .open_disk(&parent, OpenFlags::READ_ONLY)
            .expect("opens");
        disk.can_attach(&base).expect("they fit");
        disk.attach(base).expect("attached");
        assert_eq!(disk.info().links, 2);
        assert!(content(&disk) == model);
        disk.write_at(Sector::new(101), &[9; 512]).expect("writes");
        model[101 * 512..102 * 512].fill(9);
        assert!(content(&disk) == model);
        let whole = SectorRange::whole(disk.capacity());
        let extents: Vec<_> = disk.extents(whole).unwrap().map(Result::unwrap).collect();
        assert!(
            extents
                .iter()
                .any(|extent| !extent.allocated && extent.zero),
            "{extents:?}"
        );
        disk.close().expect("closes both");
        // Both are free again, and the parent was not changed.
        let base = connection
            .open_disk(&parent, OpenFlags::empty())
            .expect("opens");
        assert!(content(&base)[101 * 512..102 * 512] != [9; 512]);
        base.close().expect("closes");
        qemu_agrees(&child, DiskKind::MONOLITHIC_SPARSE, &model);
    });
}

#[test]
fn disks_that_do_not_fit_are_not_attached() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let (parent, child, _) = family(&connection, folder.path());
        let stranger = folder.path().join("stranger.vmdk");
        create(&connection, &stranger, DiskKind::MONOLITHIC_SPARSE);

        let mut disk = connection
            .open_disk(&child, OpenFlags::SINGLE_LINK)
            .expect("opens");
        let other = connection
            .open_disk(&stranger, OpenFlags::READ_ONLY)
            .expect("opens");
        assert_eq!(kind(disk.can_attach(&other)), ErrorKind::InvalidChain);
        let error = disk.attach(other).expect_err("another disk");
        assert_eq!(error.kind(), ErrorKind::InvalidChain);
        let text = error.to_string();
        assert!(
            text.contains("child.vmdk") && text.contains("stranger.vmdk"),
            "{text}"
        );
        // The stranger is closed, the child as it was.
        let free = connection
            .open_disk(&stranger, OpenFlags::empty())
            .expect("free");
        free.close().expect("closes");
        assert!(content(&disk).iter().all(|byte| *byte == 0));
        let base = connection
            .open_disk(&parent, OpenFlags::READ_ONLY)
            .expect("opens");
        disk.attach(base).expect("attached");
        let again = connection
            .open_disk(&parent, OpenFlags::READ_ONLY)
            .expect("opens");
        assert_eq!(
            kind(disk.attach(again)),
            ErrorKind::InvalidChain,
            "it has a parent"
        );
        disk.close().expect("closes");

        let mut base = connection
            .open_disk(&parent, OpenFlags::READ_ONLY)
            .expect("opens");
        let there = base.create_child(&child, DiskKind::MONOLITHIC_SPARSE, quiet);
        assert_eq!(kind(there), ErrorKind::AlreadyExists);
        let flat = folder.path().join("flat.vmdk");
        let flat = base.create_child(flat, DiskKind::MONOLITHIC_FLAT, quiet);
        assert!([ErrorKind::Unsupported, ErrorKind::InvalidArgument].contains(&kind(flat)));
    });
}

#[test]
fn a_disk_is_renamed_and_removed() {
    on_each_backend(|library| {
        let connection = local(library);
        for kind in HOSTED {
            let folder = folder();
            let (old, new) = (
                folder.path().join("old.vmdk"),
                folder.path().join("new.vmdk"),
            );
            let disk = create(&connection, &old, kind);
            disk.write_at(Sector::ZERO, &pattern(9)).expect("writes");
            let model = content(&disk);
            assert_eq!(
                self::kind(connection.unlink(&old)),
                ErrorKind::Locked,
                "{kind}"
            );
            assert_eq!(
                self::kind(library.rename(&old, &new)),
                ErrorKind::Locked,
                "{kind}"
            );
            disk.close().expect("closes");

            library.rename(&old, &new).expect("renamed");
            assert!(
                files(folder.path())
                    .iter()
                    .all(|name| name.starts_with("new"))
            );
            let disk = connection
                .open_disk(&new, OpenFlags::READ_ONLY)
                .expect("opens");
            assert!(content(&disk) == model);
            disk.close().expect("closes");
            create(&connection, &old, kind).close().expect("closes");
            assert_eq!(
                self::kind(library.rename(&old, &new)),
                ErrorKind::AlreadyExists
            );

            connection.unlink(&new).expect("removed");
            connection.unlink(&old).expect("removed");
            assert!(
                files(folder.path()).is_empty(),
                "{:?}",
                files(folder.path())
            );
            assert_eq!(self::kind(connection.unlink(&new)), ErrorKind::NotFound);
            let error = library.rename(&old, &new).expect_err("nothing there");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("new.vmdk"), "{error}");
        }
    });
}

/// Where a directory of a sparse disk is, in bytes, by the field of the header that says so.
fn directory(file: &fs::File, field: u64) -> u64 {
    let mut sector = [0; 8];
    file.read_exact_at(&mut sector, field).unwrap();
    u64::from_le_bytes(sector) * 512
}

#[test]
fn a_damaged_disk_is_found_and_repaired() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let path = folder.path().join("disk.vmdk");
        let disk = create(&connection, &path, DiskKind::MONOLITHIC_SPARSE);
        disk.write_at(Sector::ZERO, &pattern(1000)).expect("writes");
        let model = content(&disk);
        disk.close().expect("closes");
        assert!(connection.check(&path).expect("checked").is_good());

        // The first entry of the first of the two directories points nowhere: reads go by the other one.
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let [second, first] = [48, 56].map(|field| directory(&file, field));
        file.write_all_at(&[0xFF; 4], first).unwrap();
        let report = connection.check(&path).expect("checked");
        assert_eq!(report.health(), Health::NeedsRepair, "{report:?}");
        assert!(!report.log_lines().is_empty(), "it says why");
        let report = connection.repair(&path).expect("repaired");
        assert!(report.is_good(), "{report:?}");
        assert!(connection.check(&path).expect("checked").is_good());
        let disk = connection
            .open_disk(&path, OpenFlags::READ_ONLY)
            .expect("opens");
        assert!(content(&disk) == model);
        disk.close().expect("closes");
        qemu_agrees(&path, DiskKind::MONOLITHIC_SPARSE, &model);

        // Nothing says any more where the data is.
        for directory in [first, second] {
            file.write_all_at(&[0xFF; 4], directory).unwrap();
        }
        let before = fs::read(&path).unwrap();
        for checked in [connection.check(&path), connection.repair(&path)] {
            let report = checked.expect("it ran");
            assert_eq!(report.health(), Health::CannotRepair, "{report:?}");
        }
        assert!(
            fs::read(&path).unwrap() == before,
            "a repair that cannot be leaves the disk alone"
        );

        let text = folder.path().join("text.vmdk");
        fs::write(&text, "no disk").unwrap();
        let report = connection.check(&text).expect("it is looked at");
        assert_eq!(report.health(), Health::CannotRepair);
        let absent = folder.path().join("absent.vmdk");
        assert_eq!(kind(connection.check(&absent)), ErrorKind::NotFound);
        assert_eq!(kind(connection.repair(&absent)), ErrorKind::NotFound);
    });
}

#[test]
fn metadata_is_written_and_read_as_types() {
    on_each_backend(|library| {
        let connection = local(library);
        let folder = folder();
        let path = folder.path().join("disk.vmdk");
        let disk = create(&connection, &path, DiskKind::MONOLITHIC_SPARSE);
        let uuid = DiskUuid::from_bytes([0x60; 16]);
        disk.set_metadata(MetadataKey::UUID, &uuid.to_string())
            .expect("written");
        disk.set_metadata(MetadataKey::TOOLS_VERSION, "12352")
            .expect("written");
        disk.set_metadata(MetadataKey::THIN_PROVISIONED, "1")
            .expect("written");
        disk.set_metadata(MetadataKey::TOOLS_INSTALL_TYPE, "many")
            .expect("any text");
        disk.set_metadata("ours.key", "50 % = ü").expect("written");
        disk.close().expect("closes");

        let disk = connection
            .open_disk(&path, OpenFlags::READ_ONLY)
            .expect("opens");
        let database = disk.database();
        assert_eq!(database.uuid().expect("an id"), Some(uuid));
        assert_eq!(disk.info().uuid.as_deref(), Some(uuid.to_string().as_str()));
        assert_eq!(database.tools_version().expect("a number"), Some(12352));
        assert_eq!(database.thin_provisioned().expect("true"), Some(true));
        assert_eq!(database.deletable().expect("none"), None);
        assert_eq!(database.adapter().expect("known"), Some(Adapter::LsiLogic));
        assert_eq!(database.hardware_version().expect("a number"), Some(13));
        let geometry = database.geometry().expect("numbers");
        assert_eq!(geometry, Some(disk.info().physical_geometry));
        assert_ne!(geometry, Some(Geometry::default()));
        let id = database.content_id().expect("digits");
        assert!(id.is_some_and(|id| id != 0));
        let error = database.tools_install_type().expect_err("no number");
        assert_eq!(error.kind(), ErrorKind::InvalidDisk);
        assert!(error.to_string().contains("toolsInstallType"), "{error}");
        assert_eq!(
            disk.metadata("ours.key").expect("read").as_deref(),
            Some("50 % = ü")
        );
        let keys = disk.metadata_keys().expect("listed");
        assert!(
            keys.iter().any(|key| key == MetadataKey::UUID.as_str()),
            "{keys:?}"
        );
        assert_eq!(kind(disk.set_metadata("key", "value")), ErrorKind::ReadOnly);
    });
}
