//! Which process this is, and whether another one still runs.

use std::fs;
use std::process;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process as lock files name it: process ids come again, but not with the same time of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// In the unit of the operating system; old lock files do not have it.
    pub(super) created: Option<u64>,
}

/// This process.
pub(super) fn own() -> ProcessId {
    static OWN: OnceLock<ProcessId> = OnceLock::new();
    let ask = || {
        let pid = process::id();
        let created = status(pid).map(|status| status.created);
        ProcessId { pid, created }
    };
    let own = OWN.get_or_init(ask);
    // Not so in a process that was forked off.
    if own.pid == process::id() {
        own.clone()
    } else {
        ask()
    }
}

/// The name of this process, in letters that cannot end a field.
pub(super) fn own_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = fs::read_to_string("/proc/self/comm").unwrap_or_default();
        name.trim()
            .chars()
            .map(|letter| match letter {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => letter,
                _ => '_',
            })
            .collect()
    })
}

impl ProcessId {
    /// Whether this very process runs on this machine. Where that cannot be told, it does.
    pub(super) fn is_running(&self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return false;
        };
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return false;
        }
        match (status(self.pid), self.created) {
            (Some(status), _) if status.is_over => false,
            (Some(status), Some(created)) => status.created == created,
            _ => true,
        }
    }
}

struct Status {
    created: u64,
    /// It was killed or has ended, and is only waited for by its parent.
    is_over: bool,
}

fn status(pid: u32) -> Option<Status> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of the process, in brackets, may contain anything; behind it stand the state and numbers.
fn parse(line: &str) -> Option<Status> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    let created = fields.nth(18)?.parse().ok()?;
    Some(Status { created, is_over })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_runs_and_another_of_its_number_does_not() {
        let own = own();
        assert!(own.created.is_some());
        assert!(own.is_running());
        let reused = ProcessId {
            created: own.created.map(|created| created + 1),
            ..own.clone()
        };
        assert!(!reused.is_running());
        let old = ProcessId {
            created: None,
            ..own
        };
        assert!(old.is_running());
        for pid in [0, u32::MAX] {
            let created = None;
            assert!(!ProcessId { pid, created }.is_running());
        }
    }

    #[test]
    fn a_process_that_has_ended_is_not_running_before_its_parent_asks() {
        let mut child = process::Command::new("true").spawn().expect("starts");
        let pid = child.id();
        while status(pid).is_some_and(|status| !status.is_over) {
            std::thread::yield_now();
        }
        let created = None;
        assert!(!ProcessId { pid, created }.is_running());
        child.wait().expect("ends");
        assert!(!ProcessId { pid, created }.is_running());
    }

    #[test]
    fn names_with_brackets_and_blanks_do_not_confuse() {
        let line = "12 (a) R 1 (b) S 1 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 1194090 31 4";
        let status = parse(line).expect("complete");
        assert_eq!((status.created, status.is_over), (1_194_090, false));
        assert!(parse("12 (a) Z 1").is_none());
    }
}
