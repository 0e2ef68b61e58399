//! What holds of checking and repairing a disk, however strange its files are.
//!
//! A check changes nothing, and what it calls clean opens and can be read. A repair never loses what could be read
//! before, and what it calls clean is clean. Sectors show something else only where it says so: where the tables
//! contradict themselves or have nothing, and redundant tables, or the records of a stream, have something.

use std::sync::Arc;

use vmdk_engine::{
    Allocation, CheckOptions, Disk, ErrorKind, Finding, FindingKind, Repair, RepairOptions, Report,
    Sector, Severity, check, repair,
};

use crate::examine::{Sample, assert_clear, read, some_sectors};
use crate::files::Files;

/// Checks and repairs copies of the files; `samples` are what a reader found, if the disk opens.
pub(crate) fn mend(files: &Files, samples: Option<&[Sample]>) {
    let before = files.contents();
    let Some(report) = checked(files) else {
        return;
    };
    assert!(files.contents() == before, "a check changed a file");
    if report.is_clean() {
        assert_in_order(files, "a clean disk");
        for sample in samples.unwrap_or_default() {
            let range = sample.range;
            assert!(
                sample.content.is_some() || is_forbidden(files, sample),
                "{range} of a clean disk cannot be read"
            );
        }
    }
    if samples.is_some() {
        assert_ne!(
            report.worst(),
            Some(Severity::Fatal),
            "{report:?}, but it opens"
        );
    }
    let samples = samples.unwrap_or_default();
    let is_done = repaired(files, &report, false, samples);
    if is_done == Some(false) {
        repaired(files, &report, true, samples);
    }
}

fn checked(files: &Files) -> Option<Report> {
    let options = CheckOptions::new().gate(Arc::new(files.clone()));
    match check(files.disk(), &options) {
        Ok(report) => {
            for finding in report.findings() {
                let text = finding.to_string();
                assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
            }
            Some(report)
        }
        Err(error) => {
            assert_clear(&error);
            None
        }
    }
}

/// Readers can open the disk, and writers are told of no damage.
fn assert_in_order(files: &Files, what: &str) {
    let reader = Disk::open(files.disk(), &files.options());
    reader.unwrap_or_else(|error| panic!("{what} does not open: {error}"));
    let copy = files.copy();
    if let Err(error) = Disk::open(copy.disk(), &copy.options().writable(true)) {
        let kind = error.kind();
        assert_ne!(
            kind,
            ErrorKind::NeedsRepair,
            "{what} cannot be written: {error}"
        );
    }
}

/// An extent marked as not accessible is in order, and cannot be read.
fn is_forbidden(files: &Files, sample: &Sample) -> bool {
    let disk = Disk::open(files.disk(), &files.options()).expect("it was open before");
    let error = read(&disk, sample.range).err();
    error.is_some_and(|error| error.kind() == ErrorKind::Unsupported)
}

/// Repairs a copy of the files, in which a check `found` this; whether nothing is left, so that a permission to lose
/// something changes nothing.
fn repaired(
    original: &Files,
    found: &Report,
    allow_loss: bool,
    samples: &[Sample],
) -> Option<bool> {
    let files = &original.copy();
    let before = files.contents();
    let options = RepairOptions::new()
        .allow_loss(allow_loss)
        .gate(Arc::new(files.clone()));
    let report = match repair(files.disk(), &options) {
        Ok(report) => report,
        Err(error) => {
            assert_clear(&error);
            return None;
        }
    };
    let mut findings = report.findings().iter();
    let says_so = findings.any(|finding| matches!(finding.repair, Repair::Repaired(_)));
    if files.contents() == before {
        assert!(!says_so, "no file was changed: {report:?}");
        assert_eq!(found.is_clean(), report.is_clean(), "{report:?}");
        return Some(report.is_clean());
    }
    assert!(
        says_so || report.omitted() > 0,
        "a repair that did nothing changed a file"
    );
    if !samples.is_empty() {
        let disk = Disk::open(files.disk(), &files.options());
        let disk = disk.unwrap_or_else(|error| panic!("{report:?}, but then: {error}"));
        for Sample { range, content } in samples {
            if let Some(content) = content {
                let found = read(&disk, *range);
                let found = found.unwrap_or_else(|error| panic!("{report:?}, but {error}"));
                let pairs = content.chunks(512).zip(found.chunks(512));
                for (sector, (before, after)) in (range.start().get()..).zip(pairs) {
                    assert!(
                        before == after || may_appear(original, Sector::new(sector), &report),
                        "{report:?}, but sector {sector} has other content"
                    );
                }
            }
        }
    }
    if report.is_clean() {
        assert_in_order(files, "a repaired disk");
        let again = checked(files).expect("it was looked at before");
        assert!(again.is_clean(), "{report:?}, but then {again:?}");
    }
    Some(report.is_clean())
}

/// Whether the repair says that the redundant tables had something better for this sector, or, where the disk had
/// nothing of it, something at all.
fn may_appear(original: &Files, sector: Sector, report: &Report) -> bool {
    let disk = Disk::open(original.disk(), &original.options()).expect("it was open before");
    let range = some_sectors(&disk, sector, 1);
    let run = disk.extents(range).next().expect("a map is whole");
    let had_nothing = run.is_ok_and(|run| run.state == Allocation::Hole || run.depth > 0);
    let says_so = |finding: &Finding| {
        let Repair::Repaired(what) = &finding.repair else {
            return false;
        };
        let is_here = finding
            .sectors
            .is_none_or(|sectors| sectors.contains(sector));
        is_here
            && match finding.kind {
                FindingKind::DirectoryEntry => what.contains("made of the redundant one"),
                FindingKind::TableEntry => what.contains("the redundant table has are taken"),
                FindingKind::CopiesDiffer => had_nothing && what.contains("entered again"),
                FindingKind::Stream => had_nothing,
                _ => false,
            }
    };
    report.omitted() > 0 || report.findings().iter().any(says_so)
}
