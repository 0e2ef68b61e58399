//! What holds of writing to a disk that opens for it, however strange its files are.
//!
//! What was written is there, at once and after reopening; what was not written is as it was; and a disk that was
//! closed opens for writing again.

use std::collections::BTreeMap;

use vmdk_engine::{Disk, ErrorKind, Sector, SectorRange, ZeroMode};

use crate::examine::{Sample, assert_clear, read, some_sectors};
use crate::files::Files;
use crate::numbers::Numbers;

const CHANGES: usize = 8;
/// Sectors of one change, at most.
const MAX_SECTORS: u64 = 60;

/// Sectors whose content is known.
#[derive(Debug, Default)]
struct Known(BTreeMap<u64, Vec<u8>>);

impl Known {
    fn set(&mut self, range: SectorRange, content: &[u8]) {
        for (sector, bytes) in (range.start().get()..).zip(content.chunks(512)) {
            self.0.insert(sector, bytes.to_vec());
        }
    }

    fn forget(&mut self, range: SectorRange) {
        let sectors = range.start().get()..range.end().get();
        self.0.retain(|sector, _| !sectors.contains(sector));
    }

    fn assert_there(&self, disk: &Disk, when: &str) {
        let mut rest = self.0.iter().peekable();
        while let Some((first, content)) = rest.next() {
            let mut expected = content.clone();
            let mut end = first + 1;
            while let Some((_, content)) = rest.next_if(|(sector, _)| **sector == end) {
                expected.extend(content);
                end += 1;
            }
            let range = some_sectors(disk, Sector::new(*first), end - first);
            let found = read(disk, range);
            let found = found.unwrap_or_else(|error| panic!("{when}: {range}: {error}"));
            assert!(found == expected, "{when}: {range} has other content");
        }
    }
}

/// Writes to a copy of the files, if the disk opens for it; `samples` are what a reader found.
pub(crate) fn change(files: &Files, samples: &[Sample], numbers: &mut Numbers) {
    let files = files.copy();
    let disk = match Disk::open(files.disk(), &files.options().writable(true)) {
        Ok(disk) => disk,
        Err(error) => {
            assert_clear(&error);
            return;
        }
    };
    let mut known = Known::default();
    for Sample { range, content } in samples {
        if let Some(content) = content {
            known.set(*range, content);
        }
    }
    let mut goes_well = true;
    for _ in 0..CHANGES {
        goes_well &= one_change(&disk, samples, &mut known, numbers);
    }
    known.assert_there(&disk, "while open");
    let closed = disk.close();
    if !goes_well || closed.is_err() {
        return;
    }
    let reader = Disk::open(files.disk(), &files.options()).expect("it was closed properly");
    known.assert_there(&reader, "when reopened");
    drop(reader);
    Disk::open(files.disk(), &files.options().writable(true))
        .expect("it was closed properly")
        .close()
        .expect("nothing was written");
}

/// Makes one change near a place that was read before; whether it worked.
fn one_change(disk: &Disk, samples: &[Sample], known: &mut Known, numbers: &mut Numbers) -> bool {
    let start = match samples {
        [] => Sector::ZERO,
        samples => samples[numbers.index(samples.len())].range.start(),
    };
    let range = some_sectors(disk, start, 1 + numbers.below(MAX_SECTORS));
    if range.is_empty() {
        return true;
    }
    let bytes = usize::try_from(range.count().get() * 512).expect("a short range");
    let result = match numbers.below(8) {
        0..=3 => {
            let mut content = vec![0; bytes];
            numbers.fill(&mut content);
            let result = disk.write_at(range.start(), &content);
            known.set(range, &content);
            result
        }
        4 | 5 => {
            let mode = numbers.pick(&[
                ZeroMode::MayFree,
                ZeroMode::MustAllocate,
                ZeroMode::FastMayFree,
                ZeroMode::FastMustAllocate,
            ]);
            let result = disk.write_zeroes(range, mode);
            match &result {
                Err(error) if error.kind() == ErrorKind::NotFast => return true,
                _ => known.set(range, &vec![0; bytes]),
            }
            result
        }
        6 => trim(disk, range, known),
        _ => disk.flush(),
    };
    if let Err(error) = &result {
        assert_clear(error);
        known.forget(range);
    }
    result.is_ok()
}

/// Each sector then has its content or zeros.
fn trim(disk: &Disk, range: SectorRange, known: &mut Known) -> Result<(), vmdk_engine::Error> {
    disk.trim(range)?;
    for (sector, expected) in known.0.range_mut(range.start().get()..range.end().get()) {
        let found = read(disk, some_sectors(disk, Sector::new(*sector), 1))?;
        assert!(
            found == *expected || found.iter().all(|byte| *byte == 0),
            "trimming gave sector {sector} other content"
        );
        *expected = found;
    }
    Ok(())
}
