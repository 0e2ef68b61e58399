//! Copying the content: some threads read ahead, each a window at a time, and the caller writes what they have read, in
//! order. Grains of zeros are not written: a new disk reads as zeros. What was written goes to the device meanwhile.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope};

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use super::window::{WINDOW, Window, Windows};
use super::write_behind::WriteBehind;
use crate::disk::Disk;
use crate::error::{Error, IoFault};
use crate::progress::Work;
use crate::units::{buffer_len, byte_position, clamped, is_zero, part_of};

/// Windows that may be read but not yet written: 16 MiB.
const WAITING: usize = 16;
/// Threads that read. Streams inflate on all cores whatever the number of readers.
const MAX_READERS: usize = 8;
/// What is zeros in pieces of this many sectors is not written.
const PIECE: SectorCount = SectorCount::new(128);

/// A window that was read.
struct Block {
    range: SectorRange,
    bytes: Vec<u8>,
    /// Where there is anything but zeros: whole pieces, in order, and neighbours joined.
    filled: Vec<SectorRange>,
}

/// A window that is being read.
type Order = Receiver<Result<Block, Error>>;

/// Copies all of `source` that is not zeros to `target`, a new disk of the same size.
pub(super) fn copy(source: &Disk, target: &Disk, work: &mut Work<'_>) -> Result<(), Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    copy_with(cores.min(MAX_READERS), source, target, work)
}

/// The same with so many threads that read, or as many of them as can be started. Without any the caller reads.
fn copy_with(
    threads: usize,
    source: &Disk,
    target: &Disk,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let readers = Readers {
        source,
        windows: Mutex::new(Windows::of(source)),
        buffers: Mutex::default(),
    };
    thread::scope(|scope| {
        let mut behind = WriteBehind::begin(scope, target);
        let copied = copy_windows(scope, threads, &readers, target, &mut behind, work);
        // Where it failed, writes fail too, and do not know why.
        behind.end().and(copied)
    })
}

/// Writes what the threads read, in order.
fn copy_windows<'scope>(
    scope: &'scope Scope<'scope, '_>,
    threads: usize,
    readers: &'scope Readers<'_>,
    target: &Disk,
    behind: &mut WriteBehind<'_>,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let mut done = Sector::ZERO;
    let mut write = |block: Block| -> Result<(), Error> {
        // All is done only when the clone has its name.
        work.advance(between(done, block.range.start()))?;
        done = block.range.start();
        for filled in &block.filled {
            let bytes = part(&block.bytes, block.range, *filled);
            target.write_at(filled.start(), bytes)?;
            behind.note(bytes.len())?;
        }
        readers.buffers.lock().push(block.bytes);
        Ok(())
    };
    let (sender, orders) = mpsc::sync_channel(WAITING);
    let start_one = |_| {
        let sender = sender.clone();
        let thread = thread::Builder::new().name("vmdk-reader".to_owned());
        thread.spawn_scoped(scope, move || readers.run(&sender))
    };
    let started = (0..threads).map_while(|number| start_one(number).ok());
    if started.count() == 0 {
        while let Some(window) = readers.next_window() {
            write(readers.read(&window?)?)?;
        }
    }
    drop(sender);
    for order in orders {
        write(order.recv().unwrap_or_else(|_| Err(reader_is_gone()))?)?;
    }
    Ok(())
}

/// What the threads that read share.
struct Readers<'a> {
    source: &'a Disk,
    windows: Mutex<Windows<'a>>,
    /// To be used again.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Readers<'_> {
    fn next_window(&self) -> Option<Result<Window, Error>> {
        self.windows.lock().next()
    }

    /// Reads windows until there are no more, or nobody wants them.
    fn run(&self, orders: &SyncSender<Order>) {
        loop {
            let (result, order) = mpsc::sync_channel(1);
            let window = {
                // The order of the windows is that of the orders.
                let mut windows = self.windows.lock();
                let Some(window) = windows.next() else { return };
                if orders.send(order).is_err() {
                    return;
                }
                window
            };
            if result
                .send(window.and_then(|window| self.read(&window)))
                .is_err()
            {
                return;
            }
        }
    }

    fn read(&self, window: &Window) -> Result<Block, Error> {
        let range = window.range;
        let buffer = self.buffers.lock().pop();
        let mut bytes = buffer.unwrap_or_else(|| vec![0; buffer_len(WINDOW)]);
        let mut end = range.start();
        for data in &window.data {
            let hole = SectorRange::between(end, data.start()).unwrap_or_default();
            part_of(&mut bytes, range.start(), hole).fill(0);
            let target = part_of(&mut bytes, range.start(), *data);
            self.source.read_at(data.start(), target)?;
            end = data.end();
        }
        let hole = SectorRange::between(end, range.end()).unwrap_or_default();
        part_of(&mut bytes, range.start(), hole).fill(0);
        let filled = filled_pieces(&bytes, range);
        Ok(Block {
            range,
            bytes,
            filled,
        })
    }
}

/// The pieces of a range that are not zeros, neighbours joined.
fn filled_pieces(bytes: &[u8], range: SectorRange) -> Vec<SectorRange> {
    let mut filled: Vec<SectorRange> = Vec::new();
    for piece in range.pieces(PIECE) {
        if is_zero(part(bytes, range, piece)) {
            continue;
        }
        match filled.last_mut() {
            Some(last) if last.end() == piece.start() => {
                let count = last.count().checked_add(piece.count());
                *last = clamped(last.start(), count.unwrap_or_default());
            }
            _ => filled.push(piece),
        }
    }
    filled
}

/// The bytes of `inner` in those of `outer`.
fn part(bytes: &[u8], outer: SectorRange, inner: SectorRange) -> &[u8] {
    let skipped = inner.start().checked_since(outer.start());
    let start = buffer_len(skipped.unwrap_or_default());
    let end = start.saturating_add(buffer_len(inner.count()));
    bytes.get(start..end).unwrap_or_default()
}

fn between(start: Sector, end: Sector) -> ByteLen {
    let (start, end) = (byte_position(start).get(), byte_position(end).get());
    ByteLen::new(end.saturating_sub(start))
}

/// A reader that panics takes the copy with it when the scope ends.
fn reader_is_gone() -> Error {
    IoFault::new("reading the source", io::Error::other("the thread is gone")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::CreateOptions;
    use crate::info::DiskKind;
    use crate::progress::unwatched;

    #[test]
    fn where_no_thread_can_be_started_the_caller_reads() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let capacity = SectorCount::new(10_001);
        let options = CreateOptions::new(DiskKind::MonolithicSparse, capacity);
        let make = |name: String| Disk::create(scratch.path().join(name), &options, &mut unwatched);
        let source = make("source.vmdk".to_owned()).expect("a new disk");
        let mut content = vec![0; buffer_len(capacity)];
        for (place, byte) in content.iter_mut().enumerate().skip(3_000_000) {
            *byte = u8::try_from(place % 251).expect("small");
        }
        source.write_at(Sector::ZERO, &content).expect("written");
        for threads in [0, 1, 3] {
            let target = make(format!("target-{threads}.vmdk")).expect("a new disk");
            let mut watcher = unwatched;
            let total = ByteLen::new(1);
            let mut work = Work::begin(total, &mut watcher).expect("nobody cancels");
            copy_with(threads, &source, &target, &mut work).expect("copied");
            let mut copied = vec![1; content.len()];
            target.read_at(Sector::ZERO, &mut copied).expect("read");
            assert!(copied == content, "{threads} threads");
        }
    }
}
