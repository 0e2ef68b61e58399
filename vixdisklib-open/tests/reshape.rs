//! Unlink, Rename, Grow, Shrink and Defragment on real disks, and the codes of what they refuse.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    Bool, VixDiskLibConnection, VixDiskLibDiskType, VixDiskLibHandle, VixDiskLibProgressFunc,
    VixError,
};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
const FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_FLAT;
const SPLIT_SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_SPARSE;
const SPLIT_FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_FLAT;
const VMFS_FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_FLAT;
const STREAM: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_STREAM_OPTIMIZED;

/// The kinds that can be written.
const KINDS: [VixDiskLibDiskType; 5] = [SPARSE, FLAT, SPLIT_SPARSE, SPLIT_FLAT, VMFS_FLAT];

fn unlink(connection: VixDiskLibConnection, path: &Path) -> VixError {
    let path = c_path(path);
    // SAFETY: a string of ours; connections are looked up.
    unsafe { TABLE.unlink.expect("there")(connection, path.as_ptr()) }
}

fn rename(from: &Path, to: &Path) -> VixError {
    let (from, to) = (c_path(from), c_path(to));
    // SAFETY: strings of ours.
    unsafe { TABLE.rename.expect("there")(from.as_ptr(), to.as_ptr()) }
}

/// Calls `Grow`, and checks what it tells of its progress.
fn grow(
    connection: VixDiskLibConnection,
    path: &Path,
    capacity: u64,
    update_geometry: Bool,
) -> VixError {
    let path = c_path(path);
    let heard = Heard::default();
    // SAFETY: a string of ours, and a function whose data outlives the call.
    let code = unsafe {
        TABLE.grow.expect("there")(
            connection,
            path.as_ptr(),
            capacity,
            update_geometry,
            Some(Heard::on_progress),
            heard.data(),
        )
    };
    if code.is_ok() {
        heard.expect_success();
    } else {
        heard.expect_failure();
    }
    code
}

type Rework = unsafe extern "C" fn(
    VixDiskLibHandle,
    VixDiskLibProgressFunc,
    *mut std::ffi::c_void,
) -> VixError;

/// Calls `Shrink` or `Defragment`, and checks what it tells of its progress.
fn rework(function: Option<Rework>, disk: VixDiskLibHandle) -> VixError {
    let heard = Heard::default();
    // SAFETY: handles are looked up, and the data of the function outlives the call.
    let code = unsafe { function.expect("there")(disk, Some(Heard::on_progress), heard.data()) };
    if code.is_ok() {
        heard.expect_success();
    } else {
        heard.expect_failure();
    }
    code
}

#[test]
fn a_disk_goes_with_all_its_files_and_nothing_else() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let path = folder.join("disk.vmdk");
    fs::write(folder.join("disk.txt"), "a note").expect("writable");
    for kind in KINDS {
        new_disk(connection, &path, kind, &pattern(256, 1));
        assert_eq!(unlink(connection, &path), VixError::OK, "{kind:?}");
        assert_eq!(names_in(folder), ["disk.txt"], "{kind:?}");
    }
    assert_eq!(unlink(connection, &path), VixError::FILE_NOT_FOUND);
    assert_eq!(
        unlink(connection, &folder.join("disk.txt")),
        VixError::DISK_INVALIDDISK
    );
    new_disk(connection, &path, SPARSE, &pattern(256, 1));
    let read_only = connect_ex(true).expect("connected");
    assert_eq!(unlink(read_only, &path), VixError::FILE_READ_ONLY);
    assert_eq!(names_in(folder), ["disk.txt", "disk.vmdk"]);
    assert_eq!(disconnect(read_only), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_disk_gets_another_name_with_all_its_files() {
    let _session = Session::start();
    let connection = connect();
    for kind in KINDS {
        let folder = tempfile::tempdir().expect("writable");
        let folder = folder.path();
        let (old, new) = (folder.join("old.vmdk"), folder.join("new.vmdk"));
        let data = pattern(300, 2);
        new_disk(connection, &old, kind, &data);
        let files = names_in(folder).len();
        assert_eq!(rename(&old, &new), VixError::OK, "{kind:?}");
        let names = names_in(folder);
        assert_eq!(names.len(), files, "{kind:?}");
        assert!(
            names.iter().all(|name| name.starts_with("new")),
            "{names:?}"
        );
        assert!(content(connection, &new) == data, "{kind:?}");
        if let Some(seen) = content_by_qemu(&new) {
            assert!(seen == data, "{kind:?} by qemu-img");
        }
        assert_eq!(rename(&old, &new), VixError::FILE_NOT_FOUND);
    }
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let (one, two) = (folder.join("one.vmdk"), folder.join("two.vmdk"));
    new_disk(connection, &one, FLAT, &pattern(64, 1));
    new_disk(connection, &two, FLAT, &pattern(64, 2));
    assert_eq!(rename(&one, &two), VixError::FILE_ALREADY_EXISTS);
    assert_eq!(
        rename(&folder.join("none.vmdk"), &folder.join("x.vmdk")),
        VixError::FILE_NOT_FOUND
    );
    assert_eq!(
        rename(&one, &folder.join("quo\"te.vmdk")),
        VixError::INVALID_ARG
    );
    assert_eq!(rename(&one, Path::new("")), VixError::INVALID_ARG);
    assert_eq!(content(connection, &one), pattern(64, 1));
    assert_eq!(content(connection, &two), pattern(64, 2));
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_disk_grows_and_keeps_its_content() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let geometry = |path: &Path| {
        let disk = open(connection, path, READ_ONLY).expect("opened");
        let geometry = with_info(disk, |info| {
            (info.capacity, info.physGeo.cylinders, info.physGeo.heads)
        });
        assert_eq!(close(disk), VixError::OK);
        geometry
    };
    for kind in KINDS {
        let path = folder.path().join(format!("kind{}.vmdk", kind.0));
        let mut data = pattern(4096, 3);
        new_disk(connection, &path, kind, &data);
        let (_, cylinders, heads) = geometry(&path);
        assert_eq!(grow(connection, &path, 9001, 0), VixError::OK, "{kind:?}");
        assert_eq!(geometry(&path), (9001, cylinders, heads), "{kind:?}");
        assert_eq!(grow(connection, &path, 20_000, 2), VixError::OK, "{kind:?}");
        assert!(geometry(&path).1 > cylinders, "{kind:?}");
        data.resize(20_000 * SECTOR, 0);
        assert!(content(connection, &path) == data, "{kind:?}");
        if let Some(seen) = content_by_qemu(&path) {
            assert!(seen == data, "{kind:?} by qemu-img");
        }
        for less in [0, 1, 19_999, 20_000] {
            let code = grow(connection, &path, less, 1);
            assert_eq!(code, VixError::INVALID_ARG, "{kind:?} to {less}");
        }
        let code = grow(connection, &path, u64::MAX, 1);
        assert_eq!(code, VixError::FILE_TOO_BIG, "{kind:?}");
        assert_eq!(geometry(&path).0, 20_000);
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn disks_that_do_not_grow_have_codes() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let base = folder.join("base.vmdk");
    new_disk(connection, &base, SPARSE, &pattern(128, 1));
    let child = folder.join("child.vmdk");
    let name = c_path(&child);
    let parent = open(connection, &base, READ_ONLY).expect("opened");
    // SAFETY: a string of ours; a null function hears nothing.
    let code = unsafe {
        TABLE.create_child.expect("there")(
            parent,
            name.as_ptr(),
            SPARSE,
            None,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(code, VixError::OK);
    assert_eq!(close(parent), VixError::OK);
    assert_eq!(
        grow(connection, &child, 256, 0),
        VixError::DISK_PARENT_NOTALLOWED
    );
    let stream = folder.join("stream.vmdk");
    assert_eq!(
        create(connection, &stream, &create_params(STREAM, 128)),
        Ok(())
    );
    assert_eq!(
        grow(connection, &stream, 256, 0),
        VixError::DISK_NOTSUPPORTED
    );
    assert_eq!(
        grow(connection, &folder.join("none.vmdk"), 256, 0),
        VixError::FILE_NOT_FOUND
    );
    let read_only = connect_ex(true).expect("connected");
    assert_eq!(grow(read_only, &base, 256, 0), VixError::FILE_READ_ONLY);
    assert_eq!(content(connection, &base), pattern(128, 1));
    assert_eq!(disconnect(read_only), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_disk_that_is_open_stays_as_it_is() {
    let _session = Session::start();
    let connection = connect();
    for (kind, flags) in [
        (SPARSE, READ_ONLY),
        (SPARSE, READ_WRITE),
        (SPLIT_FLAT, READ_ONLY),
        (SPLIT_FLAT, READ_WRITE),
    ] {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("disk.vmdk");
        let data = pattern(256, 4);
        new_disk(connection, &path, kind, &data);
        let disk = open(connection, &path, flags).expect("opened");
        let locked = VixError::FILE_ALREADY_LOCKED;
        assert_eq!(unlink(connection, &path), locked, "{kind:?} {flags}");
        let other = folder.path().join("other.vmdk");
        assert_eq!(rename(&path, &other), locked, "{kind:?} {flags}");
        let code = grow(connection, &path, 512, 1);
        assert_eq!(code, locked, "{kind:?} {flags}");
        let name = c_path(&path);
        // SAFETY: a string of ours.
        let code = unsafe { TABLE.check_repair.expect("there")(connection, name.as_ptr(), 1) };
        assert_eq!(code, locked, "{kind:?} {flags}");
        assert!(read(disk, 0, 256).as_deref() == Ok(&*data));
        assert_eq!(close(disk), VixError::OK);
        assert!(content(connection, &path) == data);
        assert_eq!(unlink(connection, &path), VixError::OK);
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn shrinking_gives_back_zeros_and_defragmenting_orders_grains() {
    let _session = Session::start();
    let connection = connect();
    for kind in [SPARSE, SPLIT_SPARSE] {
        let folder = tempfile::tempdir().expect("writable");
        let folder = folder.path();
        let path = folder.join("disk.vmdk");
        let mut data = pattern(4096, 5);
        assert_eq!(
            create(connection, &path, &create_params(kind, 4096)),
            Ok(())
        );
        let disk = open(connection, &path, READ_WRITE).expect("opened");
        // Out of order.
        for grain in (0..32_usize).rev() {
            let start = grain * 128;
            let part = &data[start * SECTOR..(start + 128) * SECTOR];
            assert_eq!(write(disk, start as u64, part), Ok(()));
        }
        let file = match kind {
            SPARSE => path.clone(),
            _ => folder.join("disk-s001.vmdk"),
        };
        let length = || fs::metadata(&file).expect("there").len();
        assert_eq!(flush(disk), VixError::OK);
        let full = length();
        assert_eq!(rework(TABLE.defragment, disk), VixError::OK);
        assert_eq!(length(), full);
        assert!(read(disk, 0, 4096).as_deref() == Ok(&*data), "{kind:?}");
        let bytes = fs::read(&file).expect("there");
        let found: Vec<_> = (0..32)
            .map(|grain| {
                let grain = &data[grain * 128 * SECTOR..][..128 * SECTOR];
                (0..bytes.len() / SECTOR)
                    .step_by(128)
                    .find(|sector| bytes[sector * SECTOR..].starts_with(grain))
            })
            .collect();
        assert!(found.is_sorted() && found[0].is_some(), "{found:?}");

        assert_eq!(write(disk, 1000, &vec![0; 2000 * SECTOR]), Ok(()));
        data[1000 * SECTOR..3000 * SECTOR].fill(0);
        assert_eq!(rework(TABLE.shrink, disk), VixError::OK);
        // 15 grains lie in those sectors as a whole.
        assert_eq!(length(), full - 15 * 65_536, "{kind:?}");
        assert!(read(disk, 0, 4096).as_deref() == Ok(&*data), "{kind:?}");
        assert_eq!(write(disk, 1000, &pattern(10, 6)), Ok(()), "as before");
        data[1000 * SECTOR..1010 * SECTOR].copy_from_slice(&pattern(10, 6));
        assert_eq!(close(disk), VixError::OK);
        assert!(content(connection, &path) == data, "{kind:?}");
        if let Some(seen) = content_by_qemu(&path) {
            assert!(seen == data, "{kind:?} by qemu-img");
        }
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_cannot_shrink_or_be_put_in_order_has_codes() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    for kind in [FLAT, SPLIT_FLAT, VMFS_FLAT] {
        let path = folder.path().join(format!("kind{}.vmdk", kind.0));
        let data = pattern(256, 6);
        new_disk(connection, &path, kind, &data);
        let disk = open(connection, &path, READ_WRITE).expect("opened");
        assert_eq!(rework(TABLE.shrink, disk), VixError::DISK_CANTSHRINK);
        assert_eq!(rework(TABLE.defragment, disk), VixError::OK, "{kind:?}");
        assert!(read(disk, 0, 256).as_deref() == Ok(&*data));
        assert_eq!(close(disk), VixError::OK);
    }
    let path = folder.path().join("sparse.vmdk");
    new_disk(connection, &path, SPARSE, &pattern(256, 6));
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    assert_eq!(rework(TABLE.shrink, disk), VixError::FILE_READ_ONLY);
    assert_eq!(rework(TABLE.defragment, disk), VixError::FILE_READ_ONLY);
    assert_eq!(read(disk, 0, 256), Ok(pattern(256, 6)));
    assert_eq!(disconnect(connection), VixError::OK);
}
