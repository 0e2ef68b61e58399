//! Requests and their answers, simple and structured.

use super::*;

#[test]
fn reads_and_writes_simple_and_structured() {
    let disk = ram(1 << 20);
    let mut client = Client::ready(&disk);
    client.request(FUA, 1, 0x0123_4567_89ab_cdef, 1000, 5);
    client.send(b"hello");
    assert_eq!(client.reply(), simple(0x0123_4567_89ab_cdef, 0));
    assert_eq!(*disk.flushes.lock(), ["write", "flush"]);
    client.request(DF, 0, 1, 999, 7);
    let payload = b"\0\0\0\0\0\0\x03\xe7\0hello\0".to_vec();
    let expected = Reply::Chunk {
        cookie: 1,
        kind: 1,
        payload,
    };
    assert_eq!(client.reply(), expected);
    client.request(0, 0, 2, 1 << 20, 0);
    let expected = Reply::Chunk {
        cookie: 2,
        kind: 0,
        payload: vec![],
    };
    assert_eq!(client.reply(), expected);
    let long = vec![0x5a; 1 << 20];
    client.request(0, 1, 3, 0, 1 << 20);
    client.send(&long);
    assert_eq!(client.reply(), simple(3, 0));
    client.request(0, 0, 4, 0, 1 << 20);
    match client.reply() {
        Reply::Chunk { payload, .. } => assert!(payload[8..] == long),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        client.shared.counters.snapshot().bytes_written,
        (1 << 20) + 5
    );
}

#[test]
fn zeroes_trim_flush_and_cache() {
    let disk = ram(4096);
    disk.bytes.lock().fill(1);
    let mut client = Client::ready(&disk);
    client.request(FUA, 6, 1, 0, 100);
    assert_eq!(client.reply(), simple(1, 0));
    client.request(NO_HOLE, 6, 2, 100, 100);
    assert_eq!(client.reply(), simple(2, 0));
    client.request(FAST_ZERO | NO_HOLE, 6, 3, 200, 100);
    assert_eq!(client.error(), (95, "not fast".to_owned()));
    client.request(FUA, 4, 4, 300, 100);
    assert_eq!(client.reply(), simple(4, 0));
    client.request(FUA, 3, 5, 0, 0);
    assert_eq!(client.reply(), simple(5, 0));
    client.request(0, 5, 6, 0, 4096);
    assert_eq!(client.reply(), simple(6, 0));
    for command in [1, 4, 5, 6] {
        client.request(0, command, 7, 0, 0);
        assert_eq!(client.reply(), simple(7, 0), "length 0 does nothing");
    }
    let done = ["free", "flush", "zero", "trim", "flush", "flush"];
    assert_eq!(*disk.flushes.lock(), done);
    let bytes = disk.bytes.lock();
    assert!(
        bytes[..200].iter().all(|byte| *byte == 0) && bytes[200..300].iter().all(|byte| *byte == 1)
    );
}

#[test]
fn senseless_requests_get_the_right_error_and_the_session_goes_on() {
    let mut client = Client::ready(&ram(4096));
    let (einval, enospc) = (22, 28);
    let cases: [(u16, u16, u64, u64, u32); 16] = [
        (0, 0, 4096, 1, einval),
        (0, 0, u64::MAX, 2, einval),
        (0, 1, 4095, 2, enospc),
        (0, 6, 4095, 2, enospc),
        (0, 4, 4095, 2, einval),
        (0, 5, 0, 5000, einval),
        (0, 7, 4095, 2, einval),
        (0, 3, 1, 0, einval),
        (0, 3, 0, 1, einval),
        (0, 8, 0, 1, einval),
        (0, 9999, 0, 1, einval),
        (NO_HOLE, 1, 0, 1, einval),
        (DF, 1, 0, 1, einval),
        (1 << 5, 0, 0, 1, einval),
        (1 << 15, 7, 0, 1, einval),
        (REQ_ONE, 6, 0, 1, einval),
    ];
    for (flags, command, offset, length, expected) in cases {
        client.request(flags, command, 9, offset, length);
        if command == 1 {
            client.send(&vec![0xff; usize::try_from(length).unwrap()]);
        }
        let (number, text) = client.error();
        assert_eq!(
            number, expected,
            "{flags} {command} {offset} {length}: {text}"
        );
        assert!(!text.is_empty());
    }
    client.request(0, 1, 9, 0, 4);
    client.send(b"fail");
    assert_eq!(client.error(), (5, "the medium is broken".to_owned()));
    client.request(0, 3, 10, 0, 0);
    assert_eq!(client.reply(), simple(10, 0));
}

#[test]
fn a_read_only_export_refuses_changes_and_stays_in_step() {
    let disk = Arc::new(Ram::read_only(4096));
    let mut client = Client::ready(&disk);
    client.request(0, 1, 1, 0, 3000);
    client.send(&[0x25; 3000]);
    assert_eq!(client.error().0, 1);
    for command in [4, 6] {
        client.request(0, command, 1, 0, 512);
        assert_eq!(client.error().0, 1);
    }
    client.request(FUA, 0, 1, 0, 512);
    assert_eq!(client.error().0, 22, "FUA is not offered");
    client.request(0, 3, 2, 0, 0);
    assert_eq!(client.reply(), simple(2, 0));
    assert_eq!(*disk.flushes.lock(), ["flush"]);
}

#[test]
fn without_structured_replies_all_is_simple() {
    let mut client = Client::greeted(vec![("disk", ram(4096))]);
    assert_eq!(client.verdict(7, &info("disk", &[])), 1);
    client.request(0, 0, 1, 4096, 1);
    assert_eq!(client.reply(), simple(1, 22));
    client.request(DF, 0, 2, 0, 1);
    assert_eq!(client.reply(), simple(2, 22), "DF is not offered");
    client.request(0, 7, 3, 0, 1);
    assert_eq!(client.reply(), simple(3, 22), "no context was selected");
    client.request(0, 0, 4, 0, 0);
    assert_eq!(client.reply(), simple(4, 0));
    client.request(0, 0, 5, 0, 2);
    assert_eq!(client.reply(), simple(5, 0));
    assert_eq!(client.read(2), [0, 0]);
}

#[test]
fn overlong_payloads_are_skipped_or_end_the_session() {
    let limits = Limits {
        payload: 1024,
        ..Limits::default()
    };
    let disk = ram(1 << 20);
    let mut client = Client::with_limits(vec![("", Arc::clone(&disk))], limits);
    client.greet(3);
    assert_eq!(client.verdict(8, &[]), 1);
    assert_eq!(client.option(7, &info("", &[3]))[1].1[10..], [0, 0, 4, 0]);
    client.request(0, 0, 1, 0, 1025);
    assert_eq!(client.error().0, 75);
    client.request(0, 1, 1, 0, 2048);
    client.send(&[0xee; 2048]);
    assert_eq!(client.error().0, 22);
    client.request(0, 1, 1, 0, 2049);
    let (rest, result) = client.finish();
    assert!(rest.is_empty());
    assert!(matches!(result, Err(SessionError::TooLong(2049))));
    assert!(disk.bytes.lock().iter().all(|byte| *byte == 0));
}

#[test]
fn replies_overtake_and_disconnect_waits_for_what_runs() {
    let disk = ram(4096);
    let release = disk.hold(0);
    let mut client = Client::ready(&disk);
    client.request(0, 0, 1, 0, 1);
    client.request(0, 0, 2, 512, 1);
    let cookie = |reply| match reply {
        Reply::Chunk { cookie, .. } => cookie,
        other => panic!("{other:?}"),
    };
    assert_eq!(cookie(client.reply()), 2);
    client.request(0, 2, 3, 0, 0);
    std::thread::sleep(Duration::from_millis(50));
    release.send(()).unwrap();
    assert_eq!(cookie(client.reply()), 1);
    let (rest, result) = client.finish();
    assert!(rest.is_empty());
    result.unwrap();
}

#[test]
fn a_stopping_server_finishes_what_runs_and_refuses_the_rest() {
    let disk = ram(4096);
    let release = disk.hold(0);
    let mut client = Client::ready(&disk);
    client.request(0, 0, 1, 0, 1);
    client.request(0, 0, 2, 512, 1);
    assert!(matches!(client.reply(), Reply::Chunk { cookie: 2, .. }));
    client.shared.begin_stop();
    client.request(0, 1, 3, 0, 4);
    client.send(b"late");
    assert_eq!(client.error().0, 108);
    release.send(()).unwrap();
    assert!(matches!(
        client.reply(),
        Reply::Chunk {
            cookie: 1,
            kind: 1,
            ..
        }
    ));
    client.hang_up();
    client.finish().1.unwrap();
    assert!(disk.bytes.lock().iter().all(|byte| *byte == 0));
}

/// The numbers of the replies of success to reads of a byte each, in any order.
fn bytes_read(client: &mut Client, count: usize) -> Vec<u64> {
    let mut cookies: Vec<u64> = (0..count)
        .map(|_| match client.reply() {
            Reply::Chunk {
                cookie, kind: 1, ..
            } => cookie,
            other => panic!("{other:?}"),
        })
        .collect();
    cookies.sort_unstable();
    cookies
}

#[test]
fn quick_reads_are_answered_in_rows_and_a_slow_one_holds_up_only_its_row() {
    let disk = ram(4096);
    let mut client = Client::ready(&disk);
    let mut next = 0;
    // Enough of them at once, so that some come in rows, and between them what ends a row.
    for _ in 0..50 {
        let from = next;
        for _ in 0..40 {
            client.request(0, 0, next, next % 4096, 1);
            next += 1;
        }
        assert_eq!(
            bytes_read(&mut client, 40),
            (from..next).collect::<Vec<_>>()
        );
        client.request(0, 3, next, 0, 0);
        assert_eq!(client.reply(), simple(next, 0));
        next += 1;
    }
    let release = disk.hold(77);
    client.request(0, 0, 1_000_000, 77, 1);
    client.request(0, 0, 1_000_001, 78, 1);
    std::thread::sleep(std::time::Duration::from_millis(5));
    release.send(()).unwrap();
    assert_eq!(bytes_read(&mut client, 2), [1_000_000, 1_000_001]);
    // From then on reads are known to take long, and others go on beside them.
    let release = disk.hold(77);
    client.request(0, 0, 1_000_002, 77, 1);
    client.request(0, 0, 1_000_003, 78, 1);
    assert_eq!(bytes_read(&mut client, 1), [1_000_003]);
    release.send(()).unwrap();
    assert_eq!(bytes_read(&mut client, 1), [1_000_002]);
}
