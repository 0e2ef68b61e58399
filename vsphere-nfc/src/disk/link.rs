//! The connection of a disk, renewed when it was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use disk_units::{ByteLen, SectorCount};
use parking_lot::Mutex;

use super::options::OpenOptions;
use crate::budget::Budget;
use crate::dial::Dial;
use crate::error::ErrorKind;
use crate::failure::Failure;
use crate::session::Session;
use crate::wire::aio::{FILE_TYPE_DISK, FileOpened, Geometry, MAX_PATH, OpenFile, Reply, Request};

/// How long a host that could not be reached is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What does not change while a disk is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// In sectors of 512 bytes.
    pub(super) capacity: SectorCount,
    pub(super) sector_size: u32,
    pub(super) geometry: Geometry,
}

/// The disk, open on one connection.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) handle: u64,
    /// The most data of one message, in bytes.
    pub(super) buffer: u32,
    pub(super) budget: Arc<Budget>,
    pub(super) shape: Shape,
    /// Whether something was written over this connection.
    wrote: AtomicBool,
}

impl Open {
    pub(super) fn dial(
        dial: &dyn Dial,
        path: &str,
        options: &OpenOptions,
    ) -> Result<Self, Failure> {
        let length = match u32::try_from(path.len()) {
            Ok(length) if path.len() <= MAX_PATH && length > 0 => length,
            _ => {
                return Err(Failure::request(
                    ErrorKind::InvalidArgument,
                    "the path is empty or too long",
                ));
            }
        };
        let dialed = dial
            .dial()
            .map_err(|error| Failure::Dial(Arc::new(error)))?;
        let budget = options
            .budget
            .clone()
            .unwrap_or_else(|| Budget::of_host(&dialed.host));
        let (session, buffers) =
            Session::begin(dialed, &options.timeouts, options.buffer, options.buffers)?;
        let open = Request::OpenFile(OpenFile {
            path: length,
            file_type: FILE_TYPE_DISK,
            flags: options.flags(),
        });
        let (reply, _) = session
            .call_and_wait(&open, path.as_bytes())
            .map_err(|failure| failure.for_opening(options.writable))?;
        let Reply::FileOpened(opened) = reply else {
            return Err(Failure::breach("another answer to opening a disk"));
        };
        if opened.status != 0 {
            return Err(Failure::refused_by(opened.status).for_opening(options.writable));
        }
        Ok(Self {
            session,
            handle: opened.handle,
            buffer: buffers.size,
            budget,
            shape: shape(&opened)?,
            wrote: AtomicBool::new(false),
        })
    }

    /// To be called before something is written.
    pub(super) fn note_write(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }

    fn has_written(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }
}

fn shape(opened: &FileOpened) -> Result<Shape, Failure> {
    let sector_size = match opened.sector_size {
        0 => 512,
        size if size.is_power_of_two() && (512..=64 << 10).contains(&size) => size,
        _ => return Err(Failure::breach("a disk with sectors of an unknown size")),
    };
    if opened.handle == 0 || opened.file_type != FILE_TYPE_DISK {
        return Err(Failure::breach("an open file that is no disk"));
    }
    let capacity = match ByteLen::new(opened.capacity).whole_sectors() {
        Some(capacity) if opened.capacity.checked_rem(sector_size.into()) == Some(0) => capacity,
        _ => {
            return Err(Failure::breach(
                "a disk that does not consist of whole sectors",
            ));
        }
    };
    Ok(Shape {
        capacity,
        sector_size,
        geometry: opened.geometry,
    })
}

pub(super) struct Link {
    dial: Box<dyn Dial>,
    path: String,
    options: OpenOptions,
    state: Mutex<State>,
    /// Why there was no new connection, and when.
    unreachable: Mutex<Option<(Instant, Failure)>>,
}

enum State {
    /// The connection may have been lost since.
    Open(Arc<Open>),
    /// It was lost for good.
    Lost(Failure),
    Closed,
}

impl Link {
    pub(super) fn new(dial: Box<dyn Dial>, path: &str, options: &OpenOptions, open: Open) -> Self {
        Self {
            dial,
            path: path.to_owned(),
            options: options.clone(),
            state: Mutex::new(State::Open(Arc::new(open))),
            unreachable: Mutex::default(),
        }
    }

    /// A connection that works as far as known. A lost one is renewed; others wait meanwhile.
    pub(super) fn current(&self) -> Result<Arc<Open>, Failure> {
        let mut state = self.state.lock();
        let lost = look(&mut state)?;
        let State::Open(open) = &*state else {
            return Err(Failure::Closed);
        };
        let Some(failure) = lost else {
            return Ok(Arc::clone(open));
        };
        let renewed = Arc::new(self.dial_again(&failure)?);
        if renewed.shape != open.shape {
            *state = State::Lost(Failure::Changed);
            return Err(Failure::Changed);
        }
        *state = State::Open(Arc::clone(&renewed));
        Ok(renewed)
    }

    /// Connects again, unless that has failed just now: many requests may ask, one after another.
    fn dial_again(&self, lost: &Failure) -> Result<Open, Failure> {
        let mut unreachable = self.unreachable.lock();
        if let Some((when, failure)) = &*unreachable
            && when.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        tracing::warn!(path = %self.path, failure = %lost, "connecting again");
        let dialed = Open::dial(&*self.dial, &self.path, &self.options);
        *unreachable = match &dialed {
            Ok(_) => None,
            Err(failure) => Some((Instant::now(), failure.clone())),
        };
        dialed
    }

    /// Fails if something was written over a connection that was lost.
    pub(super) fn lost_writes(&self) -> Result<(), Failure> {
        look(&mut self.state.lock()).map(drop)
    }

    /// Closes what is open; once. Nothing may be in flight.
    pub(super) fn close(&self) -> Result<(), Failure> {
        let mut state = self.state.lock();
        let seen = look(&mut state);
        let before = std::mem::replace(&mut *state, State::Closed);
        drop(state);
        match (before, seen) {
            (State::Open(open), Ok(None)) => open.session.close(open.handle),
            (State::Lost(failure), _) => Err(failure),
            // Nothing was written over the lost connection, so nothing is lost.
            _ => Ok(()),
        }
    }

    /// Ends the connection at once, and lets no other be made.
    pub(super) fn abandon(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Closed);
        if let State::Open(open) = before {
            open.session.end(Failure::Closed);
        }
    }
}

/// Why the connection was lost, if it was and another may take its place. If something was written over it, all is lost.
fn look(state: &mut State) -> Result<Option<Failure>, Failure> {
    let open = match state {
        State::Open(open) => open,
        State::Lost(failure) => return Err(failure.clone()),
        State::Closed => return Err(Failure::Closed),
    };
    let Some(failure) = open.session.failure() else {
        return Ok(None);
    };
    // Only after the end of the session is it certain that no more is written over it.
    if !open.has_written() {
        return Ok(Some(failure));
    }
    let failure = Failure::WritesLost(Arc::new(failure));
    *state = State::Lost(failure.clone());
    Err(failure)
}
