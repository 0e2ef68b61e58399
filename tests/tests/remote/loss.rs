//! Connections that are lost at every message.

use vixdisklib::{Sector, Transport, VixError};
use vsphere_sim::Profile;

use crate::site::{Client, READ_ONLY, Site, content, eventually, place, read_all};

/// Messages of the longest session of these tests.
const MESSAGES: u32 = 60;

/// Codes of a connection that is lost: where it is, decides which.
fn is_loss(code: Option<VixError>) -> bool {
    [
        VixError::HOST_TCP_CONN_LOST,
        VixError::HOST_USER_PERMISSIONS,
        VixError::HOST_NETBLKDEV_HANDSHAKE,
    ]
    .map(Some)
    .contains(&code)
}

#[test]
fn a_reader_gets_its_bytes_or_an_error_at_every_message() {
    let bytes = content((512 << 10) + 512, 3);
    let site = Site::new(Profile::Esxi8Vcenter, &bytes);
    let client = Client::start();
    for transport in [Transport::NBD, Transport::NBDSSL] {
        let connection = client.connect(&site, transport.clone()).expect("connected");
        let mut opened = 0;
        for messages in 0..MESSAGES {
            // The first connection of the disk is cut; one that is made again is not.
            site.simulator.clear(None);
            site.inject(&format!("disconnect=messages:{messages},times:1"));
            let disk = match connection.open_disk(place("disk.vmdk"), READ_ONLY) {
                Ok(disk) => disk,
                Err(error) => {
                    assert!(is_loss(error.code()), "{messages} messages: {error}");
                    continue;
                }
            };
            // An open disk connects again, wherever it was cut off.
            opened += 1;
            let read = read_all(&disk, 128 << 10).unwrap_or_else(|error| {
                panic!("{messages} messages: {error} {:?}", error.log_lines())
            });
            assert!(read == bytes, "{transport}, {messages} messages");
            // Whatever comes of the end: nothing was written.
            let closed = disk.close().map_err(|error| error.code());
            assert!(closed.is_ok() || closed.is_err_and(is_loss), "{messages}");
        }
        assert!(opened > MESSAGES / 2, "{opened}");
    }
    site.simulator.clear(None);
    assert!(eventually(|| site.simulator.nfc_connections() == 0));
    assert_eq!(site.simulator.memory_in_use(), 0);
}

#[test]
fn a_writer_knows_what_was_written_at_every_message() {
    let old = content(1 << 20, 5);
    let site = Site::new(Profile::Esxi8Direct, &old);
    let client = Client::start();
    let connection = client.connect(&site, Transport::NBDSSL).expect("connected");
    let mut whole = 0;
    for messages in 0..MESSAGES {
        site.simulator.clear(None);
        let before = site.content("disk.vmdk");
        site.inject(&format!("disconnect=messages:{messages},times:1"));
        let mark = u8::try_from(messages).expect("a byte");
        let mut acknowledged = 0;
        let result = connection
            .open_disk(place("disk.vmdk"), Default::default())
            .and_then(|disk| {
                for piece in 0..8 {
                    disk.write_at(Sector::new(piece * 256), &[mark; 64 << 10])?;
                    acknowledged = piece + 1;
                }
                disk.flush()?;
                disk.close()
            });
        site.simulator.clear(None);
        assert!(
            eventually(|| site.simulator.nfc_connections() == 0),
            "the host has closed the disk"
        );
        let after = site.content("disk.vmdk");
        match result {
            Ok(()) => {
                assert_eq!(acknowledged, 8);
                whole += 1;
            }
            Err(error) => assert!(is_loss(error.code()), "{messages} messages: {error}"),
        }
        for (number, (before, after)) in before
            .chunks(64 << 10)
            .zip(after.chunks(64 << 10))
            .enumerate()
        {
            let is_new = after.iter().all(|byte| *byte == mark);
            let (piece, is_written) = (number as u64 / 2, number % 2 == 0);
            if is_written && piece < acknowledged {
                assert!(is_new, "{messages} messages: piece {piece} was lost");
            } else if is_written && piece == acknowledged {
                // It is unknown whether it got there, but it is one or the other.
                assert!(
                    is_new || after == before,
                    "{messages} messages: piece {piece}"
                );
            } else {
                assert!(
                    after == before,
                    "{messages} messages: nobody wrote piece {piece}"
                );
            }
        }
    }
    assert!(whole > 5, "the last ones are late enough: {whole}");
    assert_eq!(site.simulator.memory_in_use(), 0);
}
