//! Requests and their replies.

use std::collections::HashMap;
use std::ops::Range;

use super::super::disk::{SIZE, content};
use super::super::fields::Fields;
use super::super::{EXTENTS, PAYLOAD, Setting};
use super::request::Request;
use super::{Agreed, Framing, check_text};

const READ: u16 = 0;
const WRITE: u16 = 1;
const TRIM: u16 = 4;
const WRITE_ZEROES: u16 = 6;
const BLOCK_STATUS: u16 = 7;

const REQ_ONE: u16 = 1 << 3;
const DF: u16 = 1 << 2;
const PAYLOAD_LEN: u16 = 1 << 5;

/// One whole reply.
#[derive(Debug)]
struct Reply<'a> {
    cookie: u64,
    error: u32,
    /// Types and payloads; none in a simple reply.
    chunks: Vec<(u16, &'a [u8])>,
}

/// Follows the client until it leaves, breaks the rules or is cut off.
pub(super) fn follow(
    setting: Setting,
    agreed: &Agreed,
    sent: &mut Fields<'_>,
    answers: &mut Fields<'_>,
) {
    let requests = std::iter::from_fn(|| Request::next(sent, agreed.framing));
    if !setting.parallel {
        let mut model = content();
        for request in requests {
            let reply = reply(answers, agreed.framing, Some(&request));
            assert_eq!(reply.cookie, request.cookie);
            judge(setting, agreed, &request, &reply, &mut model, answers);
        }
    } else if agreed.framing != Framing::Simple {
        // Cookies may repeat, so which reply is whose cannot be told, but their number can.
        let mut open: HashMap<u64, u32> = HashMap::new();
        requests.for_each(|request| *open.entry(request.cookie).or_default() += 1);
        while !answers.is_empty() {
            let cookie = reply(answers, agreed.framing, None).cookie;
            let left = open.get_mut(&cookie).expect("a reply to a request");
            *left = left.checked_sub(1).expect("one reply to each request");
        }
        assert!(
            open.values().all(|left| *left == 0),
            "a reply to each request"
        );
    }
}

fn reply<'a>(
    answers: &mut Fields<'a>,
    framing: Framing,
    request: Option<&Request<'_>>,
) -> Reply<'a> {
    let mut chunks = Vec::new();
    let mut cookies = Vec::new();
    loop {
        let magic = answers.u32().expect("a reply");
        if magic == 0x6744_6698 {
            assert!(framing != Framing::Extended && chunks.is_empty());
            let error = answers.u32().expect("an error");
            let cookie = answers.u64().expect("a cookie");
            return Reply {
                cookie,
                error,
                chunks,
            };
        }
        let flags = answers.u16().expect("flags");
        assert!(flags < 2);
        let kind = answers.u16().expect("a type");
        cookies.push(answers.u64().expect("a cookie"));
        assert_eq!(cookies[0], cookies[cookies.len() - 1]);
        let length = match framing {
            Framing::Simple => panic!("a chunk"),
            Framing::Structured => {
                assert_eq!(magic, 0x668e_33ef);
                u64::from(answers.u32().expect("a length"))
            }
            Framing::Extended => {
                assert_eq!(magic, 0x6e8a_278c);
                let offset = answers.u64().expect("an offset");
                assert!(request.is_none_or(|request| request.offset == offset));
                answers.u64().expect("a length")
            }
        };
        let payload = answers.take(length).expect("what was announced");
        chunks.push((kind, payload));
        if kind >= 0x8000 {
            assert_eq!(flags, 1, "an error is the end");
        }
        if flags == 1 {
            let error = chunks.last().map_or(0, |chunk| error(*chunk));
            return Reply {
                cookie: cookies[0],
                error,
                chunks,
            };
        }
    }
}

/// The number of an error chunk; 0 for other chunks.
fn error((kind, payload): (u16, &[u8])) -> u32 {
    if kind < 0x8000 {
        return 0;
    }
    let mut fields = Fields::new(payload);
    let number = fields.u32().expect("an error");
    let length = fields.u16().expect("a length");
    check_text(fields.take(u64::from(length)).expect("a text"));
    match kind {
        0x8001 => {}
        0x8002 => assert!(fields.u64().is_some()),
        _ => panic!("a chunk of type {kind:#x}"),
    }
    assert!(fields.is_empty() && number != 0);
    number
}

/// Holds a reply to what its request deserves, and keeps the model up.
fn judge(
    setting: Setting,
    agreed: &Agreed,
    request: &Request<'_>,
    reply: &Reply<'_>,
    model: &mut [u8],
    answers: &mut Fields<'_>,
) {
    let range = range(request.offset, request.length);
    let known = [0, 1, 5, 22, 28, 75, 95];
    assert!(known.contains(&reply.error), "error {}", reply.error);
    if reply.error != 0 {
        assert!(reply.chunks.len() == usize::from(agreed.framing != Framing::Simple));
        let plain = request.command == READ
            && request.flags == 0
            && request.length <= u64::from(PAYLOAD)
            && range.is_some();
        assert!(!plain, "a plain read works");
        return;
    }
    match request.command {
        READ => {
            let range = range.expect("inside of the disk");
            let mut found = vec![None; range.len()];
            if agreed.framing == Framing::Simple {
                let data = answers.take(request.length).expect("the data");
                put(&mut found, 0, data);
            }
            for (kind, payload) in &reply.chunks {
                chunk_of_read(request, *kind, payload, &mut found);
            }
            assert!(request.flags & DF == 0 || reply.chunks.len() == 1);
            let found: Vec<u8> = found.into_iter().map(|byte| byte.expect("all")).collect();
            assert!(
                found == model[range],
                "what was read is not what was written"
            );
        }
        BLOCK_STATUS => status(agreed, request, reply),
        command => {
            assert!(reply.chunks.iter().all(|chunk| *chunk == (0, &[])));
            let range = match command {
                3 => 0..0,
                _ => range.expect("inside of the disk"),
            };
            if matches!(command, WRITE | TRIM | WRITE_ZEROES) {
                assert!(!setting.read_only);
            }
            match command {
                WRITE => model[range].copy_from_slice(request.payload),
                TRIM | WRITE_ZEROES => model[range].fill(0),
                3 | 5 => {}
                _ => panic!("success of command {command}"),
            }
        }
    }
}

fn range(offset: u64, length: u64) -> Option<Range<usize>> {
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    (end <= SIZE).then(|| usize::try_from(offset).expect("before the end")..end)
}

fn put(found: &mut [Option<u8>], at: usize, bytes: &[u8]) {
    for (slot, byte) in found[at..at + bytes.len()].iter_mut().zip(bytes) {
        assert_eq!(slot.replace(*byte), None, "told twice");
    }
}

fn chunk_of_read(request: &Request<'_>, kind: u16, payload: &[u8], found: &mut [Option<u8>]) {
    let mut fields = Fields::new(payload);
    if kind == 0 {
        assert!(payload.is_empty() && request.length == 0);
        return;
    }
    let at = fields.u64().expect("an offset") - request.offset;
    let at = usize::try_from(at).expect("inside of the read");
    match kind {
        1 => {
            assert!(payload.len() > 8);
            put(found, at, &payload[8..]);
        }
        2 => {
            let length = fields.u32().filter(|length| *length > 0);
            let length = usize::try_from(length.expect("a length")).expect("a length");
            assert!(fields.is_empty() && request.flags & DF == 0);
            put(found, at, &vec![0; length]);
        }
        _ => panic!("a chunk of type {kind}"),
    }
}

fn status(agreed: &Agreed, request: &Request<'_>, reply: &Reply<'_>) {
    let mut payload = Fields::new(request.payload);
    let (mut length, mut wanted) = (request.length, agreed.contexts.clone());
    if request.flags & PAYLOAD_LEN != 0 {
        length = payload.u64().expect("a length");
        wanted = std::iter::from_fn(|| payload.u32()).collect();
        wanted.sort_unstable();
    }
    assert!(range(request.offset, length).is_some());
    let mut told = Vec::new();
    for (kind, payload) in &reply.chunks {
        let mut fields = Fields::new(payload);
        told.push(fields.u32().expect("an id"));
        let extended = agreed.framing == Framing::Extended;
        assert_eq!(*kind, if extended { 6 } else { 5 });
        let announced = extended.then(|| fields.u32().expect("a number"));
        let (mut number, mut total) = (0, 0);
        while !fields.is_empty() {
            assert!(
                total < length,
                "the first ones together are shorter than asked"
            );
            let piece = if extended {
                let piece = fields.u64();
                assert!(fields.u64().is_some());
                piece
            } else {
                let piece = fields.u32().map(u64::from);
                assert!(fields.u32().is_some());
                piece
            };
            let piece = piece.expect("a length");
            assert!(piece > 0);
            total += piece;
            number += 1;
        }
        assert!(announced.is_none_or(|announced| announced == number));
        let most = match request.flags & REQ_ONE {
            0 => EXTENTS,
            _ => 1,
        };
        assert!(number >= 1 && usize::try_from(number).expect("few") <= most);
        assert!(total <= length);
    }
    told.sort_unstable();
    assert_eq!(told, wanted);
}
