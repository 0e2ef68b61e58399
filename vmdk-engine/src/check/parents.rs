//! The parents of a disk: whether they are there, and whether something is wrong with them.

use std::path::Path;
use std::sync::Arc;

use super::finding::{FindingKind, Notes, Report, Severity, impossible};
use super::link::Link;
use crate::chain::Chain;
use crate::disk::OpenOptions;
use crate::error::{Error, ErrorKind};
use crate::gate::{FileAccess, OpenGate};

/// Looks at each parent of the disk at `path`. Nothing about them is ever repaired from here: another content id in a
/// child would only hide that its parent is another disk now.
pub(super) fn check(
    path: &Path,
    gate: &Arc<dyn OpenGate>,
    report: &mut Report,
) -> Result<(), Error> {
    // The disk itself is locked, by whoever asks.
    let options = OpenOptions::new().gate(Arc::clone(gate)).ignore_locks(true);
    let chain = match Chain::open(path, &options) {
        Ok(chain) => chain,
        Err(error) => return note(path, error, report),
    };
    let paths: Vec<_> = chain.parent_paths().map(Path::to_owned).collect();
    // Each is asked for by the link that names it: the gate may not let the others have it.
    let mut child = path;
    for parent in &paths {
        let file = match gate.open_parent(child, parent.as_os_str()) {
            Ok(file) => file,
            // It was opened a moment ago.
            Err(error) => return note(path, Error::from(error).at(parent), report),
        };
        child = parent;
        let mut found = Report::default();
        let mut notes = Notes::new(&mut found, parent, false);
        Link::check(file, Arc::clone(gate), FileAccess::Read, &mut notes)?;
        report.add_elsewhere(found, "it is a parent; repair it by itself");
    }
    Ok(())
}

/// Notes why the chain cannot be opened, unless that is known of the disk itself.
fn note(path: &Path, error: Error, report: &mut Report) -> Result<(), Error> {
    let is_of_parents = matches!(
        error.kind(),
        ErrorKind::ParentNotFound
            | ErrorKind::CidMismatch
            | ErrorKind::CapacityMismatch
            | ErrorKind::InvalidChain
            | ErrorKind::TooManyLinks
    );
    // What is wrong with the disk itself is known.
    let is_elsewhere =
        report.worst() < Some(Severity::Fatal) && error.path().is_some_and(|found| found != path);
    let text = error.reason().to_string();
    let is_known = report.findings().iter().any(|known| known.text == text);
    if is_known || !is_of_parents && !is_elsewhere {
        return Ok(());
    }
    let at = error.path().unwrap_or(path).to_owned();
    let mut found = Report::default();
    let why =
        "whether the parent comes back, or what it had is given up, is not for a repair to decide";
    Notes::new(&mut found, &at, false).add(
        Severity::Error,
        FindingKind::Parent,
        None,
        text,
        impossible(why),
    );
    report.add_elsewhere(found, why);
    Ok(())
}
