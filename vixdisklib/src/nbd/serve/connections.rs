//! All open connections, and which of them has to go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::stream::Stream;
use super::supervisor::Waker;

/// Clients that were cut off and whose threads have not noticed yet; nobody is let in while there are more.
const MOST_LEAVING: usize = 32;

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    open: Mutex<State>,
    closed: Condvar,
    /// Told of every connection that closes.
    waker: Waker,
}

#[derive(Debug, Default)]
struct State {
    /// By their numbers, so in the order in which they came.
    open: BTreeMap<u64, Open>,
    next: u64,
    /// Some client has chosen an export.
    served: bool,
}

#[derive(Debug)]
struct Open {
    stream: Arc<Stream>,
    machine: Option<IpAddr>,
    /// When the client must have chosen an export; none once it has, or if there is no limit.
    deadline: Option<Instant>,
    negotiating: bool,
    cut: Option<Cut>,
}

/// Why a client was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It chose no export in time.
    Late,
    /// It had chosen no export yet when others wanted its place.
    GaveWay,
}

impl Connections {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            open: Mutex::default(),
            closed: Condvar::new(),
            waker,
        }
    }

    /// Makes a connection known that has until `deadline` to choose an export.
    pub(super) fn add(
        connections: &Arc<Self>,
        stream: Arc<Stream>,
        machine: Option<IpAddr>,
        deadline: Option<Instant>,
    ) -> Guard {
        let mut state = connections.open.lock();
        let id = state.next;
        state.next += 1;
        let open = Open {
            stream,
            machine,
            deadline,
            negotiating: true,
            cut: None,
        };
        state.open.insert(id, open);
        Guard {
            connections: Arc::clone(connections),
            id,
        }
    }

    /// Whether one more connection from `machine` can be let in. When all places are taken, the client that has been
    /// negotiating for longest gives way, so that silent clients keep nobody out; who has an export keeps its place.
    pub(super) fn has_room(
        &self,
        machine: Option<IpAddr>,
        limit: usize,
        machine_limit: usize,
    ) -> bool {
        let mut state = self.open.lock();
        // Those that were cut keep their threads until they notice.
        if state.open.len() >= limit.saturating_add(MOST_LEAVING) {
            return false;
        }
        let staying = || state.open.values().filter(|open| open.cut.is_none());
        let is_there = |open: &Open| machine.is_some() && open.machine == machine;
        if staying().filter(|open| is_there(open)).count() >= machine_limit {
            return state.make_one_give_way(is_there);
        }
        staying().count() < limit || state.make_one_give_way(|_| true)
    }

    /// Cuts off the client that has been negotiating for longest, if there is one.
    pub(super) fn make_one_give_way(&self) {
        self.open.lock().make_one_give_way(|_| true);
    }

    pub(super) fn for_each(&self, act: impl Fn(&Stream)) {
        for open in self.open.lock().open.values() {
            act(&open.stream);
        }
    }

    /// Whether clients have chosen exports, and all connections are closed.
    pub(super) fn all_have_left(&self) -> bool {
        let state = self.open.lock();
        state.open.is_empty() && state.served
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.lock().open.is_empty()
    }

    /// Cuts off those whose time is over, and tells when the next one's will be.
    pub(super) fn cut_late(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for open in self.open.lock().open.values_mut() {
            match open.deadline {
                Some(deadline) if deadline <= now => open.cut(Cut::Late),
                Some(deadline) => {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                }
                None => {}
            }
        }
        next
    }

    /// Waits until the last connection is closed; false if that took too long.
    pub(super) fn wait_until_none(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.open.lock();
        while !state.open.is_empty() {
            match deadline {
                None => self.closed.wait(&mut state),
                Some(deadline) if self.closed.wait_until(&mut state, deadline).timed_out() => {
                    return state.open.is_empty();
                }
                Some(_) => {}
            }
        }
        true
    }
}

impl State {
    /// Cuts off the client that negotiates for longest among those that `may`; false if there is none.
    fn make_one_give_way(&mut self, may: impl Fn(&Open) -> bool) -> bool {
        let oldest = self
            .open
            .values_mut()
            .find(|open| open.negotiating && open.cut.is_none() && may(open));
        oldest.map(|open| open.cut(Cut::GaveWay)).is_some()
    }
}

impl Open {
    fn cut(&mut self, why: Cut) {
        self.deadline = None;
        self.cut = Some(why);
        self.stream.cut();
    }
}

/// Keeps one connection known while its thread runs.
#[derive(Debug)]
pub(super) struct Guard {
    connections: Arc<Connections>,
    id: u64,
}

impl Guard {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The client has chosen an export: it may stay.
    pub(super) fn settle(&self) {
        let mut state = self.connections.open.lock();
        state.served = true;
        if let Some(open) = state.open.get_mut(&self.id) {
            open.deadline = None;
            open.negotiating = false;
        }
    }

    pub(super) fn cut(&self) -> Option<Cut> {
        let state = self.connections.open.lock();
        state.open.get(&self.id).and_then(|open| open.cut)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.open.lock().open.remove(&self.id);
        self.connections.closed.notify_all();
        self.connections.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::limits::Limits;
    use crate::nbd::serve::channel::Channel;
    use crate::nbd::serve::supervisor::{Addresses, Supervisor};
    use crate::nbd::session::Shared;
    use crate::nbd::table::ExportTable;
    use std::os::unix::net::UnixStream;

    fn to_stream(channel: Channel) -> Stream {
        Stream::new(
            channel,
            #[cfg(feature = "nbd-tls")]
            None,
        )
    }

    fn connections() -> Arc<Connections> {
        let exports = ExportTable::new(Vec::new(), None, None);
        let shared = Arc::new(Shared::new(exports, Limits::default()));
        let nowhere = Addresses {
            listeners: Vec::new(),
            metrics: None,
        };
        let (_, waker) = Supervisor::new(shared, nowhere, Box::new(to_stream), false).unwrap();
        Arc::new(Connections::new(waker))
    }

    fn come(connections: &Arc<Connections>, machine: Option<IpAddr>, deadline: Instant) -> Guard {
        let (end, _) = UnixStream::pair().unwrap();
        let channel = Channel::socket(end.into(), &Limits::default()).unwrap();
        let stream = Arc::new(to_stream(channel));
        Connections::add(connections, stream, machine, Some(deadline))
    }

    /// Who was cut off while an export was being opened for it keeps its thread until that is done.
    #[test]
    fn threads_that_notice_late_are_few() {
        let machine = Some(IpAddr::from([127, 0, 0, 1]));
        for (limit, machine_limit) in [(10, usize::MAX), (10, 2), (10, 10)] {
            let connections = connections();
            let mut stuck = Vec::new();
            for round in 0..1000 {
                let now = Instant::now();
                if connections.has_room(machine, limit, machine_limit) {
                    stuck.push(come(&connections, machine, now));
                }
                if round % 100 == 99 {
                    // Their time is over, too.
                    connections.cut_late(Instant::now());
                }
            }
            assert!(
                stuck.len() <= limit + MOST_LEAVING,
                "{} with {limit} and {machine_limit}",
                stuck.len()
            );
            assert!(stuck.len() > limit);
            drop(stuck);
            assert!(connections.has_room(machine, limit, machine_limit));
        }
    }
}
