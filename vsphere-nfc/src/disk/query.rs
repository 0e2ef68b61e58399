//! What a disk tells about itself.

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::core::{Core, refuse_callbacks};
use super::link::Open;
use crate::error::ErrorKind;
use crate::failure::Failure;
use crate::session::one_shot;
use crate::wire::aio::{DdbGet, MAX_BITMAP, MAX_KEY, QueryBlocks, Reply, Request};

/// The most chunks that are asked for at a time.
const CHUNKS: u64 = 8 * MAX_BITMAP as u64;

/// Asks, and once again over a new connection if the old one is lost.
fn ask<T>(core: &Core, ask: impl Fn(&Open) -> Result<T, Failure>) -> Result<T, Failure> {
    refuse_callbacks()?;
    match ask(&*core.link.current()?) {
        Err(failure) if failure.is_lost_connection() => ask(&*core.link.current()?),
        result => result,
    }
}

pub(super) fn ddb(core: &Core, keys: &[&str]) -> Result<Vec<Option<String>>, Failure> {
    if keys.iter().any(|key| key.len() > MAX_KEY) {
        let why = "a key of the disk database is too long";
        return Err(Failure::request(ErrorKind::InvalidArgument, why));
    }
    ask(core, |open| {
        let asked = keys.iter().map(|key| {
            let (done, result) = one_shot();
            let get = Request::DdbGet(DdbGet {
                handle: open.handle,
                key: key.len().try_into().unwrap_or(u32::MAX),
            });
            open.session.call(&get, key.as_bytes(), done);
            result
        });
        // All are sent before the first answer is awaited.
        let asked: Vec<_> = asked.collect();
        let values = asked.into_iter().map(|result| {
            let (_, value) = result()?;
            Ok((!value.is_empty()).then(|| String::from_utf8_lossy(&value).into_owned()))
        });
        values.collect()
    })
}

pub(super) fn allocated(
    core: &Core,
    range: SectorRange,
    chunk: SectorCount,
) -> Result<Vec<SectorRange>, Failure> {
    let whole = |sectors: u64| sectors.checked_rem(chunk.get()) == Some(0);
    let bytes = chunk.bytes().map(ByteLen::get);
    let (Some(bytes), true) = (
        bytes,
        whole(range.start().get()) && whole(range.count().get()),
    ) else {
        let why = "the range does not consist of whole chunks";
        return Err(Failure::request(ErrorKind::InvalidArgument, why));
    };
    if range.count().get() == 0 {
        let why = "the range is empty";
        return Err(Failure::request(ErrorKind::InvalidArgument, why));
    }
    if range.end().get() > core.shape.capacity.get() {
        let why = "it ends after the last sector of the disk";
        return Err(Failure::request(ErrorKind::OutOfRange, why));
    }
    let first = range
        .start()
        .get()
        .checked_div(chunk.get())
        .unwrap_or_default();
    let count = range
        .count()
        .get()
        .checked_div(chunk.get())
        .unwrap_or_default();
    let end = first.saturating_add(count);
    let step = usize::try_from(CHUNKS).unwrap_or(usize::MAX);
    let mut found: Vec<SectorRange> = Vec::new();
    for from in (first..end).step_by(step) {
        let count = end.saturating_sub(from).min(CHUNKS);
        for chunks in ask(core, |open| query(open, bytes, from, count))? {
            let start = from.saturating_add(chunks.start);
            let length = chunks.end.saturating_sub(chunks.start);
            add(
                &mut found,
                start.saturating_mul(chunk.get()),
                length.saturating_mul(chunk.get()),
            );
        }
    }
    Ok(found)
}

/// Which of `count` chunks from number `from` hold data, counted from there.
fn query(
    open: &Open,
    chunk: u64,
    from: u64,
    count: u64,
) -> Result<Vec<std::ops::Range<u64>>, Failure> {
    let query = QueryBlocks {
        handle: open.handle,
        chunk,
        start: from.saturating_mul(chunk),
        count,
    };
    let answer = open
        .session
        .call_and_wait(&Request::QueryBlocks(query), &[])?;
    match answer {
        (Reply::Blocks(bitmap), bits) if bitmap.count() == count => Ok(bitmap.unpack(&bits)),
        _ => {
            let failure = Failure::breach("a bitmap of another length");
            open.session.end(failure.clone());
            Err(failure)
        }
    }
}

/// Adds sectors behind those that were found.
fn add(found: &mut Vec<SectorRange>, start: u64, count: u64) {
    let (mut start, mut count) = (Sector::new(start), SectorCount::new(count));
    if let Some(last) = found.pop_if(|last| last.end() == start) {
        start = last.start();
        count = SectorCount::new(count.get().saturating_add(last.count().get()));
    }
    // The sum is within the disk.
    found.extend(SectorRange::new(start, count));
}
