//! What happens on a violation.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use vixdisklib_sys::VixError;

use crate::callback;
use crate::settings::{self, Mode};
use crate::state::State;
use crate::violation::Violation;

/// What becomes of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on to the engine.
    PassOn,
    /// It returns this and goes no further.
    Refuse(VixError),
}

/// Acts on the violations of one call. `lines` are the calls before it, for the message.
///
/// In the mode `abort` it does not return if there is a violation.
pub(crate) fn act(mode: Mode, violations: &[Violation], lines: &str, refuses: bool) -> Verdict {
    let Some(first) = violations.first() else {
        return Verdict::PassOn;
    };
    match mode {
        Mode::Abort => {
            let mut message = String::new();
            for violation in violations {
                let _ = write!(message, "{violation}");
            }
            print(&format!(
                "{message}  calls before it, the last one at the end:\n{lines}\
                 vixdisklib-rule-check: the process is aborted; VIXDISKLIB_RULES=error or =report go on, \
                 VIXDISKLIB_RULES_OFF={} switches the rule off\n",
                first.rule.name()
            ));
            std::process::abort()
        }
        Mode::Error => {
            for violation in violations {
                callback::warn(&violation.to_string());
            }
            if refuses {
                Verdict::Refuse(first.rule.code())
            } else {
                Verdict::PassOn
            }
        }
        Mode::Report => Verdict::PassOn,
    }
}

/// The last calls as lines of a message.
pub(crate) fn history(state: &State) -> String {
    let mut lines = String::new();
    for call in state.history() {
        let _ = writeln!(lines, "    {call}");
    }
    lines
}

/// Writes to the standard error output; where that is gone, to nobody.
pub(crate) fn print(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says what of the settings was not understood.
pub(crate) fn print_faults(faults: &[String]) {
    for fault in faults {
        print(&format!("vixdisklib-rule-check: {fault}\n"));
    }
}

/// Acts on a violation that is found without the state.
pub(crate) fn act_alone(violation: &Violation) -> Verdict {
    let mode = settings::known().map_or(Mode::Abort, |settings| settings.mode);
    // In a forked process nobody may hold the log function's locks any more, so it is not asked.
    if mode != Mode::Abort {
        print(&violation.to_string());
        return if mode == Mode::Error {
            Verdict::Refuse(violation.rule.code())
        } else {
            Verdict::PassOn
        };
    }
    act(mode, std::slice::from_ref(violation), "", true)
}
