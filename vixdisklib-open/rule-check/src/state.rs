//! What is known of the library's use, from the calls so far.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::call::{Call, Thread};
use crate::loan::{Graveyard, Kind, Loan};
use crate::params::Target;
use crate::violation::Violation;

/// How many calls a message can look back on.
const HISTORY: usize = 16;

/// How many violations the report has in full; the others are counted.
const LONGEST_REPORT: usize = 1000;

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// The process that called `InitEx`, or 0: known without a lock, which a forked process may find held for ever.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Whether this process was forked from the one that called `InitEx`.
pub(crate) fn is_forked() -> bool {
    let process = PROCESS.load(Ordering::Acquire);
    process != 0 && process != std::process::id()
}

/// Remembers who called `InitEx`, or with 0 that nobody is between `InitEx` and `Exit`.
pub(crate) fn set_process(process: u32) {
    PROCESS.store(process, Ordering::Release);
}

/// The state, for as short as it takes to look and to note: never across a call of the engine or of a callback.
pub(crate) fn lock() -> parking_lot::MappedMutexGuard<'static, State> {
    MutexGuard::map(STATE.lock(), |state| state.get_or_insert_default())
}

/// As [`lock`], where nobody may be left who would give the lock back.
pub(crate) fn try_lock() -> Option<parking_lot::MappedMutexGuard<'static, State>> {
    STATE
        .try_lock()
        .map(|state| MutexGuard::map(state, |state| state.get_or_insert_default()))
}

/// Where between `InitEx` and `Exit` the process is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Fresh,
    Running {
        init: Arc<Call>,
        /// How many more `InitEx` than `Exit` there were.
        users: u32,
    },
    Exited {
        exit: Arc<Call>,
    },
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) call: Arc<Call>,
    /// Where the parameters lay that it was made from.
    pub(crate) params: usize,
    pub(crate) target: Target,
}

/// A disk between `Open` and `Close`.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) call: Arc<Call>,
    pub(crate) connection: usize,
    pub(crate) path: Option<CString>,
    /// In sectors; unknown if the engine did not say.
    pub(crate) capacity: Option<u64>,
    pub(crate) unbuffered: bool,
    /// The last asynchronous request since the last `Wait`.
    pub(crate) unsettled: Option<Arc<Call>>,
    /// The call that attached a child to it.
    pub(crate) attached: Option<Arc<Call>>,
    /// The call that made a child of it.
    pub(crate) has_child: Option<Arc<Call>>,
}

/// A call that has not returned.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) call: Arc<Call>,
    /// The disks that it uses.
    pub(crate) disks: Vec<usize>,
    /// Whether it is an `Open` or a `Close`.
    pub(crate) opens_or_closes: bool,
}

/// An asynchronous request whose callback has not returned.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) call: Arc<Call>,
    pub(crate) disk: usize,
    /// The memory that is the library's; none any more once the callback is called.
    pub(crate) buffer: Range<usize>,
    /// Whether the library writes to the buffer.
    pub(crate) fills: bool,
}

/// A `PrepareForAccess` without its `EndAccess`.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) call: Arc<Call>,
    pub(crate) target: Target,
    pub(crate) identity: Option<CString>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct State {
    calls: u64,
    history: VecDeque<Arc<Call>>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) phase: Phase,
    /// The threads that were there when `InitEx` was called, without its own.
    pub(crate) older_threads: HashSet<Thread>,
    pub(crate) connections: HashMap<usize, Connection>,
    pub(crate) disks: HashMap<usize, Disk>,
    /// The calls that ended a connection, by the connection.
    pub(crate) dead_connections: Graveyard<Arc<Call>>,
    /// The calls that closed a disk, by its handle.
    pub(crate) dead_disks: Graveyard<Arc<Call>>,
    pub(crate) loans: HashMap<usize, Loan>,
    /// The calls that freed a result, by its address.
    pub(crate) freed: Graveyard<Arc<Call>>,
    pub(crate) accesses: Vec<Access>,
    pub(crate) active: Vec<Active>,
    pub(crate) requests: HashMap<u64, Request>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) more_violations: u64,
}

impl State {
    /// Notes a new call.
    pub(crate) fn begin(&mut self, function: &'static str, arguments: String) -> Arc<Call> {
        self.calls += 1;
        *self.counts.entry(function).or_default() += 1;
        let call = Arc::new(Call {
            number: self.calls,
            function,
            arguments,
            thread: Thread::current(),
        });
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Arc::clone(&call));
        call
    }

    /// The last calls, oldest first.
    pub(crate) fn history(&self) -> impl Iterator<Item = &Arc<Call>> {
        self.history.iter()
    }

    /// Notes that a call has returned.
    pub(crate) fn end(&mut self, call: &Arc<Call>) {
        self.active
            .retain(|active| active.call.number != call.number);
    }

    /// Notes a violation for the report.
    pub(crate) fn collect(&mut self, violation: Violation) {
        if self.violations.len() < LONGEST_REPORT {
            self.violations.push(violation);
        } else {
            self.more_violations += 1;
        }
    }

    /// Notes that a caller holds a result.
    pub(crate) fn lend<T>(&mut self, kind: Kind, result: *const T, call: &Arc<Call>) {
        if result.is_null() {
            return;
        }
        let call = Arc::clone(call);
        self.freed.forget(result.addr());
        self.loans.insert(result.addr(), Loan { kind, call });
    }

    /// Notes that a disk is gone.
    pub(crate) fn bury_disk(&mut self, disk: usize, call: &Arc<Call>) {
        if self.disks.remove(&disk).is_some() {
            self.dead_disks.bury(disk, Arc::clone(call));
        }
    }

    /// Notes that a connection is gone, and its disks with it.
    pub(crate) fn bury_connection(&mut self, connection: usize, call: &Arc<Call>) {
        if self.connections.remove(&connection).is_none() {
            return;
        }
        self.dead_connections.bury(connection, Arc::clone(call));
        let disks: Vec<usize> = self
            .disks
            .iter()
            .filter(|(_, disk)| disk.connection == connection)
            .map(|(handle, _)| *handle)
            .collect();
        for disk in disks {
            self.bury_disk(disk, call);
        }
    }

    /// Notes that the library has stopped: everything of it is gone.
    pub(crate) fn bury_everything(&mut self, exit: &Arc<Call>) {
        let connections: Vec<usize> = self.connections.keys().copied().collect();
        for connection in connections {
            self.bury_connection(connection, exit);
        }
        self.accesses.clear();
        self.phase = Phase::Exited {
            exit: Arc::clone(exit),
        };
    }

    /// Forgets everything, for the next test.
    #[cfg(test)]
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
        set_process(0);
    }
}
