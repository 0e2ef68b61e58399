//! Which parts of a request have arrived.

use std::ops::Range;

/// The most parts with gaps between them. A host with buffers of 64 KiB needs at most 256 for 32 MiB.
const MOST: usize = 4096;

/// Parts of a request that have arrived, in ascending order, none touching the next.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<Range<u32>>);

impl Parts {
    /// Adds a part; false when some of it was there before, it is empty, or the parts are scattered too much.
    pub(super) fn add(&mut self, part: Range<u32>) -> bool {
        if part.is_empty() {
            return false;
        }
        let at = self.0.partition_point(|known| known.end < part.start);
        // Those from here on end behind the begin of the new part, or touch it.
        let (before, after) = self.0.split_at(at);
        let mut merged = part.clone();
        let mut replaced = 0usize;
        for known in after.iter().take(2) {
            if known.end == part.start {
                merged.start = known.start;
            } else if known.start == part.end {
                merged.end = known.end;
            } else if known.start < part.end {
                return false;
            } else {
                break;
            }
            replaced = replaced.saturating_add(1);
        }
        if replaced == 0 && self.0.len() >= MOST {
            return false;
        }
        let start = before.len();
        self.0
            .splice(start..start.saturating_add(replaced), [merged]);
        true
    }

    /// Whether everything up to `length` is there.
    pub(super) fn are_whole(&self, length: u32) -> bool {
        self.0.first() == Some(&(0..length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_in_any_order_make_a_whole() {
        let mut parts = Parts::default();
        for part in [4..6, 0..2, 8..10, 2..4] {
            assert!(parts.add(part));
            assert!(!parts.are_whole(10));
        }
        assert!(parts.add(6..8));
        assert!(parts.are_whole(10));
    }

    #[test]
    fn scattered_parts_have_a_limit() {
        let mut parts = Parts::default();
        for at in 0..4096 {
            assert!(parts.add(2 * at..2 * at + 1));
        }
        assert!(!parts.add(100_000..100_001));
        assert!(parts.add(1..2), "what joins two is welcome");
    }

    proptest! {
        #[test]
        fn as_a_plain_list_of_bytes_does(adds in proptest::collection::vec((0u32..40, 0u32..8), 0..40)) {
            let mut parts = Parts::default();
            let mut bytes = [false; 48];
            for (start, length) in adds {
                let range = start as usize..(start + length) as usize;
                let fits = length > 0 && !bytes[range.clone()].iter().any(|there| *there);
                prop_assert_eq!(parts.add(start..start + length), fits);
                if fits {
                    bytes[range].fill(true);
                }
                let whole = bytes.iter().take_while(|there| **there).count();
                let alone = bytes.iter().filter(|there| **there).count() == whole;
                if whole > 0 && alone {
                    prop_assert!(parts.are_whole(u32::try_from(whole).unwrap()));
                }
            }
        }
    }
}
