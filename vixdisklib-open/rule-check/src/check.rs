//! The questions that the functions ask about a call.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use vixdisklib_sys::{VIXDISKLIB_MAX_CHUNK_NUMBER, VIXDISKLIB_MIN_CHUNK_SIZE};

use crate::call::Call;
use crate::loan::Kind;
use crate::params::Target;
use crate::rule::Rule;
use crate::settings::{Mode, Settings};
use crate::state::{Active, Phase, State};
use crate::violation::Violation;

/// When a function may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Whether or not the library is initialised.
    Anytime,
    /// Between `InitEx` and `Exit`.
    Initialised,
}

/// What a call does with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Reads or writes, and returns when that is done.
    Blocking,
    /// Starts a request.
    Submit,
    /// Anything that does not touch the content.
    Other,
    /// Ends its use.
    Close,
}

/// The sectors in a request that hosts have the memory for: 2 MiB.
const LONGEST_REQUEST: u64 = 4096;

/// The characters of an identity.
const LONGEST_IDENTITY: usize = 50;

/// One call under examination.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    pub(crate) state: &'a mut State,
    settings: &'a Settings,
    found: Vec<Violation>,
    active: Active,
    refuses: bool,
}

impl<'a> Check<'a> {
    pub(crate) fn new(state: &'a mut State, call: Arc<Call>, settings: &'a Settings) -> Self {
        Self {
            state,
            settings,
            found: Vec::new(),
            active: Active {
                call,
                disks: Vec::new(),
                opens_or_closes: false,
            },
            refuses: true,
        }
    }

    /// What was found, the call to note, and whether it may be refused.
    pub(crate) fn finish(self) -> (Vec<Violation>, Active, bool) {
        (self.found, self.active, self.refuses)
    }

    /// Notes a violation, unless its rule is switched off.
    pub(crate) fn broken(
        &mut self,
        rule: Rule,
        what: impl Into<String>,
        earlier: Option<Arc<Call>>,
    ) {
        if self.settings.checks(rule) {
            self.found.push(Violation {
                rule,
                what: what.into(),
                call: Arc::clone(&self.active.call),
                earlier,
            });
        }
    }

    /// The call is passed on whatever was found.
    pub(crate) fn never_refuse(&mut self) {
        self.refuses = false;
    }

    /// Whether the call will be passed on, as far as it is known now.
    pub(crate) fn is_passed_on(&self) -> bool {
        self.found.is_empty() || self.settings.mode != Mode::Error || !self.refuses
    }

    /// The rules for every call. `false` if one is broken that makes all others pointless.
    pub(crate) fn may_come(&mut self, scope: Scope, in_callback: Option<&str>) -> bool {
        if let Some(kind) = in_callback {
            let what = format!("this thread is inside a {kind} callback");
            let outer = self.call_around();
            self.broken(Rule::CallInCallback, what, outer);
            return false;
        }
        match (&self.state.phase, scope) {
            (_, Scope::Anytime) => true,
            (Phase::Fresh, Scope::Initialised) => {
                self.broken(Rule::CallBeforeInit, "there was no `InitEx` yet", None);
                false
            }
            (Phase::Exited { exit }, Scope::Initialised) => {
                let exit = Arc::clone(exit);
                self.broken(Rule::CallAfterExit, "the library has ended", Some(exit));
                false
            }
            (Phase::Running { init, .. }, Scope::Initialised) => {
                let init = Arc::clone(init);
                let thread = self.active.call.thread;
                if thread != init.thread && self.state.older_threads.contains(&thread) {
                    let what = "this thread was there before";
                    self.broken(Rule::ThreadBeforeInit, what, Some(init));
                }
                true
            }
        }
    }

    /// The call that this thread is in already, if any.
    fn call_around(&self) -> Option<Arc<Call>> {
        let thread = self.active.call.thread;
        let mut active = self.state.active.iter();
        active
            .find(|active| active.call.thread == thread)
            .map(|active| Arc::clone(&active.call))
    }

    /// The call comes on the thread of `InitEx`.
    pub(crate) fn on_init_thread(&mut self, rule: Rule) {
        if let Phase::Running { init, .. } = &self.state.phase
            && init.thread != self.active.call.thread
        {
            let what = format!("`InitEx` ran on {}", init.thread);
            let init = Arc::clone(init);
            self.broken(rule, what, Some(init));
        }
    }

    /// Whether rules about `rule` are checked at all.
    pub(crate) fn checks(&self, rule: Rule) -> bool {
        self.settings.checks(rule)
    }

    /// A pointer that must not be null.
    pub(crate) fn pointer<T>(&mut self, name: &str, pointer: *const T) {
        if pointer.is_null() {
            self.broken(Rule::NullArgument, format!("{name} is null"), None);
        }
    }

    /// An `Open` or `Close`: no other one at the same time.
    pub(crate) fn opens_or_closes(&mut self) {
        self.active.opens_or_closes = true;
        let other = self
            .state
            .active
            .iter()
            .find(|active| active.opens_or_closes);
        if let Some(other) = other {
            let other = Arc::clone(&other.call);
            let what = "the other one has not returned";
            self.broken(Rule::OpenCloseOverlap, what, Some(other));
        }
    }

    /// A live connection; whether it is one.
    pub(crate) fn connection(&mut self, connection: usize) -> bool {
        if self.state.connections.contains_key(&connection) {
            return true;
        }
        match self.state.dead_connections.find(connection).cloned() {
            Some(end) => {
                self.broken(Rule::DeadConnection, "it has ended", Some(end));
            }
            None => {
                let what = format!("{connection:#x} was never a connection");
                self.broken(Rule::ForeignConnection, what, None);
            }
        }
        false
    }

    /// What a connection is to; a local one if it is unknown.
    pub(crate) fn target(&self, connection: usize) -> Target {
        let found = self.state.connections.get(&connection);
        found.map_or_else(Target::default, |found| found.target.clone())
    }

    /// An open disk that the call uses, alone; whether it is one.
    pub(crate) fn disk(&mut self, handle: usize, purpose: Use) -> bool {
        if !self.state.disks.contains_key(&handle) {
            match self.state.dead_disks.find(handle).cloned() {
                Some(end) => self.broken(Rule::DeadHandle, "it is closed", Some(end)),
                None => {
                    let what = format!("{handle:#x} was never a disk handle");
                    self.broken(Rule::ForeignHandle, what, None);
                }
            }
            return false;
        }
        self.active.disks.push(handle);
        let other = self
            .state
            .active
            .iter()
            .find(|active| active.disks.contains(&handle));
        if let Some(other) = other.map(|active| Arc::clone(&active.call)) {
            let rule = if purpose == Use::Close {
                Rule::CloseInFlight
            } else {
                Rule::HandleOverlap
            };
            self.broken(rule, "another call on it has not returned", Some(other));
        }
        match purpose {
            Use::Blocking => {
                self.no_request_on(handle, Rule::SyncDuringAsync);
                self.not_attached(handle);
            }
            Use::Submit => self.not_attached(handle),
            Use::Close => {
                if !self.no_request_on(handle, Rule::CloseInFlight) {
                    return true;
                }
                let unsettled = self.state.disks[&handle].unsettled.clone();
                if unsettled.is_some() {
                    let what = "this request was not waited for with `Wait`";
                    self.broken(Rule::CloseWithoutWait, what, unsettled);
                }
            }
            Use::Other => {}
        }
        true
    }

    fn no_request_on(&mut self, handle: usize, rule: Rule) -> bool {
        let mut requests = self.state.requests.values();
        let Some(request) = requests.find(|request| request.disk == handle) else {
            return true;
        };
        let call = Arc::clone(&request.call);
        let what = "the callback of this request has not returned";
        self.broken(rule, what, Some(call));
        false
    }

    fn not_attached(&mut self, handle: usize) {
        let attach = self.state.disks[&handle].attached.clone();
        if attach.is_some() {
            let what = "it is the parent of an attached child";
            self.broken(Rule::AttachedParent, what, attach);
        }
    }

    /// A disk that is about to change.
    pub(crate) fn no_child(&mut self, handle: usize) {
        let disk = self.state.disks.get(&handle);
        let child = disk.and_then(|disk| disk.has_child.clone());
        if child.is_some() {
            self.broken(Rule::WriteToParent, "it has this child", child);
        }
    }

    /// The sectors of a request.
    pub(crate) fn sectors(&mut self, handle: usize, start: u64, count: u64) {
        if count == 0 {
            self.broken(Rule::ZeroLength, "it is for no sector", None);
        }
        if let Some(capacity) = self.capacity(handle)
            && start.checked_add(count).is_none_or(|end| end > capacity)
        {
            let what = format!("the disk has {capacity} sectors");
            self.broken(Rule::OutOfRange, what, None);
        }
    }

    fn capacity(&self, handle: usize) -> Option<u64> {
        self.state.disks.get(&handle)?.capacity
    }

    /// The memory of a request, which the library writes to if it `fills` it. Gives back where it lies.
    pub(crate) fn buffer(
        &mut self,
        handle: usize,
        buffer: *const u8,
        count: u64,
        fills: bool,
    ) -> Range<usize> {
        self.pointer("the buffer", buffer);
        if count > LONGEST_REQUEST {
            let what = format!("{} KiB in one request", count / 2);
            self.broken(Rule::LongRequest, what, None);
        }
        let start = buffer.addr();
        let unbuffered = |handle| {
            self.state
                .disks
                .get(handle)
                .is_some_and(|disk| disk.unbuffered)
        };
        if unbuffered(&handle) && !start.is_multiple_of(512) {
            let what = format!("the buffer is at {start:#x}");
            self.broken(Rule::UnalignedBuffer, what, None);
        }
        let length = usize::try_from(count.saturating_mul(512)).unwrap_or(usize::MAX);
        let place = start..start.saturating_add(length);
        let mut requests = self.state.requests.values();
        let other = requests.find(|other| {
            (fills || other.fills)
                && other.buffer.start < place.end
                && place.start < other.buffer.end
        });
        if let Some(other) = other {
            let other = Arc::clone(&other.call);
            let what = "this request has the same memory";
            self.broken(Rule::BufferInFlight, what, Some(other));
        }
        place
    }

    /// The sectors of a block query.
    pub(crate) fn chunks(&mut self, handle: usize, start: u64, count: u64, chunk: u64) {
        if chunk < u64::from(VIXDISKLIB_MIN_CHUNK_SIZE) {
            let what = format!("a chunk of {chunk} sectors");
            return self.broken(Rule::QueryAlignment, what, None);
        }
        if !start.is_multiple_of(chunk) || !count.is_multiple_of(chunk) {
            let what = format!("{start} and {count} are not both multiples of {chunk}");
            self.broken(Rule::QueryAlignment, what, None);
        }
        let chunks = count / chunk;
        if chunks == 0 || chunks > u64::from(VIXDISKLIB_MAX_CHUNK_NUMBER) {
            self.broken(Rule::QueryRange, format!("{chunks} chunks"), None);
        }
        if let Some(capacity) = self.capacity(handle)
            && start.checked_add(count).is_none_or(|end| end > capacity)
        {
            let what = format!("the disk has {capacity} sectors");
            self.broken(Rule::QueryRange, what, None);
        }
    }

    /// The path of a disk of the local file system.
    pub(crate) fn hosted_path(&mut self, name: &str, path: Option<&CStr>) {
        match path {
            None => self.broken(Rule::NullArgument, format!("{name} is null"), None),
            Some(path) if cfg!(unix) && !path.to_bytes().starts_with(b"/") => {
                let what = format!("{name} is {path:?}");
                self.broken(Rule::RelativePath, what, None);
            }
            Some(_) => {}
        }
    }

    /// The path of a disk on a connection.
    pub(crate) fn path_on(&mut self, connection: usize, name: &str, path: Option<&CStr>) {
        if self.target(connection).is_local() {
            self.hosted_path(name, path);
        } else if path.is_none() {
            self.broken(Rule::NullArgument, format!("{name} is null"), None);
        }
    }

    /// A disk that must not be open.
    pub(crate) fn not_open(&mut self, path: Option<&CStr>) {
        let Some(path) = path else { return };
        let mut disks = self.state.disks.values();
        let open = disks.find(|disk| disk.path.as_deref() == Some(path));
        if let Some(open) = open.map(|disk| Arc::clone(&disk.call)) {
            self.broken(Rule::DiskIsOpen, "it is open", Some(open));
        }
    }

    /// Something that is given back to the library. Takes it off the list of what the caller owes.
    pub(crate) fn gives_back(&mut self, kind: Kind, address: usize) {
        if address == 0 {
            return;
        }
        let Some(loan) = self.state.loans.get(&address).cloned() else {
            match self.state.freed.find(address).cloned() {
                Some(free) => self.broken(Rule::DoubleFree, "it was freed before", Some(free)),
                None if kind == Kind::Params => {
                    let what = "they are not from `AllocateConnectParams` or `GetConnectParams`";
                    self.broken(Rule::FreeCallerParams, what, None);
                }
                None => {
                    let what = format!("{address:#x} is no result of the library");
                    self.broken(Rule::ForeignFree, what, None);
                }
            }
            return;
        };
        if loan.kind != kind {
            let what = format!("`{}` frees it", loan.kind.free_function());
            return self.broken(Rule::WrongFree, what, Some(loan.call));
        }
        let mut connections = self.state.connections.values();
        let user =
            connections.find(|connection| kind == Kind::Params && connection.params == address);
        if let Some(user) = user.map(|user| Arc::clone(&user.call)) {
            let what = "the connection that was made from them is live";
            self.broken(Rule::ParamsFreedEarly, what, Some(user));
        }
        if self.is_passed_on() {
            self.state.loans.remove(&address);
            self.state
                .freed
                .bury(address, Arc::clone(&self.active.call));
        }
    }

    /// Everything that must be over at `Exit`.
    pub(crate) fn nothing_left(&mut self) {
        let other = self.state.active.iter().map(|active| &active.call);
        let request = self.state.requests.values().map(|request| &request.call);
        if let Some(other) = other.chain(request).next().cloned() {
            self.broken(Rule::ExitOverlap, "this has not ended", Some(other));
        }
        let connections = self.state.connections.values();
        let calls: Vec<_> = connections.map(|found| Arc::clone(&found.call)).collect();
        for call in calls {
            let what = "this connection has not ended";
            self.broken(Rule::ExitLiveConnections, what, Some(call));
        }
        let accesses = self.state.accesses.iter();
        let calls: Vec<_> = accesses.map(|found| Arc::clone(&found.call)).collect();
        for call in calls {
            self.broken(Rule::AccessNotEnded, "there was no `EndAccess`", Some(call));
        }
        let mut loans: Vec<_> = self.state.loans.values().cloned().collect();
        loans.sort_by_key(|loan| loan.call.number);
        for loan in loans {
            let what = format!("there was no `{}`", loan.kind.free_function());
            self.broken(loan.kind.leak(), what, Some(loan.call));
        }
    }

    /// The identity of an access.
    pub(crate) fn identity(&mut self, identity: Option<&CString>) {
        let Some(identity) = identity else {
            return self.broken(Rule::NullArgument, "the identity is null", None);
        };
        let length = identity.to_string_lossy().chars().count();
        if length > LONGEST_IDENTITY {
            let what = format!("it has {length} characters");
            self.broken(Rule::IdentityTooLong, what, None);
        }
    }
}
