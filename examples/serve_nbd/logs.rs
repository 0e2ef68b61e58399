//! What is said on standard error while the server runs.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Prints what the server and the library log, by how often `-v` was given.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // What the library says about a failure is part of the error, which is printed once.
    let library = if verbose == 0 {
        LevelFilter::OFF
    } else {
        level
    };
    let filter = Targets::new()
        .with_default(level)
        .with_target("vixdisklib::library", library);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
}
