//! Create, CreateChild and WriteMetadata on real disks, and the codes of what they refuse.

mod common;

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VixDiskLibAdapterType, VixDiskLibCreateParams, VixDiskLibDiskType, VixDiskLibHandle, VixError,
};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
const FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_FLAT;
const SPLIT_SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_SPARSE;
const SPLIT_FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_SPLIT_FLAT;
const VMFS_FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_FLAT;
const STREAM: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_STREAM_OPTIMIZED;
const THIN: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_THIN;
const VMFS_SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_VMFS_SPARSE;
const UNKNOWN: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_UNKNOWN;

/// Calls `CreateChild`, and checks what it tells of its progress.
fn create_child(
    parent: VixDiskLibHandle,
    path: &Path,
    kind: VixDiskLibDiskType,
) -> Result<(), VixError> {
    let path = c_path(path);
    let heard = Heard::default();
    let function = TABLE.create_child.expect("there");
    // SAFETY: a string of ours, and a function whose data outlives the call.
    let code = unsafe {
        function(
            parent,
            path.as_ptr(),
            kind,
            Some(Heard::on_progress),
            heard.data(),
        )
    };
    match ok(code) {
        Ok(()) => heard.expect_success(),
        Err(_) => heard.expect_failure(),
    }
    ok(code)
}

fn write_metadata(disk: VixDiskLibHandle, key: &CStr, value: &CStr) -> VixError {
    // SAFETY: two strings; handles are looked up.
    unsafe { TABLE.write_metadata.expect("there")(disk, key.as_ptr(), value.as_ptr()) }
}

fn read_metadata(disk: VixDiskLibHandle, key: &CStr) -> Result<String, VixError> {
    let mut buffer = [0_u8; 200];
    let mut required = 0;
    // SAFETY: a string and a buffer of ours.
    let code = unsafe {
        TABLE.read_metadata.expect("there")(
            disk,
            key.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut required,
        )
    };
    ok(code)?;
    let text = CStr::from_bytes_until_nul(&buffer).expect("ends");
    Ok(text.to_str().expect("UTF-8").to_owned())
}

#[test]
fn every_kind_of_hosted_disk_is_made() {
    let _session = Session::start();
    let connection = connect();
    // More than one file of a split disk would take 2 GiB; the last sectors end inside a grain.
    let data = pattern(1000, 7);
    for (kind, files) in [
        (SPARSE, &["disk.vmdk"][..]),
        (FLAT, &["disk-flat.vmdk", "disk.vmdk"]),
        (SPLIT_SPARSE, &["disk-s001.vmdk", "disk.vmdk"]),
        (SPLIT_FLAT, &["disk-f001.vmdk", "disk.vmdk"]),
        (VMFS_FLAT, &["disk-flat.vmdk", "disk.vmdk"]),
    ] {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("disk.vmdk");
        assert_eq!(
            create(connection, &path, &create_params(kind, 1000)),
            Ok(())
        );
        assert_eq!(names_in(folder.path()), files);
        assert_eq!(content(connection, &path), vec![0; 1000 * SECTOR]);

        let disk = open(connection, &path, READ_WRITE).expect("opened");
        with_info(disk, |info| {
            assert_eq!(info.capacity, 1000);
            let adapter = VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC;
            assert_eq!(info.adapterType, adapter);
            assert_eq!(info.numLinks, 1);
            assert_eq!(
                (info.logicalSectorSize, info.physicalSectorSize),
                (512, 512)
            );
        });
        assert_eq!(
            read_metadata(disk, c"virtualHWVersion").as_deref(),
            Ok("13")
        );
        assert_eq!(write(disk, 0, &data), Ok(()));
        assert_eq!(close(disk), VixError::OK);
        assert!(content(connection, &path) == data, "{kind:?}");
        if let Some(seen) = content_by_qemu(&path) {
            assert!(seen == data, "{kind:?} by qemu-img");
        }
        assert_eq!(
            create(connection, &path, &create_params(kind, 1000)),
            Err(VixError::FILE_ALREADY_EXISTS)
        );
        assert!(content(connection, &path) == data, "nothing was harmed");
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_stream_is_made_whole_and_empty() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let path = folder.path().join("stream.vmdk");
    assert_eq!(
        create(connection, &path, &create_params(STREAM, 2048)),
        Ok(())
    );
    assert_eq!(content(connection, &path), vec![0; 2048 * SECTOR]);
    if let Some(seen) = content_by_qemu(&path) {
        assert_eq!(seen, vec![0; 2048 * SECTOR]);
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn parameters_without_sense_have_codes() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let path = folder.join("disk.vmdk");
    let usual = create_params(SPARSE, 2048);
    let with = |change: &dyn Fn(&mut VixDiskLibCreateParams)| {
        let mut params = usual;
        change(&mut params);
        create(connection, &path, &params)
    };
    for refused in [THIN, VMFS_SPARSE] {
        let code = with(&|params| params.diskType = refused);
        assert_eq!(code, Err(VixError::NOT_SUPPORTED), "{refused:?}");
    }
    for none in [0, 9, 255, u32::MAX] {
        let code = with(&|params| params.diskType = VixDiskLibDiskType(none));
        assert_eq!(code, Err(VixError::INVALID_ARG), "disk type {none}");
        let code = with(&|params| params.adapterType = VixDiskLibAdapterType(none));
        assert_eq!(code, Err(VixError::INVALID_ARG), "adapter type {none}");
    }
    let invalid = Err(VixError::INVALID_ARG);
    assert_eq!(with(&|params| params.diskType = UNKNOWN), invalid);
    let unknown = VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_UNKNOWN;
    assert_eq!(with(&|params| params.adapterType = unknown), invalid);
    assert_eq!(with(&|params| params.capacity = 0), invalid);
    assert_eq!(with(&|params| params.hwVersion = 0), invalid);
    assert_eq!(with(&|params| params.logicalSectorSize = 1), invalid);
    assert_eq!(with(&|params| params.physicalSectorSize = 8192), invalid);
    for capacity in [1 << 40, u64::MAX] {
        let code = with(&|params| params.capacity = capacity);
        assert_eq!(code, Err(VixError::FILE_TOO_BIG), "{capacity}");
    }
    for name in [
        OsStr::from_bytes(b"a\xff.vmdk"),
        OsStr::new("quo\"te.vmdk"),
        OsStr::new("two\nlines.vmdk"),
        OsStr::new(".."),
    ] {
        assert_eq!(create(connection, &folder.join(name), &usual), invalid);
    }
    assert_eq!(create(connection, Path::new(""), &usual), invalid);
    assert_eq!(
        create(connection, &folder.join("no/such/folder.vmdk"), &usual),
        Err(VixError::FILE_NOT_FOUND)
    );
    let read_only = connect_ex(true).expect("connected");
    assert_eq!(
        create(read_only, &path, &usual),
        Err(VixError::FILE_READ_ONLY)
    );
    assert_eq!(names_in(folder), [""; 0], "nothing was made");
    assert!(!logged(&["VixDiskLib_Create", "disk type 7", "ESX"]).is_empty());
    assert_eq!(disconnect(read_only), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_child_shows_its_parent_until_it_is_written() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let base = folder.join("base.vmdk");
    let data = pattern(1000, 1);
    new_disk(connection, &base, FLAT, &data);

    for (flags, name, kind) in [
        (READ_ONLY, "one.vmdk", SPARSE),
        (READ_WRITE, "two.vmdk", SPLIT_SPARSE),
    ] {
        let parent = open(connection, &base, flags).expect("opened");
        let path = folder.join(name);
        assert_eq!(create_child(parent, &path, kind), Ok(()));
        assert_eq!(
            create_child(parent, &path, kind),
            Err(VixError::FILE_ALREADY_EXISTS)
        );
        // The parent is only read now.
        assert_eq!(write(parent, 0, &data), Err(VixError::FILE_READ_ONLY));
        assert!(read(parent, 0, 1000).as_deref() == Ok(&*data));

        let child = open(connection, &path, READ_WRITE).expect("opened");
        with_info(child, |info| assert_eq!(info.numLinks, 2));
        assert_eq!(write(child, 300, &pattern(200, 9)), Ok(()));
        assert_eq!(close(child), VixError::OK);
        assert_eq!(close(parent), VixError::OK);
        let mut expected = data.clone();
        expected[300 * SECTOR..500 * SECTOR].copy_from_slice(&pattern(200, 9));
        assert!(content(connection, &path) == expected);
        if let Some(seen) = content_by_qemu(&path) {
            assert!(seen == expected, "by qemu-img");
        }
        assert!(content(connection, &base) == data, "the parent stays");
    }

    let grandchild = folder.join("three.vmdk");
    let parent = open(connection, &folder.join("one.vmdk"), READ_WRITE).expect("opened");
    assert_eq!(create_child(parent, &grandchild, SPARSE), Ok(()));
    assert_eq!(close(parent), VixError::OK);
    let disk = open(connection, &grandchild, READ_ONLY).expect("opened");
    with_info(disk, |info| assert_eq!(info.numLinks, 3));
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn children_that_cannot_be_have_codes_and_leave_the_parent_as_it_was() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let base = folder.join("base.vmdk");
    new_disk(connection, &base, SPARSE, &pattern(256, 1));
    let child = folder.join("child.vmdk");
    let parent = open(connection, &base, READ_WRITE).expect("opened");
    for kind in [FLAT, SPLIT_FLAT, VMFS_FLAT, STREAM, THIN, VMFS_SPARSE] {
        let code = create_child(parent, &child, kind);
        assert_eq!(code, Err(VixError::NOT_SUPPORTED), "{kind:?}");
    }
    for kind in [UNKNOWN, VixDiskLibDiskType(0), VixDiskLibDiskType(77)] {
        let code = create_child(parent, &child, kind);
        assert_eq!(code, Err(VixError::INVALID_ARG), "{kind:?}");
    }
    assert_eq!(
        create_child(parent, &base, SPARSE),
        Err(VixError::FILE_ALREADY_EXISTS)
    );
    assert_eq!(
        create_child(parent, &folder.join("no/folder.vmdk"), SPARSE),
        Err(VixError::FILE_NOT_FOUND)
    );
    // Still for writing.
    assert_eq!(write(parent, 0, &pattern(256, 2)), Ok(()));
    assert_eq!(close(parent), VixError::OK);
    assert_eq!(names_in(folder), ["base.vmdk"]);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn metadata_is_written_added_and_kept() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    for (name, kind) in [("embedded.vmdk", SPARSE), ("beside.vmdk", FLAT)] {
        let path = folder.path().join(name);
        let data = pattern(256, 3);
        new_disk(connection, &path, kind, &data);
        let disk = open(connection, &path, READ_WRITE).expect("opened");
        assert_eq!(
            write_metadata(disk, c"toolsVersion", c"12352"),
            VixError::OK
        );
        assert_eq!(
            write_metadata(disk, c"comment", c"f\u{fc}r sp\u{e4}ter"),
            VixError::OK
        );
        assert_eq!(write_metadata(disk, c"comment", c""), VixError::OK);
        assert_eq!(write_metadata(disk, c"my.own-key", c"1 2 3"), VixError::OK);
        // Nothing of these.
        for (key, value, code) in [
            (c"", c"x", VixError::INVALID_ARG),
            (c"two words", c"x", VixError::INVALID_ARG),
            (c"key", c"a \"quote\"", VixError::INVALID_ARG),
            (c"key", c"two\nlines", VixError::INVALID_ARG),
            (c"logicalSectorSize", c"7", VixError::INVALID_ARG),
            (c"k\xff", c"x", VixError::INVALID_UTF8_STRING),
            (c"key", c"\xff", VixError::INVALID_UTF8_STRING),
        ] {
            assert_eq!(
                write_metadata(disk, key, value),
                code,
                "{key:?} = {value:?}"
            );
        }
        assert_eq!(close(disk), VixError::OK);

        let disk = open(connection, &path, READ_ONLY).expect("opened");
        assert_eq!(read_metadata(disk, c"toolsVersion").as_deref(), Ok("12352"));
        assert_eq!(read_metadata(disk, c"comment").as_deref(), Ok(""));
        assert_eq!(read_metadata(disk, c"my.own-key").as_deref(), Ok("1 2 3"));
        assert_eq!(
            read_metadata(disk, c"key"),
            Err(VixError::DISK_KEY_NOTFOUND)
        );
        assert_eq!(
            write_metadata(disk, c"comment", c"no"),
            VixError::FILE_READ_ONLY
        );
        assert_eq!(close(disk), VixError::OK);
        if let Some(seen) = content_by_qemu(&path) {
            assert!(seen == data, "by qemu-img");
        }
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_text_that_does_not_fit_is_too_big() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let path = folder.path().join("full.vmdk");
    new_disk(connection, &path, SPARSE, &pattern(256, 3));
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    let long = CString::new("x".repeat(20_000)).expect("no NUL");
    assert_eq!(
        write_metadata(disk, c"comment", &long),
        VixError::ARGUMENT_TOO_BIG
    );
    assert_eq!(
        read_metadata(disk, c"comment"),
        Err(VixError::DISK_KEY_NOTFOUND)
    );
    assert_eq!(disconnect(connection), VixError::OK);
}
