//! Relative paths. One test, because the working directory belongs to the whole process.

mod common;

use std::env;
use std::path::Path;
use std::ptr;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibDiskType, VixError};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;

#[test]
fn a_handle_stays_with_its_disk_wherever_the_process_goes() {
    let _session = Session::start();
    let connection = connect();
    let (here, there) = (
        tempfile::tempdir().expect("writable"),
        tempfile::tempdir().expect("writable"),
    );
    for (folder, seed) in [(&here, 1), (&there, 2)] {
        new_disk(
            connection,
            &folder.path().join("disk.vmdk"),
            SPARSE,
            &pattern(256, seed),
        );
    }
    for (flags, name) in [(READ_ONLY, "one.vmdk"), (READ_WRITE, "two.vmdk")] {
        env::set_current_dir(here.path()).expect("there");
        let parent = open(connection, Path::new("disk.vmdk"), flags).expect("opened");
        env::set_current_dir(there.path()).expect("there");
        let child = here.path().join(name);
        let c_child = c_path(&child);
        // SAFETY: a string of ours; a null function hears nothing.
        let code = unsafe {
            TABLE.create_child.expect("there")(
                parent,
                c_child.as_ptr(),
                SPARSE,
                None,
                ptr::null_mut(),
            )
        };
        assert_eq!(code, VixError::OK, "{name}");
        assert!(
            read(parent, 0, 256).as_deref() == Ok(&*pattern(256, 1)),
            "{name}"
        );
        assert_eq!(close(parent), VixError::OK, "{name}");
        assert!(content(connection, &child) == pattern(256, 1), "{name}");
    }
    assert_eq!(disconnect(connection), VixError::OK);
}
