//! Many reads of 4 KiB from a library that takes a millisecond for each: threads, and requests in flight.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Instant;

use vixdisklib::{
    AlignedBuf, Connection, Error, IoLimits, Library, OpenFlags, ParallelOptions, Sector,
    SectorCount, SectorRange,
};

use super::{Result, Spread};

const ROUNDS: usize = 5;
const READS: u64 = 1200;
const COUNT: SectorCount = SectorCount::new(8);
const THREADS: u64 = 4;
const DEPTH: usize = 32;

pub(super) fn measure(path: &Path, library: &Path) -> Result {
    let library = Library::load(library)?;
    let connection = library.connect_local()?;
    let probe = connection.open_disk(path, OpenFlags::READ_ONLY)?;
    println!(
        "{READS} reads of 4 KiB with 1 ms of latency, transport {}, {ROUNDS} rounds by turns:",
        probe.transport_mode()
    );
    probe.close()?;
    let mut baseline = Vec::new();
    let (mut requests, mut reader) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        baseline.push(time(|| threads(&connection, path))?);
        requests.push(time(|| in_flight(&connection, path))?);
        reader.push(time(|| parallel(&connection, path))?);
    }
    let baseline = Spread::of(baseline);
    row(
        &format!("{THREADS} threads, a handle each, blocking"),
        &baseline,
        &baseline,
    );
    row(
        &format!("one handle, {DEPTH} asynchronous requests"),
        &Spread::of(requests),
        &baseline,
    );
    row(
        &format!("ParallelReader, {DEPTH} requests, its own choice of handles"),
        &Spread::of(reader),
        &baseline,
    );
    Ok(())
}

fn row(name: &str, spread: &Spread, baseline: &Spread) {
    println!(
        "    {name:56} {:.3} s ({:.3}-{:.3}), {:.2}x the speed of the threads",
        spread.median,
        spread.least,
        spread.largest,
        baseline.median / spread.median
    );
}

fn time(work: impl FnOnce() -> Result) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64())
}

fn start(number: u64) -> Sector {
    Sector::new(number * COUNT.get())
}

fn threads(connection: &Connection, path: &Path) -> Result {
    let disks = (0..THREADS)
        .map(|_| connection.open_disk(path, OpenFlags::READ_ONLY))
        .collect::<Result<Vec<_>, Error>>()?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .zip(disks)
            .map(|(worker, disk)| {
                scope.spawn(move || {
                    let mut buf = AlignedBuf::new(COUNT);
                    (worker..READS)
                        .step_by(4)
                        .try_for_each(|number| disk.read_at(start(number), &mut buf))
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(())
    })
}

fn in_flight(connection: &Connection, path: &Path) -> Result {
    let mut disk = connection.open_disk(path, OpenFlags::READ_ONLY)?;
    let mut limits = IoLimits::default();
    limits.depth = NonZeroUsize::new(DEPTH).ok_or("no depth")?;
    disk.set_io_limits(limits);
    let mut running = VecDeque::new();
    let mut spare = Vec::new();
    for number in 0..READS {
        let buf = spare.pop().unwrap_or_else(|| AlignedBuf::new(COUNT));
        running.push_back(disk.read_async(start(number), buf));
        if running.len() == DEPTH
            && let Some(oldest) = running.pop_front()
        {
            let (done, buf) = oldest.wait();
            done?;
            spare.push(buf);
        }
    }
    for request in running {
        request.wait().0?;
    }
    Ok(disk.close()?)
}

fn parallel(connection: &Connection, path: &Path) -> Result {
    let mut options = ParallelOptions::default();
    options.requests = NonZeroUsize::new(DEPTH).ok_or("no depth")?;
    let mut reader = connection.open_parallel(path, OpenFlags::empty(), options)?;
    let ranges = (0..READS).filter_map(|number| SectorRange::new(start(number), COUNT));
    reader.read(ranges, |_, _| Ok::<_, Error>(()))?;
    Ok(reader.close()?)
}
