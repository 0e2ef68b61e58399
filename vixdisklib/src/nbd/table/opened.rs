//! The exports of a source that are in use: each opened once for all its clients, and closed before it is opened again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

use super::{Entry, NotServed};
use crate::nbd::export::ExportError;

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct OpenExports {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    failure: Mutex<Option<(String, ExportError)>>,
}

/// One name. It exists while somebody uses, opens or closes its export.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    /// Between two states; whoever comes waits.
    Busy,
    /// If it has no owner left, it is being closed.
    Open(Weak<Entry>),
}

impl OpenExports {
    /// The export of that name if it is open, or what `open` makes of it. Others that want it wait meanwhile.
    pub(super) fn find_or_open(
        self: &Arc<Self>,
        name: &str,
        open: impl FnOnce(Opened) -> Result<Entry, NotServed>,
    ) -> Result<Arc<Entry>, NotServed> {
        let slot = self.slot(name);
        let mut state = slot.state.lock();
        loop {
            match &*state {
                State::Closed => break,
                State::Open(entry) => {
                    if let Some(entry) = entry.upgrade() {
                        return Ok(entry);
                    }
                }
                State::Busy => {}
            }
            slot.closed.wait(&mut state);
        }
        *state = State::Busy;
        drop(state);
        // A failure drops `opened`, which makes room for the next try.
        let opened = Opened {
            exports: Arc::clone(self),
            slot: Arc::clone(&slot),
        };
        let entry = Arc::new(open(opened)?);
        *slot.state.lock() = State::Open(Arc::downgrade(&entry));
        slot.closed.notify_all();
        Ok(entry)
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        let slots: Vec<_> = self.slots.lock().values().cloned().collect();
        let entries = slots.iter().filter_map(|slot| match &*slot.state.lock() {
            State::Open(entry) => entry.upgrade(),
            State::Closed | State::Busy => None,
        });
        entries.collect()
    }

    pub(super) fn take_failure(&self) -> Option<(String, ExportError)> {
        self.failure.lock().take()
    }

    #[cfg(test)]
    pub(super) fn is_nearly_empty(&self) -> bool {
        self.slots.lock().len() <= 1
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        // Clients can ask for any number of names that do not exist.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        Arc::clone(slots.entry(name.to_owned()).or_default())
    }
}

/// Says that an export is open; dropping it says that it is closed.
#[derive(Debug)]
pub(super) struct Opened {
    exports: Arc<OpenExports>,
    slot: Arc<Slot>,
}

impl Opened {
    pub(super) fn note_failure(&self, name: &str, error: ExportError) {
        let mut failure = self.exports.failure.lock();
        failure.get_or_insert_with(|| (name.to_owned(), error));
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        *self.slot.state.lock() = State::Closed;
        self.slot.closed.notify_all();
    }
}
