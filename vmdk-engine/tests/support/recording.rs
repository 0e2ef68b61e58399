//! Storage that remembers every change in order, so that a test can stop time anywhere, and that fails on demand.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use vmdk_engine::{ByteLen, MemoryStorage, OpenOptions, Storage};

use super::Numbers;
use super::image::MemoryGate;

/// A change of a file, or a sync.
#[derive(Clone, Debug)]
pub enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Zero(Range<u64>),
    Sync,
}

/// What is to fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    None,
    /// Reads of any of these bytes.
    Reads(Range<u64>, io::ErrorKind),
    /// Writes below this position: the metadata.
    WritesBelow(u64, io::ErrorKind),
    /// Writes from this position on: the grains.
    WritesFrom(u64, io::ErrorKind),
    Syncs,
    /// Whatever needs a file system with holes.
    Holes,
}

/// One file, whose changes are recorded. Clones share it.
#[derive(Clone, Debug)]
pub struct Recording {
    storage: MemoryStorage,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    changes: Vec<Change>,
    reads: usize,
    failure: Failure,
    /// How many changes there were at each question for holes.
    asked_for_holes: Vec<usize>,
}

impl Recording {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            storage: MemoryStorage::new(bytes),
            shared: Arc::new(Mutex::new(Shared {
                changes: Vec::new(),
                reads: 0,
                failure: Failure::None,
                asked_for_holes: Vec::new(),
            })),
        }
    }

    pub fn fail(&self, failure: Failure) {
        self.shared.lock().unwrap().failure = failure;
    }

    pub fn changes(&self) -> Vec<Change> {
        self.shared.lock().unwrap().changes.clone()
    }

    /// How often it was read.
    pub fn reads(&self) -> usize {
        self.shared.lock().unwrap().reads
    }

    pub fn asked_for_holes(&self) -> Vec<usize> {
        self.shared.lock().unwrap().asked_for_holes.clone()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.storage.to_vec()
    }

    /// Options to open it as `disk.vmdk`.
    pub fn options(&self) -> OpenOptions {
        MemoryGate::default()
            .with_recording("disk.vmdk", self)
            .options()
    }

    fn record(&self, change: Change) -> io::Result<()> {
        let mut shared = self.shared.lock().unwrap();
        match (&change, &shared.failure) {
            (Change::Write(at, _), Failure::WritesBelow(limit, kind)) if at < limit => {
                return Err((*kind).into());
            }
            (Change::Write(at, _), Failure::WritesFrom(limit, kind)) if at >= limit => {
                return Err((*kind).into());
            }
            (Change::Zero(_), Failure::Holes) => return Err(io::ErrorKind::Unsupported.into()),
            (Change::Sync, Failure::Syncs) => return Err(io::ErrorKind::Other.into()),
            _ => {}
        }
        shared.changes.push(change);
        Ok(())
    }
}

impl Storage for Recording {
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
        let end = position.get() + u64::try_from(buf.len()).unwrap();
        let mut shared = self.shared.lock().unwrap();
        shared.reads += 1;
        match &shared.failure {
            Failure::Reads(bad, kind) if bad.start < end && position.get() < bad.end => {
                return Err((*kind).into());
            }
            _ => {}
        }
        drop(shared);
        self.storage.read_exact_at(buf, position)
    }

    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
        self.record(Change::Write(position.get(), buf.to_vec()))?;
        self.storage.write_all_at(buf, position)
    }

    fn len(&self) -> io::Result<ByteLen> {
        self.storage.len()
    }

    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.record(Change::SetLen(len.get()))?;
        self.storage.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.record(Change::Sync)
    }

    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.record(Change::Zero(range.start.get()..range.end.get()))?;
        self.storage.punch_hole(range)
    }

    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.record(Change::Zero(range.start.get()..range.end.get()))?;
        self.storage.zero_range(range)
    }

    fn can_punch_holes(&self) -> bool {
        let mut shared = self.shared.lock().unwrap();
        let changes = shared.changes.len();
        shared.asked_for_holes.push(changes);
        shared.failure != Failure::Holes
    }

    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
        self.storage.next_data(position)
    }

    fn has_holes(&self) -> io::Result<bool> {
        self.storage.has_holes()
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// The file after a crash behind `changes`: synced changes are there; of the others each is there, lost, or torn.
pub fn crash(before: &[u8], changes: &[Change], numbers: &mut Numbers) -> Vec<u8> {
    let last_sync = changes
        .iter()
        .rposition(|change| matches!(change, Change::Sync));
    let synced = last_sync.map_or(0, |index| index + 1);
    let mut file = before.to_vec();
    for (index, change) in changes.iter().enumerate() {
        // Of three sectors of a change, how many are lost.
        let lost = if index < synced {
            0
        } else {
            [0, 1, 3][usize::try_from(numbers.below(3)).unwrap()]
        };
        let survives = |numbers: &mut Numbers| numbers.below(3) >= lost;
        match change {
            Change::Sync => {}
            Change::SetLen(len) => {
                if survives(numbers) {
                    file.resize(usize::try_from(*len).unwrap(), 0);
                }
            }
            Change::Zero(range) => {
                for sector in sectors(range.start, range.end) {
                    if survives(numbers) && sector.start < file.len() {
                        let end = sector.end.min(file.len());
                        file[sector.start..end].fill(0);
                    }
                }
            }
            Change::Write(at, bytes) => {
                let start = usize::try_from(*at).unwrap();
                for sector in sectors(*at, *at + u64::try_from(bytes.len()).unwrap()) {
                    if survives(numbers) {
                        if file.len() < sector.end {
                            file.resize(sector.end, 0);
                        }
                        let part = &bytes[sector.start - start..sector.end - start];
                        file[sector].copy_from_slice(part);
                    }
                }
            }
        }
    }
    file
}

/// The parts of a range that lie in one sector each: such a part is written whole or not at all.
fn sectors(start: u64, end: u64) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = start;
    while at < end {
        let next = (at + 1).next_multiple_of(512).min(end);
        parts.push(usize::try_from(at).unwrap()..usize::try_from(next).unwrap());
        at = next;
    }
    parts
}
