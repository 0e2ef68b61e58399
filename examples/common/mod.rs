//! What the examples share: finding the library and the server, one line for an error, one for progress.

#![allow(dead_code, reason = "no example needs all of it")]

pub(crate) mod remote;
mod secrets;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use vixdisklib::{Backend, Connection, Library, Progress};

/// What can go wrong; its text names the option that can change it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Starts the library in `libdir`, or the embedded engine; `statistics` has its calls counted.
pub(crate) fn library(libdir: Option<&PathBuf>, statistics: bool) -> vixdisklib::Result<Library> {
    let backend = match libdir {
        Some(folder) => Backend::Library(folder.clone()),
        None => Backend::Embedded,
    };
    Library::builder(backend).statistics(statistics).open()
}

/// Connects to the disks of this machine with the library in `libdir`, or with the embedded engine; `statistics` has its
/// calls counted.
pub(crate) fn connect(
    libdir: Option<&PathBuf>,
    statistics: bool,
) -> vixdisklib::Result<Connection> {
    library(libdir, statistics)?.connect_local()
}

/// An error, what caused it, and what is likely behind it, in one line.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> String {
    let hint = error
        .downcast_ref::<vixdisklib::Error>()
        .and_then(vixdisklib::Error::hint);
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    if let Some(hint) = hint {
        line = format!("{line} (hint: {hint})");
    }
    line.replace('\n', " ")
}

/// What the program ends with; an error is printed.
pub(crate) fn exit_code(program: &str, result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        // A reader that has seen enough, as in `... | head`, is none.
        let broken_pipe = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if broken_pipe {
            return ExitCode::SUCCESS;
        }
        eprintln!("{program}: {}", explain(&*error));
        ExitCode::FAILURE
    })
}

/// Shows progress on standard error, if that is a terminal.
pub(crate) fn progress_bar() -> impl FnMut(Progress) {
    let bar = ProgressBar::new(100);
    move |progress| {
        bar.set_position(progress.percent.into());
        if progress.percent == 100 {
            bar.finish_and_clear();
        }
    }
}
