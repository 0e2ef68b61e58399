//! What of written bytes needs space.

use std::iter;

use disk_units::SectorRange;

use crate::units::{GrainSize, is_zero, take_front};

/// Sectors, and what is written to them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written<'a> {
    pub(super) range: SectorRange,
    pub(super) bytes: &'a [u8],
}

/// Cuts what is written to a range at the borders of grains, and leaves out the grains that get nothing but zeros.
/// Neighbours stay together.
pub(super) fn without_zeros(
    size: GrainSize,
    range: SectorRange,
    bytes: &[u8],
) -> impl Iterator<Item = Written<'_>> {
    let mut rest = Written { range, bytes };
    iter::from_fn(move || {
        let mut found = Written {
            range: SectorRange::default(),
            bytes: &[],
        };
        while !rest.range.is_empty() {
            let next = size.grain_of(rest.range.start()).saturating_add(1);
            let (grain, behind) = rest.range.split_at(size.start_of(next));
            let mut bytes_behind = rest.bytes;
            let is_zero = is_zero(take_front(&mut bytes_behind, grain.count()));
            if is_zero && !found.range.is_empty() {
                break;
            }
            if !is_zero {
                if found.range.is_empty() {
                    found.bytes = rest.bytes;
                    found.range = grain;
                }
                let start = found.range.start();
                found.range = SectorRange::between(start, grain.end()).unwrap_or(grain);
            }
            rest = Written {
                range: behind,
                bytes: bytes_behind,
            };
        }
        let mut from_start = found.bytes;
        found.bytes = take_front(&mut from_start, found.range.count());
        (!found.range.is_empty()).then_some(found)
    })
}

#[cfg(test)]
mod tests {
    use disk_units::Sector;
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn neighbours_stay_together_and_zeros_are_left_out() {
        let size = GrainSize::new(8).expect("a power of two");
        let mut bytes = vec![0; 512 * 40];
        for sector in [0, 5, 6, 30] {
            bytes[512 * sector] = 1;
        }
        // The range begins in the middle of a grain: its sectors are 4..8, 8..16, 16..24, 24..32, 32..40, 40..44.
        let found: Vec<_> = without_zeros(size, range(4, 44), &bytes)
            .map(|written| (written.range, written.bytes.len()))
            .collect();
        assert_eq!(found, [(range(4, 16), 512 * 12), (range(32, 40), 512 * 8)]);
        assert_eq!(without_zeros(size, range(4, 44), &[0; 512 * 40]).count(), 0);
    }

    proptest! {
        #[test]
        fn what_is_left_out_is_zeros(start in 0_u64..20, grains in prop::collection::vec(any::<bool>(), 0..12)) {
            let size = GrainSize::new(4).expect("a power of two");
            let bytes: Vec<u8> = grains.iter().flat_map(|data| [u8::from(*data); 512 * 3]).collect();
            let whole = range(start, start + 3 * u64::try_from(grains.len()).expect("few"));
            let mut copy = vec![0; bytes.len()];
            let mut behind = start;
            for written in without_zeros(size, whole, &bytes) {
                prop_assert!(written.range.start().get() >= behind);
                behind = written.range.end().get();
                let at = usize::try_from(written.range.start().get() - start).expect("small") * 512;
                copy[at..at + written.bytes.len()].copy_from_slice(written.bytes);
            }
            prop_assert_eq!(copy, bytes);
        }
    }
}
