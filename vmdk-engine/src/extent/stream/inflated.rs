//! The last few inflated grains of a link, and those that will be: a cache of tasks.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::worker::{Task, Workers};

/// Memory for inflated grains per link. Requests in progress keep up to 4 grains for each core beside that.
pub(crate) const INFLATED_BYTES: usize = 8 << 20;

const SHARDS: usize = 8;

/// A grain, or nothing where it could not be read.
pub(super) type Inflated = Task<Option<Vec<u8>>>;

/// Which grain: the extent's number in the chain, and the grain's number in the extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrainKey {
    pub(super) extent: u32,
    pub(super) grain: u64,
}

/// Oldest first.
type Shard = VecDeque<(GrainKey, Arc<Inflated>)>;

/// Grains by key, and the threads that inflate them.
#[derive(Debug)]
pub(crate) struct InflatedGrains {
    shards: [Mutex<Shard>; SHARDS],
    grains_per_shard: usize,
    workers: Workers,
}

impl InflatedGrains {
    /// A cache of `bytes` for grains of `grain_bytes`, or the largest such in the link.
    pub(crate) fn new(bytes: usize, grain_bytes: usize) -> Self {
        let grains = bytes.checked_div(grain_bytes).unwrap_or(0) / SHARDS;
        Self {
            shards: Default::default(),
            grains_per_shard: grains.max(1),
            workers: Workers::new(),
        }
    }

    /// How many grains a request may have unfinished.
    pub(super) fn depth(&self) -> usize {
        self.workers.depth()
    }

    /// How many grains may be inflated before they are asked for: 0 without workers to do it, and never so many that
    /// they push each other out.
    pub(super) fn read_ahead(&self) -> u64 {
        let room = self.grains_per_shard.saturating_mul(SHARDS) / 2;
        let grains = if self.depth() > 1 {
            self.depth().min(room)
        } else {
            0
        };
        u64::try_from(grains).unwrap_or(0)
    }

    /// Lets a worker inflate the grain.
    pub(super) fn submit(&self, grain: &Arc<Inflated>) {
        if !grain.is_done() {
            self.workers.submit(grain);
        }
    }

    pub(super) fn contains(&self, extent: u32, grain: u64) -> bool {
        let key = GrainKey { extent, grain };
        let shard = self.shard(key).lock();
        shard.iter().any(|(cached, _)| *cached == key)
    }

    /// The grain if it is there; otherwise what `work` gives becomes its task.
    pub(super) fn find_or_insert<F>(&self, key: GrainKey, work: impl FnOnce() -> F) -> Arc<Inflated>
    where
        F: Fn() -> Option<Vec<u8>> + Send + Sync + 'static,
    {
        let mut shard = self.shard(key).lock();
        if let Some((_, found)) = shard.iter().find(|(cached, _)| *cached == key) {
            return Arc::clone(found);
        }
        while shard.len() >= self.grains_per_shard {
            shard.pop_front();
        }
        let task = Task::new(work());
        shard.push_back((key, Arc::clone(&task)));
        task
    }

    fn shard(&self, key: GrainKey) -> &Mutex<Shard> {
        let index = usize::try_from(key.grain).unwrap_or(0) % SHARDS;
        self.shards.get(index).unwrap_or_else(|| {
            let [first, ..] = &self.shards;
            first
        })
    }
}
