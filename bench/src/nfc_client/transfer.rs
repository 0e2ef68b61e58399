//! Reading and writing a disk in order, with requests in flight.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use vixdisklib::{
    AlignedBuf, CreateOptions, Disk, DiskKind, IoFuture, IoLimits, Library, OpenFlags, Sector,
    SectorCount,
};

use super::Result;

/// 1 MiB.
const REQUEST: SectorCount = SectorCount::new(2048);
/// Half of each such piece compresses.
const PIECE: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// Makes a disk of `size` MiB.
pub(super) fn create(path: &Path, size: u64) -> Result {
    let connection = Library::embedded()?.connect_local()?;
    let capacity = SectorCount::new(size * REQUEST.get());
    connection.create_disk(
        path,
        &CreateOptions::new(DiskKind::MONOLITHIC_SPARSE, capacity),
        |_| (),
    )?;
    let disk = connection.open_disk(path, OpenFlags::empty())?;
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut buf = AlignedBuf::new(REQUEST);
    for number in 0..size {
        fill(&mut buf, &mut state);
        disk.write_at(Sector::new(number * REQUEST.get()), &buf)?;
    }
    Ok(disk.close()?)
}

/// Bytes that do not compress, and as many that do.
fn fill(buf: &mut [u8], state: &mut u64) {
    for piece in buf.chunks_mut(PIECE) {
        let (noise, text) = piece.split_at_mut(PIECE / 2);
        for word in noise.chunks_exact_mut(8) {
            // xorshift64.
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let line = format!("line {state:016x} of a text that says little in many words\n");
        for (byte, letter) in text.iter_mut().zip(line.bytes().cycle()) {
            *byte = letter;
        }
    }
}

/// Moves the first `count` MiB of the disk; gives how long that took, without opening and closing it.
pub(super) fn run(
    mut disk: Disk,
    direction: Direction,
    depth: NonZeroUsize,
    count: u64,
) -> Result<Duration> {
    let mut limits = IoLimits::default();
    limits.depth = depth;
    disk.set_io_limits(limits);
    let mut state = 1;
    let mut spare: Vec<AlignedBuf> = (0..depth.get()).map(|_| AlignedBuf::new(REQUEST)).collect();
    spare.iter_mut().for_each(|buf| fill(buf, &mut state));
    let mut running: VecDeque<IoFuture> = VecDeque::new();
    let begin = Instant::now();
    for number in 0..count {
        let buf = match spare.pop() {
            Some(buf) => buf,
            None => finish(running.pop_front().ok_or("no request and no memory")?)?,
        };
        let start = Sector::new(number * REQUEST.get());
        running.push_back(match direction {
            Direction::Read => disk.read_async(start, buf),
            Direction::Write => disk.write_async(start, buf),
        });
    }
    for request in running {
        finish(request)?;
    }
    if direction == Direction::Write {
        disk.flush()?;
    }
    let time = begin.elapsed();
    disk.close()?;
    Ok(time)
}

fn finish(request: IoFuture) -> Result<AlignedBuf> {
    let (done, buf) = request.wait();
    done?;
    Ok(buf)
}
