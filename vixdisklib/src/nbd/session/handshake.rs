//! Negotiation: the client sends options until it has chosen an export, or leaves.

use std::io::IoSlice;

use super::context::MetaContext;
use super::input::Input;
use super::output::write_all;
use super::{ByteStream, SessionError, Shared};
use crate::nbd::table::{Entry, ExportIndex};
use crate::nbd::wire::MAX_STRING;
use crate::nbd::wire::handshake::{
    self as wire, BadData, ClientFlags, ContextRequest, InfoRequest, OptionHeader, ReplyKind,
    TransmissionFlags, info, option,
};

/// Data of a refused option that is skipped to stay in step with the client; above this the server hangs up.
const MAX_SKIP: u32 = 1 << 20;

/// Options that a client may send on top of the limit for each export, so that it can ask about all in its list.
const OPTIONS_PER_EXPORT: u32 = 4;

/// What client and server agreed on.
#[derive(Debug)]
pub(super) struct Negotiated {
    pub(super) export: ExportIndex,
    pub(super) flags: TransmissionFlags,
    pub(super) structured: bool,
    pub(super) contexts: Vec<MetaContext>,
}

/// Negotiates until the client has chosen an export; `None` if it left instead.
pub(super) fn negotiate<S: ByteStream>(
    input: &mut Input<'_, S>,
    stream: &S,
    shared: &Shared,
) -> Result<Option<Negotiated>, SessionError> {
    send(stream, &wire::greeting())?;
    let Some(bytes) = input.message::<{ ClientFlags::SIZE }>("its flags")? else {
        return Ok(None);
    };
    let client = ClientFlags::decode(bytes)
        .ok_or(SessionError::Protocol("unknown flags in its greeting"))?;
    let mut negotiation = Negotiation {
        shared,
        client,
        structured: false,
        selection: None,
        answer: Vec::new(),
    };
    let exports = u32::try_from(shared.exports.entries().len()).unwrap_or(u32::MAX);
    let max_options = exports
        .saturating_mul(OPTIONS_PER_EXPORT)
        .saturating_add(shared.limits.options);
    for _ in 0..max_options {
        let Some(bytes) = input.message::<{ OptionHeader::SIZE }>("an option")? else {
            return Ok(None);
        };
        let header =
            OptionHeader::decode(bytes).ok_or(SessionError::Protocol("wrong option magic"))?;
        let step = if header.length > shared.limits.option_data {
            negotiation.refuse_long(input, header)?
        } else {
            let length = usize::try_from(header.length).expect("limited just above");
            let data = input.bytes(length, "the data of an option")?;
            negotiation.answer(header.option, &data)?
        };
        send(stream, &std::mem::take(&mut negotiation.answer))?;
        match step {
            Step::More => {}
            Step::Leave => return Ok(None),
            Step::Chosen(export) => return Ok(Some(negotiation.finish(export))),
        }
    }
    Err(SessionError::ManyOptions(max_options))
}

/// What follows an option.
enum Step {
    More,
    Leave,
    Chosen(ExportIndex),
}

/// Metadata contexts selected so far. They hold for the export that they were selected for only.
struct Selection {
    export: ExportIndex,
    contexts: Vec<MetaContext>,
}

/// The state of one negotiation. Answers collect in `answer`, so that each option gets one packet.
struct Negotiation<'a> {
    shared: &'a Shared,
    client: ClientFlags,
    structured: bool,
    selection: Option<Selection>,
    answer: Vec<u8>,
}

impl<'a> Negotiation<'a> {
    fn answer(&mut self, number: u32, data: &[u8]) -> Result<Step, SessionError> {
        tracing::trace!(option = option::name(number), length = data.len(), "option");
        match number {
            option::EXPORT_NAME => return self.export_name(data),
            option::ABORT => {
                self.reply(number, ReplyKind::Ack, &[]);
                return Ok(Step::Leave);
            }
            _ if !self.client.fixed_newstyle => {
                self.refuse(
                    number,
                    ReplyKind::Invalid,
                    "not a client of the fixed newstyle protocol",
                );
            }
            option::INFO => {
                self.info(number, data);
            }
            option::GO => {
                if let Some(export) = self.info(number, data) {
                    return Ok(Step::Chosen(export));
                }
            }
            option::LIST => self.list(data),
            option::STRUCTURED_REPLY => self.structured_reply(data),
            option::LIST_META_CONTEXT => self.list_contexts(data),
            option::SET_META_CONTEXT => self.set_contexts(data),
            _ => {
                let message = format!("{} is not supported by this server", option::name(number));
                self.refuse(number, ReplyKind::Unsupported, &message);
            }
        }
        Ok(Step::More)
    }

    fn refuse_long<S: ByteStream>(
        &mut self,
        input: &mut Input<'_, S>,
        header: OptionHeader,
    ) -> Result<Step, SessionError> {
        if header.length > MAX_SKIP || header.option == option::EXPORT_NAME {
            return Err(SessionError::TooLong(header.length));
        }
        input.skip(header.length, "the data of an option")?;
        if header.option == option::SET_META_CONTEXT {
            self.selection = None;
        }
        let message = format!("more than {} bytes of data", self.shared.limits.option_data);
        self.refuse(header.option, ReplyKind::TooBig, &message);
        Ok(Step::More)
    }

    /// The oldest way to choose an export. It has no way to report an error but to hang up.
    fn export_name(&mut self, data: &[u8]) -> Result<Step, SessionError> {
        let name = wire::decode_export_name(data)
            .map_err(|_| SessionError::Protocol("an export name that is no name"))?;
        let export = self
            .shared
            .exports
            .find(name)
            .ok_or(SessionError::UnknownExport)?;
        let entry = self.shared.exports.entry(export);
        self.answer = wire::export_name_answer(
            entry.export.size().get(),
            entry.flags(self.structured),
            !self.client.no_zeroes,
        );
        Ok(Step::Chosen(export))
    }

    /// Answers INFO and GO alike.
    fn info(&mut self, number: u32, data: &[u8]) -> Option<ExportIndex> {
        let request = match InfoRequest::decode(data) {
            Ok(request) => request,
            Err(bad) => {
                self.refuse_data(number, bad);
                return None;
            }
        };
        let (export, entry) = self.find(number, request.name)?;
        let size = entry.export.size().get();
        let facts = wire::export_info(size, entry.flags(self.structured));
        self.reply(number, ReplyKind::Info, &facts);
        if request.wanted.contains(&info::NAME) {
            let name = wire::text_info(info::NAME, &entry.name);
            self.reply(number, ReplyKind::Info, &name);
        }
        if request.wanted.contains(&info::DESCRIPTION) && !entry.description.is_empty() {
            let description = wire::text_info(info::DESCRIPTION, &entry.description);
            self.reply(number, ReplyKind::Info, &description);
        }
        if request.wanted.contains(&info::BLOCK_SIZE) {
            let maximum = self.shared.limits.payload;
            let preferred = preferred_block(entry.export.preferred_block().get(), maximum);
            let sizes = wire::block_size_info(1, preferred, maximum);
            self.reply(number, ReplyKind::Info, &sizes);
        }
        self.reply(number, ReplyKind::Ack, &[]);
        Some(export)
    }

    fn list(&mut self, data: &[u8]) {
        let number = option::LIST;
        if self.refuse_data_if_any(number, data) {
            return;
        }
        for entry in self.shared.exports.entries() {
            let line = wire::server_entry(&entry.name, &entry.description);
            self.reply(number, ReplyKind::Server, &line);
        }
        self.reply(number, ReplyKind::Ack, &[]);
    }

    fn structured_reply(&mut self, data: &[u8]) {
        let number = option::STRUCTURED_REPLY;
        if !self.refuse_data_if_any(number, data) {
            self.structured = true;
            self.reply(number, ReplyKind::Ack, &[]);
        }
    }

    fn list_contexts(&mut self, data: &[u8]) {
        let number = option::LIST_META_CONTEXT;
        if let Some((_, contexts)) = self.contexts(number, data, MetaContext::list) {
            for context in contexts {
                // Ids mean something only in the answer to SET_META_CONTEXT.
                let entry = wire::meta_context(0, context.name());
                self.reply(number, ReplyKind::MetaContext, &entry);
            }
            self.reply(number, ReplyKind::Ack, &[]);
        }
    }

    fn set_contexts(&mut self, data: &[u8]) {
        let number = option::SET_META_CONTEXT;
        self.selection = None;
        if let Some((export, contexts)) = self.contexts(number, data, MetaContext::select) {
            for context in &contexts {
                let entry = wire::meta_context(context.id(), context.name());
                self.reply(number, ReplyKind::MetaContext, &entry);
            }
            self.reply(number, ReplyKind::Ack, &[]);
            self.selection = Some(Selection { export, contexts });
        }
    }

    /// What LIST_META_CONTEXT and SET_META_CONTEXT have in common.
    fn contexts<E>(
        &mut self,
        number: u32,
        data: &[u8],
        choose: impl Fn(&[&str]) -> Result<Vec<MetaContext>, E>,
    ) -> Option<(ExportIndex, Vec<MetaContext>)> {
        if !self.structured {
            self.refuse(
                number,
                ReplyKind::Invalid,
                "structured replies were not negotiated",
            );
            return None;
        }
        let request = match ContextRequest::decode(data, self.shared.limits.context_queries) {
            Ok(request) => request,
            Err(bad) => {
                self.refuse_data(number, bad);
                return None;
            }
        };
        let (export, _) = self.find(number, request.name)?;
        match choose(&request.queries) {
            Ok(contexts) => Some((export, contexts)),
            Err(_) => {
                self.refuse(number, ReplyKind::Invalid, "a query names no namespace");
                None
            }
        }
    }

    fn find(&mut self, number: u32, name: &str) -> Option<(ExportIndex, &'a Entry)> {
        let exports = &self.shared.exports;
        let found = exports.find(name);
        if found.is_none() {
            let message = if name.is_empty() {
                "there is no default export, name one of those listed".to_owned()
            } else {
                format!("there is no export {name:?}")
            };
            self.refuse(number, ReplyKind::Unknown, &message);
        }
        found.map(|index| (index, exports.entry(index)))
    }

    fn refuse_data_if_any(&mut self, number: u32, data: &[u8]) -> bool {
        if !data.is_empty() {
            self.refuse(number, ReplyKind::Invalid, "this option takes no data");
        }
        !data.is_empty()
    }

    fn refuse_data(&mut self, number: u32, bad: BadData) {
        let kind = match bad {
            BadData::ManyQueries(_) => ReplyKind::TooBig,
            BadData::Lengths | BadData::LongString | BadData::BadString => ReplyKind::Invalid,
        };
        self.refuse(number, kind, &bad.to_string());
    }

    fn refuse(&mut self, number: u32, kind: ReplyKind, message: &str) {
        // It may quote the client, and quoting makes text longer.
        let message = &message[..message.floor_char_boundary(MAX_STRING)];
        tracing::debug!(option = option::name(number), message, "option refused");
        self.reply(number, kind, message.as_bytes());
    }

    fn reply(&mut self, number: u32, kind: ReplyKind, data: &[u8]) {
        wire::put_reply(&mut self.answer, number, kind, data);
    }

    fn finish(self, export: ExportIndex) -> Negotiated {
        let contexts = self
            .selection
            .filter(|selection| selection.export == export)
            .map(|selection| selection.contexts)
            .unwrap_or_default();
        Negotiated {
            export,
            flags: self.shared.exports.entry(export).flags(self.structured),
            structured: self.structured,
            contexts,
        }
    }
}

fn send<S: ByteStream>(stream: &S, bytes: &[u8]) -> Result<(), SessionError> {
    write_all(stream, &mut [IoSlice::new(bytes)]).map_err(SessionError::Io)
}

/// The protocol wants a power of two, at least 512; more than one payload makes no sense.
fn preferred_block(wanted: u64, maximum: u32) -> u32 {
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    let ceiling = 1 << maximum.max(512).ilog2();
    wanted
        .clamp(512, ceiling)
        .checked_next_power_of_two()
        .unwrap_or(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_block_is_a_power_of_two_in_bounds() {
        assert_eq!(preferred_block(0, 1 << 25), 512);
        assert_eq!(preferred_block(65_536, 1 << 25), 65_536);
        assert_eq!(preferred_block(65_537, 1 << 25), 131_072);
        assert_eq!(preferred_block(u64::MAX, 1 << 25), 1 << 25);
        assert_eq!(preferred_block(u64::MAX, u32::MAX), 1 << 31);
        assert_eq!(preferred_block(1 << 20, 1000), 512);
    }
}
