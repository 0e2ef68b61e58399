//! The C side: the three log functions that every library is given.

use std::ffi::c_char;

use vixdisklib_sys::va_list::{self, VaList};
use zeroize::Zeroize as _;

use super::{LogLevel, is_demoted, record, redactor};
use crate::contain::contain;

/// Longer lines are cut and end in an ellipsis.
const LONGEST: usize = 4096;

/// How much more of a line is looked at before it is cut, so that the cut leaves no part of a secret up to this length.
const MARGIN: usize = 1024;

/// The library's log function. Any thread of the library may call it, as VDDK asks.
pub(crate) unsafe extern "C" fn log(format: *const c_char, arguments: VaList) {
    // SAFETY: the library passes both as `vprintf` takes them.
    unsafe { line(LogLevel::Log, format, arguments) }
}

/// The library's warning function.
pub(crate) unsafe extern "C" fn warn(format: *const c_char, arguments: VaList) {
    // SAFETY: as in `log`.
    unsafe { line(LogLevel::Warn, format, arguments) }
}

/// The library's function for what it cannot survive. It returns: the process is the caller's to end.
pub(crate) unsafe extern "C" fn panic(format: *const c_char, arguments: VaList) {
    // SAFETY: as in `log`.
    unsafe { line(LogLevel::Panic, format, arguments) }
}

/// # Safety
/// `format` and `arguments` are as `vprintf` takes them.
unsafe fn line(level: LogLevel, format: *const c_char, arguments: VaList) {
    if format.is_null() {
        return;
    }
    let mut buffer = [0; LONGEST + MARGIN];
    // SAFETY: the format is a C string with its own unused list, as the caller promises; the list is used once.
    let length = unsafe { va_list::format(format, arguments, &mut buffer) };
    // A tracing subscriber is the user's code and may panic.
    contain(|| emit(level, &text(&buffer, length)));
    // A secret may have been in there.
    let written = length.min(buffer.len());
    buffer[..written].zeroize();
}

/// The formatted text without its line end and secrets, and with a mark where it was cut.
fn text(buffer: &[u8], length: usize) -> String {
    let kept = length.min(buffer.len() - 1);
    let mut text = redactor::readable(buffer[..kept].trim_ascii_end());
    if kept == length && text.len() < LONGEST {
        return text;
    }
    let cut = text[..text.floor_char_boundary(LONGEST - 1)].to_owned() + "…";
    // The end may be a part of a secret.
    text.zeroize();
    cut
}

fn emit(level: LogLevel, text: &str) {
    let demoted = is_demoted(text);
    record(level, demoted, text.to_owned());
    match level {
        _ if demoted => tracing::trace!(target: "vixdisklib::library", "{text}"),
        LogLevel::Log => tracing::debug!(target: "vixdisklib::library", "{text}"),
        LogLevel::Warn => tracing::warn!(target: "vixdisklib::library", "{text}"),
        LogLevel::Panic => tracing::error!(target: "vixdisklib::library", "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Window;
    use crate::log::freed::{MARK, with_the_mark};
    use std::ffi::CString;

    fn logged(
        function: unsafe extern "C" fn(*const c_char, VaList),
        text: &str,
    ) -> (LogLevel, String) {
        let window = Window::open();
        let text = CString::new(text).expect("no NUL");
        // SAFETY: the function takes its list as `vprintf` does, and may run on any thread.
        unsafe { va_list::call_with_text(function, &text) };
        let lines = window.collect();
        let line = lines
            .iter()
            .find(|line| !line.other_thread())
            .expect("recorded");
        (line.level(), line.text().to_owned())
    }

    #[test]
    fn lines_keep_their_level_and_lose_their_end() {
        assert_eq!(
            logged(log, "all is well\r\n"),
            (LogLevel::Log, "all is well".to_owned())
        );
        assert_eq!(
            logged(warn, "100 % odd"),
            (LogLevel::Warn, "100 % odd".to_owned())
        );
        assert_eq!(
            logged(panic, "broken"),
            (LogLevel::Panic, "broken".to_owned())
        );
    }

    #[test]
    fn a_subscriber_may_panic_with_what_panics_again() {
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        struct Panics;
        impl tracing::Subscriber for Panics {
            fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
                true
            }
            fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
                tracing::span::Id::from_u64(1)
            }
            fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
            fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
            fn event(&self, _: &tracing::Event<'_>) {
                std::panic::panic_any(Again);
            }
            fn enter(&self, _: &tracing::span::Id) {}
            fn exit(&self, _: &tracing::span::Id) {}
        }
        let line = tracing::subscriber::with_default(Panics, || logged(log, "panics twice"));
        assert_eq!(line, (LogLevel::Log, "panics twice".to_owned()));
    }

    #[test]
    fn long_lines_are_cut_and_say_so() {
        let (_, text) = logged(log, &"x".repeat(2 * LONGEST));
        assert_eq!(text.chars().count(), LONGEST);
        assert!(text.ends_with("x…"));
    }

    #[test]
    fn a_cut_leaves_no_part_of_a_secret() {
        let _secret = crate::Secret::new("opensesame-17-and-more".to_owned()).expect("no NUL");
        for before in LONGEST - 40..LONGEST + 10 {
            let line = format!(
                "{}opensesame-17-and-more{}",
                "x".repeat(before),
                "y".repeat(9999)
            );
            let (_, text) = logged(log, &line);
            assert!(!text.contains("opens"), "{before}");
            assert!(text.len() < LONGEST + "…".len());
        }
        let (_, text) = logged(log, &"ä".repeat(LONGEST));
        assert!(text.ends_with("ä…"));
    }

    #[test]
    fn no_memory_is_freed_with_a_secret_in_it() {
        let _secret = crate::Secret::new(MARK.to_owned()).expect("no NUL");
        let long = "y".repeat(2 * LONGEST);
        for line in [
            [b"x", MARK.as_bytes()].concat(),
            // What is not UTF-8 takes more room as text.
            [MARK.as_bytes(), &[0xFF; 40]].concat(),
            [&[0xFF; 40], MARK.as_bytes(), &[0xFF; 400]].concat(),
            [MARK.as_bytes(), long.as_bytes()].concat(),
        ] {
            let line = CString::new(line).expect("no NUL");
            let freed = with_the_mark(|| {
                // SAFETY: the function takes its list as `vprintf` does, and may run on any thread.
                unsafe { va_list::call_with_text(log, &line) };
            });
            assert_eq!(freed, 0, "{line:?}");
        }
    }

    #[test]
    fn no_memory_is_freed_with_a_part_of_a_secret_behind_a_cut() {
        let secret = MARK.to_owned() + " correct horse battery staple";
        let _secret = crate::Secret::new(secret.clone()).expect("no NUL");
        // The buffer ends inside of it.
        let before = "x".repeat(LONGEST + MARGIN - 1 - MARK.len());
        let line = CString::new(before + &secret).expect("no NUL");
        let freed = with_the_mark(|| {
            // SAFETY: as above.
            unsafe { va_list::call_with_text(log, &line) };
        });
        assert_eq!(freed, 0);
    }

    #[test]
    fn secrets_do_not_get_in() {
        let _secret = crate::Secret::new("opensesame-99".to_owned()).expect("no NUL");
        assert_eq!(
            logged(log, "password is opensesame-99.").1,
            "password is ***."
        );
    }
}
