//! Greeting, options and their answers.

use super::*;

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
    for option in [4, 5, 12, 0, u32::MAX] {
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
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    assert_eq!(client.verdict(2, &[0; 70_000]), 1, "whatever comes along");
    client.finish().1.unwrap();
}

#[test]
fn a_stopping_server_says_so() {
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    client.shared.begin_stop();
    for option in [3, 7, 8, 11] {
        let replies = client.option(option, &info("disk", &[]));
        assert_eq!(replies[0].0, SHUTDOWN);
        assert!(!replies[0].1.is_empty());
    }
    client.send_option(1, b"disk");
    assert!(matches!(client.finish().1, Err(SessionError::Stopping)));
    let mut client = Client::greeted(vec![("disk", ram(512))]);
    client.shared.begin_stop();
    assert_eq!(client.verdict(2, &[]), ACK);
}
