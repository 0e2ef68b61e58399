//! Greeting and options.

use super::super::disk::SIZE;
use super::super::fields::Fields;
use super::super::{OPTIONS, PAYLOAD};
use super::{Agreed, Framing, check_text};

const ACK: u32 = 1;

/// Follows the client until it has chosen an export; `None` if the session ends before.
pub(super) fn follow(
    sent: &mut Fields<'_>,
    packet: usize,
    answers: &mut Fields<'_>,
) -> Option<Agreed> {
    let greeting = answers.take(18);
    assert_eq!(greeting, Some(b"NBDMAGICIHAVEOPT\0\x03".as_slice()));
    let client = sent.u32().filter(|flags| flags & !3 == 0)?;
    let mut agreed = nothing();
    // One export allows for four options more.
    for _ in 0..OPTIONS + 4 {
        sent.u64().filter(|magic| *magic == 0x4948_4156_454f_5054)?;
        let (option, length) = (sent.u32()?, sent.u32()?);
        if length > 4 << 10 && (length > 1 << 20 || option == 1) {
            return None;
        }
        sent.take(u64::from(length))?;
        match option {
            1 => return export_name(client, agreed, answers),
            5 if answers.is_empty() => {
                let here = sent.position();
                let whole = here.is_multiple_of(packet);
                assert!(!whole || here > 65_536, "STARTTLS is answered");
                return None;
            }
            _ => {}
        }
        match (option, replies(option, answers, &mut agreed)) {
            (2, verdict) => {
                assert_eq!(verdict, ACK);
                return None;
            }
            (5, ACK) => {
                // A packet that ends elsewhere brought bytes in plain text along.
                let here = sent.position();
                assert!(here.is_multiple_of(packet) || sent.is_empty() || here > 65_536);
                agreed = nothing();
            }
            (7, ACK) => return Some(agreed),
            (8, ACK) => {
                assert_ne!(agreed.framing, Framing::Extended);
                agreed.framing = Framing::Structured;
            }
            (11, ACK) => agreed.framing = Framing::Extended,
            (10, verdict) => {
                assert!(verdict != ACK || agreed.framing != Framing::Simple);
                if verdict != ACK {
                    agreed.contexts.clear();
                }
            }
            _ => {}
        }
    }
    None
}

fn nothing() -> Agreed {
    Agreed {
        framing: Framing::Simple,
        flags: 0,
        contexts: Vec::new(),
    }
}

/// An answer without a header, or none at all.
fn export_name(client: u32, mut agreed: Agreed, answers: &mut Fields<'_>) -> Option<Agreed> {
    if answers.is_empty() {
        return None;
    }
    assert_ne!(agreed.framing, Framing::Extended);
    assert_eq!(answers.u64(), u64::try_from(SIZE).ok());
    agreed.flags = answers.u16().expect("flags");
    if client & 2 == 0 {
        let padding = answers.take(124).expect("padding");
        assert!(padding.iter().all(|byte| *byte == 0));
    }
    Some(agreed)
}

/// All replies to one option; returns the type of the last.
fn replies(option: u32, answers: &mut Fields<'_>, agreed: &mut Agreed) -> u32 {
    if option == 10 {
        agreed.contexts.clear();
    }
    loop {
        assert_eq!(answers.u64(), Some(0x0003_e889_0455_65a9));
        assert_eq!(answers.u32(), Some(option));
        let kind = answers.u32().expect("a type");
        let length = answers.u32().expect("a length");
        let data = answers.take(u64::from(length)).expect("the data");
        let mut fields = Fields::new(data);
        match kind {
            ACK => {
                assert!(data.is_empty());
                return kind;
            }
            2 => {
                let length = fields.u32().expect("a length");
                assert_eq!(option, 3);
                assert_eq!(fields.take(u64::from(length)), Some(b"disk".as_slice()));
            }
            3 => info(option, &mut fields, agreed),
            4 => {
                let id = fields.u32().expect("an id");
                assert!(option == 9 && id == 0 || option == 10 && !agreed.contexts.contains(&id));
                if option == 10 {
                    agreed.contexts.push(id);
                }
            }
            0x8000_0001..=0x8000_000a => {
                check_text(data);
                return kind;
            }
            _ => panic!("a reply of type {kind:#x}"),
        }
    }
}

fn info(option: u32, fields: &mut Fields<'_>, agreed: &mut Agreed) {
    assert!(option == 6 || option == 7);
    match fields.u16() {
        Some(0) => {
            assert_eq!(fields.u64(), u64::try_from(SIZE).ok());
            agreed.flags = fields.u16().expect("flags");
            let chunks = agreed.framing != Framing::Simple;
            assert_eq!(agreed.flags & 1 << 7 != 0, chunks, "DF");
            let payload = agreed.framing == Framing::Extended && !agreed.contexts.is_empty();
            assert_eq!(
                agreed.flags & 1 << 12 != 0,
                payload,
                "payload of block status"
            );
            assert!(fields.is_empty());
        }
        Some(1 | 2) => {}
        Some(3) => {
            assert_eq!(fields.u32(), Some(1));
            assert!(fields.u32().is_some_and(u32::is_power_of_two));
            assert_eq!(fields.u32(), Some(PAYLOAD));
            assert!(fields.is_empty());
        }
        other => panic!("information of type {other:?}"),
    }
}
