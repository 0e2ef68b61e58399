//! The options of a negotiation, and what has come of them.

use std::sync::Arc;

use super::context::{BadQueries, MetaContext};
use super::handshake::Negotiated;
use super::{SessionError, Shared, TlsMode};
use crate::nbd::export::Export;
use crate::nbd::features::Features;
use crate::nbd::table::{Entry, NotServed};
use crate::nbd::wire::MAX_STRING;
use crate::nbd::wire::handshake::{
    self as wire, BadData, ClientFlags, ContextRequest, InfoRequest, ReplyKind, TransmissionFlags,
    info, option,
};
use crate::nbd::wire::reply::Framing;

/// What follows an option.
pub(super) enum Step {
    More,
    Leave,
    /// When the answer is out, TLS begins.
    Encrypt,
    Chosen(Arc<Entry>),
}

/// Metadata contexts selected so far. They hold for the export that they were selected for only.
struct Selection {
    export: Arc<Entry>,
    contexts: Vec<MetaContext>,
}

/// How far the connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// Not, and what TLS is to this connection.
    Plain(TlsMode),
    Running,
}

/// The state of one negotiation. Answers collect in `answer`, so that each option gets one packet.
pub(super) struct Negotiation<'a> {
    shared: &'a Shared,
    client: ClientFlags,
    encryption: Encryption,
    framing: Framing,
    selection: Option<Selection>,
    /// The export that the client asked about last, and by which name: it stays open between one option and the next.
    found: Option<(String, Arc<Entry>)>,
    /// How many exports the client was told of.
    listed: usize,
    answer: Vec<u8>,
}

impl<'a> Negotiation<'a> {
    pub(super) fn new(shared: &'a Shared, client: ClientFlags, mode: TlsMode) -> Self {
        Self {
            shared,
            client,
            encryption: Encryption::Plain(mode),
            framing: Framing::Simple,
            selection: None,
            found: None,
            listed: 0,
            answer: Vec::new(),
        }
    }

    /// A negotiation inside of TLS. What was agreed on in plain text may have come from anybody, so it is forgotten.
    pub(super) fn encrypted(shared: &'a Shared, client: ClientFlags) -> Self {
        Self {
            encryption: Encryption::Running,
            ..Self::new(shared, client, TlsMode::Off)
        }
    }

    /// Answers one option.
    pub(super) fn answer(&mut self, number: u32, data: &[u8]) -> Result<Step, SessionError> {
        tracing::trace!(option = option::name(number), length = data.len(), "option");
        match number {
            option::EXPORT_NAME => return self.export_name(data),
            option::ABORT => {
                self.reply(number, ReplyKind::Ack, &[]);
                return Ok(Step::Leave);
            }
            _ if !self.client.fixed_newstyle => {
                let why = "not a client of the fixed newstyle protocol";
                self.refuse(number, ReplyKind::Invalid, why);
            }
            option::STARTTLS => return Ok(self.start_tls(data)),
            _ if self.needs_tls() => {
                let why = "this server talks to clients that encrypt only";
                self.refuse(number, ReplyKind::TlsRequired, why);
            }
            _ if self.shared.is_stopping() => {
                self.refuse(number, ReplyKind::Shutdown, "the server is stopping");
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
            option::STRUCTURED_REPLY if self.offers(Features::STRUCTURED_REPLIES) => {
                self.structured_reply(data);
            }
            option::EXTENDED_HEADERS if self.offers(Features::EXTENDED_HEADERS) => {
                self.extended_headers(data);
            }
            option::LIST_META_CONTEXT if self.offers(Features::CONTEXTS) => {
                self.list_contexts(data);
            }
            option::SET_META_CONTEXT if self.offers(Features::CONTEXTS) => {
                self.set_contexts(data);
            }
            _ => {
                let message = format!("{} is not supported by this server", option::name(number));
                self.refuse(number, ReplyKind::Unsupported, &message);
            }
        }
        Ok(Step::More)
    }

    /// Answers an option whose data was too long to be looked at.
    pub(super) fn answer_long(&mut self, number: u32) -> Result<Step, SessionError> {
        let whatever_it_says =
            number == option::ABORT || (self.needs_tls() && number != option::STARTTLS);
        if whatever_it_says {
            return self.answer(number, &[]);
        }
        if number == option::SET_META_CONTEXT {
            self.selection = None;
        }
        let message = format!("more than {} bytes of data", self.shared.limits.option_data);
        self.refuse(number, ReplyKind::TooBig, &message);
        Ok(Step::More)
    }

    /// The answers to the last option.
    pub(super) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    /// How many exports the client was told of.
    pub(super) fn listed(&self) -> usize {
        self.listed
    }

    fn offers(&self, feature: Features) -> bool {
        self.shared.limits.features.contains(feature)
    }

    fn needs_tls(&self) -> bool {
        self.encryption == Encryption::Plain(TlsMode::Required)
    }

    fn start_tls(&mut self, data: &[u8]) -> Step {
        let number = option::STARTTLS;
        let refusal = match self.encryption {
            Encryption::Running => (ReplyKind::Invalid, "the connection is encrypted already"),
            Encryption::Plain(TlsMode::Off) => {
                (ReplyKind::Unsupported, "this server does not encrypt")
            }
            Encryption::Plain(TlsMode::Offered | TlsMode::Required) => {
                if self.refuse_data_if_any(number, data) {
                    return Step::More;
                }
                self.reply(number, ReplyKind::Ack, &[]);
                return Step::Encrypt;
            }
        };
        self.refuse(number, refusal.0, refusal.1);
        Step::More
    }

    /// The oldest way to choose an export. It has no way to report an error but to hang up.
    fn export_name(&mut self, data: &[u8]) -> Result<Step, SessionError> {
        if self.needs_tls() {
            return Err(SessionError::TlsRequired);
        }
        if self.shared.is_stopping() {
            return Err(SessionError::Stopping);
        }
        if self.framing == Framing::Extended {
            let why = "EXPORT_NAME after extended headers";
            return Err(SessionError::Protocol(why));
        }
        let name = wire::decode_export_name(data)
            .map_err(|_| SessionError::Protocol("an export name that is no name"))?;
        let entry = self.lookup(name).map_err(|_| SessionError::UnknownExport)?;
        self.answer = wire::export_name_answer(
            entry.export.size().get(),
            self.flags(&entry),
            !self.client.no_zeroes,
        );
        Ok(Step::Chosen(entry))
    }

    /// Answers INFO and GO alike.
    fn info(&mut self, number: u32, data: &[u8]) -> Option<Arc<Entry>> {
        let request = match InfoRequest::decode(data) {
            Ok(request) => request,
            Err(bad) => {
                self.refuse_data(number, bad);
                return None;
            }
        };
        let entry = self.find(number, request.name)?;
        let size = entry.export.size().get();
        let facts = wire::export_info(size, self.flags(&entry));
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
        Some(entry)
    }

    fn list(&mut self, data: &[u8]) {
        let number = option::LIST;
        if self.refuse_data_if_any(number, data) {
            return;
        }
        let exports = self.shared.exports.list();
        self.listed = exports.len();
        for entry in exports {
            let line = wire::server_entry(&entry.name, &entry.description);
            self.reply(number, ReplyKind::Server, &line);
        }
        self.reply(number, ReplyKind::Ack, &[]);
    }

    fn structured_reply(&mut self, data: &[u8]) {
        let number = option::STRUCTURED_REPLY;
        if self.refuse_data_if_any(number, data) {
            return;
        }
        if self.framing == Framing::Extended {
            let why = "extended headers are in use, which bring all of it";
            return self.refuse(number, ReplyKind::ExtendedHeadersRequired, why);
        }
        self.framing = Framing::Structured;
        self.reply(number, ReplyKind::Ack, &[]);
    }

    fn extended_headers(&mut self, data: &[u8]) {
        let number = option::EXTENDED_HEADERS;
        if !self.refuse_data_if_any(number, data) {
            self.framing = Framing::Extended;
            self.reply(number, ReplyKind::Ack, &[]);
        }
    }

    fn list_contexts(&mut self, data: &[u8]) {
        let number = option::LIST_META_CONTEXT;
        if let Some((export, contexts)) = self.contexts(number, data, MetaContext::list) {
            for context in contexts {
                // Ids mean something only in the answer to SET_META_CONTEXT.
                let entry = wire::meta_context(0, context.name(&*export.export));
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
                let entry = wire::meta_context(context.id(), context.name(&*export.export));
                self.reply(number, ReplyKind::MetaContext, &entry);
            }
            self.reply(number, ReplyKind::Ack, &[]);
            self.selection = Some(Selection { export, contexts });
        }
    }

    /// What LIST_META_CONTEXT and SET_META_CONTEXT have in common.
    fn contexts(
        &mut self,
        number: u32,
        data: &[u8],
        choose: impl Fn(&dyn Export, &[&str]) -> Result<Vec<MetaContext>, BadQueries>,
    ) -> Option<(Arc<Entry>, Vec<MetaContext>)> {
        if !self.framing.has_chunks() {
            let why = "neither structured replies nor extended headers were negotiated";
            self.refuse(number, ReplyKind::Invalid, why);
            return None;
        }
        let request = match ContextRequest::decode(data, self.shared.limits.context_queries) {
            Ok(request) => request,
            Err(bad) => {
                self.refuse_data(number, bad);
                return None;
            }
        };
        let export = self.find(number, request.name)?;
        match choose(&*export.export, &request.queries) {
            Ok(contexts) => Some((export, contexts)),
            Err(bad) => {
                let kind = match bad {
                    BadQueries::NoNamespace => ReplyKind::Invalid,
                    BadQueries::ManyContexts => ReplyKind::TooBig,
                };
                self.refuse(number, kind, &bad.to_string());
                None
            }
        }
    }

    /// What is offered for an export after all that was negotiated so far.
    fn flags(&self, export: &Arc<Entry>) -> TransmissionFlags {
        let mut flags = export.flags(self.framing.has_chunks());
        if !self.offers(Features::MULTI_CONN) {
            flags.remove(TransmissionFlags::CAN_MULTI_CONN);
        }
        if !self.offers(Features::WRITE_ZEROES) {
            let both = TransmissionFlags::SEND_WRITE_ZEROES | TransmissionFlags::SEND_FAST_ZERO;
            flags.remove(both);
        }
        let payload = self.framing == Framing::Extended && !self.selected(export).is_empty();
        flags.set(TransmissionFlags::BLOCK_STATUS_PAYLOAD, payload);
        flags
    }

    fn selected(&self, export: &Arc<Entry>) -> &[MetaContext] {
        match &self.selection {
            Some(selection) if Arc::ptr_eq(&selection.export, export) => &selection.contexts,
            _ => &[],
        }
    }

    fn find(&mut self, number: u32, name: &str) -> Option<Arc<Entry>> {
        let (kind, message) = match self.lookup(name) {
            Ok(entry) => return Some(entry),
            // Not as unknown, of which some clients say that there is no such export, whatever the text says.
            Err(NotServed::Failed(error)) => {
                let text = format!("export {name:?} is there but cannot be opened: {error}");
                (ReplyKind::Policy, text)
            }
            Err(NotServed::Unknown) if name.is_empty() => {
                let text = "there is no default export, name one of those listed";
                (ReplyKind::Unknown, text.to_owned())
            }
            Err(NotServed::Unknown) => (ReplyKind::Unknown, format!("there is no export {name:?}")),
        };
        self.refuse(number, kind, &message);
        None
    }

    fn lookup(&mut self, name: &str) -> Result<Arc<Entry>, NotServed> {
        if let Some((last, entry)) = &self.found
            && last == name
        {
            return Ok(Arc::clone(entry));
        }
        // First, so that a client holds no more than one that it does not use.
        self.found = None;
        let entry = self.shared.exports.find(name)?;
        self.found = Some((name.to_owned(), Arc::clone(&entry)));
        Ok(entry)
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

    /// What was agreed on with a client that has chosen `export`.
    pub(super) fn finish(self, export: Arc<Entry>) -> Negotiated {
        Negotiated {
            flags: self.flags(&export),
            framing: self.framing,
            contexts: self.selected(&export).to_vec(),
            export,
        }
    }
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
