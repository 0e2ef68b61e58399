//! The check before a sparse extent is written, by the rules of the [`survey`](super::super::survey).

use disk_units::{ByteLen, Sector, SectorCount};

use super::super::header::SparseShape;
use super::super::survey::{Problem, Side, Survey, read_sectors};
use super::super::table::Tables;
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::storage::Storage;
use crate::units::byte_position;

/// What must be repaired before the extent can be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unfit(Problem);

impl Cause for Unfit {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NeedsRepair
    }
}

/// What a writer needs to know of a consistent extent.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The file's length, rounded up to sectors.
    pub(super) file: SectorCount,
    pub(super) redundant_directory: Option<Vec<u32>>,
}

/// Checks the directories and all tables. What an unclean shutdown leaves unfinished is then brought to the state of
/// the primary tables, which is complete at any moment by the order of writing.
pub(super) fn scan(storage: &dyn Storage, tables: &Tables) -> Result<Scanned, Error> {
    let shape = &tables.shape;
    // Fails as whoever writes must be told, if the first directory alone cannot be read.
    tables.all_sectors()?;
    let mut unfinished = Unfinished::default();
    let survey = Survey::run(storage, shape, &mut |problem| match problem {
        Problem::TableMissing {
            table,
            side: Side::Primary,
        } if shape.is_dirty => {
            unfinished.without_primary.push(table);
            Ok(())
        }
        Problem::CopiesDiffer { table } if shape.is_dirty => {
            unfinished.stale.push(table);
            Ok(())
        }
        problem if problem.forbids_writing() => Err(Unfit(problem).into()),
        _ => Ok(()),
    })?;
    unfinished.finish(storage, shape, &survey)?;
    let mut copy = survey.directories.copy.map(|copy| copy.entries);
    for table in unfinished.without_primary {
        let index = usize::try_from(table).unwrap_or(usize::MAX);
        if let Some(entry) = copy.as_mut().and_then(|entries| entries.get_mut(index)) {
            *entry = 0;
        }
    }
    Ok(Scanned {
        file: survey.file.sectors_rounded_up(),
        redundant_directory: copy,
    })
}

/// What a writer that did not come to its end left behind in the redundant metadata.
#[derive(Debug, Default)]
struct Unfinished {
    /// Tables that only the redundant directory names.
    without_primary: Vec<u32>,
    /// Redundant tables that differ from their primary ones.
    stale: Vec<u32>,
}

impl Unfinished {
    fn finish(
        &self,
        storage: &dyn Storage,
        shape: &SparseShape,
        survey: &Survey,
    ) -> Result<(), Error> {
        let fault = |error| IoFault::new("mending redundant grain tables", error);
        for table in &self.stale {
            let Some((primary, copy)) = survey.directories.content_of(*table) else {
                continue;
            };
            tracing::warn!(table, "a redundant grain table is brought up to date");
            let content = read_sectors(storage, primary, shape.table_len().get())?;
            let position = byte_position(Sector::new(u64::from(copy)));
            storage.write_all_at(&content, position).map_err(fault)?;
        }
        let start = byte_position(shape.redundant_directory.unwrap_or_default()).get();
        for table in &self.without_primary {
            tracing::warn!(table, "an unfinished redundant grain table is dropped");
            let offset = u64::from(*table).saturating_mul(4);
            let position = ByteLen::new(start.saturating_add(offset));
            storage.write_all_at(&[0; 4], position).map_err(fault)?;
        }
        Ok(())
    }
}
