//! Checking disks, and repairing them.
//!
//! ```text
//!   check, repair    the disk and its parents, and in what order      check.rs parents.rs opening.rs
//!    └─ Link            a descriptor and its extents                  check/link.rs text.rs
//!        └─ extents        one format each                            check/{sparse,stream,sesparse}.rs
//!            ├─ header        of a hosted sparse extent                check/header.rs
//!            └─ tables        directories, tables, grains              check/tables.rs walk.rs entries.rs
//! ```
//!
//! A check reads the metadata whole, and the data of streams. In memory it holds, one extent at a time, what the
//! [survey](crate::extent::survey) does, and a few MiB of entries in dispute: in all some 20 MiB for a disk of 2 TiB with
//! usual grains. A stream takes up to 16 bytes for each grain that it holds. A repair of a disk in many files keeps
//! little more than their headers.
//!
//! A repair is a check that then does what it found possible, if nothing stands in the way: it repairs all or nothing.
//! What it does to an extent goes in an order that can be interrupted anywhere, and the next repair goes on from there;
//! what could be read before can be read at any moment. That a disk was closed properly is noted last.

mod entries;
mod finding;
mod header;
mod link;
mod opening;
mod parents;
mod sesparse;
mod sparse;
mod stream;
mod tables;
mod tail;
mod text;
mod walk;

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Operation};
use crate::gate::{FileAccess, FolderGate, OpenGate};

use self::finding::Notes;
use self::link::Link;

pub use finding::{Finding, FindingKind, Repair, Report, Severity};

/// Repairs may uncover what they could not see before, but not often.
const MAX_ROUNDS: usize = 4;

/// How to check a disk. The default: with all of its parents, under [`FolderGate`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckOptions {
    single_link: bool,
    gate: Arc<dyn OpenGate>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            single_link: false,
            gate: Arc::new(FolderGate),
        }
    }
}

impl CheckOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to look at the named link of a snapshot chain alone.
    #[must_use]
    pub fn single_link(mut self, single_link: bool) -> Self {
        self.single_link = single_link;
        self
    }

    /// Who decides which files may be opened, and opens them.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn OpenGate>) -> Self {
        self.gate = gate;
        self
    }
}

/// How to repair a disk. The default: what loses nothing, with a look at its parents, under [`FolderGate`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairOptions {
    check: CheckOptions,
    allow_loss: bool,
}

impl RepairOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to do also what gives up something that cannot be read now, but perhaps by other means, and what gives a
    /// disk that is not whole the look of one that is; see [`Repair::NeedsPermission`].
    #[must_use]
    pub fn allow_loss(mut self, allow_loss: bool) -> Self {
        self.allow_loss = allow_loss;
        self
    }

    /// As [`CheckOptions::single_link`].
    #[must_use]
    pub fn single_link(mut self, single_link: bool) -> Self {
        self.check.single_link = single_link;
        self
    }

    /// As [`CheckOptions::gate`].
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn OpenGate>) -> Self {
        self.check.gate = gate;
        self
    }
}

/// Looks for all that is wrong with the disk at `path`, and changes nothing.
///
/// Nobody should write to the disk meanwhile. Of flat extents only the lengths are checked: they have no metadata.
///
/// ```
/// use vmdk_engine::{CheckOptions, CreateOptions, Disk, DiskKind, SectorCount, Severity};
/// use vmdk_engine::{RepairOptions, check, repair, unwatched};
///
/// # let scratch = tempfile::tempdir()?;
/// let path = scratch.path().join("disk.vmdk");
/// let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(2048));
/// Disk::create(&path, &options, &mut unwatched)?.close()?;
/// assert!(check(&path, &CheckOptions::new())?.is_clean());
///
/// // The entry of the first grain table is lost.
/// let mut bytes = std::fs::read(&path)?;
/// bytes[26 * 512..][..4].fill(0xff);
/// std::fs::write(&path, bytes)?;
/// let report = check(&path, &CheckOptions::new())?;
/// assert_eq!(report.worst(), Some(Severity::Error));
///
/// let report = repair(&path, &RepairOptions::new())?;
/// assert!(report.is_clean());
/// for finding in report.findings() {
///     println!("{finding}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Only what keeps it from looking, by [`kind`](Error::kind): [`NotFound`](crate::ErrorKind::NotFound),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) and [`AccessRefused`](crate::ErrorKind::AccessRefused) for the
/// file itself, and [`Io`](crate::ErrorKind::Io). What is in the files is in the report.
pub fn check(path: impl AsRef<Path>, options: &CheckOptions) -> Result<Report, Error> {
    let path = path.as_ref();
    look(path, options, FileAccess::Read, false)
        .map(|(report, _)| report)
        .map_err(|error| error.at(path).during(Operation::Check, None))
}

/// Repairs the disk at `path`, all that is wrong with it or nothing.
///
/// What can be read stays as it reads, with two exceptions, in which it is certain that what is read is not what was
/// written. Where tables contradict themselves, as two that have one place do, the redundant ones are taken. And what
/// has no entry, and so reads as never written, appears where there is a record of it all the same: in the redundant
/// tables of a disk that was closed properly, from which nothing but damage removes the other half, and in a stream
/// whose tables do not name one of its records.
///
/// If something cannot be repaired, or only with a permission that the options do not give, no file is changed, and the
/// report says what it is. Parents are looked at and never changed: each is repaired by itself. Otherwise the report has
/// what was found with what was done about it. The content id of the disk stays, as its content does.
///
/// The disk is locked meanwhile as if it were open for writing.
///
/// # Errors
/// As [`check`], and [`AlreadyLocked`](crate::ErrorKind::AlreadyLocked), and
/// [`DiskFull`](crate::ErrorKind::DiskFull) and whatever else keeps the files from being written; then the repair may
/// have come to any point, and can be run again.
pub fn repair(path: impl AsRef<Path>, options: &RepairOptions) -> Result<Report, Error> {
    let path = path.as_ref();
    repair_all(path, options).map_err(|error| error.at(path).during(Operation::Repair, None))
}

fn repair_all(path: &Path, options: &RepairOptions) -> Result<Report, Error> {
    let mut all = Report::default();
    for round in 0..MAX_ROUNDS {
        let (mut report, link) = look(
            path,
            &options.check,
            FileAccess::ReadWrite,
            options.allow_loss,
        )?;
        let is_done = !report.is_repairable() || round.saturating_add(1) == MAX_ROUNDS;
        if !is_done {
            link.repair()?;
            report.mark_repaired();
        }
        all.append(report);
        if is_done {
            break;
        }
    }
    Ok(all)
}

/// Looks at the disk and its parents.
fn look(
    path: &Path,
    options: &CheckOptions,
    access: FileAccess,
    allows_loss: bool,
) -> Result<(Report, Link), Error> {
    let mut report = Report::default();
    let file = options
        .gate
        .open_disk(path, access)
        .map_err(|error| Error::from(error).at(path))?;
    let path = file.path.clone();
    let mut notes = Notes::new(&mut report, &path, allows_loss);
    let link = Link::check(file, options.gate.clone(), access, &mut notes)?;
    if link.is_child() && !options.single_link {
        parents::check(&path, &options.gate, &mut report)?;
    }
    if report.is_clean() {
        opening::check(&path, options, &mut report)?;
    }
    Ok((report, link))
}
