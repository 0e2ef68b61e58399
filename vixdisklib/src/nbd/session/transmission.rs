//! The transmission phase: several threads take turns at reading a request, then work side by side.
//!
//! A thread holds the lock on the receiving side while it reads one request with its payload, lets go of it,
//! carries the request out and sends the reply. So whoever ends has finished its own work first.
//!
//! Reads that come from a cache are over before another thread has woken up, and so are answers from the map of what is
//! allocated. While they are, one thread keeps the receiving side, carries out what has arrived (short reads in a row,
//! with their replies in one system call), and lets go only when the client takes nothing for a moment: a request then
//! costs no hand-over between threads.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, Scope};
use std::time::Instant;

use disk_units::ByteLen;
use parking_lot::{Mutex, MutexGuard};

use super::budget::Budget;
use super::buffer::Pool;
use super::execute::{Executor, Failure, Outcome};
use super::handshake::Negotiated;
use super::input::Input;
use super::output::{Output, Reply};
use super::pace::Pace;
use super::patience::Patience;
use super::receive::{Job, Receiver};
use super::request::Command;
use super::respond::reply;
use super::sent_file::SentFiles;
use super::{ByteStream, SessionError, Shared};
use crate::nbd::export::Export;
use crate::nbd::wire::reply::Descriptor;
use crate::nbd::wire::request::{Request, command};

/// Reads that are carried out in a row, how many bytes each of them may have, and all of them.
const ROW: usize = 32;
const SHORT: usize = 16 << 10;
const ROW_BYTES: usize = 256 << 10;

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
    let export = &*negotiated.export.export;
    let transmission = Transmission {
        incoming: Mutex::new(Incoming {
            input,
            ending: None,
            threads: 1,
        }),
        waiting: AtomicUsize::new(0),
        pace: Pace::new(),
        patience: Patience::new(limits.extents),
        output: Output::new(stream),
        budget: &budget,
        pool: Pool::new(&shared.idle),
        export,
        tells_stalls: stream.tells_stalls(),
        // A queued page that is written to later would change under way.
        sends_files: stream.sends_files() && export.is_read_only(),
        sent_files: SentFiles::new(limits.connections, &shared.files),
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
    pace: Pace,
    patience: Patience,
    output: Output<'a, 'a, S>,
    budget: &'a Budget<'a>,
    pool: Arc<Pool>,
    export: &'a dyn Export,
    tells_stalls: bool,
    sends_files: bool,
    sent_files: SentFiles,
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
        let mut jobs = Vec::with_capacity(ROW);
        let mut kept = None;
        loop {
            let mut incoming = kept.take().unwrap_or_else(|| self.wait_for_turn());
            self.next(&mut incoming, &mut jobs);
            if jobs.is_empty() {
                incoming.ending.get_or_insert(Ok(()));
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            if self.output.has_failed() {
                // They may have waited long for memory, and nobody will hear of what is read.
                jobs.retain(|job| !is_read(job));
            }
            let may_be_quick = jobs.iter().all(|job| is_read(job) || is_status(job));
            if may_be_quick && self.keeps_turn() {
                kept = Some(incoming);
            } else {
                self.let_others(incoming, scope);
            }
            let (bytes, start) = (jobs.iter().map(bytes_of).sum(), Instant::now());
            let count = jobs.len();
            let mut next = None;
            let carry_out = |job| self.carry_out(job, &mut next);
            let replies: Vec<_> = jobs.drain(..).map(carry_out).collect();
            if may_be_quick {
                self.pace.record(start.elapsed(), count, bytes);
            }
            // A client that takes nothing may be sending something first.
            let mut stalled = || {
                if let Some(incoming) = kept.take() {
                    self.let_others(incoming, scope);
                }
            };
            self.output.send(replies, &mut stalled);
            if let Some(range) = next.filter(|_| kept.is_none() && self.has_time()) {
                self.expect_status(range);
            }
        }
    }

    /// Whether another thread can receive meanwhile, and more will come.
    fn has_time(&self) -> bool {
        self.shared.limits.threads > 1 && !self.output.has_failed() && !self.shared.is_stopping()
    }

    /// Lets the export do what a question about the state of this range takes. A panic in the export costs no more than
    /// that.
    fn expect_status(&self, range: Range<u64>) {
        let length = ByteLen::new(range.end - range.start);
        let offset = ByteLen::new(range.start);
        let expect = || self.export.expect_block_status(offset, length);
        if catch_unwind(AssertUnwindSafe(expect)).is_err() {
            tracing::error!("the export panicked");
        }
    }

    /// Whether who has read requests goes on to carry them out with the receiving side in hand.
    fn keeps_turn(&self) -> bool {
        self.tells_stalls && self.pace.is_quick()
    }

    fn wait_for_turn(&self) -> MutexGuard<'_, Incoming<'a, S>> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.incoming.lock()
    }

    /// Leaves the receiving side to another thread; if none waits for it, there should be one more.
    fn let_others<'scope>(
        &'scope self,
        mut incoming: MutexGuard<'_, Incoming<'a, S>>,
        scope: &'scope Scope<'scope, '_>,
    ) {
        let others = self.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        if others == 0 && incoming.threads < self.shared.limits.threads {
            let thread = Builder::new().name("nbd-worker".to_owned());
            match thread.spawn_scoped(scope, move || self.work(scope)) {
                Ok(_) => incoming.threads += 1,
                Err(error) => tracing::warn!(%error, "going on with fewer threads"),
            }
        }
    }

    /// Waits for a request, and takes those short reads that came with it while they are quick. None when the session
    /// has ended.
    fn next(&self, incoming: &mut Incoming<'a, S>, jobs: &mut Vec<Job<'a>>) {
        // Requests that nobody will hear of again are not worth the work, and there may be thousands of them.
        if incoming.ending.is_some() || self.output.has_failed() {
            return;
        }
        let mut bytes = 0;
        loop {
            match self.receiver().receive(&mut incoming.input) {
                Ok(Some(job)) => {
                    bytes += bytes_of(&job);
                    jobs.push(job);
                }
                Ok(None) => incoming.ending = Some(Ok(())),
                Err(error) => incoming.ending = Some(Err(error)),
            }
            let more = incoming.ending.is_none()
                && jobs.last().is_some_and(is_read)
                && jobs.len() < ROW
                && bytes + SHORT <= ROW_BYTES
                && self.keeps_turn()
                && self.receiver().has_short_read(&incoming.input, SHORT);
            if !more {
                return;
            }
        }
    }

    fn receiver(&self) -> Receiver<'_, 'a> {
        Receiver {
            budget: self.budget,
            pool: &self.pool,
            export: self.export,
            negotiated: self.negotiated,
            shared: self.shared,
        }
    }

    /// If it is a question about the state of a range, `next` is what will be asked after its answer.
    fn carry_out(&self, job: Job<'a>, next: &mut Option<Range<u64>>) -> Reply<'a> {
        let Job {
            request,
            command,
            buffer,
            permit,
        } = job;
        let may_be_long = matches!(command, Ok(Command::BlockStatus { one: false, .. }));
        let result = command
            .map_err(Failure::from)
            .and_then(|command| self.executor().execute(command, &request, buffer));
        self.count(&request, &result);
        if let Ok(Outcome::Status(answers)) = &result {
            let told = answers.iter().map(|(_, descriptors)| told_by(descriptors));
            let told = told.min().unwrap_or_default();
            *next = self.behind(&request, told);
            if may_be_long && told < request.length {
                self.patience.grow();
            }
        }
        reply(&request, self.negotiated.framing, result, permit)
    }

    /// As much as was asked for, behind what was told. None at the end of the export.
    fn behind(&self, request: &Request, told: u64) -> Option<Range<u64>> {
        let start = request.offset + told;
        let end = start.saturating_add(request.length);
        let range = start..end.min(self.export.size().get());
        (!range.is_empty()).then_some(range)
    }

    fn executor(&self) -> Executor<'_> {
        Executor {
            export: self.export,
            negotiated: self.negotiated,
            max_extents: self.patience.extents(),
            files: self.sends_files.then_some(&self.sent_files),
        }
    }

    fn count(&self, request: &Request, result: &Result<Outcome, Failure>) {
        for counters in self.shared.counters_of(&self.negotiated.export) {
            match result {
                Ok(Outcome::Data(_)) => counters.bytes_read.add(request.length),
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

fn is_read(job: &Job<'_>) -> bool {
    matches!(job.command, Ok(Command::Read { .. }))
}

fn is_status(job: &Job<'_>) -> bool {
    matches!(job.command, Ok(Command::BlockStatus { .. }))
}

fn told_by(descriptors: &[Descriptor]) -> u64 {
    descriptors.iter().map(|descriptor| descriptor.length).sum()
}

fn bytes_of(job: &Job<'_>) -> usize {
    let buffer = job.buffer.as_ref();
    buffer.map_or(0, |buffer| buffer.as_slice().len())
}
