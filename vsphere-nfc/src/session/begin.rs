//! The begin of a session: how large its buffers are.

use std::time::Duration;

use super::Session;
use crate::dial::Dialed;
use crate::failure::Failure;
use crate::handshake;
use crate::timeouts::Timeouts;
use crate::wire::aio::{OpenSession, Request, SocketOptions};

/// What is asked for, from the best to what every host has. ESXi 8 refuses more; size times count comes from a memory
/// that all sessions of a host share.
const LADDER: [Buffers; 6] = [
    Buffers::new(2 << 20, 4),
    Buffers::new(1 << 20, 4),
    Buffers::new(512 << 10, 4),
    Buffers::new(256 << 10, 4),
    Buffers::new(64 << 10, 4),
    Buffers::new(64 << 10, 1),
];

/// The buffers that a host keeps for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffers {
    /// The most data of one message, in bytes.
    pub(crate) size: u32,
    pub(crate) count: u32,
}

impl Buffers {
    const fn new(size: u32, count: u32) -> Self {
        Self { size, count }
    }
}

impl Session {
    /// Shakes hands and begins a session, with the largest buffers that the host accepts, but none above `largest` bytes,
    /// and as many as `count` says.
    pub(crate) fn begin(
        dialed: Dialed,
        timeouts: &Timeouts,
        largest: u32,
        count: Option<u32>,
    ) -> Result<(Self, Buffers), Failure> {
        let Dialed { stream, tag, .. } = dialed;
        stream.set_timeouts(Some(timeouts.accept), Some(timeouts.write))?;
        handshake::shake_hands(&*stream, tag.as_deref())?;
        stream.set_timeouts(Some(tick(timeouts.read)), Some(timeouts.write))?;
        let session = Self::start(stream, timeouts.read)?;
        let buffers = session.open_session(largest, count)?;
        let options = Request::SetSocketOptions(SocketOptions::default());
        session.call_and_wait(&options, &[])?;
        session.call_and_wait(&Request::SetResourcePool(1), &[])?;
        Ok((session, buffers))
    }

    fn open_session(&self, largest: u32, count: Option<u32>) -> Result<Buffers, Failure> {
        let mut refused = None;
        let least = LADDER.last();
        for buffers in LADDER {
            if buffers.size > largest && Some(&buffers) != least {
                continue;
            }
            let count = count.filter(|_| Some(&buffers) != least);
            let buffers = Buffers {
                count: count.unwrap_or(buffers.count),
                ..buffers
            };
            let open = Request::OpenSession(OpenSession {
                buffer_size: buffers.size,
                buffer_count: buffers.count,
            });
            match self.call_and_wait(&open, &[]) {
                Ok(_) => return Ok(buffers),
                Err(failure @ Failure::Refused { .. }) => refused = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        Err(refused.unwrap_or(Failure::Closed))
    }
}

/// How often the thread that receives looks at the clock: often enough to be late by a quarter only.
fn tick(patience: Duration) -> Duration {
    let quarter = patience.checked_div(4).unwrap_or(patience);
    quarter.clamp(Duration::from_millis(5), Duration::from_secs(5))
}
