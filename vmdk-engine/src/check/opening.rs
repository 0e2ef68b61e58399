//! Whether a disk opens in which nothing was found.

use std::path::Path;

use super::CheckOptions;
use super::finding::{FindingKind, Notes, Report, Severity, impossible};
use crate::chain::Chain;
use crate::disk::OpenOptions;
use crate::error::{Error, ErrorKind};

/// Notes why the disk at `path` does not open, so that no disk is called clean that nobody can read.
pub(super) fn check(path: &Path, options: &CheckOptions, report: &mut Report) -> Result<(), Error> {
    // The disk itself is locked, by whoever asks.
    let reading = OpenOptions::new()
        .gate(options.gate.clone())
        .single_link(options.single_link)
        .ignore_locks(true);
    let Err(error) = Chain::open(path, &reading) else {
        return Ok(());
    };
    if matches!(error.kind(), ErrorKind::Io | ErrorKind::TooManyOpenFiles) {
        return Err(error);
    }
    let at = error.path().unwrap_or(path).to_owned();
    Notes::new(report, &at, false).add(
        Severity::Fatal,
        FindingKind::Descriptor,
        None,
        error.reason().to_string(),
        impossible("each part of the disk is in order for itself"),
    );
    Ok(())
}
