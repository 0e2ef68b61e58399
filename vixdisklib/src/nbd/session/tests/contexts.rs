//! Metadata contexts and block status.

use super::*;

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
fn an_export_hears_what_clients_will_ask_next() {
    let ram = ram(4096);
    let mut client = Client::ready(&ram);
    for (offset, length) in [(0, 1), (500, 2500)] {
        client.request(0, 7, 1, offset, length);
        assert!(matches!(client.reply(), Reply::Chunk { kind: 5, .. }));
    }
    client.request(0, 7, 1, 4000, 2500);
    assert_eq!(client.error().0, 22);
    client.request(0, 0, 1, 0, 512);
    client.chunks(1);
    client.request(0, 2, 0, 0, 0);
    assert!(client.finish().1.is_ok());
    let mut expected = ram.expected.lock().clone();
    expected.sort_unstable();
    assert_eq!(expected, [(1, 1), (3000, 1096)]);
}

/// A disk with contexts of its own, whose flags count thousands of bytes.
fn rich() -> Arc<Ram> {
    let names = ["qemu:allocation-depth", "qemu:dirty-bitmap:day"];
    Arc::new(Ram {
        contexts: names.map(str::to_owned).to_vec(),
        ..Ram::new(4096)
    })
}

#[test]
fn contexts_of_the_export_are_listed_by_namespace() {
    let mut client = Client::greeted(vec![("disk", rich())]);
    assert_eq!(client.verdict(8, &[]), ACK);
    let mut list = |queries: &[&str]| -> Vec<String> {
        let replies = client.option(9, &contexts("disk", queries));
        let names = replies.iter().filter(|reply| reply.0 == 4);
        names
            .map(|reply| String::from_utf8(reply.1[4..].to_vec()).unwrap())
            .collect()
    };
    let all = [
        "base:allocation",
        "qemu:allocation-depth",
        "qemu:dirty-bitmap:day",
    ];
    assert_eq!(list(&[]), all);
    assert_eq!(list(&["qemu:"]), all[1..]);
    assert_eq!(list(&["qemu:dirty-bitmap:"]), all[2..]);
    assert_eq!(list(&["qemu:dirty-bitmap:day", "base:"]), [all[0], all[2]]);
    assert_eq!(list(&["qemu:dirty-bitmap:night"]), [""; 0]);
}

#[test]
fn each_selected_context_answers_in_a_chunk_of_its_own() {
    let mut client = Client::greeted(vec![("disk", rich())]);
    assert_eq!(client.verdict(8, &[]), ACK);
    let names = ["qemu:dirty-bitmap:day", "base:allocation", "qemu:"];
    let selected = client.option(10, &contexts("disk", &names));
    assert_eq!(selected[0], (4, b"\0\0\0\x01base:allocation".to_vec()));
    assert_eq!(
        selected[1],
        (4, b"\0\0\0\x03qemu:dirty-bitmap:day".to_vec())
    );
    assert_eq!(selected[2], (ACK, vec![]));
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
    client.request(0, 7, 1, 500, 1000);
    let base = b"\0\0\0\x01\0\0\x01\xf4\0\0\0\0\0\0\x01\xf4\0\0\0\x03".to_vec();
    let dirty = b"\0\0\0\x03\0\0\x01\xf4\0\0\0\x64\0\0\x01\xf4\0\0\0\x65".to_vec();
    assert_eq!(client.chunks(1), [(false, 5, base), (true, 5, dirty)]);
    client.request(REQ_ONE, 7, 2, 3999, 97);
    let base = b"\0\0\0\x01\0\0\0\x01\0\0\0\x03".to_vec();
    let dirty = b"\0\0\0\x03\0\0\0\x01\0\0\0\x67".to_vec();
    assert_eq!(client.chunks(2), [(false, 5, base), (true, 5, dirty)]);
}

#[test]
fn a_client_selects_sixteen_at_most() {
    let names: Vec<String> = (0..17).map(|number| format!("x-n:{number}")).collect();
    let disk = Arc::new(Ram {
        contexts: names.clone(),
        ..Ram::new(4096)
    });
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = Client::greeted(vec![("disk", disk)]);
    assert_eq!(client.verdict(8, &[]), ACK);
    assert_eq!(client.verdict(10, &contexts("disk", &names[..16])), ACK);
    assert_eq!(client.verdict(10, &contexts("disk", &names)), TOO_BIG);
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
    client.request(0, 7, 1, 0, 512);
    assert_eq!(client.error().0, 22, "a failed selection selects nothing");
}
