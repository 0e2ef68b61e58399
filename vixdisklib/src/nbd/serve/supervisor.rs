//! The thread that accepts clients, watches the clock for them, and brings everything to an end.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ServerError;
use super::listener::Listener;
use super::stream::Stream;
use crate::nbd::session::{self, SessionError, Shared};

/// How long to leave waiting clients alone when there is no descriptor or thread for them.
const PAUSE: Duration = Duration::from_millis(100);

/// Wakes the supervisor from any thread.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<UnixStream>);

impl Waker {
    pub(super) fn wake(&self) {
        // It fails if a byte too many waits already, or if the supervisor is gone: both are fine.
        let _ = (&*self.0).write(&[0]);
    }
}

/// Owns the listeners and knows all connections.
#[derive(Debug)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    wake: UnixStream,
    connections: Arc<Connections>,
    next_id: u64,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, listeners: Vec<Listener>) -> io::Result<(Self, Waker)> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let supervisor = Self {
            shared,
            listeners,
            wake,
            connections: Arc::default(),
            next_id: 0,
        };
        Ok((supervisor, Waker(Arc::new(waker))))
    }

    /// Serves until the server is to stop, then ends all in order.
    pub(super) fn run(mut self) -> Result<(), ServerError> {
        while !self.shared.is_stopping() {
            if let Err(error) = self.turn() {
                tracing::warn!(%error, "accepting connections");
                std::thread::sleep(PAUSE);
            }
        }
        self.end()
    }

    /// Waits for a client, a deadline or the waker, and deals with it.
    fn turn(&mut self) -> io::Result<()> {
        let deadline = self.connections.cut_late(Instant::now());
        let timeout = deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
            .and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let listeners = self.listeners.iter();
        fds.extend(
            listeners.map(|listener| PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)),
        );
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            // Its only message is that there is one: what to do is in the shared state and the deadlines.
            let _ = (&self.wake).read(&mut [0; 64]);
        }
        for (index, _) in ready[1..].iter().enumerate().filter(|(_, ready)| **ready) {
            // One per turn, so that a flood of clients holds up neither the deadlines nor the stop.
            if let Some((stream, peer)) = self.listeners[index].accept()? {
                self.welcome(stream, peer)?;
            }
        }
        Ok(())
    }

    fn welcome(&mut self, stream: Stream, peer: String) -> io::Result<()> {
        let limits = &self.shared.limits;
        self.shared.counters.connections.add(1);
        if self.connections.count() >= limits.connections {
            tracing::warn!(peer, limit = limits.connections, "too many connections");
            return Ok(());
        }
        let id = self.next_id;
        self.next_id += 1;
        let stream = Arc::new(stream);
        let deadline = Instant::now().checked_add(limits.handshake_timeout);
        let guard = Connections::add(&self.connections, id, Arc::clone(&stream), deadline);
        let shared = Arc::clone(&self.shared);
        Builder::new()
            .name("nbd-connection".to_owned())
            .spawn(move || {
                serve(&stream, &shared, &guard, &peer);
                // Before the guard: who waits for the last connection to close may rely on the exports being free.
                drop(shared);
                drop(guard);
            })?;
        Ok(())
    }

    fn end(mut self) -> Result<(), ServerError> {
        self.listeners.clear();
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
        tracing::info!("stopped");
        result
    }
}

/// The thread of one connection.
fn serve(stream: &Stream, shared: &Shared, guard: &Guard, peer: &str) {
    let span = tracing::debug_span!("connection", id = guard.id, peer);
    let _entered = span.enter();
    tracing::debug!("accepted");
    shared.counters.connections_open.add(1);
    let result = session::run(stream, shared, |export| {
        tracing::info!(export, "serving");
        guard.disarm();
    });
    shared.counters.connections_open.subtract(1);
    match result {
        Ok(()) => tracing::info!("closed"),
        Err(error) if guard.was_late() => {
            tracing::warn!(%error, "cut off: it chose no export in time");
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

/// All open connections.
#[derive(Debug, Default)]
struct Connections {
    open: Mutex<HashMap<u64, Open>>,
    closed: Condvar,
}

#[derive(Debug)]
struct Open {
    stream: Arc<Stream>,
    /// When the client must have chosen an export; none once it has.
    deadline: Option<Instant>,
    late: bool,
}

impl Connections {
    fn add(
        connections: &Arc<Self>,
        id: u64,
        stream: Arc<Stream>,
        deadline: Option<Instant>,
    ) -> Guard {
        let open = Open {
            stream,
            deadline,
            late: false,
        };
        connections.open.lock().insert(id, open);
        Guard {
            connections: Arc::clone(connections),
            id,
        }
    }

    fn count(&self) -> usize {
        self.open.lock().len()
    }

    fn for_each(&self, act: impl Fn(&Stream)) {
        for open in self.open.lock().values() {
            act(&open.stream);
        }
    }

    /// Cuts off those whose time is over, and tells when the next one's will be.
    fn cut_late(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for open in self.open.lock().values_mut() {
            match open.deadline {
                Some(deadline) if deadline <= now => {
                    open.deadline = None;
                    open.late = true;
                    open.stream.cut();
                }
                Some(deadline) => {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                }
                None => {}
            }
        }
        next
    }

    /// Waits until the last connection is closed; false if that took too long.
    fn wait_until_none(&self, deadline: Option<Instant>) -> bool {
        let mut open = self.open.lock();
        while !open.is_empty() {
            match deadline {
                None => self.closed.wait(&mut open),
                Some(deadline) if self.closed.wait_until(&mut open, deadline).timed_out() => {
                    return open.is_empty();
                }
                Some(_) => {}
            }
        }
        true
    }
}

/// Keeps one connection known while its thread runs.
#[derive(Debug)]
struct Guard {
    connections: Arc<Connections>,
    id: u64,
}

impl Guard {
    fn disarm(&self) {
        if let Some(open) = self.connections.open.lock().get_mut(&self.id) {
            open.deadline = None;
        }
    }

    fn was_late(&self) -> bool {
        let open = self.connections.open.lock();
        open.get(&self.id).is_some_and(|open| open.late)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.id);
        self.connections.closed.notify_all();
    }
}
