//! Reads of exports that know where they are zero.

use std::os::unix::fs::FileExt as _;

use super::*;

/// 64 KiB of which every second 8 KiB are a hole.
fn disk() -> Ram {
    let disk = Ram {
        knows_zeroes: true,
        piece: 8192,
        ..Ram::new(65_536)
    };
    for (index, byte) in disk.bytes.lock().iter_mut().enumerate() {
        if (index / 8192).is_multiple_of(2) {
            *byte = u8::try_from(index % 251).unwrap();
        }
    }
    disk
}

/// The bytes that the chunks of a read from `offset` stand for, each of them told exactly once.
fn content(chunks: &[(bool, u16, Vec<u8>)], offset: u64, length: usize) -> Vec<u8> {
    let mut content = vec![None; length];
    for (_, kind, payload) in chunks {
        let start = number(&payload[..8]) - offset;
        let start = usize::try_from(start).unwrap();
        let bytes = match kind {
            1 => payload[8..].to_vec(),
            2 => {
                assert_eq!(payload.len(), 12);
                vec![0; usize::try_from(number(&payload[8..])).unwrap()]
            }
            kind => panic!("chunk of type {kind}"),
        };
        assert!(!bytes.is_empty());
        for (slot, byte) in content[start..][..bytes.len()].iter_mut().zip(bytes) {
            assert_eq!(slot.replace(byte), None, "told twice");
        }
    }
    content
        .into_iter()
        .map(|byte| byte.expect("all was told"))
        .collect()
}

fn kinds(chunks: &[(bool, u16, Vec<u8>)]) -> Vec<u16> {
    chunks.iter().map(|chunk| chunk.1).collect()
}

#[test]
fn holes_are_neither_read_nor_sent() {
    for extended in [false, true] {
        let disk = Arc::new(disk());
        let mut client = match extended {
            false => Client::ready(&disk),
            true => Client::ready_extended(&disk),
        };
        let cases: [(u64, u64, &[u16]); 8] = [
            (0, 65_536, &[1, 2, 1, 2, 1, 2, 1, 2]),
            (8192, 8192, &[2]),
            (8192, 8193, &[2, 1]),
            (8191, 8193, &[1, 2]),
            (9000, 1, &[2]),
            (0, 8192, &[1]),
            (4097, 30_000, &[1, 2, 1, 2, 1]),
            (6000, 2192 + 4095, &[1]),
        ];
        for (offset, length, expected) in cases {
            client.request(0, 0, 7, offset, length);
            let chunks = client.chunks(7);
            assert_eq!(kinds(&chunks), expected, "{offset} {length}");
            let length = usize::try_from(length).unwrap();
            let found = content(&chunks, offset, length);
            let start = usize::try_from(offset).unwrap();
            assert!(found == disk.bytes.lock()[start..][..length]);
        }
        let reads = disk.reads.lock();
        assert_eq!(reads[..2], [0..8192, 16_384..24_576]);
        assert!(!reads.contains(&(8192..16_384)));
    }
}

#[test]
fn one_chunk_where_the_client_wants_one_and_no_holes_in_simple_replies() {
    let disk = Arc::new(disk());
    let mut client = Client::ready(&disk);
    client.request(DF, 0, 1, 0, 65_536);
    let chunks = client.chunks(1);
    assert_eq!(kinds(&chunks), [1]);
    assert!(content(&chunks, 0, 65_536) == *disk.bytes.lock());
    let mut client = Client::greeted(vec![("disk", Arc::clone(&disk))]);
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
    client.request(0, 0, 1, 0, 65_536);
    assert_eq!(client.reply(), simple(1, 0));
    assert!(client.read(65_536) == *disk.bytes.lock());
}

#[test]
fn an_export_that_does_not_know_is_read_whole() {
    let disk = Arc::new(Ram {
        knows_zeroes: false,
        ..disk()
    });
    let mut client = Client::ready(&disk);
    client.request(0, 0, 1, 0, 65_536);
    assert_eq!(kinds(&client.chunks(1)), [1]);
    assert_eq!(disk.reads.lock().len(), 1);
    assert_eq!(disk.reads.lock()[0], 0..65_536);
}

#[test]
fn a_failure_in_the_middle_leaves_no_half_reply() {
    let disk = Arc::new(Ram {
        broken: 16_384..16_385,
        ..disk()
    });
    let mut client = Client::ready(&disk);
    client.request(0, 0, 1, 0, 65_536);
    let chunks = client.chunks(1);
    let expected = b"\0\0\0\x05\0\x0ca bad sector\0\0\0\0\0\0\x40\0".to_vec();
    assert_eq!(chunks, [(true, 0x8002, expected)], "with the place");
    client.request(0, 0, 2, 16_384, 10);
    assert_eq!(client.error(), (5, "a bad sector".to_owned()));
    client.request(0, 0, 3, 8192, 8192);
    assert_eq!(kinds(&client.chunks(3)), [2], "nothing is read for it");
}

/// The same disk, read-only and in a file too, which tells of runs of so many bytes.
fn in_file(run: u64) -> Ram {
    let disk = Ram {
        read_only: true,
        ..disk()
    };
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&disk.bytes.lock(), run).unwrap();
    Ram {
        file: Some((file, run)),
        ..disk
    }
}

#[test]
fn what_lies_in_a_file_is_sent_from_there() {
    for knows_zeroes in [true, false] {
        let disk = Arc::new(Ram {
            knows_zeroes,
            piece: 24_576,
            ..in_file(20_000)
        });
        let bytes = disk.bytes.lock().clone();
        let mut client = Client::ready(&disk);
        for flags in [0, DF] {
            for (offset, length) in [(0, 65_536), (5, 60_000), (100, 50_384)] {
                client.request(flags, 0, 1, offset, length);
                let start = usize::try_from(offset).unwrap();
                let length = usize::try_from(length).unwrap();
                let chunks = client.chunks(1);
                // What lies in several places is told in one piece all the same.
                let holes = flags != DF && knows_zeroes;
                assert_eq!(
                    chunks.len(),
                    if holes { 3 } else { 1 },
                    "{:?}",
                    kinds(&chunks)
                );
                let found = content(&chunks, offset, length);
                // The second piece is told as a hole, whatever it holds.
                let expected = bytes[start..][..length].iter().zip(start..);
                let expected = expected.map(|(byte, at)| match at / 24_576 {
                    1 if knows_zeroes => 0,
                    _ => *byte,
                });
                assert!(found == expected.collect::<Vec<_>>(), "{offset} {length}");
            }
        }
        let reads = disk.reads.lock();
        let read: u64 = reads.iter().map(|read| read.end - read.start).sum();
        assert!(read < 100_000, "only what lies in short pieces: {reads:?}");
    }
}

#[test]
fn simple_replies_come_from_files_and_zeroes_too() {
    let disk = Arc::new(in_file(65_536));
    let mut client = Client::greeted(vec![("disk", Arc::clone(&disk))]);
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
    client.request(0, 0, 1, 0, 65_536);
    assert_eq!(client.reply(), simple(1, 0));
    assert!(client.read(65_536) == *disk.bytes.lock());
    client.request(0, 0, 2, 4096, 4096);
    assert_eq!(client.reply(), simple(2, 0));
    assert!(client.read(4096) == disk.bytes.lock()[4096..8192]);
    assert_eq!(
        *disk.reads.lock(),
        [
            0..8192,
            16_384..24_576,
            32_768..40_960,
            49_152..57_344,
            4096..8192
        ]
    );
}

#[test]
fn a_file_that_ends_early_ends_the_connection() {
    let disk = in_file(65_536);
    let (file, _) = disk.file.as_ref().unwrap();
    file.set_len(65_536 + 40_000).unwrap();
    let mut client = Client::ready(&Arc::new(Ram {
        knows_zeroes: false,
        ..disk
    }));
    client.request(0, 0, 1, 0, 65_536);
    let (rest, result) = client.finish();
    assert_eq!(rest.len(), 20 + 8 + 40_000, "what there was, and no more");
    assert!(result.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_read_is_what_is_there(
        piece in 1_u64..20_000,
        ranges in proptest::collection::vec((0_u64..65_536, 1_u64..65_536), 1..8),
        extended: bool,
    ) {
        let disk = Ram { knows_zeroes: true, piece, ..Ram::new(65_536) };
        let step = usize::try_from(piece).unwrap();
        for (index, byte) in disk.bytes.lock().iter_mut().enumerate() {
            if (index / step).is_multiple_of(2) {
                *byte = u8::try_from(index % 251).unwrap();
            }
        }
        let disk = Arc::new(disk);
        let mut client = match extended {
            false => Client::ready(&disk),
            true => Client::ready_extended(&disk),
        };
        for (offset, length) in ranges {
            let length = length.min(65_536 - offset);
            client.request(0, 0, 9, offset, length);
            let chunks = client.chunks(9);
            let length = usize::try_from(length).unwrap();
            let found = content(&chunks, offset, length);
            let start = usize::try_from(offset).unwrap();
            prop_assert!(found == disk.bytes.lock()[start..][..length]);
        }
    }
}
