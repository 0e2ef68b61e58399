//! What goes wrong when it is told to: the client gets the error that belongs to it, and never wrong data.

mod common;

use std::time::{Duration, Instant};

use common::{Demo, METHODS, eventually, read_all};
use vmdk_engine::Sector;
use vsphere_nfc::{Compression, Error, ErrorKind, OpenOptions, RemoteDisk, Timeouts, Transport};
use vsphere_sim::{
    Capability, Event, FragmentFault, HeaderField, Injection, IoKind, OpenRefusal, Plan, Profile,
};

/// Opens and reads the disk whole, in requests of 1 MiB.
fn read_with(demo: &Demo, compression: Compression) -> Result<Vec<u8>, Error> {
    let host = demo.login()?;
    let place = demo.frozen();
    let dialer = demo.dialer(&host, &place, Transport::NbdSsl, false);
    let mut timeouts = Timeouts::default();
    timeouts.read = Duration::from_secs(2);
    timeouts.accept = Duration::from_secs(5);
    let options = OpenOptions::new()
        .compression(compression)
        .timeouts(timeouts);
    let disk = RemoteDisk::open(dialer, &place.1, &options)?;
    read_all(&disk)
}

fn injected(demo: &Demo, name: &str) -> usize {
    demo.simulator
        .transcript()
        .count(|event| matches!(event, Event::Injected { name: known, .. } if *known == name))
}

/// What a client gets, and that it was injected.
fn kind(demo: &Demo, plan: impl Into<Plan>, compression: Compression) -> Option<ErrorKind> {
    let plan = plan.into();
    let name = plan.injection.name();
    demo.simulator.clear(None);
    demo.simulator.inject(plan);
    let before = injected(demo, name);
    let result = read_with(demo, compression);
    assert!(injected(demo, name) > before, "{name} was not injected");
    match result {
        Ok(bytes) => {
            assert!(bytes == demo.bytes(&demo.frozen().1), "{name}: wrong data");
            None
        }
        Err(error) => Some(error.kind()),
    }
}

#[test]
fn a_persistent_fault_gives_its_error() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let refused = |reason| Injection::OpenRefused { reason };
    let fault = |kind: &str| Injection::SoapFault {
        method: "NfcGetVmFiles".to_owned(),
        kind: kind.to_owned(),
    };
    let cases = [
        (Injection::WrongPassword, ErrorKind::LoginFailed),
        (Injection::UnknownVm, ErrorKind::VmNotFound),
        (fault("NoPermission"), ErrorKind::PermissionDenied),
        (
            Injection::Maintenance { entering: false },
            ErrorKind::HostInMaintenance,
        ),
        (
            Injection::Maintenance { entering: true },
            ErrorKind::HostEnteringMaintenance,
        ),
        (Injection::HostDisconnected, ErrorKind::HostNotConnected),
        (Injection::ManagementCertificate, ErrorKind::Certificate),
        (Injection::TicketThumbprint, ErrorKind::Certificate),
        (Injection::AnnouncedSha256, ErrorKind::Certificate),
        (Injection::SecondCertificate, ErrorKind::Certificate),
        (
            Injection::TicketRefused { silent: false },
            ErrorKind::TicketRejected,
        ),
        (refused(OpenRefusal::Locked), ErrorKind::AlreadyLocked),
        (refused(OpenRefusal::Missing), ErrorKind::FileNotFound),
        (refused(OpenRefusal::MultiWriter), ErrorKind::AlreadyLocked),
        (refused(OpenRefusal::Permission), ErrorKind::AccessRefused),
        (Injection::SessionRefused, ErrorKind::OutOfMemory),
    ];
    for (injection, expected) in cases {
        let name = format!("{injection:?}");
        assert_eq!(
            kind(&demo, injection, Compression::None),
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn no_fault_of_the_data_port_gives_wrong_data() {
    let demo = Demo::start(Profile::Esxi8Direct);
    let plans = [
        Injection::ProxyRefused.into(),
        Injection::SessionLimit.into(),
        Injection::TicketRefused { silent: true }.into(),
        Injection::ClassicRefused {
            instead_of: 36,
            with_error: true,
        }
        .into(),
        Injection::ClassicRefused {
            instead_of: 51,
            with_error: false,
        }
        .into(),
        Injection::ClassicRefused {
            instead_of: 52,
            with_error: true,
        }
        .into(),
        Injection::IoError {
            on: IoKind::Read,
            code: 13,
            text: "broken".to_owned(),
        }
        .into(),
        Injection::DisconnectInRead { bytes: 1000 }.after(2),
        Injection::TruncatedFrame.after(8),
        Injection::BadHeader {
            field: HeaderField::Magic,
        }
        .after(8),
        Injection::BadHeader {
            field: HeaderField::Kind,
        }
        .after(8),
        Injection::BadHeader {
            field: HeaderField::Operation,
        }
        .after(8),
        Injection::HostSwitch { message: true }.after(6),
    ];
    for plan in plans {
        let name = format!("{:?}", plan.injection);
        assert!(
            kind(&demo, plan, Compression::None).is_some(),
            "{name}: an error is expected"
        );
    }
    for fault in [
        FragmentFault::Overlap,
        FragmentFault::OutOfRange,
        FragmentFault::Empty,
        FragmentFault::Length,
        FragmentFault::Data,
    ] {
        for compression in METHODS {
            let plan = Injection::BadFragment { fault };
            let kind = kind(&demo, plan, compression);
            assert!(
                kind.is_some(),
                "{fault:?} {compression:?}: an error is expected"
            );
        }
    }
}

#[test]
fn what_is_only_unusual_changes_no_data() {
    let demo = Demo::start(Profile::Esxi7Direct);
    let plans: [Plan; 8] = [
        Injection::SmallBuffers { limit: 65536 }.into(),
        Injection::RawSkipZ.into(),
        Injection::Uncompressed.into(),
        Injection::Delay {
            time: Duration::from_millis(1),
        }
        .times(50),
        Injection::Stall {
            time: Duration::from_millis(500),
        }
        .after(5)
        .times(1),
        Injection::SessionExpired.once(),
        Injection::Greeting {
            without: Capability::Sha256,
        }
        .into(),
        Injection::OutOfMemory { above: 1 << 19 }.into(),
    ];
    for plan in plans {
        let name = format!("{plan:?}");
        assert_eq!(kind(&demo, plan, Compression::SkipZ), None, "{name}");
    }
    // Properties of the server, which are no occasions.
    demo.simulator.clear(None);
    for injection in [
        Injection::Shuffle,
        Injection::ProbeReply { late: false },
        Injection::ErrorReply { trailing: false },
        Injection::Bandwidth { bytes: 100 << 20 },
    ] {
        demo.simulator.inject(injection.clone());
        let bytes = read_with(&demo, Compression::Zlib).expect("it is read");
        assert!(bytes == demo.bytes(&demo.frozen().1), "{injection:?}");
    }
}

#[test]
fn delayed_replies_to_writes_come_all_the_same() {
    let demo = Demo::start_with(Profile::Esxi8Vcenter, |builder| {
        builder.inject(Injection::DelayedWriteReply { writes: 3 })
    });
    let host = demo.login().expect("logged in");
    let place = demo.idle();
    let dialer = demo.dialer(&host, &place, Transport::Nbd, true);
    let options = OpenOptions::new().writable(true);
    let disk = RemoteDisk::open(dialer, &place.1, &options).expect("it opens");
    let (sender, receiver) = std::sync::mpsc::channel();
    for number in 0..10_u8 {
        let sender = sender.clone();
        let done =
            move |result: Result<(), Error>, _| sender.send(result).expect("somebody listens");
        disk.submit_write(
            Sector::new(u64::from(number) * 8),
            vec![number + 1; 4096],
            done,
        );
    }
    disk.close().expect("it is closed");
    drop(sender);
    assert_eq!(receiver.into_iter().filter(Result::is_ok).count(), 10);
    let bytes = demo.bytes(&place.1);
    for number in 0..10_usize {
        assert!(
            bytes[number * 4096..][..4096]
                .iter()
                .all(|byte| usize::from(*byte) == number + 1)
        );
    }
}

#[test]
fn a_connection_may_end_after_any_message() {
    let demo = Demo::start(Profile::Esxi8Direct);
    let place = demo.frozen();
    let expected = demo.bytes(&place.1);
    let mut whole = 0;
    // Each message up to some reads, and as many as there are.
    for messages in (0..40).chain([300]) {
        demo.simulator.clear(None);
        demo.simulator.inject(Injection::Disconnect { messages });
        match read_with(&demo, Compression::None) {
            Ok(bytes) => {
                assert!(bytes == expected, "after {messages} messages");
                whole += 1;
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::ConnectionLost | ErrorKind::TicketRejected | ErrorKind::Protocol
                ),
                "after {messages} messages: {error:?}"
            ),
        }
    }
    assert!(whole > 0, "the last ones are late enough");
    assert!(eventually(|| demo.simulator.nfc_connections() == 0));
    assert_eq!(demo.simulator.memory_in_use(), 0);
}

#[test]
fn a_host_that_moves_is_followed() {
    let demo = Demo::start(Profile::Esxi8Vcenter);
    let disk = demo.open(&demo.frozen()).expect("it opens");
    let before = demo.simulator.nfc_port();
    demo.simulator.switch_host().expect("another port");
    assert_ne!(demo.simulator.nfc_port(), before);
    let bytes = read_all(&disk).expect("it is read");
    assert!(bytes == demo.bytes(&demo.frozen().1));
}

#[test]
fn latency_is_hidden_by_requests_in_flight() {
    let latency = Duration::from_millis(40);
    let demo = Demo::start_with(Profile::Esxi8Direct, |builder| builder.latency(latency));
    let disk = demo.open(&demo.frozen()).expect("it opens");
    let begin = Instant::now();
    let mut sector = [0; 512];
    disk.read_at(Sector::new(0), &mut sector)
        .expect("it is read");
    assert!(begin.elapsed() >= latency, "one reply is late");
    let begin = Instant::now();
    // 17 requests, whose replies are on their way at the same time.
    let bytes = read_all(&disk).expect("it is read");
    assert!(begin.elapsed() < latency * 17, "{:?}", begin.elapsed());
    assert!(bytes == demo.bytes(&demo.frozen().1));
}
