//! The report of the mode `report`, written at `Exit` and again at the end of the process if more was found.

use std::fmt::Write as _;
use std::fs;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::settings::{self, Mode};
use crate::state::{self, Phase, State};
use crate::verdict::print;

/// Whether there is anything that no report has.
static NEWS: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> i32;
}

/// Sees to it that there is a report at the end of the process. Called at each call, with no lock held.
pub(crate) fn expect() {
    static REGISTERED: Once = Once::new();
    NEWS.store(true, Ordering::Release);
    REGISTERED.call_once(|| {
        // SAFETY: a C function of this library, which is never unloaded (`-z nodelete`). Failure leaves the report of
        // `Exit`.
        let _ = unsafe { atexit(at_end_of_process) };
    });
}

extern "C" fn at_end_of_process() {
    let written = std::panic::catch_unwind(|| {
        if !state::is_forked() {
            write();
        }
    });
    if written.is_err() {
        print("vixdisklib-rule-check: internal error while writing the report\n");
    }
}

/// Writes the report if there are news, and the mode asks for one.
pub(crate) fn write() {
    let settings = settings::current();
    if settings.mode != Mode::Report || !NEWS.swap(false, Ordering::AcqRel) {
        return;
    }
    let text = text(&state::lock());
    match &settings.report {
        None => print(&text),
        Some(path) => {
            if let Err(error) = fs::write(path, &text) {
                print(&format!(
                    "vixdisklib-rule-check: cannot write the report to {}: {error}\n{text}",
                    path.display()
                ));
            }
        }
    }
}

/// The report as text.
pub(crate) fn text(state: &State) -> String {
    let mut text = String::from("vixdisklib-rule-check: report\n");
    let total = state.violations.len() as u64 + state.more_violations;
    let _ = writeln!(text, "violations: {total}");
    for violation in &state.violations {
        let _ = write!(text, "{violation}");
    }
    if state.more_violations > 0 {
        let _ = writeln!(text, "and {} more", state.more_violations);
    }
    if let Phase::Running { init, .. } = &state.phase {
        let _ = writeln!(text, "no VixDiskLib_Exit since {init}");
    }
    let _ = writeln!(text, "calls:");
    for (function, count) in &state.counts {
        let _ = writeln!(text, "  {count} VixDiskLib{function}");
    }
    text
}
