//! Which grains of a stream have come already: each may come once, in any order.

use std::collections::BTreeMap;

/// Grains per page.
const PAGE: u64 = 4096;

/// A set of grain numbers that takes one bit for each, in pages of 512 bytes: never more memory than the stream has
/// bytes, and 2 MiB for a TiB of usual grains.
#[derive(Debug, Default)]
pub(super) struct SeenGrains {
    pages: BTreeMap<u64, Box<[u64; 64]>>,
    count: u64,
}

impl SeenGrains {
    /// Adds a grain; `false` if it is there already.
    pub(super) fn insert(&mut self, grain: u64) -> bool {
        let page = self
            .pages
            .entry(grain / PAGE)
            .or_insert_with(|| Box::new([0; 64]));
        let bit = 1_u64 << (grain % 64);
        let index = usize::try_from(grain % PAGE / 64).unwrap_or(0);
        let is_new = page.get_mut(index).is_some_and(|word| {
            *word & bit == 0 && {
                *word |= bit;
                true
            }
        });
        self.count = self.count.saturating_add(u64::from(is_new));
        is_new
    }

    /// How many grains there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(grains in prop::collection::vec(prop_oneof![0..200_u64, 4000..4200_u64, any::<u64>()], 0..300)) {
            let mut model = BTreeSet::new();
            let mut seen = SeenGrains::default();
            for grain in grains {
                prop_assert_eq!(seen.insert(grain), model.insert(grain));
            }
            prop_assert_eq!(seen.count(), u64::try_from(model.len()).expect("small"));
        }
    }
}
