//! What of a disk a copy has to look at: stretches of at most a MiB with data in them.

use disk_units::{Sector, SectorCount, SectorRange};

use crate::disk::Disk;
use crate::error::Error;
use crate::map::{Allocation, Extents};
use crate::units::clamped;

/// Sectors that are copied at a time; a multiple of every usual grain.
pub(super) const WINDOW: SectorCount = SectorCount::new(SECTORS);
const SECTORS: u64 = 2048;

/// A stretch of a disk, and the parts of it that may hold anything but zeros.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) range: SectorRange,
    pub(super) data: Vec<SectorRange>,
}

/// The windows of a disk, in order, those without data left out.
pub(super) struct Windows<'a> {
    extents: Extents<'a>,
    end: Sector,
    /// What of the last run lies behind the last window.
    rest: Option<SectorRange>,
}

impl<'a> Windows<'a> {
    pub(super) fn of(disk: &'a Disk) -> Self {
        let whole = SectorRange::whole(disk.capacity());
        Self {
            extents: disk.extents(whole),
            end: whole.end(),
            rest: None,
        }
    }

    /// The next run that is worth reading. Unknown sectors are: reading them says what is wrong.
    fn next_run(&mut self) -> Result<Option<SectorRange>, Error> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        for extent in self.extents.by_ref() {
            let extent = extent?;
            if matches!(extent.state, Allocation::Data | Allocation::Unknown) {
                return Ok(Some(extent.range));
            }
        }
        Ok(None)
    }

    fn next_window(&mut self) -> Result<Option<Window>, Error> {
        let Some(first) = self.next_run()? else {
            return Ok(None);
        };
        let start = first.start().get();
        let start = start.saturating_sub(start % SECTORS);
        let (range, _) = clamped(Sector::new(start), WINDOW).split_at(self.end);
        let mut data = Vec::new();
        let mut next = Some(first);
        while let Some(run) = next {
            let (inside, behind) = run.split_at(range.end());
            if !inside.is_empty() {
                data.push(inside);
            }
            if !behind.is_empty() {
                self.rest = Some(behind);
                break;
            }
            next = self.next_run()?;
        }
        Ok(Some(Window { range, data }))
    }
}

impl Iterator for Windows<'_> {
    type Item = Result<Window, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_window().transpose()
    }
}
