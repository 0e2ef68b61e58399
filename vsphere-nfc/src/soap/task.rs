//! Work that a server does in the background.

use std::thread;
use std::time::{Duration, Instant};

use super::envelope::Call;
use super::fault::Fault;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, object, reference, text};
use super::session::Session;
use crate::error::{Cause, Error, ErrorKind, Result};

/// How long to wait before asking again, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// How far a task is.
enum Progress {
    Working,
    Done(Option<ManagedObject>),
    Failed(Option<Fault>),
}

/// Why a task has no result.
#[derive(Debug, thiserror::Error)]
enum TaskFault {
    #[error("{0}")]
    Failed(Fault),
    #[error("the server's task failed without saying why")]
    Unexplained,
    #[error("the server's task has not ended in time; it goes on")]
    TooSlow,
}

impl Cause for TaskFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed(fault) => fault.kind(),
            Self::Unexplained => ErrorKind::Failed,
            Self::TooSlow => ErrorKind::TimedOut,
        }
    }

    fn fault(&self) -> Option<&str> {
        match self {
            Self::Failed(fault) => fault.fault(),
            _ => None,
        }
    }

    fn server_text(&self) -> Option<&str> {
        match self {
            Self::Failed(fault) => fault.server_text(),
            _ => None,
        }
    }
}

impl Session {
    /// Starts a task and waits for its result.
    pub(super) fn carry_out(&self, call: Call, limit: Duration) -> Result<Option<ManagedObject>> {
        let task = self.call(call.once(), |response| {
            object(response, "returnval").ok_or(ReplyError::Missing("returnval"))
        })?;
        let begun = Instant::now();
        let [mut pause, longest] = PAUSES;
        loop {
            match self.progress(&task)? {
                Progress::Done(result) => return Ok(result),
                Progress::Failed(Some(fault)) => return Err(TaskFault::Failed(fault).into()),
                Progress::Failed(None) => return Err(TaskFault::Unexplained.into()),
                Progress::Working if begun.elapsed() >= limit => {
                    return Err(TaskFault::TooSlow.into());
                }
                Progress::Working => thread::sleep(pause),
            }
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    fn progress(&self, task: &ManagedObject) -> Result<Progress> {
        let mut progress = None;
        self.properties(task, &["info"], |_, info| {
            progress = Some(match text(info, "state") {
                Some("success") => Progress::Done(child(info, "result").and_then(reference)),
                Some("error") => Progress::Failed(child(info, "error").map(Fault::of_task)),
                Some("queued" | "running") => Progress::Working,
                _ => return Err(ReplyError::Broken("state")),
            });
            Ok(())
        })?;
        progress
            .ok_or_else(|| Error::from(super::client::CallError::from(ReplyError::Missing("info"))))
    }
}
