//! As much of the fixed newstyle handshake as clients ask for.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Result;

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const ANSWER_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Fixed newstyle, without zeros behind the flags of the export.
const FIXED_NO_ZEROES: u16 = 3;
/// Has flags, read-only, several connections see the same.
const EXPORT_FLAGS: u16 = 1 | 1 << 1 | 1 << 8;
/// The id of `base:allocation`, the one context that there is.
pub(crate) const CONTEXT: u32 = 1;

mod option {
    pub(super) const EXPORT_NAME: u32 = 1;
    pub(super) const ABORT: u32 = 2;
    pub(super) const INFO: u32 = 6;
    pub(super) const GO: u32 = 7;
    pub(super) const STRUCTURED_REPLY: u32 = 8;
    pub(super) const SET_META_CONTEXT: u32 = 10;
}

mod answer {
    pub(super) const ACK: u32 = 1;
    pub(super) const INFO: u32 = 3;
    pub(super) const META_CONTEXT: u32 = 4;
    pub(super) const UNSUPPORTED: u32 = 1 << 31 | 1;
}

/// The form of replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Simple,
    Structured,
}

/// Agrees to everything that it knows; `None` if the client leaves.
pub(crate) fn negotiate(mut stream: &UnixStream, size: u64) -> Result<Option<Framing>> {
    let mut hello = b"NBDMAGIC".to_vec();
    hello.extend(OPTION_MAGIC);
    hello.extend(FIXED_NO_ZEROES.to_be_bytes());
    stream.write_all(&hello)?;
    stream.read_exact(&mut [0; 4])?;
    let export = [&size.to_be_bytes()[..], &EXPORT_FLAGS.to_be_bytes()].concat();
    let mut framing = Framing::Simple;
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let [m @ .., o0, o1, o2, o3, l0, l1, l2, l3] = head;
        if m != *OPTION_MAGIC {
            return Err("this is no option".into());
        }
        let asked = u32::from_be_bytes([o0, o1, o2, o3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]).min(1 << 16);
        stream.read_exact(&mut vec![0; usize::try_from(length)?])?;
        let answer = |kind: u32, data: &[u8]| -> Result {
            let mut answer = ANSWER_MAGIC.to_be_bytes().to_vec();
            answer.extend(asked.to_be_bytes());
            answer.extend(kind.to_be_bytes());
            answer.extend(u32::try_from(data.len())?.to_be_bytes());
            answer.extend(data);
            Ok((&*stream).write_all(&answer)?)
        };
        match asked {
            option::EXPORT_NAME => {
                stream.write_all(&export)?;
                return Ok(Some(framing));
            }
            option::INFO | option::GO => {
                // What an export is has the number 0 among the informations.
                answer(answer::INFO, &[&[0, 0], &export[..]].concat())?;
                answer(answer::ACK, &[])?;
                if asked == option::GO {
                    return Ok(Some(framing));
                }
            }
            option::STRUCTURED_REPLY => {
                framing = Framing::Structured;
                answer(answer::ACK, &[])?;
            }
            option::SET_META_CONTEXT => {
                let context = [&CONTEXT.to_be_bytes()[..], b"base:allocation"].concat();
                answer(answer::META_CONTEXT, &context)?;
                answer(answer::ACK, &[])?;
            }
            option::ABORT => {
                answer(answer::ACK, &[])?;
                return Ok(None);
            }
            _ => answer(answer::UNSUPPORTED, &[])?,
        }
    }
}
