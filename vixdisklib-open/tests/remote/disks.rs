//! Open disks: their content, what is known of them, and what cannot be done with them.

use std::ffi::{CStr, c_char};
use std::ptr;

use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VIXDISKLIBEXT_ZERO_FAST_ONLY, VIXDISKLIBEXT_ZERO_MAY_FREE, VixDiskLibAdapterType,
    VixDiskLibDiskType, VixDiskLibExtFileRange, VixDiskLibExtProperty, VixDiskLibHandle, VixError,
};
use vsphere_sim::Profile;

use crate::common::{
    READ_ONLY, READ_WRITE, SECTOR, allocated, capacity, close, connect, create_params, disconnect,
    extents, flush, logged, pattern, read, sha256, wait, with_info, write,
};
use crate::site::{DB, Site, WEB, open, transport};

const PROFILES: [Profile; 3] = [
    Profile::Esxi8Vcenter,
    Profile::Esxi8Direct,
    Profile::Esxi7Direct,
];

/// The sectors of the disks of the demonstration.
const CAPACITY: u64 = 16 * 2048 + 8;

#[test]
fn a_disk_has_the_bytes_of_its_file() {
    for profile in PROFILES {
        let site = Site::new(profile);
        let content = site.local("web/web.vmdk");
        let all = [(c"nbdssl", 0), (c"nbd", 16), (c"nbdssl", 32), (c"nbd", 64)];
        // Compression does not depend on the server.
        let used = if profile.is_vcenter() { 4 } else { 1 };
        for (list, flags) in all.into_iter().take(used) {
            let connection = site
                .params("web")
                .connect_ex(true, None, Some(list))
                .expect("connected");
            let disk = open(connection, WEB.as_ptr(), READ_ONLY | flags).expect("opened");
            assert_eq!(transport(disk), list);
            assert_eq!(capacity(disk), CAPACITY);
            let data = read(disk, 0, CAPACITY).expect("read");
            assert_eq!(
                sha256(&data),
                sha256(&content),
                "{profile:?} {list:?} {flags}"
            );
            assert_eq!(read(disk, CAPACITY - 1, 2), Err(VixError::DISK_OUTOFRANGE));
            assert_eq!(write(disk, 0, &[0; SECTOR]), Err(VixError::FILE_READ_ONLY));
            assert_eq!(close(disk), VixError::OK);
            assert_eq!(disconnect(connection), VixError::OK);
        }
    }
}

#[test]
fn two_compressions_are_one_too_many() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let connection = site.params("web").connect().expect("connected");
    assert_eq!(
        open(connection, WEB.as_ptr(), READ_ONLY | 16 | 64),
        Err(VixError::INVALID_ARG)
    );
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_is_written_arrives_and_counts_as_allocated() {
    for profile in PROFILES {
        let site = Site::new(profile);
        let mut content = site.local("db/db.vmdk");
        let connection = site.params("db").connect().expect("connected");
        let disk = open(connection, DB.as_ptr(), READ_WRITE).expect("opened");
        let new = pattern(3000, 7);
        let start = 24_000;
        assert_eq!(write(disk, start, &new), Ok(()));
        let place = usize::try_from(start).expect("small") * SECTOR;
        content[place..place + new.len()].copy_from_slice(&new);
        let zeroes = TABLE.ext_write_zeroes.expect("there");
        // SAFETY: handles are looked up.
        let code = unsafe { zeroes(disk, 0, 5000, VIXDISKLIBEXT_ZERO_MAY_FREE) };
        assert_eq!(code, VixError::OK);
        content[..5000 * SECTOR].fill(0);
        // SAFETY: handles are looked up.
        let code = unsafe {
            zeroes(
                disk,
                0,
                1,
                VIXDISKLIBEXT_ZERO_MAY_FREE | VIXDISKLIBEXT_ZERO_FAST_ONLY,
            )
        };
        assert_eq!(code, VixError::NOT_SUPPORTED);
        assert_eq!(flush(disk), VixError::OK);
        let whole = CAPACITY / 128 * 128;
        let runs = allocated(disk, 0, whole, 128).expect("an answer");
        let covered = |sector: u64| {
            runs.iter()
                .any(|(from, count)| (*from..from + count).contains(&sector))
        };
        assert!((24_000..27_000).all(covered), "{runs:?}");
        let data = read(disk, 0, CAPACITY).expect("read");
        assert_eq!(sha256(&data), sha256(&content));
        assert_eq!(wait(disk), VixError::OK);
        assert_eq!(close(disk), VixError::OK);
        assert_eq!(disconnect(connection), VixError::OK);
        assert_eq!(
            sha256(&site.local("db/db.vmdk")),
            sha256(&content),
            "{profile:?}"
        );
    }
}

#[test]
fn extents_cover_the_disk_and_hide_no_data() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let content = site.local("web/web.vmdk");
    let connection = site.params("web").connect().expect("connected");
    let disk = open(connection, WEB.as_ptr(), READ_ONLY).expect("opened");
    for (start, count) in [(0, CAPACITY), (100, 20_000), (CAPACITY - 3, 3), (127, 2)] {
        let found = extents(disk, start, count, 1000).expect("an answer");
        let mut position = start;
        for extent in &found {
            assert_eq!((extent.offset, extent.depth), (position, 0));
            assert!(extent.length > 0);
            position += extent.length;
            let place = |sector: u64| usize::try_from(sector).expect("small") * SECTOR;
            let bytes = &content[place(extent.offset)..place(position)];
            // Zero, or allocated.
            if extent.flags == 2 {
                assert!(bytes.iter().all(|byte| *byte == 0));
            } else {
                assert_eq!(extent.flags, 1);
            }
        }
        assert_eq!(position, start + count);
        assert!(found.windows(2).all(|pair| pair[0].flags != pair[1].flags));
        let first = extents(disk, start, count, 1).expect("an answer");
        assert_eq!((first.len(), first[0].offset), (1, start));
    }
    let holes = extents(disk, 0, CAPACITY, 1000).expect("an answer");
    assert!(
        holes.iter().any(|extent| extent.flags == 2),
        "a growing disk has holes"
    );
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_disk_says_what_it_is() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let snapshot = &site.inventory.vms[0].snapshots[0].moref;
    let snapshot = crate::site::text(snapshot);
    let connection = site
        .params("web")
        .connect_ex(false, Some(&snapshot), None)
        .expect("connected");
    // The snapshot makes it a disk for reading, whatever the flags say.
    let disk = open(connection, WEB.as_ptr(), READ_WRITE).expect("opened");
    assert_eq!(write(disk, 0, &[0; SECTOR]), Err(VixError::FILE_READ_ONLY));
    with_info(disk, |info| {
        assert_eq!(info.capacity, CAPACITY);
        assert_eq!(info.numLinks, 1);
        assert!(info.parentFileNameHint.is_null());
        assert_eq!(
            info.adapterType,
            VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC
        );
        assert_eq!(
            (info.logicalSectorSize, info.physicalSectorSize),
            (512, 512)
        );
        assert!(info.physGeo.cylinders > 0 && info.physGeo.heads > 0);
        assert!(!info.uuid.is_null());
    });
    let mut room = [0_u8; 100];
    let get = TABLE.read_metadata.expect("there");
    let mut value = |key: &CStr| {
        let mut length = 0;
        // SAFETY: a string, a buffer of that length, and an output of ours.
        let code = unsafe {
            get(
                disk,
                key.as_ptr(),
                room.as_mut_ptr().cast::<c_char>(),
                room.len(),
                &raw mut length,
            )
        };
        (
            code,
            String::from_utf8_lossy(&room[..length.saturating_sub(1)]).into_owned(),
        )
    };
    assert_eq!(value(c"adapterType"), (VixError::OK, "lsilogic".to_owned()));
    assert_eq!(value(c"no.such.key").0, VixError::DISK_KEY_NOTFOUND);
    let mut keys = [0_u8; 1000];
    let mut length = 0;
    // SAFETY: a buffer of that length, and an output of ours.
    let code = unsafe {
        TABLE.get_metadata_keys.expect("there")(
            disk,
            keys.as_mut_ptr().cast(),
            keys.len(),
            &raw mut length,
        )
    };
    assert_eq!(code, VixError::OK);
    let keys = String::from_utf8_lossy(&keys[..length]).into_owned();
    for key in ["adapterType", "geometry.cylinders", "uuid"] {
        assert!(
            keys.split('\0').any(|known| known == key),
            "{key}: {keys:?}"
        );
    }
    for (property, expected) in [
        (VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO, 1),
        (
            VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PREFERRED_IO,
            2048,
        ),
        (VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_TRIM, 0),
        (
            VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_EXACT_EXTENTS,
            0,
        ),
    ] {
        let mut value = 0;
        // SAFETY: an output of ours.
        let code =
            unsafe { TABLE.ext_get_property.expect("there")(disk, property, &raw mut value) };
        assert_eq!((code, value), (VixError::OK, expected));
    }
    assert_eq!(disconnect(connection), VixError::OK);

    // The links of a machine that is off.
    let connection = site.fcd(false).connect().expect("connected");
    let disk = open(connection, ptr::null(), READ_ONLY).expect("opened");
    with_info(disk, |info| {
        assert_eq!(info.numLinks, 2);
        // SAFETY: a string on loan.
        let parent = unsafe { CStr::from_ptr(info.parentFileNameHint) };
        assert_eq!(parent, c"[datastore1] fcd/volume.vmdk");
    });
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn first_class_disks_open_under_any_name() {
    let site = Site::new(Profile::Esxi8Vcenter);
    for (snapshot, file) in [(false, "fcd/volume-000001.vmdk"), (true, "fcd/volume.vmdk")] {
        let content = site.local(file);
        let connection = site.fcd(snapshot).connect().expect("connected");
        for path in [ptr::null(), c"[datastore1] VStorageObject:x".as_ptr()] {
            let disk = open(connection, path, READ_ONLY).expect("opened");
            let data = read(disk, 0, CAPACITY).expect("read");
            assert_eq!(sha256(&data), sha256(&content), "{file}");
            assert_eq!(close(disk), VixError::OK);
        }
        assert_eq!(disconnect(connection), VixError::OK);
    }
    assert_eq!(
        site.fcd(false).connect_ex(true, Some(c"snapshot-1"), None),
        Err(VixError::INVALID_ARG)
    );
}

#[test]
fn the_snapshot_of_a_first_class_disk_is_not_written() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let before = site.local("fcd/volume.vmdk");
    let connection = site.fcd(true).connect().expect("connected");
    let disk = open(connection, ptr::null(), READ_WRITE).expect("opened");
    let wrong = pattern(1, 7);
    assert_eq!(write(disk, 0, &wrong), Err(VixError::FILE_READ_ONLY));
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
    assert!(
        site.local("fcd/volume.vmdk") == before,
        "the snapshot changed"
    );
}

#[test]
fn what_is_for_local_disks_is_refused() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let connection = site.params("db").connect().expect("connected");
    let disk = open(connection, DB.as_ptr(), READ_WRITE).expect("opened");
    let remote = VixError::NOT_SUPPORTED_ON_REMOTE_OBJECT;
    let path = c"/tmp/no-such.vmdk".as_ptr();
    let kind = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
    let params = create_params(kind, 2048);
    let local = connect();
    let mut needed = 0;
    let codes = [
        // SAFETY: handles are looked up, and the strings, structures and outputs are ours.
        unsafe { (TABLE.create)(connection, path, &raw const params, None, ptr::null_mut()) },
        // SAFETY: as above.
        unsafe { TABLE.unlink.expect("there")(connection, DB.as_ptr()) },
        // SAFETY: as above.
        unsafe {
            TABLE.grow.expect("there")(connection, DB.as_ptr(), 4096, 0, None, ptr::null_mut())
        },
        // SAFETY: as above.
        unsafe { TABLE.check_repair.expect("there")(connection, DB.as_ptr(), 0) },
        // SAFETY: as above.
        unsafe { TABLE.shrink.expect("there")(disk, None, ptr::null_mut()) },
        // SAFETY: as above.
        unsafe { TABLE.defragment.expect("there")(disk, None, ptr::null_mut()) },
        // SAFETY: as above.
        unsafe { TABLE.create_child.expect("there")(disk, path, kind, None, ptr::null_mut()) },
        // SAFETY: as above.
        unsafe {
            TABLE.clone.expect("there")(
                local,
                path,
                connection,
                DB.as_ptr(),
                &raw const params,
                None,
                ptr::null_mut(),
                0,
            )
        },
        // SAFETY: as above.
        unsafe { TABLE.space_needed_for_clone.expect("there")(disk, kind, &raw mut needed) },
        // SAFETY: as above.
        unsafe { TABLE.write_metadata.expect("there")(disk, c"key".as_ptr(), c"value".as_ptr()) },
    ];
    assert_eq!(codes, [remote; 10]);
    assert!(!logged(&["VixDiskLib_Shrink", "this machine only"]).is_empty());
    // SAFETY: handles are looked up.
    let code = unsafe { TABLE.ext_trim.expect("there")(disk, 0, 128) };
    assert_eq!(code, VixError::NOT_SUPPORTED);
    let mut range = VixDiskLibExtFileRange::default();
    // SAFETY: an output of ours.
    let code = unsafe { TABLE.ext_get_file_range.expect("there")(disk, 0, 1, &raw mut range) };
    assert_eq!(code, VixError::NOT_SUPPORTED);
    // The disk has not suffered from any of it.
    let unharmed = |disk: VixDiskLibHandle| read(disk, 0, 1).map(drop);
    assert_eq!(unharmed(disk), Ok(()));
    assert_eq!(disconnect(connection), VixError::OK);
    assert_eq!(disconnect(local), VixError::OK);
}
