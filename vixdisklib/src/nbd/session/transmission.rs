//! The transmission phase: several threads take turns at reading a request, then work side by side.
//!
//! A thread holds the lock on the receiving side while it reads one request with its payload, lets go of it,
//! carries the request out and sends the reply. So a request costs no hand-over between threads, a client with
//! one request at a time keeps one thread busy, and whoever ends has finished its own work first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, Scope};

use parking_lot::Mutex;

use super::budget::Budget;
use super::buffer::Pool;
use super::execute::{Failure, Outcome, execute};
use super::handshake::Negotiated;
use super::input::Input;
use super::output::{Output, Reply};
use super::receive::{Job, Receiver};
use super::respond::reply;
use super::{ByteStream, SessionError, Shared};
use crate::nbd::export::Export;
use crate::nbd::wire::request::{Request, command};

/// Serves requests until the client disconnects. When this returns, nothing of the session runs any more and all
/// replies that could be sent were sent.
pub(super) fn run<S: ByteStream>(
    input: Input<'_, S>,
    stream: &S,
    shared: &Shared,
    negotiated: &Negotiated,
) -> Result<(), SessionError> {
    let limits = &shared.limits;
    let budget = Budget::new(
        limits.in_flight_requests,
        limits.in_flight_bytes,
        &shared.memory,
    );
    let transmission = Transmission {
        incoming: Mutex::new(Incoming {
            input,
            ending: None,
            threads: 1,
        }),
        waiting: AtomicUsize::new(0),
        output: Output::new(stream),
        budget: &budget,
        pool: Pool::new(&shared.idle),
        export: &*negotiated.export.export,
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
    budget: &'a Budget<'a>,
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
        Receiver {
            budget: self.budget,
            pool: &self.pool,
            export: self.export,
            negotiated: self.negotiated,
            shared: self.shared,
        }
        .receive(input)
    }

    fn carry_out(&self, job: Job<'a>) -> Reply<'a> {
        let Job {
            request,
            command,
            buffer,
            permit,
        } = job;
        let extents = self.shared.limits.extents;
        let result = command.map_err(Failure::from).and_then(|command| {
            execute(
                command,
                &request,
                buffer,
                self.export,
                self.negotiated,
                extents,
            )
        });
        self.count(&request, &result);
        reply(&request, self.negotiated.framing, result, permit)
    }

    fn count(&self, request: &Request, result: &Result<Outcome, Failure>) {
        for counters in self.shared.counters_of(&self.negotiated.export) {
            match result {
                Ok(Outcome::Data(..)) => counters.bytes_read.add(request.length),
                Ok(_) if request.command == command::WRITE => {
                    counters.bytes_written.add(request.length);
                }
                Ok(_) => {}
                Err(_) => counters.errors.add(1),
            }
        }
        if let Err(Failure { error, .. }) = result {
            // At a low level: most are the client's mistakes, and of the others the export knows more to say.
            tracing::debug!(%error, number = ?error.number(), "request failed");
        }
    }
}
