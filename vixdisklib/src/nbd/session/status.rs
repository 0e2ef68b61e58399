//! Block status: asks the export, merges what is alike, and keeps to what one reply can say.

use std::ops::ControlFlow;

use disk_units::ByteLen;

use super::context::MetaContext;
use crate::nbd::export::{BlockState, Export, ExportError};
use crate::nbd::wire::reply::{Descriptor, STATE_HOLE, STATE_ZERO};

/// How much one answer may say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Descriptors in all.
    pub(super) most: usize,
    /// The length of one in bytes.
    pub(super) longest: u64,
}

/// The state of `length` bytes from `offset` in one context: contiguous, at least one descriptor, none past the range.
pub(super) fn block_status(
    export: &dyn Export,
    context: MetaContext,
    offset: ByteLen,
    length: ByteLen,
    bounds: Bounds,
) -> Result<Vec<Descriptor>, ExportError> {
    let mut status = Status {
        descriptors: Vec::new(),
        run: None,
        left: length.get(),
        bounds,
    };
    let result = match context {
        MetaContext::Allocation => export.block_status(offset, length, &mut |length, state| {
            status.add(length.get(), allocation(state))
        }),
        MetaContext::OfExport(index) => {
            export.context_status(usize::from(index), offset, length, &mut |length, flags| {
                status.add(length.get(), flags)
            })
        }
    };
    status.finish();
    match result {
        Err(error) if status.descriptors.is_empty() => Err(error),
        _ => {
            if status.descriptors.is_empty() {
                // The protocol wants at least one; the export gave none, so nothing is known.
                status.push(length.get(), 0);
            }
            Ok(status.descriptors)
        }
    }
}

fn allocation(state: BlockState) -> u32 {
    match state {
        BlockState::Data => 0,
        BlockState::Zero => STATE_ZERO,
        BlockState::Hole => STATE_HOLE | STATE_ZERO,
    }
}

struct Status {
    descriptors: Vec<Descriptor>,
    /// The flags and length of what is not in `descriptors` yet, because its neighbour may belong to it.
    run: Option<(u32, u64)>,
    left: u64,
    bounds: Bounds,
}

impl Status {
    fn add(&mut self, length: u64, flags: u32) -> ControlFlow<()> {
        let length = length.min(self.left);
        self.left -= length;
        match &mut self.run {
            Some((current, total)) if *current == flags => *total += length,
            _ => {
                self.finish();
                self.run = (length > 0).then_some((flags, length));
            }
        }
        let full = self.descriptors.len() >= self.bounds.most;
        if full || self.left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn finish(&mut self) {
        if let Some((flags, length)) = self.run.take() {
            self.push(length, flags);
        }
    }

    fn push(&mut self, mut length: u64, flags: u32) {
        while length > 0 && self.descriptors.len() < self.bounds.most {
            let piece = length.min(self.bounds.longest);
            self.descriptors.push(Descriptor {
                length: piece,
                flags,
            });
            length -= piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::session::testing::Map;
    use crate::nbd::wire::reply::Framing;

    fn status(map: &Map, length: u64, most: usize, framing: Framing) -> Vec<(u64, u32)> {
        let bounds = Bounds {
            most,
            longest: framing.longest_extent(),
        };
        let length = ByteLen::new(length);
        block_status(map, MetaContext::Allocation, ByteLen::ZERO, length, bounds)
            .unwrap()
            .into_iter()
            .map(|descriptor| (descriptor.length, descriptor.flags))
            .collect()
    }

    #[test]
    fn neighbours_merge_and_the_range_cuts() {
        let map = Map(vec![
            (10, BlockState::Data),
            (20, BlockState::Data),
            (5, BlockState::Hole),
            (100, BlockState::Zero),
        ]);
        for framing in [Framing::Structured, Framing::Extended] {
            let status = |length, most| status(&map, length, most, framing);
            assert_eq!(status(40, 9), [(30, 0), (5, 3), (5, 2)]);
            assert_eq!(status(40, 2), [(30, 0), (5, 3)]);
            assert_eq!(status(40, 1), [(30, 0)]);
            assert_eq!(status(7, 1), [(7, 0)]);
            assert_eq!(status(1000, 9), [(30, 0), (5, 3), (100, 2)]);
        }
    }

    #[test]
    fn long_extents_split_at_aligned_lengths_where_lengths_are_short() {
        let map = Map(vec![(u64::from(u32::MAX) * 2, BlockState::Hole)]);
        let longest = Framing::Structured.longest_extent();
        let asked = u64::from(u32::MAX);
        let compact = |most| status(&map, asked, most, Framing::Structured);
        assert_eq!(compact(9), [(longest, 3), (65_535, 3)]);
        assert_eq!(compact(1), [(longest, 3)]);
        assert_eq!(
            status(&map, asked * 2, 9, Framing::Extended),
            [(asked * 2, 3)]
        );
    }

    #[test]
    fn an_export_without_an_answer_is_an_error_only_if_it_says_so() {
        let bounds = Bounds {
            most: 1,
            longest: 1,
        };
        let one = ByteLen::new(1);
        let none = Map(Vec::new());
        let error = block_status(&none, MetaContext::Allocation, ByteLen::ZERO, one, bounds);
        assert_eq!(error.unwrap_err().message(), "end of the map");
        let unknown = block_status(&none, MetaContext::OfExport(0), ByteLen::ZERO, one, bounds);
        assert_eq!(unknown.unwrap()[0].flags, 0);
    }
}
