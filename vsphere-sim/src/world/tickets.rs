//! Who may connect to the data port.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::random::{self, Trace};

/// What a ticket is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Reading all disks of the machine.
    Vm,
    /// One disk.
    Disk { key: i32, writable: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The id of the machine.
    pub(crate) vm: String,
    pub(crate) scope: Scope,
}

/// The tickets that were given out and not presented yet.
pub(crate) struct Tickets {
    lifetime: Duration,
    waiting: Mutex<HashMap<Trace, (Ticket, Instant)>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.waiting.lock().len();
        f.debug_struct("Tickets")
            .field("count", &count)
            .finish_non_exhaustive()
    }
}

impl Tickets {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            waiting: Mutex::default(),
        }
    }

    /// A new ticket; gives its id, which is the secret.
    pub(crate) fn issue(&self, ticket: Ticket) -> String {
        let id = random::uuid();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, (_, since)| since.elapsed() < self.lifetime);
        waiting.insert(random::trace(&id), (ticket, Instant::now()));
        id
    }

    /// What a ticket is good for; it is used up.
    pub(crate) fn take(&self, id: &str) -> Option<Ticket> {
        let (ticket, since) = self.waiting.lock().remove(&random::trace(id))?;
        (since.elapsed() < self.lifetime).then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            vm: "vm-1".to_owned(),
            scope: Scope::Vm,
        }
    }

    #[test]
    fn a_ticket_is_good_once() {
        let tickets = Tickets::new(Duration::from_secs(60));
        let (one, two) = (tickets.issue(ticket()), tickets.issue(ticket()));
        assert_ne!(one, two);
        assert_eq!(tickets.take(&one), Some(ticket()));
        assert_eq!(tickets.take(&one), None);
        assert_eq!(tickets.take("other"), None);
        assert!(!format!("{tickets:?}").contains(&two));
    }

    #[test]
    fn a_ticket_expires() {
        let tickets = Tickets::new(Duration::ZERO);
        let id = tickets.issue(ticket());
        assert_eq!(tickets.take(&id), None);
    }
}
