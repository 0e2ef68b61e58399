//! The caller's functions, wrapped: while one runs, its thread must not call the library.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vixdisklib_sys::va_list::{VaList, call_with_text};
use vixdisklib_sys::{Bool, VixDiskLibGenericLogFunc, VixDiskLibProgressFunc, VixError};

use crate::call::Call;
use crate::rule::Rule;
use crate::{gate, state};

thread_local! {
    static RUNNING: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Which kind of callback this thread is in, if any.
pub(crate) fn running() -> Option<&'static str> {
    RUNNING.try_with(Cell::get).ok().flatten()
}

/// Runs a caller's function, marked as such.
fn marked<R>(kind: &'static str, function: impl FnOnce() -> R) -> R {
    let outer = running();
    // Without the mark, on a thread that is about to end, only the check for calls in callbacks is lost.
    let _ = RUNNING.try_with(|running| running.set(Some(kind)));
    let result = function();
    let _ = RUNNING.try_with(|running| running.set(outer));
    result
}

type LogFunction = unsafe extern "C" fn(*const c_char, VaList);

/// One log function of the caller, as a number: 0 for null. They are read on any thread, while `InitEx` sets them.
struct Slot(AtomicUsize);

impl Slot {
    const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn set(&self, function: VixDiskLibGenericLogFunc) {
        let address = function.map_or(0, |function| {
            (function as *const c_void).expose_provenance()
        });
        self.0.store(address, Ordering::Release);
    }

    fn get(&self) -> Option<LogFunction> {
        let address = self.0.load(Ordering::Acquire);
        if address == 0 {
            return None;
        }
        let pointer = std::ptr::with_exposed_provenance::<c_void>(address);
        // SAFETY: only `set` stores an address, and it takes it from a function of this type.
        Some(unsafe { std::mem::transmute::<*const c_void, LogFunction>(pointer) })
    }

    /// # Safety
    /// The arguments of a log callback.
    unsafe fn call(&self, format: *const c_char, arguments: VaList) {
        if let Some(function) = self.get() {
            // SAFETY: the caller of `InitEx` vouches for its function until `Exit`; the list is passed on unused.
            marked("log", || unsafe { function(format, arguments) });
        }
    }
}

static LOG: Slot = Slot::new();
static WARN: Slot = Slot::new();
static PANIC: Slot = Slot::new();

unsafe extern "C" fn on_log(format: *const c_char, arguments: VaList) {
    // SAFETY: passed on.
    unsafe { LOG.call(format, arguments) };
}

unsafe extern "C" fn on_warn(format: *const c_char, arguments: VaList) {
    // SAFETY: passed on.
    unsafe { WARN.call(format, arguments) };
}

unsafe extern "C" fn on_panic(format: *const c_char, arguments: VaList) {
    // SAFETY: passed on.
    unsafe { PANIC.call(format, arguments) };
}

/// Keeps the log functions of a caller and gives back those that stand for them; null stays null.
pub(crate) fn log_functions(
    functions: [VixDiskLibGenericLogFunc; 3],
) -> [VixDiskLibGenericLogFunc; 3] {
    let [log, warn, panic] = functions;
    LOG.set(log);
    WARN.set(warn);
    PANIC.set(panic);
    [
        log.map(|_| on_log as LogFunction),
        warn.map(|_| on_warn as LogFunction),
        panic.map(|_| on_panic as LogFunction),
    ]
}

/// Forgets the log functions, which are no longer good after `Exit`.
pub(crate) fn forget_log_functions() {
    for slot in [&LOG, &WARN, &PANIC] {
        slot.set(None);
    }
}

/// Sends lines to the warning function, or to the standard error output where there is none.
pub(crate) fn warn(text: &str) {
    let Some(function) = WARN.get() else {
        return crate::verdict::print(text);
    };
    for line in text.lines() {
        let bytes: Vec<u8> = line
            .bytes()
            .filter(|byte| *byte != 0)
            .chain([b'\n'])
            .collect();
        if let Ok(line) = CString::new(bytes) {
            // SAFETY: the caller of `InitEx` vouches for its function until `Exit`.
            marked("log", || unsafe { call_with_text(function, &line) });
        }
    }
}

/// An accepted asynchronous request: what the engine gets as its data.
pub(crate) struct Completion {
    callback: unsafe extern "C" fn(*mut c_void, VixError),
    data: *mut c_void,
    /// The number of the call, by which the state knows the request.
    request: u64,
}

impl Completion {
    /// As the pointer that the engine gets; it is given back by [`on_complete`], or by [`take_back`](Self::take_back).
    pub(crate) fn lend(
        callback: unsafe extern "C" fn(*mut c_void, VixError),
        data: *mut c_void,
        request: u64,
    ) -> *mut c_void {
        Box::into_raw(Box::new(Self {
            callback,
            data,
            request,
        }))
        .cast()
    }

    /// Frees what the engine did not accept.
    ///
    /// # Safety
    /// `token` comes from [`lend`](Self::lend), and [`on_complete`] neither has run nor will run with it.
    pub(crate) unsafe fn take_back(token: *mut c_void) {
        // SAFETY: the caller's promise makes this the one owner.
        drop(unsafe { Box::from_raw(token.cast::<Self>()) });
    }
}

/// The engine's word that a request is done. From now on the buffer is the caller's again; the request is over when the
/// caller's callback has returned.
pub(crate) unsafe extern "C" fn on_complete(token: *mut c_void, code: VixError) {
    // SAFETY: the engine calls back once for each accepted request, with the token that came with it.
    let completion = unsafe { Box::from_raw(token.cast::<Completion>()) };
    gate::guard((), || {
        if let Some(request) = state::lock().requests.get_mut(&completion.request) {
            request.buffer = 0..0;
        }
    });
    // SAFETY: the contract of the asynchronous calls: one call of the callback, from any thread.
    marked("completion", || unsafe {
        (completion.callback)(completion.data, code);
    });
    gate::guard((), || {
        state::lock().requests.remove(&completion.request);
    });
}

/// A progress function for the length of one call.
pub(crate) struct Progress {
    function: unsafe extern "C" fn(*mut c_void, c_int) -> Bool,
    data: *mut c_void,
    call: Arc<Call>,
}

impl Progress {
    /// What stands for the caller's function and data in this call; `None` for null.
    pub(crate) fn new(
        function: VixDiskLibProgressFunc,
        data: *mut c_void,
        call: &Arc<Call>,
    ) -> Option<Self> {
        Some(Self {
            function: function?,
            data,
            call: Arc::clone(call),
        })
    }

    /// The function and the data that the engine gets. `progress` stays where it is while the engine has them.
    pub(crate) fn pass_on(progress: &mut Option<Self>) -> (VixDiskLibProgressFunc, *mut c_void) {
        match progress {
            None => (None, std::ptr::null_mut()),
            Some(progress) => (
                Some(on_progress as unsafe extern "C" fn(*mut c_void, c_int) -> Bool),
                std::ptr::from_mut(progress).cast(),
            ),
        }
    }
}

unsafe extern "C" fn on_progress(data: *mut c_void, percent: c_int) -> Bool {
    // SAFETY: `pass_on` gave the engine this pointer for the length of the call that is running now.
    let progress = unsafe { &*data.cast::<Progress>() };
    // SAFETY: the caller vouches for its function during the call.
    let answer = marked("progress", || unsafe {
        (progress.function)(progress.data, percent)
    });
    if answer == 0 {
        let what = format!("false was returned at {percent} %");
        gate::guard((), || {
            gate::complain(Rule::ProgressReturn, what, &progress.call);
        });
    }
    answer
}
