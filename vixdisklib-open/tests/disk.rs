//! Connections, disks, synchronous I/O and metadata.

mod common;

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::Path;
use std::ptr;
use std::thread;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ, VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB,
    VIXDISKLIB_FLAG_OPEN_UNBUFFERED, VixDiskLibAdapterType, VixDiskLibConnectParams,
    VixDiskLibCredType, VixDiskLibCreds, VixDiskLibExtProperty, VixDiskLibHandle,
    VixDiskLibUidPasswdCreds, VixError,
};

#[test]
fn what_is_written_is_read_and_kept() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let mut content = pattern(200, 1);
    let path = flat_disk(folder.path(), "keep", &content);
    let connection = connect();
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    assert_eq!(
        read(disk, 0, 200).map(|data| sha256(&data)),
        Ok(sha256(&content))
    );
    assert_eq!(read(disk, 199, 1).as_deref(), Ok(&content[199 * SECTOR..]));

    let patch = pattern(3, 77);
    assert_eq!(write(disk, 197, &patch), Ok(()));
    content[197 * SECTOR..].copy_from_slice(&patch);
    assert_eq!(
        read(disk, 0, 200).map(|data| sha256(&data)),
        Ok(sha256(&content))
    );
    assert_eq!(flush(disk), VixError::OK);
    assert_eq!(
        fs::read(folder.path().join("keep-flat.vmdk")).expect("there"),
        content
    );
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_request_has_sectors_and_the_disk_has_them() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "range", &pattern(16, 2));
    let connection = connect();
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    assert_eq!(read(disk, 0, 0), Err(VixError::INVALID_ARG));
    assert_eq!(write(disk, 0, &[]), Err(VixError::INVALID_ARG));
    for (start, count) in [
        (0, 17),
        (16, 1),
        (15, 2),
        (u64::MAX, 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
    ] {
        assert_eq!(
            read(disk, start, count),
            Err(VixError::DISK_OUTOFRANGE),
            "{start}+{count}"
        );
    }
    assert_eq!(
        write(disk, 15, &[0; 2 * SECTOR]),
        Err(VixError::DISK_OUTOFRANGE)
    );
    assert_eq!(
        logged(&[
            "VixDiskLib_Write",
            "2 sectors from sector 15",
            "range.vmdk",
            "16 sectors"
        ])
        .len(),
        1
    );
    // SAFETY: null is answered with a code.
    let code = unsafe { (TABLE.read)(disk, 0, 1, ptr::null_mut()) };
    assert_eq!(code, VixError::INVALID_ARG);
    // SAFETY: null is answered with a code.
    let code = unsafe { (TABLE.write)(disk, 0, 1, ptr::null()) };
    assert_eq!(code, VixError::INVALID_ARG);
    assert_eq!(read(disk, 0, 16), Ok(pattern(16, 2)), "nothing was changed");
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn reading_only_is_for_reading_only() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "ro", &pattern(16, 3));
    let trim = TABLE.ext_trim.expect("there");
    let zero = TABLE.ext_write_zeroes.expect("there");
    for (connection, flags) in [
        (connect(), READ_ONLY),
        (connect_ex(true).expect("connected"), READ_WRITE),
    ] {
        let disk = open(connection, &path, flags).expect("opened");
        assert_eq!(
            write(disk, 0, &pattern(1, 9)),
            Err(VixError::FILE_READ_ONLY)
        );
        // SAFETY: handles are looked up.
        assert_eq!(unsafe { trim(disk, 0, 8) }, VixError::FILE_READ_ONLY);
        // SAFETY: handles are looked up.
        assert_eq!(unsafe { zero(disk, 0, 8, 1) }, VixError::FILE_READ_ONLY);
        assert_eq!(read(disk, 0, 16), Ok(pattern(16, 3)));
        assert_eq!(flush(disk), VixError::OK);
        assert_eq!(close(disk), VixError::OK);
        assert_eq!(disconnect(connection), VixError::OK);
    }
}

#[test]
fn flags_of_open() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "flags", &pattern(16, 4));
    let connection = connect();
    let (zlib, skipz) = (
        VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB,
        VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ,
    );
    for refused in [zlib | skipz, zlib | 0x100, 0x3F0] {
        assert_eq!(
            open(connection, &path, refused),
            Err(VixError::INVALID_ARG),
            "{refused:#x}"
        );
    }
    for accepted in [
        zlib,
        skipz,
        VIXDISKLIB_FLAG_OPEN_UNBUFFERED,
        SINGLE_LINK,
        8,
        0xFFFF_FC00,
    ] {
        let disk = open(connection, &path, READ_ONLY | accepted).expect("opened");
        assert_eq!(
            read(disk, 3, 1).as_deref(),
            Ok(&pattern(16, 4)[3 * SECTOR..4 * SECTOR])
        );
        assert_eq!(close(disk), VixError::OK);
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_failed_open_explains_itself() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let connection = connect();

    let missing = folder.path().join("nowhere.vmdk");
    assert_eq!(
        open(connection, &missing, READ_ONLY),
        Err(VixError::FILE_NOT_FOUND)
    );
    let lines = logged(&["VixDiskLib_Open", "nowhere.vmdk", "does not exist"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, "warn");

    let orphan = flat_disk(folder.path(), "orphan", &pattern(8, 5));
    fs::remove_file(folder.path().join("orphan-flat.vmdk")).expect("there");
    assert_eq!(
        open(connection, &orphan, READ_ONLY),
        Err(VixError::FILE_NOT_FOUND)
    );
    let lines = logged(&["VixDiskLib_Open", "orphan.vmdk", "orphan-flat.vmdk"]);
    assert_eq!(lines.len(), 1, "{lines:?}");

    let text = folder.path().join("letter.vmdk");
    fs::write(&text, "Dear disk, you are none.\n".repeat(100)).expect("writable");
    assert_eq!(
        open(connection, &text, READ_ONLY),
        Err(VixError::DISK_INVALIDDISK)
    );
    assert_eq!(logged(&["letter.vmdk", "not a virtual disk"]).len(), 1);

    assert_eq!(
        open(connection, Path::new(""), READ_ONLY),
        Err(VixError::INVALID_ARG)
    );
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn information_about_a_disk() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "info", &pattern(2016, 6));
    let connection = connect();
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    with_info(disk, |info| {
        assert_eq!(info.capacity, 2016);
        assert_eq!(
            info.adapterType,
            VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE
        );
        let geometry = info.physGeo;
        assert_eq!(
            (geometry.cylinders, geometry.heads, geometry.sectors),
            (2, 16, 63)
        );
        assert_eq!(info.numLinks, 1);
        assert!(info.parentFileNameHint.is_null());
        // SAFETY: a string that lives as long as the info.
        let uuid = unsafe { CStr::from_ptr(info.uuid) };
        assert_eq!(uuid, c"60 00 c2 9f 4e 7b 1a 05-e0 11 22 33 44 55 66 77");
        assert_eq!(
            (info.logicalSectorSize, info.physicalSectorSize),
            (512, 512)
        );
    });
    // SAFETY: handles are looked up.
    let mode = unsafe { (TABLE.get_transport_mode)(disk) };
    // SAFETY: a static string.
    assert_eq!(unsafe { CStr::from_ptr(mode) }, c"file");
    assert_eq!(
        property(
            disk,
            VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO
        ),
        Ok(1)
    );
    let preferred = property(
        disk,
        VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PREFERRED_IO,
    );
    assert!(preferred.is_ok_and(|sectors| sectors.is_power_of_two()));
    assert_eq!(
        property(disk, VixDiskLibExtProperty(99)),
        Err(VixError::NOT_SUPPORTED)
    );
    assert_eq!(disconnect(connection), VixError::OK);
}

fn property(disk: VixDiskLibHandle, property: VixDiskLibExtProperty) -> Result<u64, VixError> {
    let mut value = 0;
    // SAFETY: the output is ours.
    ok(unsafe { TABLE.ext_get_property.expect("there")(disk, property, &raw mut value) })
        .map(|()| value)
}

#[test]
fn metadata_is_read_by_the_sizing_protocol() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "meta", &pattern(8, 7));
    let connection = connect();
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    let get = TABLE.read_metadata.expect("there");

    let mut required = 0;
    // SAFETY: no buffer, and an output of ours.
    let code = unsafe {
        get(
            disk,
            c"adapterType".as_ptr(),
            ptr::null_mut(),
            0,
            &raw mut required,
        )
    };
    assert_eq!((code, required), (VixError::BUFFER_TOOSMALL, 4));
    let mut small: [c_char; 3] = [7; 3];
    // SAFETY: a buffer of the stated length; no need for the required one.
    let code = unsafe {
        get(
            disk,
            c"adapterType".as_ptr(),
            small.as_mut_ptr(),
            3,
            ptr::null_mut(),
        )
    };
    assert_eq!((code, small), (VixError::BUFFER_TOOSMALL, [7; 3]));
    let mut exact: [c_char; 4] = [7; 4];
    // SAFETY: a buffer of the stated length; no need for the required one.
    let code = unsafe {
        get(
            disk,
            c"adapterType".as_ptr(),
            exact.as_mut_ptr(),
            4,
            ptr::null_mut(),
        )
    };
    assert_eq!(code, VixError::OK);
    // SAFETY: filled with a string.
    assert_eq!(unsafe { CStr::from_ptr(exact.as_ptr()) }, c"ide");
    assert_eq!(logged(&["TOOSMALL"]), [], "a question is no failure");

    // SAFETY: a string and nothing to write to.
    let code = unsafe {
        get(
            disk,
            c"no.such.meta".as_ptr(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
        )
    };
    assert_eq!(code, VixError::DISK_KEY_NOTFOUND);
    let lines = logged(&["no.such.meta"]);
    assert_eq!((lines.len(), lines[0].0), (1, "log"));
    // SAFETY: a string that is not UTF-8, and nothing to write to.
    let code = unsafe { get(disk, c"\xFF".as_ptr(), ptr::null_mut(), 0, ptr::null_mut()) };
    assert_eq!(code, VixError::DISK_KEY_NOTFOUND);

    let keys = keys(disk);
    assert!(keys.contains(&c"uuid".to_owned()), "{keys:?}");
    assert!(keys.contains(&c"geometry.cylinders".to_owned()), "{keys:?}");
    assert!(!keys.contains(&c"".to_owned()), "{keys:?}");
    for key in keys {
        // SAFETY: a string and nothing to write to.
        let code = unsafe { get(disk, key.as_ptr(), ptr::null_mut(), 0, ptr::null_mut()) };
        assert_eq!(code, VixError::BUFFER_TOOSMALL, "{key:?} is listed");
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

/// The metadata keys, after checking the shape of the list.
fn keys(disk: VixDiskLibHandle) -> Vec<CString> {
    let list = TABLE.get_metadata_keys.expect("there");
    let mut required = 0;
    // SAFETY: no buffer, and an output of ours.
    let code = unsafe { list(disk, ptr::null_mut(), 0, &raw mut required) };
    assert_eq!(code, VixError::BUFFER_TOOSMALL);
    let mut buffer = vec![0xAA_u8; required];
    // SAFETY: a buffer of the stated length, and an output of ours.
    let code = unsafe {
        list(
            disk,
            buffer.as_mut_ptr().cast(),
            required,
            &raw mut required,
        )
    };
    assert_eq!((code, required), (VixError::OK, buffer.len()));
    let names = buffer.strip_suffix(b"\0\0").expect("two NULs at the end");
    names
        .split(|byte| *byte == 0)
        .map(|name| CString::new(name).expect("split at NULs"))
        .collect()
}

#[test]
fn connection_parameters_go_round() {
    let _session = Session::start();
    let allocate = TABLE.allocate_connect_params.expect("there");
    let get = TABLE.get_connect_params.expect("there");
    // SAFETY: needs nothing.
    let params = unsafe { allocate() };
    // SAFETY: allocated for us to fill.
    let filled = unsafe { &mut *params };
    assert!(filled.serverName.is_null() && filled.vmxSpec.is_null() && filled.port == 0);
    filled.credType = VixDiskLibCredType::VIXDISKLIB_CRED_UID;
    filled.vimApiVer = c"7.0".as_ptr().cast_mut();
    let mut connection = ptr::null_mut();
    // SAFETY: local parameters of the library's own, and an output of ours.
    let code = unsafe { TABLE.connect.expect("there")(params, &raw mut connection) };
    assert_eq!(code, VixError::OK);
    // SAFETY: allocated above, not used again.
    unsafe { (TABLE.free_connect_params)(params) };

    let mut copy = ptr::null_mut();
    // SAFETY: the output is ours.
    assert_eq!(unsafe { get(connection, &raw mut copy) }, VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
    // SAFETY: a copy on loan, which outlives its connection.
    let seen = unsafe { &*copy };
    assert_eq!(seen.credType, VixDiskLibCredType::VIXDISKLIB_CRED_UID);
    // SAFETY: a string that belongs to the copy.
    assert_eq!(unsafe { CStr::from_ptr(seen.vimApiVer) }, c"7.0");
    assert_ne!(seen.vimApiVer.cast_const(), c"7.0".as_ptr());
    // SAFETY: on loan, not used again.
    unsafe { (TABLE.free_connect_params)(copy) };
    // SAFETY: the output is ours.
    let code = unsafe { get(connection, &raw mut copy) };
    assert_eq!(code, VixError::DISK_INVALID_CONNECTION);
    assert!(copy.is_null());
}

#[test]
fn a_server_that_is_not_there_is_told_without_a_word_of_the_password() {
    let _session = Session::start();
    let params = VixDiskLibConnectParams {
        vmxSpec: c"moref=vm-16".as_ptr().cast_mut(),
        // Nobody listens at that port.
        serverName: c"127.0.0.1".as_ptr().cast_mut(),
        port: 1,
        credType: VixDiskLibCredType::VIXDISKLIB_CRED_UID,
        creds: VixDiskLibCreds {
            uid: VixDiskLibUidPasswdCreds {
                userName: c"root".as_ptr().cast_mut(),
                password: c"hunter2".as_ptr().cast_mut(),
            },
        },
        ..VixDiskLibConnectParams::default()
    };
    let mut connection = ptr::dangling_mut();
    // SAFETY: complete parameters, and an output of ours.
    let code = unsafe {
        (TABLE.connect_ex)(
            &raw const params,
            1,
            ptr::null(),
            c"nbdssl".as_ptr(),
            &raw mut connection,
        )
    };
    assert_eq!(code, VixError::HOST_NETWORK_CONN_REFUSED);
    assert!(connection.is_null());
    assert_eq!(logged(&["VixDiskLib_ConnectEx", "127.0.0.1"]).len(), 1);
    assert_eq!(logged(&["hunter2"]), []);

    let cleanup = TABLE.cleanup.expect("there");
    // SAFETY: null means local, and nobody asks for counts.
    let code = unsafe { cleanup(ptr::null(), ptr::null_mut(), ptr::null_mut()) };
    assert_eq!(code, VixError::OK);
}

#[test]
fn disconnecting_closes_what_was_left_open() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "left", &pattern(8, 8));
    let (one, two) = (connect(), connect());
    let left = open(one, &path, READ_ONLY).expect("opened");
    let kept = open(two, &path, READ_ONLY).expect("opened");
    assert_eq!(disconnect(one), VixError::OK);
    assert_eq!(
        logged(&["VixDiskLib_Disconnect", "left.vmdk", "left open"]).len(),
        1
    );
    assert_eq!(read(left, 0, 1), Err(VixError::INVALID_HANDLE));
    assert_eq!(
        open(one, &path, READ_ONLY),
        Err(VixError::DISK_INVALID_CONNECTION)
    );
    assert_eq!(read(kept, 0, 8), Ok(pattern(8, 8)));
    assert_eq!(disconnect(two), VixError::OK);
}

#[test]
fn one_disk_may_be_used_and_closed_by_many_threads() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let content = pattern(512, 9);
    let path = flat_disk(folder.path(), "busy", &content);
    let connection = connect();
    for _ in 0..20 {
        let disk = open(connection, &path, READ_WRITE)
            .expect("opened")
            .expose_provenance();
        thread::scope(|scope| {
            for number in 0..4 {
                let content = &content;
                scope.spawn(move || {
                    for round in 0.. {
                        let start = (number * 128 + round) % 500;
                        match read(invented(disk), start, 12) {
                            Ok(data) => {
                                let from = usize::try_from(start).expect("small") * SECTOR;
                                assert_eq!(data, content[from..from + 12 * SECTOR]);
                            }
                            Err(code) => return assert_eq!(code, VixError::INVALID_HANDLE),
                        }
                    }
                });
            }
            thread::yield_now();
            assert_eq!(close(invented(disk)), VixError::OK);
        });
    }
    assert_eq!(disconnect(connection), VixError::OK);
}
