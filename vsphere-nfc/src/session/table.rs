//! What is in flight.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::parts::Parts;
use super::{Answer, Done, Target};
use crate::failure::Failure;
use crate::wire::aio::Kind;

/// How many refused requests are remembered.
const REMEMBERED: usize = 1024;

/// A request that waits for its answer.
pub(super) enum Pending {
    Call {
        kind: Kind,
        done: Done<Answer>,
    },
    Read(Read),
    Write {
        offset: u64,
        length: u32,
        done: Done<()>,
    },
}

/// A read that waits for more of its data.
pub(super) struct Read {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) parts: Parts,
    pub(super) target: Box<dyn Target>,
}

impl Read {
    pub(super) fn new(offset: u64, length: u32, target: Box<dyn Target>) -> Self {
        Self {
            offset,
            length,
            parts: Parts::default(),
            target,
        }
    }
}

impl Pending {
    pub(super) fn fail(self, failure: Failure) {
        match self {
            Self::Call { done, .. } => done(Err(failure)),
            Self::Read(read) => read.target.finish(Err(failure)),
            Self::Write { done, .. } => done(Err(failure)),
        }
    }

    /// What a host may still send after it has refused this.
    fn late_answer(&self) -> Late {
        match self {
            Self::Call { kind, .. } => Late::Answer(*kind),
            Self::Read(read) => Late::Data(read.length),
            Self::Write { .. } => Late::Answer(Kind::Io),
        }
    }
}

/// What may still come for a request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// One message of this kind.
    Answer(Kind),
    /// So many bytes of the disk.
    Data(u32),
}

/// Requests by their numbers.
pub(super) struct Table {
    pending: HashMap<u32, Pending>,
    /// Hosts were seen to send a normal reply after a refusal.
    refused: VecDeque<(u32, Late)>,
    ended: Option<Failure>,
    /// Since when the host sends nothing although something is in flight.
    silent_since: Instant,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            pending: HashMap::new(),
            refused: VecDeque::new(),
            ended: None,
            silent_since: Instant::now(),
        }
    }
}

impl Table {
    pub(super) fn failure(&self) -> Option<Failure> {
        self.ended.clone()
    }

    pub(super) fn is_known(&self, operation: u32) -> bool {
        self.pending.contains_key(&operation)
            || self.refused.iter().any(|(known, _)| *known == operation)
    }

    /// Adds a request, or gives it back with the reason for the end of the connection.
    pub(super) fn enter(
        &mut self,
        operation: u32,
        pending: Pending,
    ) -> Result<(), (Pending, Failure)> {
        if let Some(failure) = &self.ended {
            return Err((pending, failure.clone()));
        }
        if self.pending.is_empty() {
            self.silent_since = Instant::now();
        }
        self.pending.insert(operation, pending);
        Ok(())
    }

    /// Takes out a request for which something came.
    pub(super) fn take(&mut self, operation: u32) -> Option<Pending> {
        self.pending.remove(&operation)
    }

    /// Takes out a request that the host refuses, and remembers what may follow.
    pub(super) fn refuse(&mut self, operation: u32) -> Option<Pending> {
        let pending = self.pending.remove(&operation)?;
        if self.refused.len() >= REMEMBERED {
            self.refused.pop_front();
        }
        self.refused.push_back((operation, pending.late_answer()));
        Some(pending)
    }

    /// Whether the host has refused this request.
    pub(super) fn was_refused(&self, operation: u32) -> bool {
        self.refused.iter().any(|(known, _)| *known == operation)
    }

    /// Whether this may come for a request that the host has refused; it is struck off.
    pub(super) fn take_late(&mut self, operation: u32, came: Late) -> bool {
        let Some(at) = self
            .refused
            .iter()
            .position(|(known, _)| *known == operation)
        else {
            return false;
        };
        let Some((_, expected)) = self.refused.get_mut(at) else {
            return false;
        };
        match (&mut *expected, came) {
            (Late::Answer(expected), Late::Answer(came)) if *expected == came => {
                self.refused.remove(at);
                true
            }
            // The refusal is known for as long as data may come.
            (Late::Data(left), Late::Data(came)) => match left.checked_sub(came) {
                Some(rest) => {
                    *left = rest;
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    /// Something came, or the host has taken what was sent: it owes nothing before now.
    pub(super) fn restart_clock(&mut self) {
        self.silent_since = Instant::now();
    }

    pub(super) fn has_waited(&self, patience: Duration) -> bool {
        !self.pending.is_empty() && self.silent_since.elapsed() >= patience
    }

    /// Ends the connection: gives what is in flight, or nothing if it ended before.
    pub(super) fn end(&mut self, failure: Failure) -> Option<Vec<Pending>> {
        if self.ended.is_some() {
            return None;
        }
        self.ended = Some(failure);
        Some(self.pending.drain().map(|(_, pending)| pending).collect())
    }
}
