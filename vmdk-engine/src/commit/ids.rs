//! The content ids that a commit gives, by which one that was interrupted is recognised.
//!
//! They are made of the ids that the two disks had. So whoever finds a parent that does not have the id its child names
//! can tell whether that is because this very child was about to be committed, or for any other reason.

use crate::descriptor::{ContentMark, fitting_content_id};
use crate::link::Link;
use crate::random::hex;

/// With fewer digits, other ids would be taken for one of these too often.
const LEAST_DIGITS: usize = 6;

/// What an id is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The parent that gets the content.
    Parent = 1,
    /// The child that is about to be removed.
    Removal = 2,
}

/// A content id and what a long one begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MadeId {
    pub(super) id: u32,
    pub(super) long: [u8; 12],
}

impl MadeId {
    /// The id that comes of these two, for so many digits; never `old`.
    pub(super) fn new(purpose: Purpose, one: u32, other: u32, digits: usize, old: u32) -> Self {
        let mut state = (u64::from(one) << 32) | u64::from(other);
        state ^= (purpose as u64).wrapping_mul(0xa076_1d64_78bd_642f);
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed(state)
        };
        let [wish, a, b, c] = [next(), next(), next(), next()].map(|number| {
            let [a, b, c, d, ..] = number.to_le_bytes();
            [a, b, c, d]
        });
        let mut long = [0; 12];
        for (target, byte) in long.iter_mut().zip([a, b, c].concat()) {
            *target = byte;
        }
        Self {
            id: fitting_content_id(u32::from_le_bytes(wish), digits, old),
            long,
        }
    }

    /// For the parent with the content id `parent` of the child `child`, whose descriptors have room for so many digits.
    pub(super) fn of_parent(parent: u32, child: u32, digits: usize) -> Self {
        Self::new(Purpose::Parent, parent, child, digits, parent)
    }

    /// For a child whose parent has the content id `parent`.
    pub(super) fn of_removal(parent: u32, digits: usize) -> Self {
        Self::new(Purpose::Removal, parent, parent, digits, u32::MAX)
    }

    /// Whether a disk with these ids got them from here.
    pub(super) fn is_that_of(self, id: u32, long: Option<&str>, digits: usize) -> bool {
        let has_long = long.filter(|long| long.len() == 32).map(|long| {
            let own = hex(&self.long) + &format!("{:08x}", self.id);
            long.eq_ignore_ascii_case(&own)
        });
        id == self.id && has_long.unwrap_or(digits >= LEAST_DIGITS)
    }
}

/// Whether `link` is the parent that `child` names by `mark`, but was given a new id to get the content of that child.
pub(super) fn is_interrupted(link: &Link, child: &Link, mark: ContentMark) -> bool {
    let (ContentMark::Cid(parent), Some(ContentMark::Cid(own))) = (mark, child.mark()) else {
        return false;
    };
    let Some(ContentMark::Cid(found)) = link.mark() else {
        return false;
    };
    let digits = id_digits(link, child);
    let long = link.metadata("longContentID");
    MadeId::of_parent(parent, own, digits).is_that_of(found, long.as_deref(), digits)
}

/// How many digits an id may have that both descriptors are to name.
pub(super) fn id_digits(parent: &Link, child: &Link) -> usize {
    let ((in_parent, _), (_, in_child)) = (parent.id_digits(), child.id_digits());
    in_parent.min(in_child)
}

/// The finaliser of SplitMix64, which spreads a number over all bits.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_the_same_for_the_same_disks_and_differ_for_others() {
        let mut known = BTreeSet::new();
        for parent in 0..50 {
            for child in 0..50 {
                let made = MadeId::of_parent(parent, child, 8);
                assert_eq!(made, MadeId::of_parent(parent, child, 8));
                assert!(known.insert((made.id, made.long)));
                assert!(made.id != parent && made.id < u32::MAX - 1);
            }
        }
        assert_eq!(MadeId::of_parent(5, 6, 2).id >> 8, 0);
        assert_ne!(MadeId::of_removal(5, 8).id, MadeId::of_parent(5, 5, 8).id);
    }

    #[test]
    fn a_long_id_counts_where_there_is_one() {
        let made = MadeId::of_parent(1, 2, 8);
        let long = hex(&made.long) + &format!("{:08x}", made.id);
        assert!(made.is_that_of(made.id, Some(&long), 8));
        assert!(made.is_that_of(made.id, None, 8));
        assert!(!made.is_that_of(made.id, Some(&long.replace('1', "2")), 8));
        assert!(!made.is_that_of(made.id ^ 1, None, 8));
        assert!(!made.is_that_of(made.id, None, 4));
    }
}
