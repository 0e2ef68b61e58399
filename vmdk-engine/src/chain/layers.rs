//! The map of a chain: where a link has a hole, the map of the next one shows.

use std::iter;

use disk_units::SectorRange;

use super::Parents;
use crate::error::Error;
use crate::extent::MapRun;
use crate::link::Link;
use crate::map::{Allocation, MapExtent};

/// The runs of a range in order, each from the first link that has something; neighbours may be alike.
///
/// Holes of a link are walked in the next one before the walk goes on, so that there is one unfinished map for each
/// link and never more.
pub(crate) struct Layers<'a> {
    parents: &'a Parents,
    unfinished: Vec<Box<dyn Iterator<Item = MapRun> + Send + 'a>>,
}

impl<'a> Layers<'a> {
    /// The map of a whole chain.
    pub(super) fn of(leaf: &'a Link, parents: &'a Parents, range: SectorRange) -> Self {
        Self {
            parents,
            unfinished: vec![leaf.map(range)],
        }
    }

    /// The map of the parents, as if the leaf had nothing.
    pub(super) fn below(parents: &'a Parents, range: SectorRange) -> Self {
        Self {
            parents,
            unfinished: vec![Box::new(iter::once(Ok((range, Allocation::Hole))))],
        }
    }
}

impl Iterator for Layers<'_> {
    type Item = Result<MapExtent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = self.unfinished.len().checked_sub(1)?;
            let depth = u32::try_from(level).unwrap_or(u32::MAX);
            let extent = |range, state, depth| {
                Some(Ok(MapExtent {
                    range,
                    state,
                    depth,
                }))
            };
            match self.unfinished.last_mut()?.next() {
                None => {
                    self.unfinished.pop();
                }
                Some(Ok((range, Allocation::Hole))) => match self.parents.links.get(level) {
                    Some(link) => self.unfinished.push(link.map(range)),
                    None if self.parents.is_cut => {
                        return extent(range, Allocation::Unknown, depth.saturating_add(1));
                    }
                    None => return extent(range, Allocation::Hole, depth),
                },
                Some(Ok((range, state))) => return extent(range, state, depth),
                Some(Err(error)) => {
                    self.unfinished.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
