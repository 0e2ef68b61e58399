//! The way of every call: check it, act on what was found, pass it on, note what came of it.
//!
//! The state is locked while a call is checked and again while its outcome is noted, never in between: the engine may
//! run callbacks inside the call, and other threads call meanwhile.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use vixdisklib_sys::VixError;

use crate::call::{Call, Thread};
use crate::check::{Check, Scope};
use crate::rule::Rule;
use crate::settings::{self, Mode};
use crate::state::{self, State};
use crate::verdict::{self, Verdict};
use crate::violation::Violation;
use crate::{callback, report};

/// What a function returns when its call is not passed on.
pub(crate) trait Answer {
    fn refused(code: VixError) -> Self;
}

impl Answer for VixError {
    fn refused(code: VixError) -> Self {
        code
    }
}

impl Answer for () {
    fn refused(_: VixError) -> Self {}
}

impl<T> Answer for *mut T {
    fn refused(_: VixError) -> Self {
        std::ptr::null_mut()
    }
}

impl<T> Answer for *const T {
    fn refused(_: VixError) -> Self {
        std::ptr::null()
    }
}

/// Runs our own part of a C function; a panic in it is reported, and `default` is the result: nothing unwinds into C.
pub(crate) fn guard<T>(default: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            verdict::print("vixdisklib-rule-check: internal error, please report\n");
            drop(panic);
        }));
        default
    })
}

/// A call on its way.
struct Entered {
    call: Arc<Call>,
    verdict: Verdict,
    /// Whether the state knows of it.
    noted: bool,
}

impl Entered {
    /// A call that nothing is known of but its name.
    fn unknown(function: &'static str) -> Self {
        Self {
            call: Arc::new(Call {
                number: 0,
                function,
                arguments: "..".to_owned(),
                thread: Thread::current(),
            }),
            verdict: Verdict::PassOn,
            noted: false,
        }
    }
}

/// One call of a C function: `check` asks whether it may come now, `pass_on` makes it, `settle` notes its outcome.
pub(crate) fn checked<R: Answer>(
    function: &'static str,
    scope: Scope,
    arguments: fmt::Arguments<'_>,
    check: impl FnOnce(&mut Check<'_>),
    pass_on: impl FnOnce(&Arc<Call>) -> R,
    settle: impl FnOnce(&mut State, &Arc<Call>, &R),
) -> R {
    let entered = guard(Entered::unknown(function), || {
        enter(function, scope, arguments, check)
    });
    if let Verdict::Refuse(code) = entered.verdict {
        return R::refused(code);
    }
    let answer = pass_on(&entered.call);
    if entered.noted {
        guard((), || {
            let mut state = state::lock();
            settle(&mut state, &entered.call, &answer);
            state.end(&entered.call);
        });
    }
    answer
}

fn enter(
    function: &'static str,
    scope: Scope,
    arguments: fmt::Arguments<'_>,
    check: impl FnOnce(&mut Check<'_>),
) -> Entered {
    if state::is_forked() {
        return enter_forked(function);
    }
    let settings = settings::current();
    let in_callback = callback::running();
    let mut state = state::lock();
    let call = state.begin(function, arguments.to_string());
    let mut asked = Check::new(&mut state, Arc::clone(&call), &settings);
    if asked.may_come(scope, in_callback) {
        check(&mut asked);
    }
    let (found, active, refuses) = asked.finish();
    state.active.push(active);
    let mut lines = String::new();
    if !found.is_empty() {
        lines = verdict::history(&state);
        for violation in &found {
            state.collect(violation.clone());
        }
    }
    drop(state);
    if settings.mode == Mode::Report {
        report::expect();
    }
    let verdict = verdict::act(settings.mode, &found, &lines, refuses);
    if verdict != Verdict::PassOn {
        state::lock().end(&call);
    }
    Entered {
        call,
        verdict,
        noted: true,
    }
}

/// A call in a process that was forked off: other threads may have held locks then, so none is taken.
fn enter_forked(function: &'static str) -> Entered {
    let mut entered = Entered::unknown(function);
    if settings::known().is_some_and(|settings| !settings.checks(Rule::ForkAfterInit)) {
        return entered;
    }
    let violation = Violation {
        rule: Rule::ForkAfterInit,
        what: "this process is a child of the one that called `InitEx`".to_owned(),
        call: Arc::clone(&entered.call),
        earlier: None,
    };
    if let Some(mut state) = state::try_lock() {
        state.collect(violation.clone());
    }
    entered.verdict = verdict::act_alone(&violation);
    entered
}

/// A violation that shows while a call runs.
pub(crate) fn complain(rule: Rule, what: String, call: &Arc<Call>) {
    let settings = settings::current();
    if !settings.checks(rule) {
        return;
    }
    let violation = Violation {
        rule,
        what,
        call: Arc::clone(call),
        earlier: None,
    };
    let mut state = state::lock();
    state.collect(violation.clone());
    let lines = verdict::history(&state);
    drop(state);
    // Too late to refuse the call.
    let _ = verdict::act(settings.mode, &[violation], &lines, false);
}
