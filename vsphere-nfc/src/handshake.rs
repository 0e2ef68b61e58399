//! What is said on a fresh connection before the protocol of open disks begins.
//!
//! ```text
//!   client: 43 tag, 33 probe, 51 version
//!   host:                                 36, 51
//!   client: 54 names, 55 features, 52 go
//!   host:                                 52
//! ```
//!
//! Hosts answer the probe at once (ESXi 8) or only after the version (ESXi 7.0.3), so all three messages are sent before
//! the first answer is awaited. Observed by public clients.

use std::io::IoSlice;

use crate::failure::{Failure, printable};
use crate::stream::{ByteStream, read_exact, write_all};
use crate::wire::classic::{FRAME, Frame};

/// The version of the protocol that is spoken here: that of ESXi 8.
const VERSION: u32 = 11;

/// The lowest version of a host that is accepted.
const OLDEST: u32 = 3;

/// What known clients of disks are called, and what they say they do.
const NAME: &[u8] = b"vddk";
const OPERATION: &[u8] = b"nbdmode";

/// Requests may be interrupted, and the host may change.
const FEATURES: u32 = 3;

/// Does the handshake; gives the version of the host. `tag` is what was said to the authentication daemon, if it was.
pub(crate) fn shake_hands(stream: &dyn ByteStream, tag: Option<&[u8]>) -> Result<u32, Failure> {
    if let Some(tag) = tag {
        send(stream, &Frame::ClientRandom(tag.to_vec()), &[])?;
    }
    send(stream, &Frame::Probe, &[])?;
    let ours = Frame::Version {
        version: VERSION,
        second: 0,
    };
    send(stream, &ours, &[])?;
    let Frame::ProbeReply { .. } = receive(stream)? else {
        return Err(Failure::breach("another answer to the probe"));
    };
    let Frame::Version { version, .. } = receive(stream)? else {
        return Err(Failure::breach("another answer to the version"));
    };
    if version < OLDEST {
        let text = format!("its protocol has version {version}, which is too old");
        return Err(Failure::Handshake(text.into()));
    }
    let names = [NAME, OPERATION].concat();
    let connection = Frame::Connection {
        name: length(NAME),
        operation: length(OPERATION),
    };
    send(stream, &connection, &names)?;
    send(stream, &Frame::Features(FEATURES), &[])?;
    send(stream, &Frame::OpenAio, &[])?;
    match receive(stream)? {
        Frame::OpenAio => Ok(version),
        _ => Err(Failure::breach(
            "another answer to the end of the handshake",
        )),
    }
}

/// Says that the session ends.
pub(crate) fn say_goodbye(stream: &dyn ByteStream) -> Result<(), Failure> {
    send(stream, &Frame::SessionComplete, &[])?;
    stream.say_goodbye()?;
    Ok(())
}

/// Sends a message as a write of its own.
fn send(stream: &dyn ByteStream, frame: &Frame, extra: &[u8]) -> Result<(), Failure> {
    let mut message = frame.encode().to_vec();
    message.extend(extra);
    write_all(stream, &mut [IoSlice::new(&message)])?;
    Ok(())
}

fn receive(stream: &dyn ByteStream) -> Result<Frame, Failure> {
    let mut bytes = [0; FRAME];
    read_exact(stream, &mut bytes)?;
    let frame = Frame::decode(&bytes)?;
    match frame {
        Frame::SessionComplete => Err(Failure::Handshake("it ends the session".into())),
        Frame::Error { kind, code, text } => {
            let mut words = vec![0; usize::try_from(text).unwrap_or_default()];
            read_exact(stream, &mut words)?;
            let text = format!("{} (error {kind}.{code})", printable(&words));
            Err(Failure::Handshake(text.into()))
        }
        frame => Ok(frame),
    }
}

fn length(name: &[u8]) -> u32 {
    name.len().try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::error::{Cause, ErrorKind};

    /// What a host of version 11 answers.
    fn answers() -> Vec<u8> {
        let version = Frame::Version {
            version: 11,
            second: 0,
        };
        let frames = [
            Frame::ProbeReply { knows_version: 1 },
            version,
            Frame::OpenAio,
        ];
        frames.map(|frame| frame.encode()).concat()
    }

    /// Shakes hands with a host that answers thus; gives what came of it and what the host got.
    fn against(answers: &[u8], tag: Option<&[u8]>) -> (Result<u32, Failure>, Vec<u8>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        write_all(&theirs, &mut [IoSlice::new(answers)]).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let host = thread::spawn(move || {
            let mut got = Vec::new();
            std::io::Read::read_to_end(&mut &theirs, &mut got).unwrap();
            got
        });
        let result = shake_hands(&ours, tag);
        ours.shutdown(std::net::Shutdown::Both).unwrap();
        (result, host.join().unwrap())
    }

    #[test]
    fn all_messages_in_their_order() {
        let (version, got) = against(&answers(), Some(b"PlainText"));
        assert_eq!(version.unwrap(), 11);
        let numbers: Vec<u8> = got[..4 * FRAME]
            .chunks(FRAME)
            .map(|frame| frame[0])
            .collect();
        assert_eq!(numbers, [43, 33, 51, 54]);
        assert_eq!(&got[4..13], b"PlainText");
        assert_eq!(&got[4 * FRAME..][..11], b"vddknbdmode");
        let rest = &got[4 * FRAME + 11..];
        assert_eq!((rest.len(), rest[0], rest[FRAME]), (2 * FRAME, 55, 52));
    }

    #[test]
    fn without_a_tag_there_is_no_message_for_it() {
        let (version, got) = against(&answers(), None);
        version.unwrap();
        assert_eq!(got[0], 33);
    }

    #[test]
    fn refusals_and_nonsense_end_it() {
        let mut error = Frame::Error {
            kind: 3,
            code: 4,
            text: 5,
        }
        .encode()
        .to_vec();
        error.extend(b"busy\0");
        let old = Frame::Version {
            version: 2,
            second: 0,
        };
        let old = [
            Frame::ProbeReply { knows_version: 1 }.encode(),
            old.encode(),
        ]
        .concat();
        let cases = [
            (error, "the host does not begin a session: busy (error 3.4)"),
            (
                Frame::SessionComplete.encode().to_vec(),
                "the host does not begin a session: it ends the session",
            ),
            (
                old,
                "the host does not begin a session: its protocol has version 2, which is too old",
            ),
            (
                Frame::OpenAio.encode().to_vec(),
                "the host broke the protocol: another answer to the probe",
            ),
        ];
        for (answers, text) in cases {
            let failure = against(&answers, None).0.unwrap_err();
            assert_eq!(failure.to_string(), text);
            assert_eq!(failure.kind(), ErrorKind::Protocol);
        }
        let cut = against(&answers()[..300], None).0.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::ConnectionLost);
    }
}
