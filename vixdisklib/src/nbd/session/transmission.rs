//! The transmission phase: several threads take turns at reading a request, then work side by side.
//!
//! A thread holds the lock on the receiving side while it reads one request with its payload, lets go of it,
//! carries the request out and sends the reply. So a request costs no hand-over between threads, a client with
//! one request at a time keeps one thread busy, and whoever ends has finished its own work first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, Scope};

use parking_lot::Mutex;

use super::budget::{Budget, Permit};
use super::buffer::{Buffer, Pool};
use super::execute::{Outcome, execute};
use super::handshake::Negotiated;
use super::input::Input;
use super::output::{Output, Reply};
use super::request::{Command, check};
use super::{ByteStream, SessionError, Shared};
use crate::nbd::export::{Export, ExportError};
use crate::nbd::wire::transmission::{self as wire, Descriptor, Request, command};

/// Serves requests until the client disconnects. When this returns, nothing of the session runs any more and all
/// replies that could be sent were sent.
pub(super) fn run<S: ByteStream>(
    input: Input<'_, S>,
    stream: &S,
    shared: &Shared,
    negotiated: &Negotiated,
) -> Result<(), SessionError> {
    let limits = &shared.limits;
    let budget = Budget::new(limits.in_flight_requests, limits.in_flight_bytes);
    let transmission = Transmission {
        incoming: Mutex::new(Incoming {
            input,
            ending: None,
            threads: 1,
        }),
        waiting: AtomicUsize::new(0),
        output: Output::new(stream),
        budget: &budget,
        pool: Arc::default(),
        export: &*shared.exports.entry(negotiated.export).export,
        negotiated,
        shared,
    };
    std::thread::scope(|scope| transmission.work(scope));
    let Transmission {
        incoming, output, ..
    } = transmission;
    if let Some(error) = output.into_failure() {
        return Err(SessionError::Io(error));
    }
    incoming.into_inner().ending.unwrap_or(Ok(()))
}

struct Transmission<'a, S> {
    incoming: Mutex<Incoming<'a, S>>,
    /// Threads that wait for their turn at `incoming`, or have it.
    waiting: AtomicUsize,
    output: Output<'a, 'a, S>,
    budget: &'a Budget,
    pool: Arc<Pool>,
    export: &'a dyn Export,
    negotiated: &'a Negotiated,
    shared: &'a Shared,
}

/// The receiving side, used by one thread at a time.
struct Incoming<'a, S> {
    input: Input<'a, S>,
    /// How the session ended; set once.
    ending: Option<Result<(), SessionError>>,
    threads: usize,
}

/// A request that was read with all that belongs to it.
struct Job<'a> {
    request: Request,
    command: Result<Command, ExportError>,
    buffer: Option<Buffer>,
    permit: Permit<'a>,
}

impl<'a, S: ByteStream> Transmission<'a, S> {
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        while let Some(job) = self.next(scope) {
            let reply = self.carry_out(job);
            self.output.send(reply);
        }
    }

    /// Waits for its turn, then for a request. `None` when the session has ended.
    fn next<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Option<Job<'a>> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut incoming = self.incoming.lock();
        let received = match &incoming.ending {
            Some(_) => None,
            // Requests that nobody will hear of again are not worth the work, and there may be thousands of them.
            None if self.output.has_failed() => None,
            None => self.receive(&mut incoming.input).unwrap_or_else(|error| {
                incoming.ending = Some(Err(error));
                None
            }),
        };
        let others = self.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        if received.is_none() {
            incoming.ending.get_or_insert(Ok(()));
        } else if others == 0 && incoming.threads < self.shared.limits.threads {
            let thread = Builder::new().name("nbd-worker".to_owned());
            match thread.spawn_scoped(scope, move || self.work(scope)) {
                Ok(_) => incoming.threads += 1,
                Err(error) => tracing::warn!(%error, "going on with fewer threads"),
            }
        }
        received
    }

    /// Reads one request and its payload; `None` if the client is done.
    fn receive(&self, input: &mut Input<'_, S>) -> Result<Option<Job<'a>>, SessionError> {
        let Some(bytes) = input.message::<{ Request::SIZE }>("a request")? else {
            return Ok(None);
        };
        let request =
            Request::decode(bytes).ok_or(SessionError::Protocol("wrong request magic"))?;
        if request.command == command::DISC {
            return Ok(None);
        }
        self.shared.counters.requests.add(1);
        let mut command = check(&request, self.negotiated, self.export, self.shared);
        let length = usize::try_from(request.length).expect("a usize has at least 32 bits here");
        let held = match command {
            Ok(Command::Read | Command::Write { .. }) => length,
            Ok(Command::BlockStatus { one: false }) => {
                self.shared.limits.extents * size_of::<Descriptor>()
            }
            _ => 0,
        };
        let permit = self.budget.acquire(held);
        let mut buffer = None;
        match command {
            Ok(Command::Read) => buffer = Some(self.pool.take(length)),
            Ok(Command::Write { .. }) => {
                let mut payload = self.pool.take(length);
                input.exact(payload.as_mut_slice(), "the payload of a write")?;
                buffer = Some(payload);
                if self.shared.is_stopping() {
                    command = check(&request, self.negotiated, self.export, self.shared);
                }
            }
            Err(_) if request.command == command::WRITE => {
                if request.length > self.shared.limits.payload.saturating_mul(2) {
                    return Err(SessionError::TooLong(request.length));
                }
                input.skip(request.length, "the payload of a refused write")?;
            }
            _ => {}
        }
        Ok(Some(Job {
            request,
            command,
            buffer,
            permit,
        }))
    }

    fn carry_out(&self, job: Job<'a>) -> Reply<'a> {
        let request = &job.request;
        let extents = self.shared.limits.extents;
        let result = job
            .command
            .and_then(|command| execute(command, request, job.buffer, self.export, extents));
        self.count(request, &result);
        let cookie = request.cookie;
        let structured = self.negotiated.structured;
        let (head, data) = match result {
            Ok(Outcome::Done) => (wire::simple_success(cookie), None),
            Ok(Outcome::Data(data)) => match (structured, data.as_slice().len()) {
                (false, _) => (wire::simple_success(cookie), Some(data)),
                (true, 0) => (wire::structured_none(cookie), None),
                (true, length) => (
                    wire::structured_data(cookie, request.offset, length),
                    Some(data),
                ),
            },
            Ok(Outcome::Status(extents)) => {
                let id = self
                    .negotiated
                    .contexts
                    .first()
                    .map_or(0, |context| context.id());
                (wire::structured_block_status(cookie, id, &extents), None)
            }
            Err(error) if structured => (
                wire::structured_error(cookie, error.number(), error.message()),
                None,
            ),
            Err(error) => (wire::simple_error(cookie, error.number()), None),
        };
        Reply {
            head,
            data,
            _permit: job.permit,
        }
    }

    fn count(&self, request: &Request, result: &Result<Outcome, ExportError>) {
        let counters = &self.shared.counters;
        let length = u64::from(request.length);
        match result {
            Ok(Outcome::Data(_)) => counters.bytes_read.add(length),
            Ok(_) if request.command == command::WRITE => counters.bytes_written.add(length),
            Ok(_) => {}
            Err(error) => {
                counters.errors.add(1);
                // At a low level: most are the client's mistakes, and of the others the export knows more to say.
                tracing::debug!(%error, number = ?error.number(), "request failed");
            }
        }
    }
}
