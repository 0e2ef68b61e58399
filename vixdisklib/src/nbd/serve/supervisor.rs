//! The thread that accepts clients, watches the clock for them, and brings everything to an end.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::ServerError;
use super::admission::Admission;
use super::channel::Channel;
use super::connections::{Connections, Cut, Guard};
use super::listener::{Accepted, Listener};
use super::metrics_socket::MetricsSocket;
use super::stream::Stream;
use crate::nbd::metrics;
use crate::nbd::session::{self, SessionError, Shared};

/// How long to leave waiting clients alone when there is no descriptor or thread for them, unless one is given back.
const PAUSE: Duration = Duration::from_millis(100);

/// How often to say that clients cannot be let in: often enough to be seen, and not so often that a flood of clients
/// becomes a flood of lines.
const WARN_INTERVAL: Duration = Duration::from_secs(1);

/// Wakes the supervisor from any thread.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<UnixStream>);

impl Waker {
    pub(super) fn wake(&self) {
        // It fails if a byte too many waits already, or if the supervisor is gone: both are fine.
        let _ = (&*self.0).write(&[0]);
    }
}

/// Where the server can be reached.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) listeners: Vec<Listener>,
    pub(super) metrics: Option<MetricsSocket>,
}

/// A socket at which somebody may wait.
enum Door<'a> {
    Clients(&'a Listener),
    Metrics(&'a MetricsSocket),
}

impl Addresses {
    /// Those for clients only if these are let in now.
    fn doors(&self, clients: bool) -> Vec<Door<'_>> {
        let listeners = if clients { &self.listeners[..] } else { &[] };
        let metrics = self.metrics.iter().map(Door::Metrics);
        listeners.iter().map(Door::Clients).chain(metrics).collect()
    }
}

impl AsFd for Door<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Clients(listener) => listener.as_fd(),
            Self::Metrics(socket) => socket.as_fd(),
        }
    }
}

/// Adds to a channel what all connections of a server have.
pub(super) type ToStream = Box<dyn Fn(Channel) -> Stream + Send>;

/// Owns the listeners and knows all connections.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    addresses: Addresses,
    to_stream: ToStream,
    wake: UnixStream,
    connections: Arc<Connections>,
    stop_after_last: bool,
    admission: Cell<Admission>,
    /// When it was last said that clients cannot be let in.
    warned: Cell<Option<Instant>>,
}

impl Supervisor {
    pub(super) fn new(
        shared: Arc<Shared>,
        addresses: Addresses,
        to_stream: ToStream,
        stop_after_last: bool,
    ) -> io::Result<(Self, Waker)> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let waker = Waker(Arc::new(waker));
        let limits = &shared.limits;
        let admission = Admission::new(limits.connection_interval, limits.connections);
        let supervisor = Self {
            admission: Cell::new(admission),
            shared,
            addresses,
            to_stream,
            wake,
            connections: Arc::new(Connections::new(waker.clone())),
            stop_after_last,
            warned: Cell::new(None),
        };
        Ok((supervisor, waker))
    }

    /// Serves the clients of `streams` and those that come, until the server is to stop; then ends all in order.
    pub(super) fn run(self, streams: Vec<Stream>) -> Result<(), ServerError> {
        for stream in streams {
            if let Err(error) = self.welcome(stream, "connected before".to_owned(), None) {
                tracing::error!(%error, "serving a connection");
            }
        }
        while !self.shared.is_stopping() && !self.is_done() {
            if let Err(error) = self.turn() {
                if self.is_to_warn() {
                    tracing::warn!(%error, "accepting connections");
                }
                // What is missing may be in the hands of clients that want nothing but that.
                self.connections.make_one_give_way();
                self.pause();
            }
        }
        self.end()
    }

    /// Whether nobody is left that the server would go on for.
    fn is_done(&self) -> bool {
        match (self.addresses.listeners.is_empty(), self.stop_after_last) {
            (true, _) => self.connections.is_empty(),
            (false, true) => self.connections.all_have_left(),
            (false, false) => false,
        }
    }

    /// Waits for a client, a deadline or the waker, and deals with it.
    fn turn(&self) -> io::Result<()> {
        let deadline = self.connections.cut_late(Instant::now());
        let now = Instant::now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let not_yet = self.admission.get().wait(now);
        let doors = self.addresses.doors(not_yet.is_none());
        let left = [left, not_yet].into_iter().flatten().min();
        for door in self.wait(&doors, left)? {
            // One per turn, so that a flood of clients holds up neither the deadlines nor the stop.
            match door {
                Door::Clients(listener) => {
                    if let Some(accepted) = listener.accept()? {
                        self.admit(accepted)?;
                    }
                }
                Door::Metrics(socket) => socket.answer_next(|| metrics::text(&self.shared))?,
            }
        }
        Ok(())
    }

    /// Waits until somebody is at one of the doors, the waker is used, or the time is over; the doors to open.
    fn wait<'a>(
        &self,
        doors: &'a [Door<'a>],
        time: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = &'a Door<'a>>> {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let fds = doors.iter().map(AsFd::as_fd).chain([self.wake.as_fd()]);
        let mut fds: Vec<_> = fds
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if is_ready.last() == Some(&true) {
            // Its only message is that there is one: what to do is in the shared state and the deadlines.
            let _ = (&self.wake).read(&mut [0; 64]);
        }
        let ready = doors.iter().zip(is_ready);
        Ok(ready.filter_map(|(door, is_ready)| is_ready.then_some(door)))
    }

    /// Leaves waiting clients alone until another one has left, or for a while.
    fn pause(&self) {
        if self.wait(&[], Some(PAUSE)).is_err() {
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether it is time to say again that clients cannot be let in.
    fn is_to_warn(&self) -> bool {
        let last = self.warned.get();
        let is_due = last.is_none_or(|last| last.elapsed() > WARN_INTERVAL);
        if is_due {
            self.warned.set(Some(Instant::now()));
        }
        is_due
    }

    fn admit(&self, accepted: Accepted) -> io::Result<()> {
        let limits = &self.shared.limits;
        let machine = accepted.machine;
        self.shared.counters.connections.add(1);
        let mut admission = self.admission.get();
        admission.take(Instant::now());
        self.admission.set(admission);
        if !self
            .connections
            .has_room(machine, limits.connections, limits.connections_per_address)
        {
            if self.is_to_warn() {
                tracing::warn!(peer = accepted.name, "too many connections");
            }
            return Ok(());
        }
        match Channel::socket(accepted.socket, limits) {
            Ok(channel) => {
                let stream = (self.to_stream)(channel);
                self.welcome(stream, accepted.name, machine)
            }
            Err(error) => {
                tracing::debug!(%error, peer = accepted.name, "gone before it was served");
                Ok(())
            }
        }
    }

    fn welcome(&self, stream: Stream, peer: String, machine: Option<IpAddr>) -> io::Result<()> {
        let stream = Arc::new(stream);
        let deadline = Instant::now().checked_add(self.shared.limits.handshake_timeout);
        let guard = Connections::add(&self.connections, Arc::clone(&stream), machine, deadline);
        let shared = Arc::clone(&self.shared);
        Builder::new()
            .name("nbd-connection".to_owned())
            .spawn(move || {
                serve(&stream, &shared, &guard, &peer);
                // Before the guard: who waits for a connection to close may rely on its descriptor, and for the last one
                // also on the exports, being free.
                drop(stream);
                drop(shared);
                drop(guard);
            })?;
        Ok(())
    }

    fn end(self) -> Result<(), ServerError> {
        // Also when nobody asked for it.
        self.shared.begin_stop();
        drop(self.addresses);
        self.connections.for_each(Stream::stop_receiving);
        let grace = Instant::now().checked_add(self.shared.limits.grace);
        if !self.connections.wait_until_none(grace) {
            tracing::warn!("cutting off clients that do not take their answers");
            self.connections.for_each(Stream::cut);
            self.connections.wait_until_none(None);
        }
        let mut result = Ok(());
        for entry in self.shared.exports.entries() {
            if let Err(source) = entry.export.flush() {
                tracing::error!(export = entry.name, error = %source, "flushing at the end");
                result = result.and(Err(ServerError::Flush {
                    name: entry.name.clone(),
                    source,
                }));
            }
        }
        // A source's exports were flushed when their last clients left.
        if let Some((name, source)) = self.shared.exports.take_failure() {
            result = result.and(Err(ServerError::Flush { name, source }));
        }
        tracing::info!("stopped");
        result
    }
}

/// The thread of one connection.
fn serve(stream: &Stream, shared: &Shared, guard: &Guard, peer: &str) {
    let span = tracing::debug_span!("connection", id = guard.id(), peer);
    let _entered = span.enter();
    tracing::debug!("accepted");
    let _present = shared.counters.one_more_open();
    let result = session::run(stream, shared, |export| {
        tracing::info!(export, "serving");
        guard.settle();
    });
    stream.say_goodbye();
    match result {
        Ok(()) => tracing::info!("closed"),
        Err(error) if guard.cut() == Some(Cut::Late) => {
            tracing::warn!(%error, "cut off: it chose no export in time");
        }
        Err(error) if guard.cut() == Some(Cut::GaveWay) => {
            tracing::debug!(%error, "cut off: it chose no export, and others wanted its place");
        }
        Err(error) if shared.is_stopping() => tracing::debug!(%error, "closed by the stop"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            match error {
                SessionError::Io(_) => tracing::info!(%error, cause, "closed"),
                _ => tracing::warn!(%error, cause, "closed"),
            }
        }
    }
}
