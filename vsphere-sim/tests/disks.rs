//! Disks by the client of this project: the same bytes as without a server in between.

mod common;

use common::{Demo, METHODS, eventually, read_all};
use vmdk_engine::{ByteLen, Sector, SectorCount, SectorRange};
use vsphere_nfc::{
    ErrorKind, FcdSpec, ManagedObject, OpenOptions, RemoteDisk, SnapshotOptions, Transport,
};
use vsphere_sim::{Event, Injection, Profile};

#[test]
fn every_profile_transport_and_compression_gives_the_same_bytes() {
    for profile in Profile::ALL {
        let demo = Demo::start(profile);
        let host = demo.login().expect("logged in");
        let place = demo.frozen();
        let expected = demo.bytes(&place.1);
        for transport in [Transport::Nbd, Transport::NbdSsl] {
            // What is compressed does not depend on who serves it.
            let methods = if profile.is_vcenter() { 4 } else { 1 };
            for compression in METHODS.into_iter().take(methods) {
                let dialer = demo.dialer(&host, &place, transport, false);
                let options = OpenOptions::new().compression(compression);
                let disk = RemoteDisk::open(dialer, &place.1, &options).expect("it opens");
                let bytes = read_all(&disk).expect("it is read");
                assert!(bytes == expected, "{profile} {transport:?} {compression:?}");
                disk.close().expect("it is closed");
            }
        }
        assert!(eventually(|| demo.simulator.memory_in_use() == 0));
    }
}

#[test]
fn what_is_written_is_there_afterwards() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let host = demo.login().expect("logged in");
    let place = demo.idle();
    let mut expected = demo.bytes(&place.1);
    for (round, transport) in [Transport::Nbd, Transport::NbdSsl].into_iter().enumerate() {
        for compression in METHODS {
            let dialer = demo.dialer(&host, &place, transport, true);
            let options = OpenOptions::new().writable(true).compression(compression);
            let disk = RemoteDisk::open(dialer, &place.1, &options).expect("it opens");
            let mut data = vec![0; (3 << 20) + 512];
            for (position, byte) in data.iter_mut().enumerate().skip(1 << 20) {
                *byte = u8::try_from(position / 700 % 251).expect("small") ^ 7;
            }
            let start = 2048 * (1 + round) + 3;
            disk.write_at(Sector::new(start as u64), &data)
                .expect("it is written");
            disk.close().expect("it is closed");
            expected[start * 512..start * 512 + data.len()].copy_from_slice(&data);
            assert!(
                demo.bytes(&place.1) == expected,
                "{transport:?} {compression:?}"
            );
        }
    }
}

#[test]
fn metadata_and_allocation_are_those_of_the_disk() {
    let demo = Demo::start(Profile::Esxi8Direct);
    let disk = demo.open(&demo.frozen()).expect("it opens");
    assert_eq!(disk.capacity().get(), 16 * 2048 + 8);
    let adapter = disk.ddb("adapterType").expect("an answer");
    assert_eq!(adapter.as_deref(), Some("lsilogic"));
    assert_eq!(disk.ddb("nonsense").expect("an answer"), None);
    let all = SectorRange::whole(disk.capacity());
    let chunk = SectorCount::new(128);
    let whole = SectorRange::new(all.start(), SectorCount::new(16 * 2048)).expect("a range");
    let allocated = disk.allocated(whole, chunk).expect("an answer");
    let bytes = demo.bytes(&demo.frozen().1);
    for (number, piece) in bytes.chunks(65536).enumerate().take(256) {
        let sector = Sector::new(number as u64 * 128);
        let is_allocated = allocated.iter().any(|range| range.contains(sector));
        let is_zero = piece.iter().all(|byte| *byte == 0);
        assert!(
            is_allocated || is_zero,
            "data at {sector:?} is not allocated"
        );
    }
    let count: u64 = allocated.iter().map(|range| range.count().get()).sum();
    assert!(
        count < 16 * 2048 / 2,
        "most of the disk is not allocated: {count}"
    );
    disk.close().expect("it is closed");
}

#[test]
fn what_may_not_be_opened_is_refused() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let host = demo.login().expect("logged in");
    let (web, frozen) = demo.frozen();
    let (db, idle) = demo.idle();
    let open = |place: (vsphere_nfc::ManagedObject, String), writable: bool| {
        let dialer = demo.dialer(&host, &place, Transport::Nbd, writable);
        let options = OpenOptions::new().writable(writable);
        RemoteDisk::open(dialer, &place.1, &options)
            .map(drop)
            .map_err(|error| error.kind())
    };
    let running = demo.inventory.vms[0].disks[0].path.to_string();
    assert_eq!(
        open((web.clone(), running), false),
        Err(ErrorKind::AlreadyLocked)
    );
    assert_eq!(
        open((db.clone(), frozen.clone()), false),
        Err(ErrorKind::AccessRefused)
    );
    let missing = "[datastore1] db/none.vmdk".to_owned();
    assert_eq!(
        open((db.clone(), missing), false),
        Err(ErrorKind::FileNotFound)
    );
    assert_eq!(open((web, frozen), false), Ok(()));

    // One writes: nobody else gets in.
    let place = (db, idle);
    let dialer = demo.dialer(&host, &place, Transport::Nbd, true);
    let options = OpenOptions::new().writable(true);
    let writer = RemoteDisk::open(dialer, &place.1, &options).expect("it opens");
    assert_eq!(open(place.clone(), false), Err(ErrorKind::AlreadyLocked));
    writer.close().expect("it is closed");
    assert_eq!(open(place, false), Ok(()));
}

#[test]
fn a_ticket_for_reading_does_not_write() {
    let demo = Demo::start_with(Profile::Esxi8Vcenter, |builder| {
        builder.inject(Injection::ReadOnlyTickets)
    });
    let host = demo.login().expect("logged in");
    let place = demo.idle();
    let dialer = demo.dialer(&host, &place, Transport::NbdSsl, true);
    let options = OpenOptions::new().writable(true);
    let error = RemoteDisk::open(dialer, &place.1, &options).expect_err("it is for reading");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn many_rounds_leave_nothing_behind() {
    let demo = Demo::start(Profile::Esxi8Direct);
    let place = demo.frozen();
    for _ in 0..20 {
        let disk = demo.open(&place).expect("it opens");
        let mut sector = [0; 512];
        disk.read_at(Sector::new(0), &mut sector)
            .expect("it is read");
        disk.close().expect("it is closed");
    }
    assert!(eventually(|| demo.simulator.nfc_connections() == 0));
    assert_eq!(demo.simulator.memory_in_use(), 0);
    let opened = demo
        .simulator
        .transcript()
        .count(|event| matches!(event, Event::DiskOpened { .. }));
    let closed = demo
        .simulator
        .transcript()
        .count(|event| matches!(event, Event::DiskClosed { .. }));
    assert_eq!((opened, closed), (20, 20));
}

#[test]
fn the_transcript_has_no_secrets() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    demo.open(&demo.frozen())
        .expect("it opens")
        .close()
        .expect("it is closed");
    let password = demo.inventory.users[0].password.reveal();
    for entry in demo.simulator.transcript().entries() {
        assert!(!entry.to_json().contains(password), "{entry}");
    }
}

/// What a backup of a running machine does.
#[test]
fn changed_areas_are_what_the_guest_wrote() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let host = demo.login().expect("logged in");
    let (vm, frozen) = demo.frozen();
    let old = demo.inventory.vms[0].snapshots[0].moref.clone();
    let then = host
        .disks(&ManagedObject::snapshot(old))
        .expect("its disks");
    let change_id = then[0].change_id.clone().expect("changes are tracked");
    let write = |sector, value| {
        let id = &demo.inventory.vms[0].moref;
        let written = demo
            .simulator
            .write_as_guest(id, 2000, Sector::new(sector), &[value; 1024]);
        written.expect("it is written");
    };
    write(127, 1);
    write(10_000, 2);
    let new = host
        .create_snapshot(&vm, &SnapshotOptions::new("new"))
        .expect("it is taken");
    write(20_000, 3);
    let areas = host.changed_areas(&vm, Some(&new), 2000, ByteLen::new(0), &change_id);
    let areas = areas.expect("an answer").areas;
    let areas: Vec<_> = areas
        .iter()
        .map(|area| (area.start().get(), area.count().get()))
        .collect();
    assert_eq!(
        areas,
        [(0, 256), (9984, 128)],
        "whole blocks of 64 KiB, and nothing from after the snapshot"
    );

    // The new snapshot has what was written before it, and goes without a loss.
    let link = host.disks(&new).expect("its disks")[0].files[0].clone();
    let disk = demo.open(&(vm.clone(), link.clone())).expect("it opens");
    assert!(read_all(&disk).expect("it is read") == demo.bytes(&link));
    disk.close().expect("it is closed");
    let before = demo.bytes(&frozen);
    host.remove_snapshot(&new).expect("it is removed");
    assert!(demo.bytes(&frozen) == before, "the older snapshot stays");
    let present = &host.disks(&vm).expect("its disks")[0].files[0];
    let bytes = demo.bytes(present);
    for (sector, value) in [(127, 1), (10_000, 2), (20_000, 3)] {
        assert_eq!(bytes[sector * 512..][..1024], [value; 1024]);
    }
}

#[test]
fn an_attached_first_class_disk_is_found_and_read() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let host = demo.login().expect("logged in");
    let known = &demo.inventory.fcds[0];
    let spec = |snapshot: Option<&str>| FcdSpec {
        id: known.id.clone(),
        datastore: demo.inventory.datastores[0].moref.clone(),
        snapshot: snapshot.map(str::to_owned),
    };
    let fcd = host.fcd(&spec(None)).expect("it is found");
    assert_eq!(fcd.path, known.path.to_string());
    assert_eq!(
        host.fcd_snapshots(&spec(None)).expect("an answer"),
        [known.snapshots[0].id.clone()]
    );
    let then = host
        .fcd(&spec(Some(&known.snapshots[0].id)))
        .expect("it is found");
    assert_eq!(then.path, known.snapshots[0].path.to_string());
    let consumer = then.vm.expect("it is attached");
    assert_eq!(consumer, demo.idle().0);
    let disk = demo.open(&(consumer, then.path.clone())).expect("it opens");
    assert!(read_all(&disk).expect("it is read") == demo.bytes(&then.path));
}
