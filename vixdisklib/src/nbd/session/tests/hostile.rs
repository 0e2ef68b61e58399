//! Clients that break the rules or ask for too much.

use super::*;

#[test]
fn end_of_stream_in_every_state() {
    let mut whole = vec![0, 0, 0, 3];
    let flags = whole.len();
    whole.extend(b"IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x04disk\0\0");
    let option = whole.len();
    whole.extend(b"\x25\x60\x95\x13\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x04data");
    for end in 0..=whole.len() {
        let disk = ram(4096);
        let mut client = Client::new(vec![("disk", Arc::clone(&disk))]);
        client.send(&whole[..end]);
        client.hang_up();
        let (_, result) = client.finish();
        let orderly = [0, flags, option, whole.len()].contains(&end);
        match result {
            Ok(()) => assert!(orderly, "end after {end} bytes"),
            Err(SessionError::Truncated(_)) => assert!(!orderly, "end after {end} bytes"),
            Err(error) => panic!("end after {end} bytes: {error}"),
        }
        let written = disk.bytes.lock().starts_with(b"data");
        assert_eq!(written, end == whole.len(), "half a write is no write");
    }
}

#[test]
fn wrong_magic_and_flags_end_the_session() {
    let mut client = Client::new(vec![("disk", ram(512))]);
    client.greet(4);
    assert!(matches!(client.finish().1, Err(SessionError::Protocol(_))));
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    client.send(&[0; 16]);
    assert!(matches!(client.finish().1, Err(SessionError::Protocol(_))));
    let mut client = Client::ready(&ram(512));
    client.send(&[0; 28]);
    assert!(matches!(client.finish().1, Err(SessionError::Protocol(_))));
}

#[test]
fn floods_end_the_session() {
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    for _ in 0..36 {
        assert_eq!(client.verdict(3, &[]), 1);
    }
    let result = client.finish().1;
    assert!(matches!(result, Err(SessionError::ManyOptions(36))));
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    client.send(b"IHAVEOPT\0\0\0\x03\xff\xff\xff\xff");
    assert!(matches!(client.finish().1, Err(SessionError::TooLong(_))));
}

#[test]
fn requests_of_a_client_that_is_gone_are_not_carried_out() {
    let mut client = Client::ready(&ram(4096));
    client.stop_listening();
    let requests: Vec<u8> =
        b"\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\x10\0".repeat(1000);
    client.send(&requests);
    let shared = Arc::clone(&client.shared);
    assert!(matches!(client.finish().1, Err(SessionError::Io(_))));
    let carried_out = shared.counters.snapshot().requests;
    assert!(carried_out < 200, "{carried_out} of 1000");
}

#[test]
fn many_requests_through_few_slots() {
    let limits = Limits {
        in_flight_requests: 2,
        in_flight_bytes: 10,
        threads: 3,
        ..Limits::default()
    };
    let disk = ram(4096);
    let mut client = Client::with_limits(vec![("", disk)], limits);
    client.greet(3);
    assert_eq!(client.verdict(7, &info("", &[])), 1);
    for cookie in 0..200 {
        client.request(0, 0, cookie, cookie, 100);
    }
    let mut seen = [false; 200];
    for _ in 0..200 {
        match client.reply() {
            Reply::Simple { cookie, error: 0 } => {
                seen[usize::try_from(cookie).unwrap()] = true;
                assert_eq!(client.read(100), [0; 100]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn senseless_limits_do_no_harm() {
    for extreme in [0, usize::MAX] {
        let limits = Limits {
            threads: extreme,
            in_flight_requests: extreme,
            in_flight_bytes: extreme,
            extents: extreme,
            payload: u32::MAX,
            ..Limits::default()
        };
        let mut client = Client::with_limits(vec![("disk", ram(4096))], limits);
        client.greet(3);
        assert_eq!(client.verdict(8, &[]), 1);
        let query = contexts("disk", &["base:allocation"]);
        assert_eq!(client.verdict(10, &query), 1);
        let facts = client.option(7, &info("disk", &[3]));
        assert_eq!(facts[1].1[10..], [0x40, 0, 0, 0]);
        for command in [0, 7] {
            client.request(0, command, 1, 0, 4096);
            assert!(matches!(client.reply(), Reply::Chunk { kind: 1 | 5, .. }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a client sends, the session ends when it hangs up, and nothing panics.
    #[test]
    fn arbitrary_bytes_never_hurt(
        flags in 0_u32..5,
        option in 0_u32..12,
        data in proptest::collection::vec(any::<u8>(), 0..64),
        tail in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut client = Client::new(vec![("disk", ram(512))]);
        client.greet(flags);
        client.send_option(option, &data);
        client.send(&tail);
        client.hang_up();
        let _ = client.finish();
    }

    /// The same in the transmission phase, with requests that are whole but random.
    #[test]
    fn arbitrary_requests_never_hurt(
        requests in proptest::collection::vec((any::<u16>(), 0_u16..10, any::<u64>(), 0_u64..6000, 0_u64..6000), 0..30),
    ) {
        let mut client = Client::ready(&ram(4096));
        for (flags, command, cookie, offset, length) in requests {
            client.request(flags & 0x1f, command, cookie, offset, length);
            if command == 1 {
                client.send(&vec![0; usize::try_from(length).unwrap()]);
            }
        }
        client.hang_up();
        client.finish().1.unwrap();
    }
}
