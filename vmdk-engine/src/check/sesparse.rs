//! Space-efficient sparse extents: looked at, and never repaired, as nobody but an ESX host can write them safely.

use disk_units::{Sector, SectorCount};

use super::finding::{FindingKind, Notes, Severity, impossible};
use super::link::{check_equal_size, fatal, length_of};
use crate::error::Error;
use crate::extent::sesparse::{SeSparseShape, SeSparseTables};
use crate::gate::OpenedFile;
use crate::units::clamped;

const WHY: &str = "only an ESX host can write such extents";

/// Notes all that is wrong with the extent in `file`, which begins at sector `start` of the disk.
pub(super) fn check(
    file: &OpenedFile,
    line: SectorCount,
    start: Sector,
    notes: &mut Notes<'_>,
) -> Result<(), Error> {
    let shape = match SeSparseShape::load(&*file.storage) {
        Ok(shape) => shape,
        Err(error) => return fatal(notes, FindingKind::SeSparse, error),
    };
    check_equal_size(Some(line), shape.capacity, notes);
    let length = length_of(&*file.storage)?;
    let mut tables = SeSparseTables::new(&*file.storage, &shape, length)?;
    while let Some((sectors, faults)) = tables.next_damaged()? {
        let sectors = clamped(
            Sector::new(start.get().saturating_add(sectors.start().get())),
            sectors.count(),
        );
        notes.add(
            Severity::Error,
            FindingKind::SeSparse,
            Some(sectors),
            faults.to_string(),
            impossible(WHY),
        );
    }
    Ok(())
}
