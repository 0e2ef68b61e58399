//! Finding whole grains of zeroes in what was read.

use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};

/// Neighbouring grains that are all zero, or none of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run<'bytes> {
    pub(super) range: SectorRange,
    pub(super) bytes: &'bytes [u8],
    pub(super) zero: bool,
}

/// The runs of `bytes`, whole sectors that lie at `start` of the disk. Grains are counted from the start of the disk; the
/// first and the last may be a part of one.
pub(super) fn runs(
    start: Sector,
    bytes: &[u8],
    grain: SectorCount,
) -> impl Iterator<Item = Run<'_>> {
    let mut start = start;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let first = part(start, rest, grain);
        let zero = is_zero(&rest[..first]);
        let mut length = first;
        while length < rest.len() {
            let next = part(sectors_on(start, length), &rest[length..], grain);
            if is_zero(&rest[length..length + next]) != zero {
                break;
            }
            length += next;
        }
        let (bytes, behind) = rest.split_at(length);
        let end = sectors_on(start, length);
        let range = SectorRange::between(start, end).filter(|range| !range.is_empty())?;
        (start, rest) = (end, behind);
        Some(Run { range, bytes, zero })
    })
}

/// The bytes up to the end of the grain that holds `start`, or to the end.
fn part(start: Sector, rest: &[u8], grain: SectorCount) -> usize {
    let left = grain.get() - start.get() % grain.get();
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    left.saturating_mul(SECTOR_SIZE).min(rest.len())
}

fn sectors_on(start: Sector, length: usize) -> Sector {
    let count = ByteLen::new(length as u64).sectors_rounded_up();
    start
        .checked_add(count)
        .expect("the bytes lie inside a disk")
}

fn is_zero(bytes: &[u8]) -> bool {
    // Comparing with zeroes is a call of the C library, many times faster than a loop over bytes.
    static ZEROES: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROES.len())
        .all(|chunk| chunk == &ZEROES[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_cover_the_bytes_and_are_right(
            start in 0_u64..50,
            grain in 1_u64..20,
            data in prop::collection::vec(any::<bool>(), 1..120),
        ) {
            let mut bytes = vec![0; data.len() * SECTOR_SIZE];
            for (index, _) in data.iter().enumerate().filter(|(_, data)| **data) {
                bytes[index * SECTOR_SIZE + 511] = 1;
            }
            let mut position = start;
            let mut last = None;
            for run in runs(Sector::new(start), &bytes, SectorCount::new(grain)) {
                prop_assert_eq!(run.range.start().get(), position);
                prop_assert_ne!(last, Some(run.zero));
                last = Some(run.zero);
                position = run.range.end().get();
                let from = usize::try_from(run.range.start().get() - start).expect("small");
                prop_assert_eq!(run.bytes, &bytes[from * SECTOR_SIZE..][..run.bytes.len()]);
                prop_assert!(!run.zero || run.bytes.iter().all(|byte| *byte == 0));
                // Runs meet at grains, and a run of data has data in each of them.
                let end = start + data.len() as u64;
                prop_assert!(position.is_multiple_of(grain) || position == end);
                if !run.zero {
                    let grains = run.range.start().get() / grain..=(position - 1) / grain;
                    for index in grains {
                        let sectors = (index * grain).max(start)..((index + 1) * grain).min(end);
                        let any = sectors.into_iter().any(|sector| data[usize::try_from(sector - start).expect("small")]);
                        prop_assert!(any, "grain {} is zero", index);
                    }
                }
            }
            prop_assert_eq!(position, start + data.len() as u64);
        }
    }

    #[test]
    fn nothing_has_no_runs() {
        assert_eq!(runs(Sector::new(5), &[], SectorCount::new(8)).count(), 0);
    }
}
