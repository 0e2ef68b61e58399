//! Reads one request with all that belongs to it, so that the stream stays in step whatever the request is worth.

use std::sync::Arc;
use std::time::Instant;

use super::budget::{Budget, Permit};
use super::buffer::{Buffer, Pool};
use super::handshake::Negotiated;
use super::input::Input;
use super::request::{Command, check, describe};
use super::{ByteStream, SessionError, Shared};
use crate::nbd::ErrorNumber;
use crate::nbd::export::{Export, ExportError};
use crate::nbd::wire::reply::{Descriptor, Framing};
use crate::nbd::wire::request::{Request, StatusPayload, command};

/// A request that was read with all that belongs to it.
pub(super) struct Job<'b> {
    pub(super) request: Request,
    pub(super) command: Result<Command, ExportError>,
    pub(super) buffer: Option<Buffer>,
    pub(super) permit: Permit<'b>,
}

/// What reading a request takes.
pub(super) struct Receiver<'s, 'b> {
    pub(super) budget: &'b Budget<'b>,
    pub(super) pool: &'s Arc<Pool>,
    pub(super) export: &'b dyn Export,
    pub(super) negotiated: &'b Negotiated,
    pub(super) shared: &'b Shared,
}

impl<'b> Receiver<'_, 'b> {
    /// Reads one request and its payload; `None` if the client is done.
    pub(super) fn receive<S: ByteStream>(
        &self,
        input: &mut Input<'_, S>,
    ) -> Result<Option<Job<'b>>, SessionError> {
        let Some(mut request) = self.header(input)? else {
            return Ok(None);
        };
        if request.command == command::DISC {
            return Ok(None);
        }
        for counters in self.shared.counters_of(&self.negotiated.export) {
            counters.requests.add(1);
        }
        // The length of a block status request with payload is known only from the payload, which is short.
        let asks = request.command == command::BLOCK_STATUS && request.payload > 0;
        let ids = if asks {
            self.status_payload(&mut request, input)?
        } else {
            Ok(None)
        };
        let mut command = self.check(&request);
        if let Ok(Command::BlockStatus { contexts, .. }) = &mut command {
            match ids.map(|ids| ids.map(|ids| self.contexts(&ids))) {
                Ok(None) => {}
                Ok(Some(Some(chosen))) => *contexts = chosen,
                Ok(Some(None)) => {
                    command = invalid(&request, "ids that were not selected, or twice")
                }
                Err(why) => command = invalid(&request, why),
            }
        }
        let permit = self.budget.acquire(self.held(&request, &command));
        let mut buffer = None;
        match command {
            Ok(Command::Read { .. }) => buffer = Some(self.pool.take(length(&request))),
            Ok(Command::Write { .. }) => {
                let mut payload = self.pool.take(length(&request));
                let limit = self.shared.limits.payload_timeout;
                let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
                let what = "the payload of a write";
                input.exact_until(payload.as_mut_slice(), what, deadline)?;
                buffer = Some(payload);
                if self.shared.is_stopping() {
                    command = self.check(&request);
                }
            }
            _ if !asks => self.skip_payload(&request, input)?,
            _ => {}
        }
        Ok(Some(Job {
            request,
            command,
            buffer,
            permit,
        }))
    }

    /// Whether the next request has arrived, is a read of at most `longest` bytes, and can be received without waiting.
    pub(super) fn has_short_read<S>(&self, input: &Input<'_, S>, longest: usize) -> bool {
        let request = match self.negotiated.framing {
            Framing::Extended => input.peek().copied().and_then(Request::decode_extended),
            Framing::Simple | Framing::Structured => {
                input.peek().copied().and_then(Request::decode_compact)
            }
        };
        request.is_some_and(|request| {
            let bytes = usize::try_from(request.length).unwrap_or(usize::MAX);
            request.command == command::READ && bytes <= longest && self.budget.has_room(bytes)
        })
    }

    fn header<S: ByteStream>(
        &self,
        input: &mut Input<'_, S>,
    ) -> Result<Option<Request>, SessionError> {
        let what = "a request";
        let decoded = match self.negotiated.framing {
            Framing::Extended => input
                .message::<{ Request::EXTENDED }>(what)?
                .map(Request::decode_extended),
            Framing::Simple | Framing::Structured => input
                .message::<{ Request::COMPACT }>(what)?
                .map(Request::decode_compact),
        };
        match decoded {
            None => Ok(None),
            Some(Some(request)) => Ok(Some(request)),
            Some(None) => Err(SessionError::Protocol("wrong request magic")),
        }
    }

    fn check(&self, request: &Request) -> Result<Command, ExportError> {
        check(request, self.negotiated, self.export, self.shared)
    }

    /// Memory that the request will hold until its reply is sent.
    fn held(&self, request: &Request, command: &Result<Command, ExportError>) -> usize {
        match command {
            Ok(Command::Read { .. } | Command::Write { .. }) => length(request),
            Ok(Command::BlockStatus {
                one: false,
                contexts,
            }) => {
                // Extents are a byte long at least. Each is held twice, as it is and as it goes over the wire.
                let most = usize::try_from(request.length).unwrap_or(usize::MAX);
                let extents = self.shared.limits.extents.min(most);
                let each = 2 * size_of::<Descriptor>();
                extents * each * usize::try_from(contexts.count_ones()).unwrap_or(1)
            }
            _ => 0,
        }
    }

    /// Reads the payload of a block status request, if it can be one, and puts the length that it tells in place of
    /// its own. What is wrong with it is the inner error.
    fn status_payload<S: ByteStream>(
        &self,
        request: &mut Request,
        input: &mut Input<'_, S>,
    ) -> Result<Result<Option<Vec<u32>>, &'static str>, SessionError> {
        let longest = StatusPayload::size(self.negotiated.contexts.len());
        let length = match usize::try_from(request.payload) {
            Ok(length) if length <= longest => length,
            _ => {
                self.skip_payload(request, input)?;
                request.length = 0;
                return Ok(Err("more ids than were selected"));
            }
        };
        let bytes = input.bytes(length, "the payload of a block status request")?;
        Ok(match StatusPayload::decode(&bytes) {
            Some(payload) => {
                request.length = payload.length;
                Ok(Some(payload.ids))
            }
            None => {
                request.length = 0;
                Err("a payload of no whole ids")
            }
        })
    }

    /// The selected contexts with these ids as bits; `None` if one is no selected one or comes twice, or if there are
    /// none.
    fn contexts(&self, ids: &[u32]) -> Option<u16> {
        let mut chosen = 0;
        for id in ids {
            let selected = &self.negotiated.contexts;
            let index = selected.iter().position(|context| context.id() == *id)?;
            let bit = 1 << index;
            if chosen & bit != 0 {
                return None;
            }
            chosen |= bit;
        }
        (chosen != 0).then_some(chosen)
    }

    /// Reads past the payload of a request that is refused, or hangs up if that is abuse.
    fn skip_payload<S: ByteStream>(
        &self,
        request: &Request,
        input: &mut Input<'_, S>,
    ) -> Result<(), SessionError> {
        if request.payload > u64::from(self.shared.limits.payload) * 2 {
            return Err(SessionError::TooLong(request.payload));
        }
        input.skip(request.payload, "the payload of a refused request")
    }
}

fn length(request: &Request) -> usize {
    usize::try_from(request.length).expect("at most the largest payload, which fits in 32 bits")
}

fn invalid(request: &Request, why: &str) -> Result<Command, ExportError> {
    Err(ExportError::new(
        ErrorNumber::Invalid,
        describe(request, why),
    ))
}
