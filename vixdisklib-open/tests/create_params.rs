//! How much of the creation parameters is read. One test, because the version that was asked for belongs to the whole
//! process.

mod common;

use std::alloc::{Layout, alloc, dealloc};
use std::ptr;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibCreateParams, VixDiskLibDiskType, VixError};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;

#[test]
fn sector_sizes_are_read_where_the_caller_knows_them() {
    let folder = tempfile::tempdir().expect("writable");
    let sizes = |version: (u32, u32), name: &str| {
        assert_eq!(init(version.0, version.1), VixError::OK);
        let connection = connect();
        let path = folder.path().join(name);
        let params = VixDiskLibCreateParams {
            logicalSectorSize: 4096,
            ..create_params(SPARSE, 2048)
        };
        assert_eq!(create(connection, &path, &params), Ok(()));
        let disk = open(connection, &path, READ_ONLY).expect("opened");
        let sizes = with_info(disk, |info| {
            (info.logicalSectorSize, info.physicalSectorSize)
        });
        assert_eq!(disconnect(connection), VixError::OK);
        exit();
        sizes
    };
    assert_eq!(sizes((7, 0), "new.vmdk"), (4096, 4096));
    assert_eq!(sizes((6, 7), "old.vmdk"), (512, 512));

    // Whoever is older counts.
    assert_eq!(init(8, 0), VixError::OK);
    assert_eq!(sizes((6, 5), "both.vmdk"), (512, 512));
    exit();

    // Memory of 24 bytes, so that a memory checker would see a read behind them.
    assert_eq!(init(6, 5), VixError::OK);
    let connection = connect();
    let layout = Layout::from_size_align(24, 8).expect("valid");
    // SAFETY: the layout has a size.
    let short = unsafe { alloc(layout) };
    let params = create_params(SPARSE, 2048);
    // SAFETY: both have 24 bytes, and are apart.
    unsafe { ptr::copy_nonoverlapping((&raw const params).cast::<u8>(), short, 24) };
    let path = c_path(&folder.path().join("short.vmdk"));
    // SAFETY: the library was asked for a version whose parameters have 24 bytes.
    let code = unsafe {
        (TABLE.create)(
            connection,
            path.as_ptr(),
            short.cast(),
            None,
            ptr::null_mut(),
        )
    };
    assert_eq!(code, VixError::OK);
    // SAFETY: allocated above, and not used again.
    unsafe { dealloc(short, layout) };
    exit();
}
