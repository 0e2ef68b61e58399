//! Clone and SpaceNeededForClone on real disks, and the codes of what they refuse.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VixDiskLibAdapterType, VixDiskLibConnection, VixDiskLibCreateParams, VixDiskLibDiskType,
    VixError,
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

const SECTORS: usize = 2000;

/// Calls `Clone`, and checks what it tells of its progress.
fn clone(
    (to, to_path): (VixDiskLibConnection, &Path),
    (from, from_path): (VixDiskLibConnection, &Path),
    params: &VixDiskLibCreateParams,
    overwrite: bool,
) -> Result<(), VixError> {
    let (to_path, from_path) = (c_path(to_path), c_path(from_path));
    let heard = Heard::default();
    // SAFETY: strings and structures of ours, and a function whose data outlives the call.
    let code = unsafe {
        TABLE.clone.expect("there")(
            to,
            to_path.as_ptr(),
            from,
            from_path.as_ptr(),
            params,
            Some(Heard::on_progress),
            heard.data(),
            overwrite.into(),
        )
    };
    match ok(code) {
        Ok(()) => heard.expect_success(),
        Err(_) => heard.expect_failure(),
    }
    ok(code)
}

/// Data with holes in it.
fn sparse_content() -> Vec<u8> {
    let mut data = vec![0; SECTORS * SECTOR];
    data[130 * SECTOR..400 * SECTOR].copy_from_slice(&pattern(270, 5));
    data[1990 * SECTOR..].copy_from_slice(&pattern(10, 6));
    data
}

/// A sparse disk and a child of it, which reads as the content returned.
fn chain(connection: VixDiskLibConnection, folder: &Path) -> Vec<u8> {
    let mut data = sparse_content();
    let base = folder.join("base.vmdk");
    // Holes, where `new_disk` would write zeros.
    let sectors = u64::try_from(SECTORS).expect("fits");
    let params = create_params(SPARSE, sectors);
    assert_eq!(create(connection, &base, &params), Ok(()));
    let disk = open(connection, &base, READ_WRITE).expect("opened");
    assert_eq!(write(disk, 130, &pattern(270, 5)), Ok(()));
    assert_eq!(write(disk, 1990, &pattern(10, 6)), Ok(()));
    assert_eq!(close(disk), VixError::OK);
    let parent = open(connection, &base, READ_ONLY).expect("opened");
    let child = folder.join("child.vmdk");
    let path = c_path(&child);
    // SAFETY: a string of ours.
    let code = unsafe {
        TABLE.create_child.expect("there")(
            parent,
            path.as_ptr(),
            SPARSE,
            None,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(code, VixError::OK);
    assert_eq!(close(parent), VixError::OK);
    let disk = open(connection, &child, READ_WRITE).expect("opened");
    assert_eq!(write(disk, 300, &pattern(200, 7)), Ok(()));
    assert_eq!(close(disk), VixError::OK);
    data[300 * SECTOR..500 * SECTOR].copy_from_slice(&pattern(200, 7));
    data
}

#[test]
fn a_clone_of_any_kind_reads_as_the_chain() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let data = chain(connection, folder);
    let source = folder.join("child.vmdk");
    // Reading is enough for the source.
    let reader = connect_ex(true).expect("connected");
    for kind in [SPARSE, FLAT, SPLIT_SPARSE, SPLIT_FLAT, VMFS_FLAT, STREAM] {
        let path = folder.join(format!("clone{}.vmdk", kind.0));
        let params = VixDiskLibCreateParams {
            adapterType: VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE,
            hwVersion: 11,
            ..create_params(kind, 0)
        };
        let done = clone((connection, &path), (reader, &source), &params, false);
        assert_eq!(done, Ok(()), "{kind:?}");
        assert!(content(connection, &path) == data, "{kind:?}");
        if let Some(seen) = content_by_qemu(&path) {
            assert!(seen == data, "{kind:?} by qemu-img");
        }
        let disk = open(connection, &path, READ_ONLY).expect("opened");
        with_info(disk, |info| {
            assert_eq!(
                info.adapterType,
                VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE
            );
            assert_eq!(info.numLinks, 1, "the clone has no parents");
        });
        assert_eq!(close(disk), VixError::OK);
    }
    assert!(content(connection, &source) == data, "the source stays");
    assert_eq!(disconnect(reader), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn only_what_may_be_overwritten_is() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let data = sparse_content();
    let (source, path) = (folder.join("source.vmdk"), folder.join("target.vmdk"));
    new_disk(connection, &source, FLAT, &data);
    new_disk(connection, &path, SPLIT_FLAT, &pattern(64, 9));
    let params = create_params(SPARSE, 0);
    let (to, from) = ((connection, &*path), (connection, &*source));
    assert_eq!(
        clone(to, from, &params, false),
        Err(VixError::FILE_ALREADY_EXISTS)
    );
    assert_eq!(content(connection, &path), pattern(64, 9), "as it was");

    let user = open(connection, &path, READ_ONLY).expect("opened");
    assert_eq!(
        clone(to, from, &params, true),
        Err(VixError::FILE_ALREADY_LOCKED)
    );
    assert_eq!(close(user), VixError::OK);
    assert_eq!(content(connection, &path), pattern(64, 9), "as it was");

    assert_eq!(clone(to, from, &params, true), Ok(()));
    assert!(content(connection, &path) == data);
    assert_eq!(
        names_in(folder),
        ["source-flat.vmdk", "source.vmdk", "target.vmdk"]
    );
    // Itself.
    assert_eq!(clone(to, to, &params, true), Err(VixError::INVALID_ARG));
    assert!(content(connection, &path) == data, "as it was");
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_cannot_be_cloned_has_a_code() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let (source, path) = (folder.join("source.vmdk"), folder.join("target.vmdk"));
    new_disk(connection, &source, SPARSE, &sparse_content());
    let before = names_in(folder);
    let attempt = |params: &VixDiskLibCreateParams| {
        clone((connection, &path), (connection, &source), params, true)
    };
    for kind in [THIN, VMFS_SPARSE] {
        let code = attempt(&create_params(kind, 0));
        assert_eq!(code, Err(VixError::NOT_SUPPORTED), "{kind:?}");
    }
    for kind in [UNKNOWN, VixDiskLibDiskType(0), VixDiskLibDiskType(99)] {
        let code = attempt(&create_params(kind, 0));
        assert_eq!(code, Err(VixError::INVALID_ARG), "{kind:?}");
    }
    let read_only = connect_ex(true).expect("connected");
    let params = create_params(SPARSE, 0);
    assert_eq!(
        clone((read_only, &path), (connection, &source), &params, true),
        Err(VixError::FILE_READ_ONLY)
    );
    let missing = folder.join("missing.vmdk");
    assert_eq!(
        clone((connection, &path), (connection, &missing), &params, true),
        Err(VixError::FILE_NOT_FOUND)
    );
    let writer = open(connection, &source, READ_WRITE).expect("opened");
    assert_eq!(attempt(&params), Err(VixError::FILE_ALREADY_LOCKED));
    assert_eq!(close(writer), VixError::OK);
    assert_eq!(names_in(folder), before);

    // The size is that of the source, whatever the parameters say, and the log says so.
    assert_eq!(attempt(&create_params(SPARSE, 204_800)), Ok(()));
    assert!(content(connection, &path) == sparse_content());
    assert_eq!(
        logged(&["VixDiskLib_Clone", "204800 sectors", "2000"]).len(),
        1
    );
    assert_eq!(disconnect(read_only), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_clone_fits_into_the_space_that_was_told() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let _ = chain(connection, folder);
    let source = folder.join("child.vmdk");
    let disk = open(connection, &source, READ_ONLY).expect("opened");
    let space = |kind| {
        let mut space = u64::MAX;
        // SAFETY: the output is ours.
        let code =
            unsafe { TABLE.space_needed_for_clone.expect("there")(disk, kind, &raw mut space) };
        ok(code).map(|()| space)
    };
    for kind in [SPARSE, FLAT, SPLIT_SPARSE, SPLIT_FLAT, VMFS_FLAT, STREAM] {
        let told = space(kind).expect("told");
        let sub = folder.join(format!("kind{}", kind.0));
        fs::create_dir(&sub).expect("made");
        let path = sub.join("clone.vmdk");
        let params = create_params(kind, 0);
        assert_eq!(
            clone((connection, &path), (connection, &source), &params, false),
            Ok(())
        );
        let taken: u64 = names_in(&sub)
            .iter()
            .map(|name| fs::metadata(sub.join(name)).expect("there").len())
            .sum();
        assert!(taken <= told, "{kind:?}: {taken} of {told}");
        // How well data compresses shows only when it is read.
        if kind != STREAM {
            assert!(told <= taken + (1 << 17), "{kind:?}: {taken} of {told}");
        }
    }
    assert_eq!(space(UNKNOWN), space(SPARSE), "the kind of the source");
    assert!(space(THIN).expect("told") < space(VMFS_FLAT).expect("told"));
    assert_eq!(space(VMFS_SPARSE), Err(VixError::DISK_NOTSUPPORTED));
    for none in [0, 9, u32::MAX] {
        assert_eq!(
            space(VixDiskLibDiskType(none)),
            Err(VixError::INVALID_ARG),
            "{none}"
        );
    }
    assert_eq!(disconnect(connection), VixError::OK);
}
