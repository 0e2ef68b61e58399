//! Checking and repairing disks: what is found goes to the log, and the verdict to the caller.

use std::path::Path;

use vixdisklib_sys::VixError;
use vmdk_engine::{CheckOptions, RepairOptions, Report, Severity};

use crate::error::Failure;
use crate::log::Log;

const FUNCTION: &str = "VixDiskLib_CheckRepair";

/// Looks for damage, and mends it if asked to, all of it or nothing. What would give up data that other means might
/// still bring back is left to somebody who can be asked.
///
/// Only the disk itself is repaired, never its parents, which are looked at too.
pub(crate) fn check(path: &Path, repair: bool, log: &Log) -> Result<(), Failure> {
    let report = if repair {
        vmdk_engine::repair(path, &RepairOptions::new())
    } else {
        vmdk_engine::check(path, &CheckOptions::new())
    };
    let report = report.map_err(|error| Failure::engine(path, &error))?;
    tell(&report, log);
    if report.is_clean() {
        return Ok(());
    }
    let path = path.display();
    Err(if !repair && report.is_repairable() {
        Failure::new(
            VixError::DISK_NEEDSREPAIR,
            format!("{path}: the disk is damaged, and can be repaired"),
        )
    } else {
        Failure::new(
            VixError::DISK_CANTREPAIR,
            format!("{path}: the disk is damaged, and cannot be repaired here"),
        )
    })
}

fn tell(report: &Report, log: &Log) {
    for finding in report.findings() {
        let line = format!("{FUNCTION}: {finding}");
        if finding.severity == Severity::Info {
            log.note(&line);
        } else {
            log.warn(&line);
        }
    }
    if report.omitted() > 0 {
        log.warn(&format!(
            "{FUNCTION}: {} more findings are not listed",
            report.omitted()
        ));
    }
}
