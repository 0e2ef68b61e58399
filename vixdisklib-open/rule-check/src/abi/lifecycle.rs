//! Init, InitEx, Exit and ListTransportModes.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_char;
use std::sync::Arc;

use vixdisklib_sys::{VixDiskLibGenericLogFunc, VixError};

use super::{ENGINE, engine};
use crate::call::{Call, Thread};
use crate::check::{Check, Scope};
use crate::gate::checked;
use crate::rule::Rule;
use crate::state::{self, Phase, State};
use crate::{callback, report};

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn init_ex(
    major: u32,
    minor: u32,
    log: VixDiskLibGenericLogFunc,
    warn: VixDiskLibGenericLogFunc,
    panic: VixDiskLibGenericLogFunc,
    lib_dir: *const c_char,
    config_file: *const c_char,
) -> VixError {
    start(
        "_InitEx",
        (major, minor),
        [log, warn, panic],
        |[log, warn, panic]| {
            // SAFETY: the caller's contract, passed on; our functions take what the caller's take.
            unsafe { (ENGINE.init_ex)(major, minor, log, warn, panic, lib_dir, config_file) }
        },
    )
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn init(
    major: u32,
    minor: u32,
    log: VixDiskLibGenericLogFunc,
    warn: VixDiskLibGenericLogFunc,
    panic: VixDiskLibGenericLogFunc,
    lib_dir: *const c_char,
) -> VixError {
    start(
        "_Init",
        (major, minor),
        [log, warn, panic],
        |[log, warn, panic]| engine!(init(major, minor, log, warn, panic, lib_dir)),
    )
}

fn start(
    name: &'static str,
    (major, minor): (u32, u32),
    functions: [VixDiskLibGenericLogFunc; 3],
    pass_on: impl FnOnce([VixDiskLibGenericLogFunc; 3]) -> VixError,
) -> VixError {
    let nulls = functions
        .iter()
        .filter(|function| function.is_none())
        .count();
    checked(
        name,
        Scope::Anytime,
        format_args!("{major}, {minor}, ..{nulls} null log functions"),
        |check| may_start(check, nulls),
        |_| {
            let running = matches!(state::lock().phase, Phase::Running { .. });
            // The first settings stay.
            let functions = if running {
                functions
            } else {
                callback::log_functions(functions)
            };
            pass_on(functions)
        },
        |state, call, answer| started(state, call, *answer),
    )
}

fn may_start(check: &mut Check<'_>, nulls: usize) {
    match &check.state.phase {
        Phase::Fresh => {}
        Phase::Running { init, .. } => {
            let init = Arc::clone(init);
            check.broken(Rule::InitTwice, "it is initialised", Some(init));
        }
        Phase::Exited { exit } => {
            let exit = Arc::clone(exit);
            check.broken(Rule::InitAfterExit, "it has ended", Some(exit));
        }
    }
    if nulls > 0 {
        let what = format!("{nulls} of them are null");
        check.broken(Rule::InitNullLog, what, None);
    }
    if Thread::current().is_main() == Some(false) {
        let what = "this is not the main thread";
        check.broken(Rule::InitMainThread, what, None);
    }
    if check.checks(Rule::ThreadBeforeInit) {
        check.state.older_threads = threads();
    }
}

fn started(state: &mut State, call: &Arc<Call>, answer: VixError) {
    if !answer.is_ok() {
        return;
    }
    match &mut state.phase {
        Phase::Running { users, .. } => *users += 1,
        phase => {
            *phase = Phase::Running {
                init: Arc::clone(call),
                users: 1,
            };
            state::set_process(std::process::id());
        }
    }
}

/// The threads of the process; none where the system does not tell.
fn threads() -> HashSet<Thread> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .map(Thread)
        .collect()
}

/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn exit() {
    let last = Cell::new(false);
    checked(
        "_Exit",
        Scope::Initialised,
        format_args!(""),
        |check| {
            check.never_refuse();
            check.on_init_thread(Rule::ExitThread);
            last.set(matches!(check.state.phase, Phase::Running { users: 1, .. }));
            if last.get() {
                check.nothing_left();
            }
        },
        // SAFETY: needs nothing.
        |_| unsafe { (ENGINE.exit)() },
        |state, call, ()| {
            if last.get() {
                state.bury_everything(call);
                state::set_process(0);
            } else if let Phase::Running { users, .. } = &mut state.phase {
                *users -= 1;
            }
        },
    );
    if last.get() {
        callback::forget_log_functions();
        report::write();
    }
}

/// # Safety
/// None.
pub(crate) unsafe extern "C" fn list_transport_modes() -> *const c_char {
    checked(
        "_ListTransportModes",
        Scope::Initialised,
        format_args!(""),
        |_| {},
        |_| engine!(list_transport_modes()),
        |_, _, _| {},
    )
}
