//! The metadata contexts of a disk.

use std::ops::ControlFlow;

use disk_units::{ByteLen, Sector, SectorRange};

use super::bytewise::touched;
use crate::ChangedAreas;
use crate::nbd::export::ContextVisitor;

/// What a context tells.
#[derive(Debug)]
pub(super) enum Context {
    /// `qemu:allocation-depth`: 0 for what no link holds, 1 for the leaf, 2 for its parent and so on.
    Depth,
    /// `qemu:dirty-bitmap:NAME`: 1 for what changed, else 0.
    Changed(ChangedAreas),
}

/// The contexts, and their names in the same order.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    names: Vec<String>,
    list: Vec<Context>,
}

impl Contexts {
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn get(&self, index: usize) -> Option<&Context> {
        self.list.get(index)
    }

    pub(super) fn add_depth(&mut self) {
        self.names.push("qemu:allocation-depth".to_owned());
        self.list.push(Context::Depth);
    }

    /// Adds a bitmap; false if there is one of that name.
    pub(super) fn add_bitmap(&mut self, name: &str, areas: ChangedAreas) -> bool {
        let name = format!("qemu:dirty-bitmap:{name}");
        let is_new = !self.names.contains(&name);
        if is_new {
            self.names.push(name);
            self.list.push(Context::Changed(areas));
        }
        is_new
    }

    pub(super) fn remove_depth(&mut self) {
        let is_depth = |context: &Context| matches!(context, Context::Depth);
        if let Some(index) = self.list.iter().position(is_depth) {
            self.names.remove(index);
            self.list.remove(index);
        }
    }
}

/// Visits which bytes of a range inside the disk lie in `areas`, with the flags 1 and 0.
pub(super) fn visit_changed(
    areas: &ChangedAreas,
    offset: ByteLen,
    length: ByteLen,
    visit: &mut ContextVisitor<'_>,
) {
    let range = touched(offset, length);
    let areas = areas.as_slice();
    let first = areas.partition_point(|area| area.end() <= range.start());
    let mut step = in_bytes(offset, visit);
    let inside = areas[first..]
        .iter()
        .take_while(|area| area.start() < range.end());
    let flow = inside.copied().try_for_each(|area: SectorRange| {
        step(area.start(), 0)?;
        step(area.end(), 1)
    });
    if flow.is_continue() {
        let _ = step(range.end(), 0);
    }
}

/// Turns the ends of runs of sectors into lengths in bytes, from `offset` on; runs that end before are left out.
pub(super) fn in_bytes<T>(
    offset: ByteLen,
    visit: &mut (dyn FnMut(ByteLen, T) -> ControlFlow<()> + '_),
) -> impl FnMut(Sector, T) -> ControlFlow<()> {
    let mut position = offset.get();
    move |end, value| {
        let end = end.byte_offset();
        let end = end.expect("the size in bytes was checked when the disk was exported");
        if end.get() <= position {
            return ControlFlow::Continue(());
        }
        let piece = ByteLen::new(end.get() - position);
        position = end.get();
        visit(piece, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk_units::SectorCount;

    fn told(areas: &ChangedAreas, offset: u64, length: u64) -> Vec<(u64, u32)> {
        let mut all = Vec::new();
        let visit = &mut |length: ByteLen, flags| {
            all.push((length.get(), flags));
            ControlFlow::Continue(())
        };
        visit_changed(areas, ByteLen::new(offset), ByteLen::new(length), visit);
        all
    }

    #[test]
    fn changed_areas_are_dirty_and_the_rest_is_clean() {
        let range = |start, end| SectorRange::between(Sector::new(start), Sector::new(end));
        let areas = [range(2, 4), range(5, 6), range(9, 10)].map(Option::unwrap);
        let areas = ChangedAreas::new(SectorCount::new(10), areas).unwrap();
        let all = [
            (1024, 0),
            (1024, 1),
            (512, 0),
            (512, 1),
            (1536, 0),
            (512, 1),
        ];
        assert_eq!(told(&areas, 0, 5120), all);
        assert_eq!(told(&areas, 1500, 100), [(548, 1)]);
        assert_eq!(told(&areas, 100, 924), [(924, 0)]);
        assert_eq!(told(&areas, 3072, 1536), [(1536, 0)]);
        assert_eq!(told(&areas, 1, 1024), [(1023, 0), (1024, 1)]);
        let none = ChangedAreas::default();
        assert_eq!(told(&none, 7, 500), [(505, 0)]);
    }

    #[test]
    fn a_name_is_given_once() {
        let mut contexts = Contexts::default();
        contexts.add_depth();
        assert!(contexts.add_bitmap("a", ChangedAreas::default()));
        assert!(!contexts.add_bitmap("a", ChangedAreas::default()));
        assert!(contexts.add_bitmap("b", ChangedAreas::default()));
        contexts.remove_depth();
        assert_eq!(
            contexts.names(),
            ["qemu:dirty-bitmap:a", "qemu:dirty-bitmap:b"]
        );
        assert!(matches!(contexts.get(1), Some(Context::Changed(_))));
        assert!(contexts.get(2).is_none());
    }
}
