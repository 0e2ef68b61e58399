//! CheckRepair: its three verdicts, and what it logs.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{Bool, VixDiskLibConnection, VixDiskLibDiskType, VixError};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
const FLAT: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_FLAT;

const CHECK: Bool = 0;
/// Anything but 0 means yes.
const REPAIR: Bool = 3;

fn check_repair(connection: VixDiskLibConnection, path: &Path, repair: Bool) -> VixError {
    let path = c_path(path);
    // SAFETY: a string of ours; connections are looked up.
    unsafe { TABLE.check_repair.expect("there")(connection, path.as_ptr(), repair) }
}

/// Where the first entry of the grain directory is, and that of its copy.
fn directories(bytes: &[u8]) -> [usize; 2] {
    [56, 48].map(|field| {
        let sector = u64::from_le_bytes(bytes[field..][..8].try_into().expect("8 bytes"));
        usize::try_from(sector).expect("small") * SECTOR
    })
}

/// Where the first grain table is.
fn first_table(bytes: &[u8]) -> usize {
    let entry = bytes[directories(bytes)[0]..][..4].try_into();
    usize::try_from(u32::from_le_bytes(entry.expect("4 bytes"))).expect("small") * SECTOR
}

#[test]
fn whole_disks_pass() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let read_only = connect_ex(true).expect("connected");
    for kind in 1..=6 {
        let path = folder.path().join(format!("kind{kind}.vmdk"));
        let params = create_params(VixDiskLibDiskType(kind), 256);
        assert_eq!(create(connection, &path, &params), Ok(()));
        assert_eq!(check_repair(connection, &path, CHECK), VixError::OK);
        assert_eq!(check_repair(read_only, &path, CHECK), VixError::OK);
        assert_eq!(check_repair(connection, &path, REPAIR), VixError::OK);
        assert_eq!(
            check_repair(read_only, &path, REPAIR),
            VixError::FILE_READ_ONLY
        );
    }
    let path = folder.path().join("none.vmdk");
    for repair in [CHECK, REPAIR] {
        assert_eq!(
            check_repair(connection, &path, repair),
            VixError::FILE_NOT_FOUND
        );
    }
    assert_eq!(disconnect(read_only), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_lost_entry_is_found_named_and_mended() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let path = folder.path().join("mended.vmdk");
    let data = pattern(512, 1);
    new_disk(connection, &path, SPARSE, &data);
    let mut bytes = fs::read(&path).expect("there");
    let table = first_table(&bytes);
    bytes[table..][..4].fill(0xff);
    fs::write(&path, &bytes).expect("writable");

    assert_eq!(
        check_repair(connection, &path, CHECK),
        VixError::DISK_NEEDSREPAIR
    );
    assert!(fs::read(&path).expect("there") == bytes, "only looked at");
    let lines = logged(&["VixDiskLib_CheckRepair", "mended.vmdk"]);
    assert!(
        lines
            .iter()
            .any(|(kind, line)| *kind == "warn" && line.contains("a repair can do this")),
        "{lines:?}"
    );
    assert_eq!(check_repair(connection, &path, REPAIR), VixError::OK);
    assert!(!logged(&["VixDiskLib_CheckRepair", "mended.vmdk", "; repaired:"]).is_empty());
    assert_eq!(check_repair(connection, &path, CHECK), VixError::OK);
    assert!(content(connection, &path) == data);
    if let Some(seen) = content_by_qemu(&path) {
        assert!(seen == data, "by qemu-img");
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_only_a_loss_would_mend_stays() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let path = folder.path().join("lost.vmdk");
    new_disk(connection, &path, SPARSE, &pattern(512, 1));
    let mut bytes = fs::read(&path).expect("there");
    // Where the grains of 32 MiB are, nothing else says.
    for entry in directories(&bytes) {
        bytes[entry..][..4].fill(0xff);
    }
    fs::write(&path, &bytes).expect("writable");
    for repair in [CHECK, REPAIR] {
        let code = check_repair(connection, &path, repair);
        let lines = logged(&["VixDiskLib_CheckRepair", "lost.vmdk"]);
        assert_eq!(code, VixError::DISK_CANTREPAIR, "{repair}: {lines:?}");
        assert!(fs::read(&path).expect("there") == bytes, "{repair}");
    }
    assert!(
        !logged(&[
            "VixDiskLib_CheckRepair",
            "lost.vmdk",
            "only with permission"
        ])
        .is_empty()
    );
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_is_beyond_repair_is_named() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path();
    let incomplete = folder.join("incomplete.vmdk");
    new_disk(connection, &incomplete, FLAT, &pattern(64, 1));
    fs::remove_file(folder.join("incomplete-flat.vmdk")).expect("there");
    let letter = folder.join("letter.vmdk");
    fs::write(&letter, "Dear reader,\nthis is not a disk.\n").expect("writable");
    let empty = folder.join("empty.vmdk");
    fs::write(&empty, "").expect("writable");
    for path in [&incomplete, &letter, &empty] {
        let before = fs::read(path).expect("there");
        for repair in [CHECK, REPAIR] {
            let code = check_repair(connection, path, repair);
            assert_eq!(code, VixError::DISK_CANTREPAIR, "{path:?} {repair}");
        }
        assert!(fs::read(path).expect("there") == before, "{path:?}");
    }
    let lines = logged(&["VixDiskLib_CheckRepair", "incomplete-flat.vmdk"]);
    assert!(!lines.is_empty());
    assert_eq!(disconnect(connection), VixError::OK);
}
