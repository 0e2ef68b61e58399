//! Negotiation: the client sends options until it has chosen an export, or leaves.

use std::io::IoSlice;
use std::sync::Arc;

use super::context::MetaContext;
use super::input::Input;
use super::options::{Negotiation, Step};
use super::output::write_all;
use super::{ByteStream, SessionError, Shared};
use crate::nbd::table::Entry;
use crate::nbd::wire::handshake::{
    self as wire, ClientFlags, OptionHeader, TransmissionFlags, option,
};
use crate::nbd::wire::reply::Framing;

/// Data of a refused option that is skipped to stay in step with the client; above this the server hangs up.
const MAX_SKIP: u32 = 1 << 20;

/// Options that a client may send on top of the limit for each export, so that it can ask about all in its list.
const OPTIONS_PER_EXPORT: u32 = 4;

/// What client and server agreed on.
#[derive(Debug)]
pub(super) struct Negotiated {
    pub(super) export: Arc<Entry>,
    pub(super) flags: TransmissionFlags,
    pub(super) framing: Framing,
    /// At most 16.
    pub(super) contexts: Vec<MetaContext>,
}

/// Negotiates until the client has chosen an export; `None` if it left instead.
pub(super) fn negotiate<S: ByteStream>(
    input: &mut Input<'_, S>,
    stream: &S,
    shared: &Shared,
    on_transmission: impl FnOnce(&str),
) -> Result<Option<Negotiated>, SessionError> {
    send(stream, &wire::greeting())?;
    let Some(bytes) = input.message::<{ ClientFlags::SIZE }>("its flags")? else {
        return Ok(None);
    };
    let client = ClientFlags::decode(bytes)
        .ok_or(SessionError::Protocol("unknown flags in its greeting"))?;
    let mut negotiation = Negotiation::new(shared, client, stream.tls());
    let mut known = shared.exports.entries().len();
    for number in 0.. {
        // Those that the client was told of count, too.
        known = known.max(negotiation.listed());
        if number >= max_options(shared, known) {
            return Err(SessionError::ManyOptions(number));
        }
        let Some(bytes) = input.message::<{ OptionHeader::SIZE }>("an option")? else {
            return Ok(None);
        };
        let header =
            OptionHeader::decode(bytes).ok_or(SessionError::Protocol("wrong option magic"))?;
        let step = if header.length > shared.limits.option_data {
            if header.length > MAX_SKIP || header.option == option::EXPORT_NAME {
                return Err(SessionError::TooLong(u64::from(header.length)));
            }
            input.skip(u64::from(header.length), "the data of an option")?;
            negotiation.answer_long(header.option)?
        } else {
            let length = usize::try_from(header.length).expect("limited just above");
            let data = input.bytes(length, "the data of an option")?;
            negotiation.answer(header.option, &data)?
        };
        if matches!(step, Step::Encrypt) && !input.is_empty() {
            // Whoever sent this did not wait for the answer, so it may not be the one who will encrypt.
            return Err(SessionError::Injected);
        }
        let answer = negotiation.take_answer();
        match step {
            Step::More => send(stream, &answer)?,
            Step::Leave => {
                send(stream, &answer)?;
                return Ok(None);
            }
            Step::Chosen(export) => {
                on_transmission(&export.name);
                send(stream, &answer)?;
                return Ok(Some(negotiation.finish(export)));
            }
            Step::Encrypt => {
                send(stream, &answer)?;
                stream.start_tls().map_err(SessionError::Tls)?;
                tracing::debug!("encrypted");
                negotiation = Negotiation::encrypted(shared, client);
            }
        }
    }
    unreachable!("the number of options is limited")
}

/// Options that a client may send who knows of so many exports.
fn max_options(shared: &Shared, exports: usize) -> u32 {
    let exports = u32::try_from(exports).unwrap_or(u32::MAX);
    exports
        .saturating_mul(OPTIONS_PER_EXPORT)
        .saturating_add(shared.limits.options)
}

fn send<S: ByteStream>(stream: &S, bytes: &[u8]) -> Result<(), SessionError> {
    write_all(stream, &mut [IoSlice::new(bytes)], &mut || {}).map_err(SessionError::Io)
}
