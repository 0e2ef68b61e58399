//! What a check finds, in words and in types.

use std::fmt;
use std::path::{Path, PathBuf};

use disk_units::SectorRange;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong: space that nobody uses, or a disk that was not closed properly and is consistent all the same.
    Info,
    /// Wrong, but in nobody's way.
    Warning,
    /// The disk cannot be written, or a part of it cannot be read, until it is repaired.
    Error,
    /// The disk cannot be opened.
    Fatal,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The header of an extent is not one that the engine knows, or contradicts itself.
    Header,
    /// The disk was not closed properly.
    UncleanShutdown,
    /// The header names a place for a grain directory where none can be.
    Directory,
    /// An entry of a grain directory names a place where no table can be, or is missing.
    DirectoryEntry,
    /// An entry of a grain table names a place where no grain can be.
    TableEntry,
    /// Grains are marked as zeros, which the header does not provide for.
    UnclaimedZeros,
    /// Two grains, or a grain and a table, have one place.
    Overlap,
    /// Grains do not lie at multiples of their size.
    Alignment,
    /// A grain table and its redundant copy differ.
    CopiesDiffer,
    /// Tables have grains that the capacity does not reach.
    BehindCapacity,
    /// Space in the file that nothing refers to.
    UnusedSpace,
    /// The file ends in the midst of a sector.
    FileLength,
    /// The file ends in the midst of a grain, or before the end of a flat extent.
    FileCut,
    /// The header places the first grain wrongly.
    Overhead,
    /// The text of the descriptor.
    Descriptor,
    /// Descriptor and header give an extent different sizes.
    Size,
    /// A file that the descriptor names cannot be opened.
    MissingFile,
    /// A parent is missing, or is not the one that it should be.
    Parent,
    /// The records of a stream-optimised extent, or the tables and the footer behind them.
    Stream,
    /// The header's note of the first unused sector of a copy-on-write (COWD) extent.
    FreeSector,
    /// A space-efficient sparse extent.
    SeSparse,
}

/// What was done, or can be done, about a finding. The texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// Nothing need be done.
    NotNeeded,
    /// A repair would do this. After a call of [`repair`](crate::repair): it was not done, since something else cannot be
    /// repaired.
    Possible(String),
    /// This was done.
    Repaired(String),
    /// This would lose something for good, or give a disk that is not whole the look of one that is; it needs
    /// [`RepairOptions::allow_loss`](crate::RepairOptions::allow_loss).
    NeedsPermission(String),
    /// Why nothing can be done.
    NotRepairable(String),
}

impl fmt::Display for Repair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => formatter.write_str("nothing need be done"),
            Self::Possible(what) => write!(formatter, "a repair can do this: {what}"),
            Self::Repaired(what) => write!(formatter, "repaired: {what}"),
            Self::NeedsPermission(what) => write!(formatter, "only with permission: {what}"),
            Self::NotRepairable(why) => write!(formatter, "cannot be repaired: {why}"),
        }
    }
}

/// One thing that a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub kind: FindingKind,
    /// The file that it is in.
    pub path: PathBuf,
    /// The sectors of the disk that are affected, where that can be said: all of them lie in this range.
    pub sectors: Option<SectorRange>,
    /// What was found, in one line.
    pub text: String,
    /// What was, or can be, done about it.
    pub repair: Repair,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.text)?;
        if let Some(sectors) = self.sectors {
            write!(formatter, " (sectors {sectors} of the disk)")?;
        }
        match self.repair {
            Repair::NotNeeded => Ok(()),
            ref repair => write!(formatter, "; {repair}"),
        }
    }
}

/// So many findings are listed; further ones are counted.
const MAX_FINDINGS: usize = 1024;

/// All that a check has found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    omitted: u64,
    worst: Option<Severity>,
    is_blocked: bool,
    is_possible: bool,
    /// Something worse than a note was not repaired.
    is_left: bool,
}

impl Report {
    /// The findings in the order in which they were met, at most 1024.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many further findings there were.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// The severity of the worst finding, repaired ones included; `None` if there is none.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.worst
    }

    /// Whether nothing is left that should be repaired: there are no findings but of [`Severity::Info`], or all others
    /// were repaired. Findings that are not listed count too.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.is_left
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.worst = self.worst.max(Some(finding.severity));
        self.is_left |=
            finding.severity > Severity::Info && !matches!(finding.repair, Repair::Repaired(_));
        match finding.repair {
            Repair::NotRepairable(_) | Repair::NeedsPermission(_) => {
                self.is_blocked |= finding.severity > Severity::Info;
            }
            Repair::Possible(_) => self.is_possible = true,
            Repair::NotNeeded | Repair::Repaired(_) => {}
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds findings in files that a repair does not touch.
    pub(super) fn add_elsewhere(&mut self, other: Self, why: &str) {
        for mut finding in other.findings {
            if finding.repair != Repair::NotNeeded {
                finding.repair = Repair::NotRepairable(why.to_owned());
            }
            let is_blocked = self.is_blocked;
            self.add(finding);
            self.is_blocked = is_blocked;
        }
        self.omitted = self.omitted.saturating_add(other.omitted);
        self.worst = self.worst.max(other.worst);
        self.is_left |= other.is_left;
    }

    /// Adds what a later look has found, to what was repaired before it.
    pub(super) fn append(&mut self, later: Self) {
        self.findings
            .retain(|finding| matches!(finding.repair, Repair::Repaired(_)));
        self.is_left = false;
        self.is_blocked = false;
        self.is_possible = false;
        for finding in later.findings {
            self.add(finding);
        }
        self.omitted = self.omitted.saturating_add(later.omitted);
        self.worst = self.worst.max(later.worst);
        self.is_left = later.is_left;
    }

    /// Whether a repair with the same permissions would change anything.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        self.is_possible && !self.is_blocked
    }

    /// What could be done was done.
    pub(super) fn mark_repaired(&mut self) {
        for finding in &mut self.findings {
            if let Repair::Possible(what) = &mut finding.repair {
                finding.repair = Repair::Repaired(std::mem::take(what));
            }
        }
        self.is_possible = false;
        self.is_left = false;
    }
}

/// Adds findings about one file.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    report: &'a mut Report,
    path: &'a Path,
    allows_loss: bool,
}

impl<'a> Notes<'a> {
    pub(super) fn new(report: &'a mut Report, path: &'a Path, allows_loss: bool) -> Self {
        Self {
            report,
            path,
            allows_loss,
        }
    }

    pub(super) fn allows_loss(&self) -> bool {
        self.allows_loss
    }

    /// The same for another file.
    pub(super) fn about<'b>(&'b mut self, path: &'b Path) -> Notes<'b> {
        Notes::new(self.report, path, self.allows_loss)
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        kind: FindingKind,
        sectors: Option<SectorRange>,
        text: impl Into<String>,
        repair: Repair,
    ) {
        self.report.add(Finding {
            severity,
            kind,
            path: self.path.to_owned(),
            sectors,
            text: text.into(),
            repair,
        });
    }

    /// What is only done with permission.
    pub(super) fn with_permission(&self, what: impl Into<String>) -> Repair {
        if self.allows_loss {
            Repair::Possible(what.into())
        } else {
            Repair::NeedsPermission(what.into())
        }
    }
}

/// What a repair would do.
pub(super) fn possible(what: impl Into<String>) -> Repair {
    Repair::Possible(what.into())
}

/// Why nothing can be done.
pub(super) fn impossible(why: impl Into<String>) -> Repair {
    Repair::NotRepairable(why.into())
}
