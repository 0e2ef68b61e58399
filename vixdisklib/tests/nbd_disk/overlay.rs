//! Overlays: what clients write is seen by them and nowhere else, and is kept or gone at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use vixdisklib::nbd::{DiskExport, Export, Overlay, RateLimit, Window};
use vixdisklib::{ByteLen, CloneOptions, DiskKind, ErrorKind, OpenFlags};

use crate::world::{World, content, noise};

const SIZE: usize = 400_384;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).unwrap()).collect();
    names.sort();
    names
}

fn sums(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = names(folder).into_iter();
    names
        .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
        .collect()
}

/// The kinds of disk an overlay stands on; a chain too.
fn bases(world: &World, model: &[u8]) -> Vec<std::path::PathBuf> {
    let kinds = [
        ("sparse.vmdk", DiskKind::MONOLITHIC_SPARSE),
        ("split.vmdk", DiskKind::SPLIT_SPARSE),
        ("flat.vmdk", DiskKind::MONOLITHIC_FLAT),
    ];
    let mut bases: Vec<_> = kinds
        .iter()
        .map(|(name, kind)| world.disk(name, *kind, model))
        .collect();
    let stream = world.path("stream.vmdk");
    let options = CloneOptions::new(DiskKind::STREAM_OPTIMIZED);
    let connection = &world.connection;
    connection
        .clone_disk(&bases[0], connection, &stream, &options, |_| {})
        .unwrap();
    bases.push(stream);
    bases.push(world.child(&bases[0], "child.vmdk"));
    bases
}

#[test]
fn a_temporary_overlay_leaves_nothing_behind() {
    let world = World::new();
    let model = noise(1, SIZE);
    let elsewhere = tempfile::tempdir().unwrap();
    for base in bases(&world, &model) {
        let before = sums(world.folder.path());
        let disk = world
            .connection
            .open_disk(&base, OpenFlags::READ_ONLY)
            .unwrap();
        let overlay = Overlay::temporary(disk, elsewhere.path()).unwrap();
        let folder = overlay.path().parent().unwrap();
        assert_eq!(
            folder.metadata().unwrap().permissions().mode() & 0o777,
            0o700
        );
        let export = DiskExport::new(overlay.disk().clone()).unwrap();
        assert!(!export.is_read_only());
        assert!(content(&export) == model, "{}", base.display());
        let mut changed = model.clone();
        changed[1000..3000].fill(7);
        export.write_at(ByteLen::new(1000), &[7; 2000]).unwrap();
        changed[65_536..196_608].fill(0);
        export
            .trim(ByteLen::new(65_536), ByteLen::new(131_072))
            .unwrap();
        export.flush().unwrap();
        assert!(content(&export) == changed, "{}", base.display());
        drop(export);
        overlay.close().unwrap();
        assert_eq!(names(elsewhere.path()), [""; 0]);
        assert!(sums(world.folder.path()) == before, "{}", base.display());
    }
}

#[test]
fn an_overlay_that_is_dropped_goes_too_and_one_that_is_kept_stays() {
    let world = World::new();
    let mut model = noise(1, SIZE);
    let base = world.disk("base.vmdk", DiskKind::MONOLITHIC_SPARSE, &model);
    let open = || {
        world
            .connection
            .open_disk(&base, OpenFlags::READ_ONLY)
            .unwrap()
    };
    let before = fs::read(&base).unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    let one = Overlay::temporary(open(), elsewhere.path()).unwrap();
    // Both stand on the same base.
    let other = Overlay::temporary(open(), elsewhere.path()).unwrap();
    assert_eq!(names(elsewhere.path()).len(), 2);
    drop((one, other));
    assert_eq!(names(elsewhere.path()), [""; 0]);

    let kept = Overlay::kept(open(), world.path("kept.vmdk")).unwrap();
    assert_eq!(kept.path(), world.path("kept.vmdk"));
    let export = DiskExport::new(kept.disk().clone()).unwrap();
    export.write_at(ByteLen::new(5), b"stays").unwrap();
    model[5..10].copy_from_slice(b"stays");
    drop(export);
    kept.close().unwrap();
    assert_eq!(names(world.folder.path()), ["base.vmdk", "kept.vmdk"]);
    assert!(fs::read(&base).unwrap() == before);
    let again = world.export(&world.path("kept.vmdk"), OpenFlags::READ_ONLY);
    assert!(content(&again) == model);
}

/// What a process leaves that is killed.
#[test]
fn an_abandoned_overlay_goes_with_the_next_one() {
    let world = World::new();
    let base = world.disk("base.vmdk", DiskKind::MONOLITHIC_SPARSE, &noise(1, SIZE));
    let open = || {
        let disk = world.connection.open_disk(&base, OpenFlags::READ_ONLY);
        disk.unwrap()
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let used = Overlay::temporary(open(), elsewhere.path()).unwrap();
    let abandoned = elsewhere.path().join("vixdisklib-overlay-1-0");
    fs::create_dir(&abandoned).unwrap();
    let folder = used.path().parent().unwrap();
    for name in ["lock", "overlay.vmdk"] {
        fs::copy(folder.join(name), abandoned.join(name)).unwrap();
    }
    // As the lock of a disk.
    fs::create_dir(abandoned.join("overlay.vmdk.lck")).unwrap();
    let next = Overlay::temporary(open(), elsewhere.path()).unwrap();
    assert!(!abandoned.exists());
    assert!(used.path().exists() && next.path().exists());
    used.close().unwrap();
    next.close().unwrap();
    assert_eq!(names(elsewhere.path()), [""; 0]);
}

#[test]
fn what_cannot_be_an_overlay_is_refused_and_leaves_nothing() {
    let world = World::new();
    let base = world.disk("base.vmdk", DiskKind::MONOLITHIC_SPARSE, &noise(1, SIZE));
    let open = |flags| world.connection.open_disk(&base, flags).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let writable = Overlay::temporary(open(OpenFlags::empty()), elsewhere.path()).unwrap_err();
    assert_eq!(writable.kind(), ErrorKind::InvalidArgument);
    assert!(
        writable.to_string().contains("open for reading"),
        "{writable}"
    );
    let nowhere = elsewhere.path().join("none");
    let nowhere = Overlay::temporary(open(OpenFlags::READ_ONLY), nowhere).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    let there = Overlay::kept(open(OpenFlags::READ_ONLY), &base).unwrap_err();
    assert_eq!(there.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(elsewhere.path()), [""; 0]);
    assert_eq!(names(world.folder.path()), ["base.vmdk"]);
}

#[test]
fn a_window_of_a_disk_is_a_disk() {
    let world = World::new();
    let mut model = noise(1, SIZE);
    let path = world.disk("disk.vmdk", DiskKind::MONOLITHIC_SPARSE, &model);
    let export = std::sync::Arc::new(world.export(&path, OpenFlags::empty()));
    let window = Window::new(export.clone(), ByteLen::new(1001), ByteLen::new(200_001)).unwrap();
    // Fast enough not to be noticed here.
    let window = RateLimit::new(window)
        .reads(ByteLen::new(1 << 40))
        .writes(ByteLen::new(1 << 40));
    window.write_at(ByteLen::new(200_000), b"!").unwrap();
    model[201_001] = b'!';
    window.trim(ByteLen::ZERO, window.size()).unwrap();
    model[65_536..196_608].fill(0);
    assert!(content(&export) == model);
    let mut bytes = vec![0; 200_001];
    window.read_at(ByteLen::ZERO, &mut bytes).unwrap();
    assert!(bytes == model[1001..201_002]);
    let mut told = 0;
    let mut state_at_hole = None;
    let visit = &mut |length: ByteLen, state| {
        if (told..told + length.get()).contains(&100_000) {
            state_at_hole = Some(state);
        }
        told += length.get();
        std::ops::ControlFlow::Continue(())
    };
    window
        .block_status(ByteLen::ZERO, window.size(), visit)
        .unwrap();
    assert_eq!(state_at_hole, Some(vixdisklib::nbd::BlockState::Hole));
    assert!(told >= 200_001);
}
