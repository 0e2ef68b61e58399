//! The files that a disk is made of, by their paths on datastores.

use vmdk_engine::{Disk, Error, OpenOptions, SectorCount};

use super::World;
use crate::inventory::DatastorePath;

/// The engine follows as many parents.
const MAX_LINKS: usize = 65;

/// A disk and its parents, the newest first.
pub(super) struct Chain {
    pub(super) links: Vec<DatastorePath>,
    pub(super) capacity: SectorCount,
    pub(super) uuid: Option<String>,
    /// Whether the newest link grows with what is written.
    pub(super) thin: bool,
}

impl World {
    /// The capacity of a disk in bytes; none if it does not open.
    pub(crate) fn capacity(&self, path: &DatastorePath) -> Option<u64> {
        self.chain(path)
            .ok()
            .map(|chain| chain.capacity.get() * 512)
    }

    /// The links of a disk. It may be in use meanwhile.
    pub(super) fn chain(&self, path: &DatastorePath) -> Result<Chain, Error> {
        let mut links = Vec::new();
        let mut next = Some(path.clone());
        let mut first = None;
        while let Some(path) = next.take() {
            let Some(file) = self.locate(&path) else {
                break;
            };
            let options = OpenOptions::new()
                .single_link(true)
                .ignore_locks(true)
                .gate(self.gate.clone());
            let info = Disk::open(file, &options)?.info();
            if links.len() < MAX_LINKS {
                next = info
                    .parent_hint
                    .as_deref()
                    .and_then(|hint| path.neighbour(hint));
            }
            links.push(path);
            first.get_or_insert(info);
        }
        let kind = first.as_ref().map(|info| info.kind);
        Ok(Chain {
            links,
            capacity: first
                .as_ref()
                .map_or(SectorCount::new(0), |info| info.capacity),
            uuid: first.and_then(|info| info.uuid),
            thin: !matches!(
                kind,
                Some(
                    vmdk_engine::DiskKind::MonolithicFlat
                        | vmdk_engine::DiskKind::SplitFlat
                        | vmdk_engine::DiskKind::VmfsFlat
                )
            ),
        })
    }
}
