//! Which blocks of a disk were written, and when: between which snapshots.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;

use crate::random;

/// Changes are tracked in blocks of so many bytes, as observed on ESXi 8.
pub(crate) const BLOCK: u64 = 64 << 10;

/// The blocks of a disk that were written, by the epoch in which they were; a snapshot begins a new epoch.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    /// Tells disks, and times of tracking, apart.
    id: [u8; 16],
    /// Blocks by epoch; the last epoch is the present one.
    epochs: Vec<BTreeSet<u64>>,
}

/// A change id is of another disk, or is no change id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownChangeId;

impl ChangeLog {
    pub(crate) fn new() -> Self {
        Self {
            id: random::bytes(),
            epochs: vec![BTreeSet::new()],
        }
    }

    /// Bytes were written.
    pub(crate) fn record(&mut self, bytes: Range<u64>) {
        if bytes.is_empty() {
            return;
        }
        if let Some(present) = self.epochs.last_mut() {
            present.extend(bytes.start / BLOCK..=(bytes.end - 1) / BLOCK);
        }
    }

    /// A snapshot is taken: ends the present epoch, and gives the id by which one can ask for what was changed since.
    pub(crate) fn end_epoch(&mut self) -> String {
        self.epochs.push(BTreeSet::new());
        self.change_id(self.epochs.len() - 1)
    }

    fn change_id(&self, epoch: usize) -> String {
        let mut text = String::new();
        for byte in self.id {
            let separator = if text.is_empty() { "" } else { " " };
            write!(text, "{separator}{byte:02x}").expect("a string takes everything");
        }
        format!("{text}/{epoch}")
    }

    fn epoch(&self, change_id: &str) -> Result<usize, UnknownChangeId> {
        let (_, epoch) = change_id.rsplit_once('/').ok_or(UnknownChangeId)?;
        let epoch = epoch.parse().map_err(|_| UnknownChangeId)?;
        if epoch < self.epochs.len() && self.change_id(epoch) == change_id {
            Ok(epoch)
        } else {
            Err(UnknownChangeId)
        }
    }

    /// The areas in bytes that were changed since `since` and before `until`, or until now: ascending, merged.
    pub(crate) fn changed(
        &self,
        since: &str,
        until: Option<&str>,
    ) -> Result<Vec<Range<u64>>, UnknownChangeId> {
        let since = self.epoch(since)?;
        let until = until.map_or(Ok(self.epochs.len()), |until| self.epoch(until))?;
        let epochs = self.epochs.get(since..until).unwrap_or_default();
        let blocks: BTreeSet<u64> = epochs.iter().flatten().copied().collect();
        Ok(areas(blocks))
    }
}

/// Ascending blocks as areas in bytes.
fn areas(blocks: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut areas: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        let start = block * BLOCK;
        match areas.last_mut() {
            Some(last) if last.end == start => last.end += BLOCK,
            _ => areas.push(start..start + BLOCK),
        }
    }
    areas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_belong_to_their_epoch() {
        let mut log = ChangeLog::new();
        log.record(0..1);
        let first = log.end_epoch();
        log.record(BLOCK - 1..BLOCK + 1);
        log.record(10 * BLOCK..10 * BLOCK);
        let second = log.end_epoch();
        log.record(5 * BLOCK..6 * BLOCK);
        let changed = |since: &str, until| {
            let areas = log.changed(since, until).expect("it knows both");
            areas
                .into_iter()
                .map(|area| (area.start / BLOCK, area.end / BLOCK))
                .collect::<Vec<_>>()
        };
        assert_eq!(changed(&first, Some(&second)), [(0, 2)]);
        assert_eq!(changed(&second, None), [(5, 6)]);
        assert_eq!(changed(&second, Some(&first)), []);
        assert_eq!(changed(&first, None), [(0, 2), (5, 6)]);
    }

    #[test]
    fn ids_of_other_disks_are_unknown() {
        let (mut one, mut two) = (ChangeLog::new(), ChangeLog::new());
        let id = one.end_epoch();
        two.end_epoch();
        assert_eq!(two.changed(&id, None), Err(UnknownChangeId));
        for id in ["", "*", "/", "52 00/x", "52 00/1"] {
            assert_eq!(one.changed(id, None), Err(UnknownChangeId), "{id}");
        }
    }
}
