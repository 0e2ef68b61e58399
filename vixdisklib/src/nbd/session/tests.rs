//! Sessions from the first byte to the last, over a stream in memory.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::SessionError;
use super::testing::{Client, Ram, Reply, contexts, info};
use crate::nbd::Limits;

const INVALID: u32 = 0x8000_0003;
const UNSUPPORTED: u32 = 0x8000_0001;
const UNKNOWN: u32 = 0x8000_0006;
const TOO_BIG: u32 = 0x8000_0009;

const FUA: u16 = 1;
const NO_HOLE: u16 = 2;
const DF: u16 = 4;
const REQ_ONE: u16 = 8;
const FAST_ZERO: u16 = 16;

fn ram(size: usize) -> Arc<Ram> {
    Arc::new(Ram::new(size))
}

fn simple(cookie: u64, error: u32) -> Reply {
    Reply::Simple { cookie, error }
}

#[test]
fn export_name_pads_unless_asked_not_to() {
    for (flags, length) in [(0, 134), (1, 134), (2, 10), (3, 10)] {
        let mut client = Client::new(vec![("disk", ram(512))]);
        client.greet(flags);
        client.send_option(1, b"disk");
        let answer = client.read(length);
        assert_eq!(answer[..8], [0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(answer[8..10], [0x0d, 0x6d]);
        assert!(answer[10..].iter().all(|byte| *byte == 0));
        client.request(0, 0, 7, 0, 4);
        assert_eq!(client.reply(), simple(7, 0));
        assert_eq!(client.read(4), [0; 4]);
        client.request(0, 2, 8, 0, 0);
        let (rest, result) = client.finish();
        assert!(rest.is_empty());
        result.unwrap();
    }
}

#[test]
fn export_name_can_only_hang_up_on_error() {
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    client.send_option(1, b"other");
    let (rest, result) = client.finish();
    assert!(rest.is_empty());
    assert!(matches!(result, Err(SessionError::UnknownExport)));
}

#[test]
fn info_and_go_agree() {
    let mut client = Client::greeted(vec![("disk", ram(1 << 20))]);
    assert_eq!(client.verdict(8, &[]), 1);
    let wanted = info("disk", &[3, 2, 99, 1, 1]);
    let asked = client.option(6, &wanted);
    assert_eq!(asked, client.option(7, &wanted));
    let payloads: Vec<_> = asked.iter().map(|reply| reply.1.as_slice()).collect();
    assert_eq!(
        payloads,
        [
            b"\0\0\0\0\0\0\0\x10\0\0\x0d\xed".as_slice(),
            b"\0\x01disk",
            b"\0\x02about disk",
            b"\0\x03\0\0\0\x01\0\0\x10\0\x02\0\0\0",
            b"",
        ]
    );
}

#[test]
fn flags_tell_what_is_offered() {
    let mut client = Client::greeted(vec![("disk", Arc::new(Ram::read_only(512)))]);
    let facts = client.option(6, &info("disk", &[]));
    assert_eq!(facts[0].1[10..], [0x05, 0x07]);
    assert_eq!(client.verdict(8, &[]), 1);
    let facts = client.option(6, &info("disk", &[]));
    assert_eq!(facts[0].1[10..], [0x05, 0x87]);
}

#[test]
fn the_empty_name_is_the_only_export() {
    let mut one = Client::greeted(vec![("disk", ram(512))]);
    assert_eq!(one.option(6, &info("", &[1]))[1].1, b"\0\x01disk");
    let mut two = Client::greeted(vec![("a", ram(512)), ("b", ram(512))]);
    assert_eq!(two.verdict(6, &info("", &[])), UNKNOWN);
    assert_eq!(two.verdict(6, &info("A", &[])), UNKNOWN);
    assert_eq!(two.verdict(6, &info("../a", &[])), UNKNOWN);
    let list = two.option(3, &[]);
    assert_eq!(list[0], (2, b"\0\0\0\x01aabout a".to_vec()));
    assert_eq!(list[1], (2, b"\0\0\0\x01babout b".to_vec()));
    assert_eq!(list[2], (1, vec![]));
    assert_eq!(two.verdict(7, &info("b", &[])), 1);
}

#[test]
fn unsupported_options_are_answered_and_the_session_goes_on() {
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    for option in [4, 5, 11, 12, 0, u32::MAX] {
        let replies = client.option(option, b"whatever");
        assert_eq!(replies[0].0, UNSUPPORTED);
        assert!(!replies[0].1.is_empty(), "a text always comes along");
    }
    assert_eq!(client.verdict(3, b"x"), INVALID);
    assert_eq!(client.verdict(8, b"x"), INVALID);
    assert_eq!(client.verdict(7, b"\0\0\0\x05disk\0\0"), INVALID);
    assert_eq!(client.verdict(7, &info("di\0sk", &[])), INVALID);
    assert_eq!(client.verdict(7, &info(&"x".repeat(5000), &[])), INVALID);
    assert_eq!(client.verdict(7, &[0; 70_000]), TOO_BIG);
    let unknown = client.option(7, &info(&"\u{1}".repeat(4096), &[]));
    assert_eq!((unknown[0].0, unknown[0].1.len()), (UNKNOWN, 4096));
    assert_eq!(client.verdict(7, &info("disk", &[])), 1);
}

#[test]
fn a_client_without_fixed_newstyle_has_export_name_only() {
    let mut client = Client::new(vec![("disk", ram(512))]);
    client.greet(0);
    assert_eq!(client.verdict(7, &info("disk", &[])), INVALID);
    assert_eq!(client.verdict(3, &[]), INVALID);
    client.send_option(1, b"disk");
    assert_eq!(client.read(134).len(), 134);
}

#[test]
fn abort_is_acknowledged() {
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    assert_eq!(client.verdict(2, b"some data"), 1);
    client.finish().1.unwrap();
}

#[test]
fn contexts_hold_for_the_export_they_were_selected_for() {
    for (selected, chosen, works) in [("a", "a", true), ("a", "b", false), ("nowhere", "a", false)]
    {
        let mut client = Client::greeted(vec![("a", ram(4096)), ("b", ram(4096))]);
        let query = contexts(selected, &["base:allocation"]);
        assert_eq!(client.verdict(10, &query), INVALID, "not yet structured");
        assert_eq!(client.verdict(9, &query), INVALID, "not yet structured");
        assert_eq!(client.verdict(8, &[]), 1);
        let verdict = if selected == "nowhere" { UNKNOWN } else { 1 };
        assert_eq!(client.verdict(10, &query), verdict);
        assert_eq!(client.verdict(7, &info(chosen, &[])), 1);
        client.request(0, 7, 1, 0, 512);
        if works {
            assert!(matches!(client.reply(), Reply::Chunk { kind: 5, .. }));
        } else {
            assert_eq!(client.error().0, 22);
        }
    }
}

#[test]
fn a_failed_selection_replaces_an_earlier_one() {
    for bad in [
        contexts("disk", &["no colon"]),
        contexts("disk", &[]),
        vec![1],
        vec![0; 70_000],
    ] {
        let mut client = Client::greeted(vec![("disk", ram(4096))]);
        assert_eq!(client.verdict(8, &[]), 1);
        let good = client.option(10, &contexts("disk", &["base:allocation", "x-none:y"]));
        assert_eq!(good[0], (4, b"\0\0\0\x01base:allocation".to_vec()));
        client.option(10, &bad);
        assert_eq!(client.verdict(7, &info("disk", &[])), 1);
        client.request(0, 7, 1, 0, 512);
        assert_eq!(client.error().0, 22);
    }
}

#[test]
fn contexts_are_listed() {
    let mut client = Client::greeted(vec![("disk", ram(4096))]);
    assert_eq!(client.verdict(8, &[]), 1);
    let entry = (4, b"\0\0\0\0base:allocation".to_vec());
    for queries in [&[][..], &["base:"], &["base:allocation", "qemu:"]] {
        let listed = client.option(9, &contexts("disk", queries));
        assert_eq!(listed, [entry.clone(), (1, vec![])]);
    }
    assert_eq!(client.option(9, &contexts("", &["qemu:"])), [(1, vec![])]);
    let many = vec!["x:"; 1025];
    assert_eq!(client.verdict(9, &contexts("", &many)), TOO_BIG);
}

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
fn block_status_in_one_or_many_pieces() {
    let mut client = Client::ready(&ram(4096));
    client.request(0, 7, 1, 500, 2500);
    let status = |payload: &[u8]| Reply::Chunk {
        cookie: 1,
        kind: 5,
        payload: payload.to_vec(),
    };
    let three = b"\0\0\0\x01\0\0\x01\xf4\0\0\0\0\0\0\x03\xe8\0\0\0\x03\0\0\x03\xe8\0\0\0\0";
    assert_eq!(client.reply(), status(three));
    client.request(REQ_ONE, 7, 1, 1000, 2500);
    assert_eq!(client.reply(), status(b"\0\0\0\x01\0\0\x03\xe8\0\0\0\x03"));
    client.request(REQ_ONE, 7, 1, 1000, 1);
    assert_eq!(client.reply(), status(b"\0\0\0\x01\0\0\0\x01\0\0\0\x03"));
    client.request(0, 7, 1, 0, 0);
    assert_eq!(client.error().0, 22);
}

#[test]
fn senseless_requests_get_the_right_error_and_the_session_goes_on() {
    let mut client = Client::ready(&ram(4096));
    let (einval, enospc) = (22, 28);
    let cases: [(u16, u16, u64, u32, u32); 16] = [
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
            client.send(&vec![0xff; length as usize]);
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
        requests in proptest::collection::vec((any::<u16>(), 0_u16..10, any::<u64>(), 0_u64..6000, 0_u32..6000), 0..30),
    ) {
        let mut client = Client::ready(&ram(4096));
        for (flags, command, cookie, offset, length) in requests {
            client.request(flags & 0x1f, command, cookie, offset, length);
            if command == 1 {
                client.send(&vec![0; length as usize]);
            }
        }
        client.hang_up();
        client.finish().1.unwrap();
    }
}
