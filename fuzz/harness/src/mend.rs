//! What holds of checking and repairing a disk, however strange its files are.
//!
//! A check changes nothing, and what it calls clean opens and can be read. A repair never loses what could be read
//! before, and what it calls clean is clean. Where the disk itself had nothing, it may show what redundant tables or the
//! records of a stream have, and says so.

use std::sync::Arc;

use vmdk_engine::{
    Allocation, CheckOptions, Disk, ErrorKind, Finding, FindingKind, MapExtent, Repair,
    RepairOptions, Report, Sector, Severity, check, repair,
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
    for allow_loss in [false, true] {
        repaired(files, allow_loss, samples.unwrap_or_default());
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

/// Repairs a copy of the files.
fn repaired(original: &Files, allow_loss: bool, samples: &[Sample]) {
    let files = &original.copy();
    let before = files.contents();
    let options = RepairOptions::new()
        .allow_loss(allow_loss)
        .gate(Arc::new(files.clone()));
    let report = match repair(files.disk(), &options) {
        Ok(report) => report,
        Err(error) => return assert_clear(&error),
    };
    let did_something = |report: &Report| {
        let mut findings = report.findings().iter();
        report.omitted() > 0
            || findings.any(|finding| matches!(finding.repair, Repair::Repaired(_)))
    };
    if !did_something(&report) {
        assert!(
            files.contents() == before,
            "a repair that did nothing changed a file"
        );
    }
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
}

/// Whether the repair says that it found a table, an entry or a record for this sector, of which the disk had nothing.
fn may_appear(original: &Files, sector: Sector, report: &Report) -> bool {
    let disk = Disk::open(original.disk(), &original.options()).expect("it was open before");
    let range = some_sectors(&disk, sector, 1);
    let run = disk.extents(range).next().expect("a map is whole");
    let is_elsewhere = |run: &MapExtent| run.state == Allocation::Hole || run.depth > 0;
    let says_so = |finding: &Finding| {
        let kinds = [
            FindingKind::DirectoryEntry,
            FindingKind::CopiesDiffer,
            FindingKind::Stream,
        ];
        kinds.contains(&finding.kind)
            && matches!(finding.repair, Repair::Repaired(_))
            && finding
                .sectors
                .is_none_or(|sectors| sectors.contains(sector))
    };
    run.is_ok_and(|run| is_elsewhere(&run))
        && (report.omitted() > 0 || report.findings().iter().any(says_so))
}
