//! The last few inflated grains of a link, and those that will be: a cache of tasks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::buffers::{Buffer, Buffers};
use crate::worker::{Task, Workers};

/// Memory for inflated grains per link. Requests in progress keep up to 4 grains for each core beside that, and as many
/// buffers are kept for the next ones.
pub(crate) const INFLATED_BYTES: usize = 8 << 20;

const SHARDS: usize = 8;

/// A grain, or nothing where it could not be read.
pub(super) type Inflated = Task<Option<Buffer>>;

/// The first bytes of a grain.
#[derive(Debug)]
pub(super) struct Front {
    /// Of the length of a grain, as all are, so that it can be used again.
    buffer: Buffer,
    length: usize,
}

impl Front {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

/// What there is of a grain.
#[derive(Clone, Debug)]
pub(super) enum Cached {
    Whole(Arc<Inflated>),
    Front(Arc<Front>),
}

/// Which grain: the extent's number in the chain, and the grain's number in the extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrainKey {
    pub(super) extent: u32,
    pub(super) grain: u64,
}

/// Oldest first.
type Shard = VecDeque<(GrainKey, Cached)>;

/// Grains by key, and the threads that inflate them.
#[derive(Debug)]
pub(crate) struct InflatedGrains {
    shards: [Mutex<Shard>; SHARDS],
    grains_per_shard: usize,
    workers: Workers,
    buffers: Arc<Buffers>,
    /// Requests in progress.
    requests: AtomicUsize,
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a InflatedGrains);

impl Turn<'_> {
    /// Whether there are fewer requests than cores, so that workers can help.
    pub(super) fn leaves_cores(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) < self.0.workers.count()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InflatedGrains {
    /// A cache of `bytes` for grains of `grain_bytes`, or the largest such in the link.
    pub(crate) fn new(bytes: usize, grain_bytes: usize) -> Self {
        let grains = bytes.checked_div(grain_bytes).unwrap_or(0) / SHARDS;
        let workers = Workers::new();
        Self {
            shards: Default::default(),
            grains_per_shard: grains.max(1),
            buffers: Buffers::new(workers.depth()),
            workers,
            requests: AtomicUsize::new(0),
        }
    }

    /// Notes that a request begins.
    pub(super) fn begin(&self) -> Turn<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Turn(self)
    }

    pub(super) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
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

    /// What there is of the grain.
    pub(super) fn get(&self, key: GrainKey) -> Option<Cached> {
        let shard = self.shard(key).lock();
        let found = shard.iter().find(|(cached, _)| *cached == key);
        found.map(|(_, found)| found.clone())
    }

    /// The grain if all of it is there; otherwise what `work` gives becomes its task.
    pub(super) fn find_or_insert<F>(&self, key: GrainKey, work: impl FnOnce() -> F) -> Arc<Inflated>
    where
        F: Fn() -> Option<Buffer> + Send + Sync + 'static,
    {
        let mut shard = self.shard(key).lock();
        let found = shard.iter().position(|(cached, _)| *cached == key);
        if let Some((_, Cached::Whole(whole))) = found.and_then(|index| shard.get(index)) {
            return Arc::clone(whole);
        }
        found.and_then(|index| shard.remove(index));
        let task = Task::new(work());
        self.push(&mut shard, key, Cached::Whole(Arc::clone(&task)));
        task
    }

    /// Keeps the first `length` bytes of a grain that are in the buffer, unless somebody else came first.
    pub(super) fn insert_front(&self, key: GrainKey, buffer: Buffer, length: usize) -> Arc<Front> {
        let front = Arc::new(Front { buffer, length });
        let mut shard = self.shard(key).lock();
        if !shard.iter().any(|(cached, _)| *cached == key) {
            self.push(&mut shard, key, Cached::Front(Arc::clone(&front)));
        }
        front
    }

    fn push(&self, shard: &mut Shard, key: GrainKey, cached: Cached) {
        while shard.len() >= self.grains_per_shard {
            shard.pop_front();
        }
        shard.push_back((key, cached));
    }

    fn shard(&self, key: GrainKey) -> &Mutex<Shard> {
        let index = usize::try_from(key.grain).unwrap_or(0) % SHARDS;
        self.shards.get(index).unwrap_or_else(|| {
            let [first, ..] = &self.shards;
            first
        })
    }
}
