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

/// Of many requests only so many are read while the first one waits, and only so many run.
#[test]
fn requests_in_flight_are_bounded() {
    for (requests, bytes, threads, expected) in [
        (5, usize::MAX, 16, 5),
        (64, 400, 16, 4),
        (64, usize::MAX, 3, 3),
        (64, usize::MAX, 1, 1),
    ] {
        let limits = Limits {
            in_flight_requests: requests,
            in_flight_bytes: bytes,
            threads,
            ..Limits::default()
        };
        let disk = ram(4096);
        let mut client = Client::with_limits(vec![("", Arc::clone(&disk))], limits);
        client.greet(3);
        assert_eq!(client.verdict(7, &info("", &[])), 1);
        // Reads go no further than to this.
        let closed = disk.gate.lock();
        for cookie in 0..100 {
            client.request(0, 0, cookie, 0, 100);
        }
        let begun = || disk.reads.lock().len();
        let begin = std::time::Instant::now();
        while begun() < expected {
            assert!(begin.elapsed() < Duration::from_secs(20), "{}", begun());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(begun(), expected);
        drop(closed);
        for _ in 0..100 {
            assert!(matches!(client.reply(), Reply::Simple { error: 0, .. }));
            assert_eq!(client.read(100), [0; 100]);
        }
    }
}

#[test]
fn extents_in_one_reply_are_bounded() {
    for (extents, expected) in [(0, 1), (1, 1), (2, 2), (100, 5)] {
        let limits = Limits {
            extents,
            ..Limits::default()
        };
        let mut client = Client::with_limits(vec![("disk", ram(4096))], limits);
        client.greet(3);
        assert_eq!(client.verdict(8, &[]), 1);
        let query = contexts("disk", &["base:allocation"]);
        assert_eq!(client.verdict(10, &query), 1);
        assert_eq!(client.verdict(7, &info("disk", &[])), 1);
        client.request(0, 7, 1, 0, 4096);
        match client.reply() {
            Reply::Chunk { payload, .. } => assert_eq!(payload.len(), 4 + 8 * expected),
            other => panic!("{other:?}"),
        }
    }
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

/// The protocol wants a largest payload that is no smaller than the preferred size, which is 512 at least.
#[test]
fn block_sizes_agree_whatever_the_limit_of_payloads() {
    for payload in [0, 1, 511, 512, 513, 1 << 25, u32::MAX] {
        let limits = Limits {
            payload,
            ..Limits::default()
        };
        let mut client = Client::with_limits(vec![("disk", ram(4096))], limits);
        client.greet(3);
        let sizes = client.option(7, &info("disk", &[3]))[1].1.clone();
        let (preferred, maximum) = (number(&sizes[6..10]), number(&sizes[10..14]));
        assert!(512 <= preferred && preferred <= maximum, "{payload}");
        assert!(preferred.is_power_of_two());
        client.request(0, 0, 1, 0, preferred.min(4096));
        assert_eq!(client.reply(), simple(1, 0), "{payload}");
    }
}

#[test]
fn senseless_limits_do_no_harm() {
    for extreme in [0, usize::MAX] {
        let limits = Limits {
            connections: extreme,
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
