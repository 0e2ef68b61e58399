//! Which release of VDDK this is.

use std::fs;
use std::sync::OnceLock;

use vixdisklib_sys::VixError;

/// How asynchronous requests are completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Inside the submitting call, on its thread.
    Inline,
    /// Later, each on a thread of its own.
    Late,
    /// Later, several at once, the last one first.
    LastFirst,
    /// Every other one inline, the others late.
    Mixed,
}

/// What is particular about a release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    /// The bytes of `VixDiskLibInfo`.
    pub(crate) info_length: usize,
    pub(crate) completion: Completion,
    /// Whether errors carry detail in their high bits.
    pub(crate) detail: bool,
    /// Whether a question for the length of metadata succeeds, in place of "buffer too small".
    pub(crate) sizing_succeeds: bool,
}

impl Release {
    /// The release of this file.
    pub(crate) fn current() -> &'static Self {
        static CURRENT: OnceLock<Release> = OnceLock::new();
        CURRENT.get_or_init(|| Self::of(&own_file_name().unwrap_or_default()))
    }

    fn of(file_name: &str) -> Self {
        let version = file_name
            .split_once(".so.")
            .map_or("8", |(_, version)| version);
        let (info_length, completion) = match version.split('.').next() {
            Some("6") => (56, Completion::Inline),
            Some("7") => (64, Completion::Late),
            Some("9") => (64, Completion::Mixed),
            _ => (64, Completion::LastFirst),
        };
        Self {
            info_length,
            completion,
            detail: version.starts_with('9'),
            sizing_succeeds: version.starts_with("6.5"),
        }
    }

    /// An error as this release returns it.
    pub(crate) fn code(&self, code: VixError) -> VixError {
        if self.detail && !code.is_ok() && code != VixError::ASYNC {
            VixError(code.0 | 0x2_0001 << 16)
        } else {
            code
        }
    }
}

/// The name of the file that this code was loaded from, as the list of the process's memory has it.
fn own_file_name() -> Option<String> {
    static HERE: u8 = 0;
    let here = (&raw const HERE).addr();
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| {
        let range = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'));
        range.is_some_and(|(start, end)| {
            let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
            (number(start)..number(end)).contains(&here)
        })
    })?;
    line.rsplit_once('/').map(|(_, name)| name.to_owned())
}
