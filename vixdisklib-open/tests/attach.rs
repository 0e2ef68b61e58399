//! Attach and IsAttachPossible: a child on its parent, what does not fit, and what becomes of the handles.

mod common;

use std::path::{Path, PathBuf};
use std::ptr;
use std::thread;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibConnection, VixDiskLibDiskType, VixDiskLibHandle, VixError};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;

fn attach(parent: VixDiskLibHandle, child: VixDiskLibHandle) -> VixError {
    // SAFETY: handles are looked up.
    unsafe { TABLE.attach.expect("there")(parent, child) }
}

fn is_attach_possible(parent: VixDiskLibHandle, child: VixDiskLibHandle) -> VixError {
    // SAFETY: handles are looked up.
    unsafe { TABLE.is_attach_possible.expect("there")(parent, child) }
}

fn create_child(parent: VixDiskLibHandle, path: &Path) -> VixError {
    let path = c_path(path);
    // SAFETY: a string of ours; a null function hears nothing.
    unsafe {
        TABLE.create_child.expect("there")(parent, path.as_ptr(), SPARSE, None, ptr::null_mut())
    }
}

/// A child of the disk `base`.
fn child_of(connection: VixDiskLibConnection, base: &Path, name: &str) -> PathBuf {
    let path = base.with_file_name(name);
    let parent = open(connection, base, READ_ONLY).expect("opened");
    assert_eq!(create_child(parent, &path), VixError::OK);
    assert_eq!(close(parent), VixError::OK);
    path
}

#[test]
fn a_child_is_put_on_its_parent_wherever_that_is() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let other = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let mut data = pattern(1000, 1);
    let base = flat_disk(folder, "base", &data);
    let path = child_of(connection, &base, "child.vmdk");
    // Where the hint in the child does not lead.
    let moved = other.path().join("moved.vmdk");
    std::fs::rename(&path, &moved).expect("moved");
    assert_eq!(
        open(connection, &moved, READ_WRITE),
        Err(VixError::DISK_OPENPARENT)
    );

    let parent = open(connection, &base, READ_WRITE).expect("opened");
    let child = open(connection, &moved, READ_WRITE | SINGLE_LINK).expect("opened");
    // The rest of a grain would come from a parent.
    assert_eq!(
        write(child, 10, &pattern(10, 2)),
        Err(VixError::DISK_OPENPARENT)
    );
    assert_eq!(write(child, 0, &pattern(128, 2)), Ok(()));
    assert_eq!(read(child, 200, 1), Ok(vec![0; SECTOR]));
    assert_eq!(allocated(child, 0, 896, 128), Ok(vec![(0, 128)]));
    assert_eq!(is_attach_possible(parent, child), VixError::OK);
    assert_eq!(read(parent, 0, 1).as_deref(), Ok(&data[..SECTOR]));
    assert_eq!(attach(parent, child), VixError::OK);

    with_info(child, |info| assert_eq!(info.numLinks, 2));
    data[..128 * SECTOR].copy_from_slice(&pattern(128, 2));
    assert!(read(child, 0, 1000).as_deref() == Ok(&*data));
    assert_eq!(allocated(child, 0, 896, 128), Ok(vec![(0, 896)]));
    assert_eq!(write(child, 500, &pattern(100, 3)), Ok(()));
    data[500 * SECTOR..600 * SECTOR].copy_from_slice(&pattern(100, 3));

    // The parent's handle is for closing.
    for code in [
        read(parent, 0, 1).map(drop),
        write(parent, 0, &pattern(1, 1)),
        ok(flush(parent)),
        ok(attach(parent, child)),
        ok(is_attach_possible(parent, child)),
        ok(create_child(parent, &folder.join("no.vmdk"))),
    ] {
        assert_eq!(code, Err(VixError::INVALID_HANDLE));
    }
    assert!(!logged(&["VixDiskLib_Read", "VixDiskLib_Attach", "closed"]).is_empty());
    assert_eq!(close(parent), VixError::OK);
    assert_eq!(close(parent), VixError::INVALID_HANDLE);

    assert!(read(child, 0, 1000).as_deref() == Ok(&*data));
    // For writing, and with a parent that its hint does not lead to.
    assert_eq!(
        create_child(child, &folder.join("no.vmdk")),
        VixError::NOT_SUPPORTED
    );
    assert!(read(child, 0, 1000).as_deref() == Ok(&*data));
    assert_eq!(close(child), VixError::OK);
    std::fs::rename(&moved, &path).expect("moved");
    assert!(content(connection, &path) == data);
    if let Some(seen) = content_by_qemu(&path) {
        assert!(seen == data, "by qemu-img");
    }
    assert_eq!(content(connection, &base), pattern(1000, 1));
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_parent_that_was_left_open_goes_with_its_connection() {
    let _session = Session::start();
    let (one, two) = (connect(), connect());
    let folder = tempfile::tempdir().expect("writable");
    let base = flat_disk(folder.path(), "left", &pattern(256, 1));
    let path = child_of(one, &base, "child.vmdk");
    let parent = open(one, &base, READ_ONLY).expect("opened");
    let child = open(two, &path, READ_WRITE | SINGLE_LINK).expect("opened");
    assert_eq!(attach(parent, child), VixError::OK);
    assert_eq!(disconnect(one), VixError::OK);
    assert_eq!(read(child, 0, 256), Ok(pattern(256, 1)));
    assert_eq!(disconnect(two), VixError::OK);
    // Nobody holds it any more.
    let again = connect();
    let disk = open(again, &base, READ_WRITE).expect("opened");
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(again), VixError::OK);
}

#[test]
fn a_parent_that_is_read_through_its_child_stays() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let base = folder.path().join("base.vmdk");
    new_disk(connection, &base, SPARSE, &pattern(256, 1));
    let other = folder.path().join("other.vmdk");
    let path = child_of(connection, &base, "child.vmdk");
    for flags in [READ_ONLY, READ_WRITE] {
        for (is_attached, parent_flags) in [(false, 0), (true, READ_ONLY), (true, READ_WRITE)] {
            let child = if is_attached {
                let parent = open(connection, &base, parent_flags).expect("opened");
                let child = open(connection, &path, flags | SINGLE_LINK).expect("opened");
                assert_eq!(attach(parent, child), VixError::OK);
                assert_eq!(close(parent), VixError::OK);
                child
            } else {
                open(connection, &path, flags).expect("opened")
            };
            let (base_text, other_text) = (c_path(&base), c_path(&other));
            let (name, other) = (base_text.as_ptr(), other_text.as_ptr());
            let (rename, grow) = (TABLE.rename.expect("there"), TABLE.grow.expect("there"));
            let repair = TABLE.check_repair.expect("there");
            let codes = [
                // SAFETY: a string of ours; connections are looked up.
                unsafe { TABLE.unlink.expect("there")(connection, name) },
                // SAFETY: strings of ours.
                unsafe { rename(name, other) },
                // SAFETY: a string of ours; a null function hears nothing.
                unsafe { grow(connection, name, 512, 0, None, ptr::null_mut()) },
                // SAFETY: a string of ours.
                unsafe { repair(connection, name, 1) },
            ];
            assert_eq!(
                codes,
                [VixError::FILE_ALREADY_LOCKED; 4],
                "{flags} {is_attached} {parent_flags}"
            );
            assert_eq!(
                open(connection, &base, READ_WRITE),
                Err(VixError::FILE_ALREADY_LOCKED)
            );
            assert_eq!(read(child, 0, 256), Ok(pattern(256, 1)));
            assert_eq!(close(child), VixError::OK);
        }
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_does_not_fit_has_a_code_and_leaves_the_child_as_it_was() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let base = flat_disk(folder, "base", &pattern(512, 1));
    // The content id is the same for all disks made like that.
    let large = flat_disk(folder, "large", &pattern(1024, 1));
    let stranger = folder.join("stranger.vmdk");
    new_disk(connection, &stranger, SPARSE, &pattern(512, 1));
    let path = child_of(connection, &base, "child.vmdk");

    for (name, parent, child, child_flags, code) in [
        (
            "size",
            &large,
            &path,
            SINGLE_LINK,
            VixError::DISK_CAPACITY_MISMATCH,
        ),
        (
            "id",
            &stranger,
            &path,
            SINGLE_LINK,
            VixError::DISK_CID_MISMATCH,
        ),
        (
            "root",
            &base,
            &stranger,
            SINGLE_LINK,
            VixError::DISK_ATTACH_ROOTLINK,
        ),
        ("parents", &base, &path, 0, VixError::DISK_PARENT_NOTALLOWED),
    ] {
        let parent = open(connection, parent, READ_ONLY).expect("opened");
        let child = open(connection, child, READ_WRITE | child_flags).expect("opened");
        assert_eq!(write(child, 0, &pattern(128, 7)), Ok(()), "{name}");
        assert_eq!(is_attach_possible(parent, child), code, "{name}");
        let lines = logged(&[
            "VixDiskLib_IsAttachPossible",
            folder.to_str().expect("UTF-8"),
        ]);
        assert!(
            lines.iter().all(|(kind, _)| *kind == "log") && !lines.is_empty(),
            "{name}: {lines:?}"
        );
        read(parent, 0, 1).expect("asking does no harm");
        assert_eq!(attach(parent, child), code, "{name}");
        assert_eq!(read(parent, 0, 1), Err(VixError::INVALID_HANDLE), "{name}");
        assert_eq!(read(child, 0, 128), Ok(pattern(128, 7)), "{name}");
        assert_eq!(write(child, 128, &pattern(128, 7)), Ok(()), "{name}");
        assert_eq!(close(parent), VixError::OK, "{name}");
        assert_eq!(close(parent), VixError::INVALID_HANDLE, "{name}");
        assert_eq!(close(child), VixError::OK, "{name}");
    }
    // Itself: refused before anything is tried.
    let disk = open(connection, &path, READ_WRITE | SINGLE_LINK).expect("opened");
    assert_eq!(is_attach_possible(disk, disk), VixError::DISK_INVALIDCHAIN);
    assert_eq!(attach(disk, disk), VixError::DISK_INVALIDCHAIN);
    assert_eq!(read(disk, 0, 128), Ok(pattern(128, 7)));
    assert_eq!(disconnect(connection), VixError::OK);
}

/// Two threads that want the same two disks, each the other way round, while a third one closes them.
#[test]
fn nobody_waits_for_ever() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let base = flat_disk(folder.path(), "base", &pattern(256, 1));
    let path = child_of(connection, &base, "child.vmdk");
    for round in 0..40 {
        let parent = open(connection, &base, READ_ONLY).expect("opened");
        let child = open(connection, &path, READ_WRITE | SINGLE_LINK).expect("opened");
        let (parent, child) = (parent.expose_provenance(), child.expose_provenance());
        thread::scope(|scope| {
            for (parent, child) in [(parent, child), (child, parent)] {
                scope.spawn(move || {
                    for _ in 0..20 {
                        is_attach_possible(invented(parent), invented(child));
                    }
                    attach(invented(parent), invented(child));
                    let _ = read(invented(child), 0, 1);
                });
            }
            scope.spawn(move || {
                for _ in 0..round {
                    thread::yield_now();
                }
                for disk in [parent, child] {
                    assert_eq!(close(invented(disk)), VixError::OK);
                }
            });
        });
    }
    assert_eq!(content(connection, &base), pattern(256, 1));
    assert_eq!(disconnect(connection), VixError::OK);
}
