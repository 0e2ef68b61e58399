//! Requests as the client meant them.

use super::super::PAYLOAD;
use super::super::fields::Fields;
use super::Framing;

#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) flags: u16,
    pub(super) command: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) payload: &'a [u8],
}

impl<'a> Request<'a> {
    /// The next request that came whole; `None` if the server is to end the session instead.
    pub(super) fn next(sent: &mut Fields<'a>, framing: Framing) -> Option<Self> {
        let extended = framing == Framing::Extended;
        let magic = if extended { 0x21e4_1c71 } else { 0x2560_9513 };
        // A header that is cut off is no request, whatever it says.
        let size = if extended { 32 } else { 28 };
        let mut header = Fields::new(sent.take(size)?);
        header.u32().filter(|found| *found == magic)?;
        let (flags, command) = (header.u16()?, header.u16()?);
        let (cookie, offset) = (header.u64()?, header.u64()?);
        let length = if extended {
            header.u64()?
        } else {
            u64::from(header.u32()?)
        };
        if command == 2 {
            return None;
        }
        // qemu 10 writes without saying in the flags that there is a payload.
        let carries = command == 1 || (extended && flags & 1 << 5 != 0);
        let payload = if carries { length } else { 0 };
        if payload > 2 * u64::from(PAYLOAD) {
            return None;
        }
        Some(Self {
            flags,
            command,
            cookie,
            offset,
            length,
            payload: sent.take(payload)?,
        })
    }
}
