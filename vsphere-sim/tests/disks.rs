//! Disks by the client of this project: the same bytes as without a server in between.

mod common;

use common::{Demo, METHODS, eventually, read_all};
use vmdk_engine::{Sector, SectorCount, SectorRange};
use vsphere_nfc::{ErrorKind, OpenOptions, RemoteDisk, Transport};
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
