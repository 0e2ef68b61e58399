//! One client of the data port: what it is known by, and what is done to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::injection::Injection;
use crate::site::Site;
use crate::transcript::Event;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) site: Arc<Site>,
    pub(super) connection: u64,
    /// Messages so far, in both directions.
    messages: AtomicU32,
    /// The connection ends after so many.
    last_message: Option<u32>,
}

impl Peer {
    pub(super) fn new(site: &Arc<Site>, connection: u64) -> Self {
        let last_message = site
            .injections
            .happens(Some(connection), |injection| match injection {
                Injection::Disconnect { messages } => Some(*messages),
                _ => None,
            });
        Self {
            site: Arc::clone(site),
            connection,
            messages: AtomicU32::new(0),
            last_message,
        }
    }

    /// A message was received, or is to be sent.
    ///
    /// # Errors
    /// When the connection is to end before it.
    pub(super) fn message(&self) -> io::Result<()> {
        let before = self.messages.fetch_add(1, Ordering::Relaxed);
        match self.last_message {
            Some(last) if before >= last => Err(io::Error::other("ended by an injection")),
            _ => Ok(()),
        }
    }

    /// Waits before a message of the handshakes, as the distance makes clients wait.
    pub(super) fn wait(&self) {
        sleep(self.site.latency + self.delay());
    }

    pub(super) fn delay(&self) -> Duration {
        let delay = self.happens(|injection| match injection {
            Injection::Delay { time } => Some(*time),
            _ => None,
        });
        delay.unwrap_or_default()
    }

    pub(super) fn note(&self, event: Event) {
        self.site.note(event);
    }

    pub(super) fn is(&self, injection: &Injection) -> bool {
        self.site.injected(self.connection, injection)
    }

    pub(super) fn happens<T>(&self, pick: impl Fn(&Injection) -> Option<T>) -> Option<T> {
        self.site.injections.happens(Some(self.connection), pick)
    }
}

pub(super) fn sleep(time: Duration) {
    if !time.is_zero() {
        thread::sleep(time);
    }
}
