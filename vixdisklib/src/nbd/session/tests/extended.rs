//! Extended headers: how they are negotiated, and what they change.

use super::*;

#[test]
fn they_take_precedence_over_structured_replies() {
    for structured_first in [false, true] {
        let mut client = Client::greeted(vec![("disk", ram(4096))]);
        if structured_first {
            assert_eq!(client.verdict(8, &[]), ACK);
        }
        assert_eq!(client.verdict(11, b"x"), INVALID);
        client.extend();
        assert_eq!(client.verdict(11, &[]), ACK, "twice does no harm");
        let late = client.option(8, &[]);
        assert_eq!(late[0].0, EXTENDED_REQUIRED);
        assert!(!late[0].1.is_empty());
        assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
        client.request(0, 0, 1, 0, 1);
        assert!(matches!(client.reply(), Reply::Chunk { kind: 1, .. }));
    }
}

#[test]
fn export_name_breaks_the_rules_after_them() {
    let mut client = Client::greeted(vec![("disk", ram(4096))]);
    client.extend();
    client.send_option(1, b"disk");
    let (rest, result) = client.finish();
    assert!(rest.is_empty());
    assert!(matches!(result, Err(SessionError::Protocol(_))));
}

#[test]
fn compact_requests_are_no_requests_any_more() {
    let mut client = Client::ready_extended(&ram(4096));
    client.send(b"\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0");
    assert!(matches!(client.finish().1, Err(SessionError::Protocol(_))));
}

#[test]
fn every_reply_is_a_chunk_that_repeats_the_offset() {
    let disk = ram(1 << 20);
    let mut client = Client::ready_extended(&disk);
    client.request(FUA | PAYLOAD_LEN, 1, 0x0123_4567_89ab_cdef, 1000, 5);
    client.send(b"hello");
    let none = |cookie| Reply::Chunk {
        cookie,
        kind: 0,
        payload: vec![],
    };
    assert_eq!(client.reply(), none(0x0123_4567_89ab_cdef));
    assert_eq!(client.echoed_offset, 1000);
    client.request(DF, 0, 2, 999, 7);
    let payload = b"\0\0\0\0\0\0\x03\xe7\0hello\0".to_vec();
    assert_eq!(client.chunks(2), [(true, 1, payload)]);
    assert_eq!(client.echoed_offset, 999);
    client.request(0, 3, 3, 0, 0);
    assert_eq!(client.reply(), none(3));
    for (command, flags) in [(4, FUA), (5, 0), (6, NO_HOLE)] {
        client.request(flags, command, 4, 512, 512);
        assert_eq!(client.reply(), none(4));
    }
    client.request(0, 0, 5, 100, 0);
    assert_eq!(client.reply(), none(5), "a read of nothing");
    client.request(PAYLOAD_LEN, 1, 6, 100, 0);
    assert_eq!(client.reply(), none(6), "a write of nothing");
}

/// 8 TiB of nothing, which a vector of bytes cannot hold.
#[test]
fn lengths_have_64_bits() {
    let disk = Arc::new(Ram {
        claimed_size: Some(8 << 40),
        piece: 1 << 40,
        ..Ram::new(0)
    });
    let mut client = Client::ready_extended(&disk);
    client.request(0, 7, 1, 0, 8 << 40);
    let chunks = client.chunks(1);
    assert_eq!(chunks.len(), 1);
    let (_, kind, payload) = &chunks[0];
    assert_eq!((*kind, payload.len()), (6, 8 + 8 * 16));
    assert_eq!(payload[..8], *b"\0\0\0\x01\0\0\0\x08");
    assert_eq!(payload[8..24], *b"\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(payload[24..40], *b"\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\x03");
    client.request(REQ_ONE, 7, 2, 5, 8 << 30);
    let one = b"\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    assert_eq!(client.chunks(2), [(true, 6, one)]);
    for (command, flags) in [(4, 0), (5, 0), (6, 0)] {
        client.request(flags, command, 3, 1 << 40, 5 << 40);
        assert_eq!(client.chunks(3), [(true, 0, vec![])]);
    }
    assert_eq!(
        *disk.flushes.lock(),
        ["trim 5497558138880", "free 5497558138880"]
    );
    client.request(0, 0, 4, 0, 5 << 40);
    assert_eq!(client.error().0, 75, "nothing is set aside for it");
    client.request(0, 6, 5, u64::MAX, u64::MAX);
    assert_eq!(client.error().0, 28);
}

/// As qemu 10 sends it.
#[test]
fn a_write_brings_its_data_also_without_the_flag() {
    let disk = ram(4096);
    let mut client = Client::ready_extended(&disk);
    client.request(0, 1, 1, 100, 512);
    client.send(&[7; 512]);
    let done = Reply::Chunk {
        cookie: 1,
        kind: 0,
        payload: vec![],
    };
    assert_eq!(client.reply(), done);
    assert_eq!(disk.bytes.lock()[99..102], [0, 7, 7]);
}

#[test]
fn payloads_are_taken_only_where_they_belong() {
    let disk = ram(4096);
    let mut client = Client::ready_extended(&disk);
    for command in [0, 3, 4, 5, 6, 8, 77] {
        client.request(PAYLOAD_LEN, command, 2, 0, 100_000);
        client.send(&vec![0x21; 100_000]);
        let (number, text) = client.error();
        assert_eq!(number, 22, "{command}: {text}");
    }
    client.request(PAYLOAD_LEN, 1, 3, 4000, 100);
    client.send(&[0xff; 100]);
    assert_eq!(client.error().0, 28);
    assert!(disk.bytes.lock().iter().all(|byte| *byte == 0));
    client.request(PAYLOAD_LEN, 0, 4, 0, 65 << 20);
    assert!(matches!(client.finish().1, Err(SessionError::TooLong(_))));
}

#[test]
fn block_status_may_name_its_contexts() {
    let disk = Arc::new(Ram {
        contexts: vec!["x-a:b".to_owned(), "x-a:c".to_owned()],
        ..Ram::new(4096)
    });
    let mut client = Client::greeted(vec![("disk", disk)]);
    client.extend();
    let facts = client.option(6, &info("disk", &[]));
    assert_eq!(facts[0].1[10] & 0x10, 0, "no context, no payload");
    let names = ["base:allocation", "x-a:b", "x-a:c"];
    let ids: Vec<u64> = client
        .option(10, &contexts("disk", &names))
        .iter()
        .filter(|reply| reply.0 == 4)
        .map(|reply| number(&reply.1[..4]))
        .collect();
    assert_eq!(ids.len(), 3);
    let facts = client.option(7, &info("disk", &[]));
    assert_eq!(facts[0].1[10] & 0x10, 0x10);
    let told = |chunks: Vec<(bool, u16, Vec<u8>)>| -> Vec<u64> {
        chunks.iter().map(|chunk| number(&chunk.2[..4])).collect()
    };
    client.request(0, 7, 1, 0, 4096);
    assert_eq!(told(client.chunks(1)), ids, "all, if none is named");
    for wanted in [vec![ids[1]], vec![ids[2], ids[0]], ids.clone()] {
        let payload = status_payload(2000, &wanted);
        client.request(PAYLOAD_LEN, 7, 2, 1000, payload.len().try_into().unwrap());
        client.send(&payload);
        let mut told = told(client.chunks(2));
        let mut wanted = wanted;
        told.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(told, wanted);
    }
    let wrong = [
        status_payload(2000, &[99]),
        status_payload(2000, &[ids[0], ids[0]]),
        status_payload(2000, &[]),
        status_payload(5000, &[ids[0]]),
        status_payload(0, &[ids[0]]),
        status_payload(2000, &[ids[0]; 4]),
        status_payload(2000, &[ids[0]; 1000]),
        vec![0; 3],
        vec![0; 13],
    ];
    for payload in wrong {
        client.request(PAYLOAD_LEN, 7, 3, 0, payload.len().try_into().unwrap());
        client.send(&payload);
        assert_eq!(client.error().0, 22, "{payload:?}");
    }
    client.request(PAYLOAD_LEN, 7, 3, 0, 0);
    assert_eq!(client.error().0, 22, "an announced payload that is none");
    client.request(0, 3, 4, 0, 0);
    assert!(matches!(client.reply(), Reply::Chunk { kind: 0, .. }));
}

#[test]
fn features_can_be_left_out() {
    let old = |features| {
        let limits = Limits {
            features,
            ..Limits::default()
        };
        let mut client = Client::with_limits(vec![("disk", ram(4096))], limits);
        client.greet(3);
        client
    };
    let all = Features::all();
    let mut client = old(all - Features::EXTENDED_HEADERS);
    assert_eq!(client.verdict(11, &[]), UNSUPPORTED);
    assert_eq!(client.verdict(8, &[]), ACK);
    let mut client = old(all - Features::STRUCTURED_REPLIES);
    assert_eq!(client.verdict(8, &[]), UNSUPPORTED);
    client.extend();
    let query = contexts("disk", &["base:allocation"]);
    assert_eq!(client.verdict(10, &query), ACK);
    let mut client = old(all - Features::CONTEXTS);
    assert_eq!(client.verdict(8, &[]), ACK);
    for option in [9, 10] {
        assert_eq!(client.verdict(option, &query), UNSUPPORTED);
    }
    let mut client = old(all - Features::MULTI_CONN - Features::WRITE_ZEROES);
    assert_eq!(
        client.option(7, &info("disk", &[]))[0].1[10..],
        [0x04, 0x2d]
    );
    client.request(0, 6, 1, 0, 512);
    assert_eq!(client.reply(), simple(1, 22));
}
