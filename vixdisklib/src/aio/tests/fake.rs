//! A library with a disk in memory, whose requests end when, where and how a test wants; it notes every breach of
//! VDDK's rules.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tempfile::TempDir;
use vixdisklib_sys::{FnTable, VixDiskLibCompletionCB, VixDiskLibHandle, VixError};

use super::IoLimits;
use crate::api::Api;
use crate::disk::Disk;
use crate::library::{Backend, Library};
use crate::vddk_like::{VDDK, bytes, disk};

pub(super) const SECTORS: usize = 512;

/// What becomes of a part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Done inside the submitting call.
    Inline,
    FailInline(VixError),
    /// Done when the test says so, on another thread.
    Late,
    FailLate(VixError),
    /// Not accepted.
    Refuse(VixError),
}

/// The one library of this kind; a test has it to itself.
pub(super) struct Fake {
    library: Library,
    completer: Mutex<Option<Completer>>,
    _folders: Mutex<Vec<TempDir>>,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());
static STATE: Mutex<Option<State>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

struct State {
    bytes: Vec<u8>,
    otherwise: Fate,
    plan: VecDeque<Fate>,
    held: Vec<Held>,
    submitted: Vec<u64>,
    /// Accepted, and its callback has not returned.
    in_flight: usize,
    /// Accepted, and its callback has not begun.
    at_work: usize,
    most_at_work: usize,
    in_call: usize,
    breaches: Vec<&'static str>,
}

#[derive(Clone, Copy)]
struct Held {
    first: usize,
    length: usize,
    buffer: usize,
    writes: bool,
    callback: VixDiskLibCompletionCB,
    data: usize,
    code: VixError,
}

thread_local! {
    static IN_LATE_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

fn state<R>(look: impl FnOnce(&mut State) -> R) -> R {
    look(STATE.lock().as_mut().expect("a test has the library"))
}

/// A call on the handle begins; others may not run at the same time.
fn enter() {
    state(|state| {
        state.in_call += 1;
        if state.in_call > 1 {
            state.breaches.push("two calls at once on a handle");
        }
        if IN_LATE_CALLBACK.get() {
            state.breaches.push("a call from a callback");
        }
    });
}

fn leave() {
    state(|state| state.in_call -= 1);
}

/// Does what was asked, and calls back.
fn finish(held: Held) {
    state(|state| {
        state.at_work -= 1;
        if held.code != VixError::OK {
            return;
        }
        let sectors = &mut state.bytes[held.first..][..held.length];
        let buffer = std::ptr::with_exposed_provenance_mut::<u8>(held.buffer);
        if held.writes {
            // SAFETY: the caller keeps the buffer, as long as it said, readable until the callback.
            sectors.copy_from_slice(unsafe { std::slice::from_raw_parts(buffer, held.length) });
        } else {
            // SAFETY: likewise writable, and used by nobody else.
            unsafe { std::slice::from_raw_parts_mut(buffer, held.length) }.copy_from_slice(sectors);
        }
    });
    let callback = held.callback.expect("given");
    // SAFETY: the one callback of this request.
    unsafe { callback(std::ptr::with_exposed_provenance_mut(held.data), held.code) };
    state(|state| state.in_flight -= 1);
    CHANGED.notify_all();
}

fn submit(held: Held) -> VixError {
    enter();
    let fate = state(|state| {
        state.submitted.push((held.first / 512) as u64);
        state.in_flight += 1;
        state.at_work += 1;
        state.most_at_work = state.most_at_work.max(state.at_work);
        let fate = state.plan.pop_front().unwrap_or(state.otherwise);
        match fate {
            Fate::Late => state.held.push(held),
            Fate::FailLate(code) => state.held.push(Held { code, ..held }),
            Fate::Refuse(_) => {
                state.in_flight -= 1;
                state.at_work -= 1;
            }
            Fate::Inline | Fate::FailInline(_) => {}
        }
        fate
    });
    CHANGED.notify_all();
    match fate {
        Fate::Inline => finish(held),
        Fate::FailInline(code) => finish(Held { code, ..held }),
        Fate::Late | Fate::FailLate(_) | Fate::Refuse(_) => {}
    }
    leave();
    match fate {
        Fate::Refuse(code) => code,
        _ => VixError::ASYNC,
    }
}

fn bytes_of(sectors: u64) -> usize {
    usize::try_from(sectors).expect("small") * 512
}

unsafe extern "C" fn read_async(
    _: VixDiskLibHandle,
    start: u64,
    count: u64,
    buffer: *mut u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    submit(Held {
        first: bytes_of(start),
        length: bytes_of(count),
        buffer: buffer.expose_provenance(),
        writes: false,
        callback,
        data: data.expose_provenance(),
        code: VixError::OK,
    })
}

unsafe extern "C" fn write_async(
    _: VixDiskLibHandle,
    start: u64,
    count: u64,
    buffer: *const u8,
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    submit(Held {
        first: bytes_of(start),
        length: bytes_of(count),
        buffer: buffer.expose_provenance(),
        writes: true,
        callback,
        data: data.expose_provenance(),
        code: VixError::OK,
    })
}

/// A blocking call, which must not meet requests in flight.
fn block(work: impl FnOnce(&mut State)) -> VixError {
    enter();
    let code = state(|state| {
        if state.in_flight > 0 {
            state.breaches.push("mixed modes");
            return VixError::ASYNC_MIXEDMODE_UNSUPPORTED;
        }
        work(state);
        VixError::OK
    });
    leave();
    code
}

unsafe extern "C" fn read(_: VixDiskLibHandle, start: u64, count: u64, buf: *mut u8) -> VixError {
    block(|state| {
        let sectors = &state.bytes[bytes_of(start)..][..bytes_of(count)];
        // SAFETY: the caller's buffer is as long as it said.
        let buf = unsafe { std::slice::from_raw_parts_mut(buf, sectors.len()) };
        buf.copy_from_slice(sectors);
    })
}

unsafe extern "C" fn write(
    _: VixDiskLibHandle,
    start: u64,
    count: u64,
    buf: *const u8,
) -> VixError {
    block(|state| {
        let sectors = &mut state.bytes[bytes_of(start)..][..bytes_of(count)];
        // SAFETY: the caller's buffer is as long as it said.
        sectors.copy_from_slice(unsafe { std::slice::from_raw_parts(buf, sectors.len()) });
    })
}

unsafe extern "C" fn flush(_: VixDiskLibHandle) -> VixError {
    block(|_| {})
}

/// Returns when all callbacks have.
unsafe extern "C" fn wait(_: VixDiskLibHandle) -> VixError {
    if IN_LATE_CALLBACK.get() {
        state(|state| state.breaches.push("waiting in a callback"));
        return VixError::FAIL;
    }
    let mut guard = STATE.lock();
    while guard.as_ref().is_some_and(|state| state.in_flight > 0) {
        CHANGED.wait(&mut guard);
    }
    VixError::OK
}

unsafe extern "C" fn get_error_text(code: VixError, locale: *const c_char) -> *mut c_char {
    if IN_LATE_CALLBACK.get() {
        state(|state| state.breaches.push("asking for a text in a callback"));
    }
    // SAFETY: the caller owes what the function asks for.
    unsafe { (VDDK.get_error_text)(code, locale) }
}

static API: Api = Api {
    table: FnTable {
        get_error_text,
        read_async: Some(read_async),
        write_async: Some(write_async),
        read,
        write,
        flush,
        wait,
        ..VDDK
    },
    major: Some(8),
};

/// Threads that end what is held, in an order that only a seed knows.
struct Completer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Completer {
    fn start(seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |number: u64| {
            let stop = Arc::clone(&stop);
            let mut random = seed.wrapping_mul(2).wrapping_add(number) | 1;
            thread::spawn(move || {
                loop {
                    let mut guard = STATE.lock();
                    let state = guard.as_mut().expect("a test has the library");
                    if state.held.is_empty() {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        CHANGED.wait_for(&mut guard, Duration::from_millis(10));
                        continue;
                    }
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let count = state.held.len() as u64;
                    let at = usize::try_from(random % count).expect("an index");
                    let held = state.held.swap_remove(at);
                    drop(guard);
                    late(held);
                }
            })
        };
        let threads = (0..2).map(thread).collect();
        Self { stop, threads }
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic on the library's thread");
        }
    }
}

/// Ends a request from a thread of the library.
fn late(held: Held) {
    IN_LATE_CALLBACK.set(true);
    finish(held);
    IN_LATE_CALLBACK.set(false);
}

impl Fake {
    pub(super) fn start(otherwise: Fate) -> Self {
        let turn = TURN.lock();
        *STATE.lock() = Some(State {
            bytes: bytes(SECTORS),
            otherwise,
            plan: VecDeque::new(),
            held: Vec::new(),
            submitted: Vec::new(),
            in_flight: 0,
            at_work: 0,
            most_at_work: 0,
            in_call: 0,
            breaches: Vec::new(),
        });
        // The thread that closes a disk of another test may not be through yet.
        let deadline = Instant::now() + Duration::from_secs(20);
        let library = loop {
            match Library::builder(Backend::Embedded).start(&API, None) {
                Ok(library) => break library,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::sleep(Duration::from_millis(1));
        };
        Self {
            library,
            completer: Mutex::new(None),
            _folders: Mutex::default(),
            _turn: turn,
        }
    }

    pub(super) fn disk(&self, limits: IoLimits) -> Disk {
        let (folder, mut disk) = disk(&self.library, &bytes(SECTORS));
        self._folders.lock().push(folder);
        disk.set_io_limits(limits);
        disk
    }

    pub(super) fn plan(&self, fates: impl IntoIterator<Item = Fate>) {
        state(|state| state.plan = fates.into_iter().collect());
    }

    /// The contents of the disk.
    pub(super) fn bytes(&self) -> Vec<u8> {
        state(|state| state.bytes.clone())
    }

    /// The first sectors of the parts that were submitted, in order.
    pub(super) fn submitted(&self) -> Vec<u64> {
        state(|state| state.submitted.clone())
    }

    pub(super) fn most_in_flight(&self) -> usize {
        state(|state| state.most_at_work)
    }

    pub(super) fn wait_for_submitted(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.submitted().len() < count {
            assert!(Instant::now() < deadline, "nobody submits");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends what was held as the `at`th, on another thread, and waits for that.
    pub(super) fn complete(&self, at: usize) {
        let held = state(|state| state.held.remove(at));
        thread::spawn(move || late(held))
            .join()
            .expect("no panic on the library's thread");
    }

    /// From now on ends everything, in some order.
    pub(super) fn complete_all(&self) {
        self.complete_by(7);
    }

    pub(super) fn complete_by(&self, seed: u64) {
        let mut completer = self.completer.lock();
        if completer.is_none() {
            *completer = Some(Completer::start(seed));
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        self.completer.lock().take();
        let breaches = state(|state| std::mem::take(&mut state.breaches));
        assert!(breaches.is_empty(), "{breaches:?}");
        assert_eq!(state(|state| state.in_flight), 0);
    }
}
