//! A connection to the default export of a server, with simple replies.

#![allow(
    clippy::big_endian_bytes,
    reason = "the protocol has its numbers in this order"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::Result;

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
/// Fixed newstyle, without the zeros behind the flags of the export; the client's flags are the same.
const FIXED_NO_ZEROES: u32 = 3;
const EXPORT_NAME: u32 = 1;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Bytes of a request and of a reply, without data.
pub(crate) const REQUEST: usize = 28;
pub(crate) const REPLY: usize = 16;

#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum Command {
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
}

pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    /// Bytes of the export.
    pub(crate) size: u64,
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        let mut hello = [0; 18];
        stream.read_exact(&mut hello)?;
        let (greeting, flags) = hello.split_at(16);
        if greeting != GREETING || u32::from(flags[1]) & FIXED_NO_ZEROES != FIXED_NO_ZEROES {
            return Err("this is no server for the fixed newstyle of NBD".into());
        }
        let mut answer = Vec::new();
        answer.extend(FIXED_NO_ZEROES.to_be_bytes());
        answer.extend(b"IHAVEOPT");
        answer.extend(EXPORT_NAME.to_be_bytes());
        // The length of the name: the default export has none.
        answer.extend(0_u32.to_be_bytes());
        stream.write_all(&answer)?;
        let (mut size, mut flags) = ([0; 8], [0; 2]);
        stream.read_exact(&mut size)?;
        stream.read_exact(&mut flags)?;
        let size = u64::from_be_bytes(size);
        Ok(Self { stream, size })
    }
}

/// Appends a request to `out`.
pub(crate) fn request(
    out: &mut Vec<u8>,
    command: Command,
    cookie: u64,
    offset: u64,
    length: usize,
) {
    let length = u32::try_from(length).expect("requests are short");
    out.extend(REQUEST_MAGIC.to_be_bytes());
    out.extend([0, 0]);
    out.extend((command as u16).to_be_bytes());
    out.extend(cookie.to_be_bytes());
    out.extend(offset.to_be_bytes());
    out.extend(length.to_be_bytes());
}

/// The cookie of a reply, which must be one of success.
pub(crate) fn reply(bytes: &[u8; REPLY]) -> Result<u64> {
    let [m0, m1, m2, m3, e0, e1, e2, e3, cookie @ ..] = *bytes;
    if u32::from_be_bytes([m0, m1, m2, m3]) != REPLY_MAGIC {
        return Err("the server sent no simple reply".into());
    }
    match u32::from_be_bytes([e0, e1, e2, e3]) {
        0 => Ok(u64::from_be_bytes(cookie)),
        error => Err(format!("the server answered with error {error}").into()),
    }
}
