//! What holds of writing to a disk that opens for it, however strange its files are.
//!
//! What was written is there, at once and after reopening; what was not written is as it was, also when metadata is
//! set and grains are moved; a disk that was closed opens for writing again; and a child of it shows what it holds.

use std::collections::BTreeMap;
use std::path::Path;

use vmdk_engine::{Disk, DiskKind, Error, ErrorKind, Sector, SectorRange, ZeroMode, unwatched};

use crate::examine::{Sample, assert_clear, examine, read, some_sectors};
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
    let mut disk = disk;
    let mut goes_well = true;
    for _ in 0..CHANGES {
        goes_well &= one_change(&disk, samples, &mut known, numbers);
    }
    known.assert_there(&disk, "while open");
    let comment = disk
        .set_metadata("comment", "kept")
        .map_err(refused)
        .is_ok();
    let moved = match numbers.below(3) {
        0 => disk.shrink(&mut unwatched),
        1 => disk.defragment(&mut unwatched),
        _ => Ok(()),
    };
    goes_well &= !moved.is_err_and(refused);
    known.assert_there(&disk, "when grains have moved");
    let closed = disk.close();
    if !goes_well || closed.is_err() {
        return;
    }
    reopen(&files, &known, comment, numbers);
}

/// Whether an error is one of this disk or this moment; a refusal of what its kind does not have is none.
fn refused(error: Error) -> bool {
    assert_clear(&error);
    let of_its_kind = [ErrorKind::Unsupported, ErrorKind::CannotShrink];
    !of_its_kind.contains(&error.kind())
}

/// A disk that was closed properly is as it was, for readers and writers and in a child.
fn reopen(files: &Files, known: &Known, has_comment: bool, numbers: &mut Numbers) {
    examine(files, &files.options(), numbers).expect("it was closed properly");
    let reader = Disk::open(files.disk(), &files.options()).expect("it was closed properly");
    known.assert_there(&reader, "when reopened");
    if has_comment {
        assert_eq!(reader.metadata("comment").as_deref(), Some("kept"));
    }
    if reader.capacity().get() < 1 << 20 {
        let child = Path::new("a-child-of-it.vmdk");
        match reader.create_child(child, DiskKind::MonolithicSparse, &mut unwatched) {
            Ok(()) => {
                let child = Disk::open(child, &files.options().writable(true));
                let child = child.expect("a child of what opens");
                known.assert_there(&child, "in a child");
            }
            Err(error) => assert_clear(&error),
        }
    }
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
fn trim(disk: &Disk, range: SectorRange, known: &mut Known) -> Result<(), Error> {
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
