//! Disks of the type `partitionedDevice`: one device in several lines, a partition in each.
//!
//! In all other disks a file that is named twice is a mistake, which writing would turn into damage.

use std::collections::BTreeMap;
use std::ops::Range;

use disk_units::SectorRange;

use super::parts::{Format, Part};
use crate::descriptor::{Descriptor, ExtentLine};
use crate::error::Error;
use crate::gate::{FileAccess, FileIdentity, OpenedFile};
use crate::units::clamped;

/// What the lines so far have of each file.
#[derive(Default)]
pub(super) struct Partitions {
    is_partitioned: bool,
    files: BTreeMap<(Vec<u8>, bool), OpenedFile>,
    taken: BTreeMap<FileIdentity, Taken>,
}

#[derive(Default)]
struct Taken {
    is_writable: bool,
    /// Ranges by their start, none of which overlaps another.
    ranges: BTreeMap<u64, u64>,
}

impl Partitions {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        let create_type = descriptor.create_type().unwrap_or_default();
        Self {
            is_partitioned: create_type.eq_ignore_ascii_case("partitionedDevice"),
            ..Self::default()
        }
    }

    /// Opens what a line names. A device is opened once, as it is taken for oneself.
    pub(super) fn open(
        &mut self,
        line: &ExtentLine,
        access: FileAccess,
        open: impl FnOnce() -> Result<OpenedFile, Error>,
    ) -> Result<OpenedFile, Error> {
        if !self.is_partitioned {
            return open();
        }
        let key = (line.name.clone(), access == FileAccess::ReadWrite);
        if let Some(file) = self.files.get(&key) {
            return Ok(file.clone());
        }
        let file = open()?;
        self.files.insert(key, file.clone());
        Ok(file)
    }

    /// Notes what a line has, and whether it may have it: for writing, a file is either named once, or it is a device of
    /// which each line has a range of its own.
    pub(super) fn take(&mut self, part: &Part, file: &OpenedFile) -> bool {
        let is_known = self.taken.contains_key(&file.identity);
        let taken = self.taken.entry(file.identity).or_default();
        if !is_known {
            taken.is_writable = part.is_writable;
        }
        let is_permitted =
            !is_known || (self.is_partitioned && taken.is_writable >= part.is_writable);
        taken.insert(part.range_in_file()) && is_permitted
    }
}

impl Taken {
    /// Whether the range overlaps none of the others.
    fn insert(&mut self, range: Range<u64>) -> bool {
        let before = self.ranges.range(..range.end).next_back();
        if before.is_some_and(|(_, end)| *end > range.start) {
            return false;
        }
        if !range.is_empty() {
            self.ranges.insert(range.start, range.end);
        }
        true
    }
}

impl Part {
    /// What of its file the extent is in; formats of their own have all of it.
    fn range_in_file(&self) -> Range<u64> {
        match self.format {
            Format::Flat { first } => {
                let range: SectorRange = clamped(first, self.size);
                range.start().get()..range.end().get()
            }
            _ => 0..u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_found_in_any_order() {
        let mut taken = Taken::default();
        for (range, expected) in [
            (10..20, true),
            (20..30, true),
            (0..10, true),
            (40..40, true),
            (35..45, true),
            (30..35, true),
            (30..36, false),
            (44..50, false),
            (0..u64::MAX, false),
            (15..16, false),
            (45..u64::MAX, true),
        ] {
            assert_eq!(taken.insert(range.clone()), expected, "{range:?}");
        }
    }
}
