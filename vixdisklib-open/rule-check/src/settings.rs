//! What the environment asks for.

use std::collections::HashSet;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::rule::{Rule, Strength};

/// What happens on a violation: `abort` (default), `error` or `report`.
const MODE: &str = "VIXDISKLIB_RULES";
/// Names of rules that are not checked, with commas between.
const OFF: &str = "VIXDISKLIB_RULES_OFF";
/// Names of rules that are checked although they are off by default, with commas between.
const ON: &str = "VIXDISKLIB_RULES_ON";
/// The file that gets the report; `%p` in it stands for the number of the process.
const REPORT: &str = "VIXDISKLIB_RULES_REPORT";

/// What happens on a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The process ends with a message.
    Abort,
    /// The call returns an error and is not passed on.
    Error,
    /// The call is passed on, and the violation is in the report.
    Report,
}

/// The settings of the process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    off: HashSet<Rule>,
    pub(crate) report: Option<PathBuf>,
    /// What of the environment was not understood.
    pub(crate) faults: Vec<String>,
}

static CURRENT: RwLock<Option<Arc<Settings>>> = RwLock::new(None);

/// The settings, from the environment as it was at the first call.
pub(crate) fn current() -> Arc<Settings> {
    if let Some(settings) = &*CURRENT.read() {
        return Arc::clone(settings);
    }
    let mut current = CURRENT.write();
    let settings = current.get_or_insert_with(|| {
        let variable = |name: &str| env::var(name).ok();
        let settings = Settings::from(variable);
        crate::verdict::print_faults(&settings.faults);
        Arc::new(settings)
    });
    Arc::clone(settings)
}

/// The settings if they are known and nobody holds their lock, as maybe nobody can give it back: for a forked process.
pub(crate) fn known() -> Option<Arc<Settings>> {
    CURRENT.try_read()?.clone()
}

/// Replaces the settings.
#[cfg(test)]
pub(crate) fn replace(settings: Settings) {
    *CURRENT.write() = Some(Arc::new(settings));
}

impl Settings {
    /// The settings that these variables hold.
    pub(crate) fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut faults = Vec::new();
        let mode = match variable(MODE).as_deref() {
            None | Some("" | "abort") => Mode::Abort,
            Some("error") => Mode::Error,
            Some("report") => Mode::Report,
            Some(other) => {
                faults.push(format!(
                    "{MODE}={other}: it is one of abort, error, report; taken as abort"
                ));
                Mode::Abort
            }
        };
        let mut off: HashSet<Rule> = Rule::ALL
            .iter()
            .copied()
            .filter(|rule| rule.strength() == Strength::Advice)
            .collect();
        for (name, is_on) in [(ON, true), (OFF, false)] {
            let list = variable(name).unwrap_or_default();
            for word in list
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
            {
                match Rule::by_name(word) {
                    Some(rule) if is_on => {
                        off.remove(&rule);
                    }
                    Some(rule) => {
                        off.insert(rule);
                    }
                    None => faults.push(format!("{name}: no rule is called {word:?}")),
                }
            }
        }
        let report = variable(REPORT)
            .filter(|path| !path.is_empty())
            .map(|path| PathBuf::from(path.replace("%p", &std::process::id().to_string())));
        Self {
            mode,
            off,
            report,
            faults,
        }
    }

    /// Whether a rule is checked.
    pub(crate) fn checks(&self, rule: Rule) -> bool {
        !self.off.contains(&rule)
    }
}
