//! From a request as it came to a command that may be carried out, or to a refusal.

use super::Shared;
use super::handshake::Negotiated;
use crate::nbd::ErrorNumber;
use crate::nbd::export::{Export, ExportError, ZeroRequest};
use crate::nbd::wire::handshake::TransmissionFlags;
use crate::nbd::wire::reply::Framing;
use crate::nbd::wire::request::{CommandFlags, Request, command};

/// A checked request: inside the export, within the limits, allowed. Payload, offset and length are the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Read {
        /// The answer may leave out what is known to be zeroes.
        holes: bool,
    },
    Write {
        fua: bool,
    },
    Flush,
    Trim {
        fua: bool,
    },
    Cache,
    WriteZeroes {
        request: ZeroRequest,
        fua: bool,
    },
    BlockStatus {
        /// One descriptor is enough.
        one: bool,
        /// Which of the selected contexts are asked about: a bit for each, the lowest for the first.
        contexts: u16,
    },
    /// Of length zero: nothing to do but to answer.
    Nothing,
}

/// Checks `request` against what was negotiated. The payload of a write is the caller's affair, also on error.
pub(super) fn check(
    request: &Request,
    negotiated: &Negotiated,
    export: &dyn Export,
    shared: &Shared,
) -> Result<Command, ExportError> {
    let refuse = |number, why: &str| Err(ExportError::new(number, describe(request, why)));
    if shared.is_stopping() {
        return refuse(ErrorNumber::Shutdown, "the server is stopping");
    }
    let changes = matches!(
        request.command,
        command::WRITE | command::TRIM | command::WRITE_ZEROES
    );
    if changes && export.is_read_only() {
        return refuse(ErrorNumber::Permission, "the export is read-only");
    }
    let Some((command, flags)) = offered(request, negotiated) else {
        return refuse(ErrorNumber::Invalid, "not offered by this server");
    };
    if !flags.contains(request.flags) {
        return refuse(ErrorNumber::Invalid, "flags that do not go with it");
    }
    if command == Command::Flush {
        if request.offset != 0 || request.length != 0 {
            return refuse(ErrorNumber::Invalid, "a range, which it cannot have");
        }
        return Ok(command);
    }
    let end = request.offset.checked_add(request.length);
    if end.is_none_or(|end| end > export.size().get()) {
        let number = if changes && request.command != command::TRIM {
            ErrorNumber::NoSpace
        } else {
            ErrorNumber::Invalid
        };
        return refuse(number, "past the end of the export");
    }
    let carries = matches!(request.command, command::READ | command::WRITE);
    if carries && request.length > u64::from(shared.limits.payload) {
        let number = if request.command == command::READ {
            ErrorNumber::Overflow
        } else {
            ErrorNumber::Invalid
        };
        return refuse(number, "longer than the advertised maximum");
    }
    if let Command::BlockStatus { .. } = command {
        if negotiated.contexts.is_empty() {
            return refuse(ErrorNumber::Invalid, "no metadata context was selected");
        }
        if request.length == 0 {
            return refuse(ErrorNumber::Invalid, "of no bytes");
        }
    }
    match command {
        Command::Read { .. } if !export.knows_zeroes() => Ok(Command::Read { holes: false }),
        Command::Read { .. } => Ok(command),
        _ if request.length == 0 => Ok(Command::Nothing),
        _ => Ok(command),
    }
}

/// The command and the flags that may go with it, if the server offers it at all.
fn offered(request: &Request, negotiated: &Negotiated) -> Option<(Command, CommandFlags)> {
    let offers = |flag| negotiated.flags.contains(flag);
    let sent = |flag| request.flags.contains(flag);
    let fua = sent(CommandFlags::FUA);
    let (command, mut flags) = match request.command {
        command::READ => {
            let whole = sent(CommandFlags::DF) || request.length == 0;
            let holes = negotiated.framing.has_chunks() && !whole;
            let mut flags = CommandFlags::empty();
            flags.set(CommandFlags::DF, offers(TransmissionFlags::SEND_DF));
            (Command::Read { holes }, flags)
        }
        command::WRITE => {
            let mut flags = CommandFlags::empty();
            if negotiated.framing == Framing::Extended {
                flags |= CommandFlags::PAYLOAD_LEN;
            }
            (Command::Write { fua }, flags)
        }
        command::FLUSH => (Command::Flush, CommandFlags::empty()),
        command::TRIM if offers(TransmissionFlags::SEND_TRIM) => {
            (Command::Trim { fua }, CommandFlags::empty())
        }
        command::CACHE => (Command::Cache, CommandFlags::empty()),
        command::WRITE_ZEROES if offers(TransmissionFlags::SEND_WRITE_ZEROES) => {
            let request = ZeroRequest {
                may_free: !sent(CommandFlags::NO_HOLE),
                fast_only: sent(CommandFlags::FAST_ZERO),
            };
            let flags = CommandFlags::NO_HOLE | CommandFlags::FAST_ZERO;
            (Command::WriteZeroes { request, fua }, flags)
        }
        command::BLOCK_STATUS => {
            let one = sent(CommandFlags::REQ_ONE);
            let contexts = (1..=negotiated.contexts.len()).fold(0, |bits, _| bits << 1 | 1);
            let mut flags = CommandFlags::REQ_ONE;
            let payload = TransmissionFlags::BLOCK_STATUS_PAYLOAD;
            flags.set(CommandFlags::PAYLOAD_LEN, offers(payload));
            (Command::BlockStatus { one, contexts }, flags)
        }
        _ => return None,
    };
    // Where it means nothing it is still allowed: the protocol lets clients set it on every command.
    flags.set(CommandFlags::FUA, offers(TransmissionFlags::SEND_FUA));
    Some((command, flags))
}

/// What the client asked for and what is wrong with it, in words.
pub(super) fn describe(request: &Request, why: &str) -> String {
    let name = command::name(request.command);
    let (offset, length) = (request.offset, request.length);
    match request.command {
        command::FLUSH => format!("{name}: {why}"),
        _ => format!("{name} of {length} bytes at {offset}: {why}"),
    }
}
