//! What holds of every disk that opens, however strange its files are.
//!
//! The map covers the disk exactly and says the same of a part as of the whole; holes read as zeros; a read agrees with
//! reads of its parts; reading changes nothing.

use vmdk_engine::{
    Allocation, Disk, Error, ErrorKind, MapExtent, OpenOptions, Sector, SectorCount, SectorRange,
};

use crate::files::Files;
use crate::numbers::Numbers;

/// Runs of a map that are looked at; a disk may have many millions.
const MAX_RUNS: usize = 4096;
/// Places that are read.
const MAX_PLACES: usize = 16;
/// Sectors of one read, at most.
const MAX_SECTORS: u64 = 24;

/// What a few sectors hold, or that they cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) range: SectorRange,
    pub(crate) content: Option<Vec<u8>>,
}

/// Opens the disk for reading and examines it; `None` if it does not open.
pub(crate) fn examine(
    files: &Files,
    options: &OpenOptions,
    numbers: &mut Numbers,
) -> Option<Vec<Sample>> {
    let disk = match Disk::open(files.disk(), options) {
        Ok(disk) => disk,
        Err(error) => {
            assert_clear(&error);
            return None;
        }
    };
    let before = files.contents();
    examine_facts(&disk);
    let map = examine_map(&disk, numbers);
    let samples = examine_content(&disk, &map, numbers);
    examine_refusals(&disk);
    disk.close().expect("nothing was written");
    assert!(files.contents() == before, "reading changed a file");
    Some(samples)
}

/// An error is one line that says something.
pub(crate) fn assert_clear(error: &Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
}

/// The sectors `start..end`.
pub(crate) fn between(start: Sector, end: Sector) -> SectorRange {
    SectorRange::between(start, end).expect("in order")
}

/// At most `count` sectors from `start`, inside the disk.
pub(crate) fn some_sectors(disk: &Disk, start: Sector, count: u64) -> SectorRange {
    let end = start.get().saturating_add(count).min(disk.capacity().get());
    between(start.min(Sector::new(end)), Sector::new(end))
}

/// The content of sectors.
pub(crate) fn read(disk: &Disk, range: SectorRange) -> Result<Vec<u8>, Error> {
    let bytes = range.count().bytes().expect("a short range").get();
    let mut content = vec![0xee; usize::try_from(bytes).expect("a short range")];
    disk.read_at(range.start(), &mut content)?;
    Ok(content)
}

fn examine_facts(disk: &Disk) {
    let info = disk.info();
    assert_eq!(info.capacity, disk.capacity());
    assert!(!info.capacity.is_zero());
    assert!((1..=65).contains(&info.links), "{} links", info.links);
    assert!(info.preferred_io >= SectorCount::new(8));
    for key in disk.metadata_keys().iter().take(100) {
        assert!(disk.metadata(key).is_some(), "{key:?} has no value");
    }
}

/// Runs, checked to follow each other; whether they reach the end of the range.
fn runs(disk: &Disk, range: SectorRange) -> (Vec<MapExtent>, bool) {
    let links = disk.info().links;
    let mut extents = disk.extents(range);
    let mut found: Vec<MapExtent> = Vec::new();
    let mut next = range.start();
    for extent in extents.by_ref().take(MAX_RUNS) {
        let extent = match extent {
            Ok(extent) => extent,
            Err(error) => {
                assert_clear(&error);
                assert!(extents.next().is_none(), "the map goes on behind an error");
                return (found, false);
            }
        };
        assert_eq!(extent.range.start(), next, "a gap or an overlap");
        assert!(!extent.range.is_empty(), "an empty run");
        assert!(extent.depth <= links, "{extent:?} of {links} links");
        if let Some(last) = found.last() {
            let alike = (last.state, last.depth) == (extent.state, extent.depth);
            assert!(!alike, "{last:?} and {extent:?} are not joined");
        }
        next = extent.range.end();
        found.push(extent);
    }
    if found.len() < MAX_RUNS {
        assert_eq!(next, range.end(), "the map ends early");
    }
    assert!(next <= range.end(), "the map goes too far");
    (found, next == range.end())
}

/// The map of the whole disk; that of a part must agree with it.
fn examine_map(disk: &Disk, numbers: &mut Numbers) -> Vec<MapExtent> {
    let whole = SectorRange::whole(disk.capacity());
    let (map, _) = runs(disk, whole);
    let Some(last) = map.last() else {
        return map;
    };
    let known = last.range.end().get();
    let one = numbers.below(known);
    let other = numbers.below(known);
    let part = between(Sector::new(one.min(other)), Sector::new(one.max(other)));
    let (of_part, is_whole) = runs(disk, part);
    assert!(is_whole, "a part of what was mapped cannot be mapped");
    let expected: Vec<_> = map
        .iter()
        .filter_map(|run| {
            let range = run.range.intersection(part)?;
            Some(MapExtent { range, ..*run })
        })
        .collect();
    assert_eq!(of_part, expected, "the map of {part}");
    map
}

/// Reads around the borders of runs, and at random.
fn examine_content(disk: &Disk, map: &[MapExtent], numbers: &mut Numbers) -> Vec<Sample> {
    let mut samples = Vec::new();
    let near = map.iter().take(MAX_PLACES / 4);
    let far = map.iter().rev().take(MAX_PLACES / 4);
    for run in near.chain(far) {
        let length = 1 + numbers.below(MAX_SECTORS);
        let range = some_sectors(disk, run.range.start(), length);
        let inside = range.intersection(run.range).unwrap_or_default();
        let sample = examine_read(disk, inside, numbers);
        assert_holds(run, &sample);
        samples.push(sample);
        let before = run.range.end().get().saturating_sub(length / 2);
        let around = some_sectors(disk, Sector::new(before), length);
        samples.push(examine_read(disk, around, numbers));
    }
    let capacity = disk.capacity().get();
    for _ in 0..MAX_PLACES / 4 {
        let start = Sector::new(numbers.below(capacity));
        let length = 1 + numbers.below(MAX_SECTORS);
        let range = some_sectors(disk, start, length);
        samples.push(examine_read(disk, range, numbers));
    }
    samples
}

/// What the map says of sectors holds when they are read.
fn assert_holds(run: &MapExtent, sample: &Sample) {
    match (run.state, &sample.content) {
        (Allocation::Zero | Allocation::Hole, Some(content)) => {
            assert!(content.iter().all(|byte| *byte == 0), "{run:?} has data");
        }
        (Allocation::Unknown, Some(_)) => panic!("{run:?} can be read"),
        (Allocation::Zero, None) => panic!("{run:?} cannot be read"),
        _ => {}
    }
}

/// Reads sectors at once, and again in three pieces.
fn examine_read(disk: &Disk, range: SectorRange, numbers: &mut Numbers) -> Sample {
    let whole = match read(disk, range) {
        Ok(content) => Some(content),
        Err(error) => {
            assert_clear(&error);
            assert_ne!(error.kind(), ErrorKind::OutOfRange);
            None
        }
    };
    let count = range.count().get();
    let mut cuts = [numbers.below(count + 1), numbers.below(count + 1)];
    cuts.sort_unstable();
    let start = range.start().get();
    let borders = [start, start + cuts[0], start + cuts[1], start + count];
    let mut pieces = Some(Vec::new());
    for border in borders.windows(2) {
        let piece = between(Sector::new(border[0]), Sector::new(border[1]));
        pieces = match (pieces, read(disk, piece)) {
            (Some(mut before), Ok(piece)) => {
                before.extend(piece);
                Some(before)
            }
            _ => None,
        };
    }
    assert!(whole == pieces, "{range} reads otherwise in pieces");
    Sample {
        range,
        content: whole,
    }
}

/// Requests that no disk can fulfil.
fn examine_refusals(disk: &Disk) {
    let end = Sector::new(disk.capacity().get());
    let mut sectors = [0; 1024];
    let refused = |result: Result<(), Error>| result.err().map(|error| error.kind());
    let behind = refused(disk.read_at(end, &mut sectors));
    assert_eq!(behind, Some(ErrorKind::OutOfRange));
    let odd = refused(disk.read_at(Sector::ZERO, sectors.split_at_mut(100).0));
    assert_eq!(odd, Some(ErrorKind::InvalidArgument));
    let written = refused(disk.write_at(Sector::ZERO, &[0; 512]));
    assert_eq!(written, Some(ErrorKind::ReadOnly));
}
