//! What is to be done with a disk, part by part.

use disk_units::{Sector, SectorCount, SectorRange};

use super::source::CopySource;
use crate::error::Result;
use crate::extents::{ChangedAreas, Extent};

/// The sectors of the longest part that is not read: 1 GiB, so that a copy can be ended inside a long hole.
const LONGEST_STEP: SectorCount = SectorCount::new(1 << 21);

/// One part of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To be read, at most one request.
    Read(SectorRange),
    /// Known to be zero.
    Zero(SectorRange),
    /// Not in the source.
    Skip(SectorRange),
}

/// The steps of a copy in order, without gap inside the areas.
pub(super) fn steps<'source>(
    source: &'source CopySource<'_>,
    changed: Option<&'source ChangedAreas>,
    request: SectorCount,
) -> Result<Box<dyn Iterator<Item = Result<Step>> + 'source>> {
    let extents = source.extents()?;
    let split = move |extent: Result<Extent>| {
        let steps: Box<dyn Iterator<Item = Result<Step>>> = match extent {
            Ok(extent) => Box::new(of_extent(extent, request).map(Ok)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        steps
    };
    Ok(match changed {
        None => Box::new(extents.flat_map(split)),
        Some(areas) => Box::new(extents.within(areas).flat_map(split)),
    })
}

fn of_extent(extent: Extent, request: SectorCount) -> impl Iterator<Item = Step> {
    // The library may know of an area that it is zero although it is allocated, and not know it although it is not.
    let (longest, step): (_, fn(SectorRange) -> Step) = if extent.zero {
        (LONGEST_STEP, Step::Zero)
    } else if extent.allocated {
        (request, Step::Read)
    } else {
        (LONGEST_STEP, Step::Skip)
    };
    aligned_pieces(extent.range, longest).map(step)
}

/// The parts of a range between multiples of `step`, counted from the start of the disk.
fn aligned_pieces(range: SectorRange, step: SectorCount) -> impl Iterator<Item = SectorRange> {
    let first = range.start().get().div_ceil(step.get());
    let aligned = first
        .checked_mul(step.get())
        .map_or(range.end(), Sector::new);
    let (head, rest) = range.split_at(aligned);
    let head = (!head.is_empty()).then_some(head);
    head.into_iter().chain(rest.pieces(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn pieces_end_at_multiples() {
        let pieces = |start, end| -> Vec<_> {
            aligned_pieces(range(start, end), SectorCount::new(100)).collect()
        };
        assert_eq!(pieces(0, 200), [range(0, 100), range(100, 200)]);
        assert_eq!(
            pieces(30, 230),
            [range(30, 100), range(100, 200), range(200, 230)]
        );
        assert_eq!(pieces(30, 40), [range(30, 40)]);
        assert_eq!(pieces(100, 101), [range(100, 101)]);
        assert_eq!(
            pieces(u64::MAX - 5, u64::MAX),
            [range(u64::MAX - 5, u64::MAX)]
        );
    }

    #[test]
    fn each_sort_of_extent_has_its_step() {
        let step = |allocated, zero| {
            let extent = Extent {
                range: range(0, 10),
                allocated,
                zero,
                depth: 0,
            };
            of_extent(extent, SectorCount::new(64)).next()
        };
        assert_eq!(step(true, false), Some(Step::Read(range(0, 10))));
        assert_eq!(step(true, true), Some(Step::Zero(range(0, 10))));
        assert_eq!(step(false, true), Some(Step::Zero(range(0, 10))));
        assert_eq!(step(false, false), Some(Step::Skip(range(0, 10))));
    }
}
