//! Snapshot chains: what a caller sees of the links, and the codes of chains that do not fit.

mod common;

use std::ffi::CStr;
use std::fs;

use common::*;
use vixdisklib_sys::{VIXDISKLIBEXT_EXTENT_ALLOCATED, VixError};

const SECTORS: u32 = 1024;

#[test]
fn a_chain_reads_through_and_is_written_at_its_end() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let content = pattern(1024, 3);
    flat_disk(folder.path(), "base", &content);
    let middle = child_disk(
        folder.path(),
        "middle",
        SECTORS,
        "2",
        "fffffffe",
        "base.vmdk",
    );
    let connection = connect();
    let disk = open(connection, &middle, 0).expect("opened");
    assert_eq!(write(disk, 100, &pattern(50, 9)), Ok(()));
    assert_eq!(close(disk), VixError::OK);
    let text = fs::read_to_string(&middle).expect("text");
    let (_, cid) = text.split_once("CID=").expect("an id");
    let (cid, _) = cid.split_once('\n').expect("a line");
    assert_ne!(cid, "2", "the first write renews the content id");
    let leaf = child_disk(folder.path(), "leaf", SECTORS, "3", cid, "middle.vmdk");

    let disk = open(connection, &leaf, 0).expect("opened");
    assert_eq!(write(disk, 140, &pattern(20, 8)), Ok(()));
    let mut expected = content.clone();
    expected[100 * SECTOR..150 * SECTOR].copy_from_slice(&pattern(50, 9));
    expected[140 * SECTOR..160 * SECTOR].copy_from_slice(&pattern(20, 8));
    assert!(read(disk, 0, 1024).expect("read") == expected);
    let depths: Vec<_> = extents(disk, 0, 1024, 16)
        .expect("mapped")
        .iter()
        .map(|extent| {
            assert_eq!(extent.flags, VIXDISKLIBEXT_EXTENT_ALLOCATED);
            (extent.offset, extent.length, extent.depth)
        })
        .collect();
    assert_eq!(
        depths,
        [(0, 100, 2), (100, 40, 1), (140, 20, 0), (160, 864, 2)]
    );
    assert_eq!(allocated(disk, 0, 1024, 128), Ok(vec![(0, 1024)]));
    with_info(disk, |info| {
        assert_eq!(info.numLinks, 3);
        // SAFETY: a string that lives as long as the info.
        let hint = unsafe { CStr::from_ptr(info.parentFileNameHint) };
        assert_eq!(hint, c"middle.vmdk");
        assert_eq!(info.physGeo.heads, 16, "from the base");
        // SAFETY: the same.
        let uuid = unsafe { CStr::from_ptr(info.uuid) };
        assert_eq!(uuid, c"60 00 c2 9f 4e 7b 1a 05-e0 11 22 33 44 55 66 77");
    });
    assert_eq!(close(disk), VixError::OK);

    let disk = open(connection, &leaf, READ_ONLY | SINGLE_LINK).expect("opened");
    with_info(disk, |info| assert_eq!(info.numLinks, 1));
    assert_eq!(read(disk, 0, 140), Ok(vec![0; 140 * SECTOR]));
    assert_eq!(read(disk, 140, 20), Ok(pattern(20, 8)));
    assert_eq!(allocated(disk, 0, 1024, 128), Ok(vec![(128, 128)]));
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn chains_that_do_not_fit_have_codes_of_their_own() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    flat_disk(folder, "base", &pattern(1024, 3));
    let connection = connect();
    let child = |name: &str, sectors, parent_cid: &str, hint: &str| {
        let path = child_disk(folder, name, sectors, "2", parent_cid, hint);
        open(connection, &path, READ_ONLY)
    };
    for (name, sectors, parent_cid, hint, code) in [
        (
            "lost",
            SECTORS,
            "fffffffe",
            "gone.vmdk",
            VixError::DISK_OPENPARENT,
        ),
        (
            "other",
            SECTORS,
            "1",
            "base.vmdk",
            VixError::DISK_CID_MISMATCH,
        ),
        (
            "small",
            1000,
            "fffffffe",
            "base.vmdk",
            VixError::DISK_CAPACITY_MISMATCH,
        ),
        (
            "loop",
            SECTORS,
            "2",
            "loop.vmdk",
            VixError::DISK_INVALIDCHAIN,
        ),
    ] {
        assert_eq!(child(name, sectors, parent_cid, hint), Err(code), "{name}");
    }
    child("0", SECTORS, "fffffffe", "base.vmdk").expect("opened");
    for number in 1..=64 {
        let hint = format!("{}.vmdk", number - 1);
        let opened = child(&number.to_string(), SECTORS, "2", &hint);
        match number {
            64 => assert_eq!(opened, Err(VixError::DISK_TOOMANYREDO)),
            _ => assert_eq!(close(opened.expect("opened")), VixError::OK),
        }
    }
    let lines = logged(&["VixDiskLib_Open", "lost.vmdk"]);
    assert!(
        matches!(&*lines, [(_, line)] if line.contains("gone.vmdk")),
        "{lines:?}"
    );
    assert_eq!(disconnect(connection), VixError::OK);
}
