//! Reading.

use std::ops::Range;
use std::sync::{Arc, mpsc};

use disk_units::{ByteLen, Sector, SectorRange};
use parking_lot::Mutex;

use super::core::Core;
use super::flight::call_back;
use super::piece::{Failed, Piece, Tally, cut, in_smaller_pieces};
use super::recovery::recover;
use crate::budget::Permit;
use crate::error::{Operation, Result};
use crate::failure::Failure;
use crate::session::{Done, Target, one_shot};
use crate::wire::aio::Io;

/// A caller's buffer and what to do with it in the end.
trait Job: Send {
    fn bytes(&mut self) -> &mut [u8];
    fn finish(self: Box<Self>, result: std::result::Result<(), Failure>);
}

struct Submitted<B, F> {
    buf: B,
    done: F,
}

impl<B, F> Job for Submitted<B, F>
where
    B: AsMut<[u8]> + Send,
    F: FnOnce(std::result::Result<(), Failure>, B) + Send,
{
    fn bytes(&mut self) -> &mut [u8] {
        self.buf.as_mut()
    }

    fn finish(self: Box<Self>, result: std::result::Result<(), Failure>) {
        (self.done)(result, self.buf);
    }
}

/// A read of a caller.
struct Request {
    core: Arc<Core>,
    /// Among those in flight.
    number: u64,
    /// Taken when it is finished.
    job: Mutex<Option<Box<dyn Job>>>,
}

pub(super) fn submit<B>(
    core: &Arc<Core>,
    start: Sector,
    buf: B,
    done: impl FnOnce(Result<()>, B) + Send + 'static,
) where
    B: AsMut<[u8]> + Send + 'static,
{
    let told = Arc::clone(core);
    begin(core, start, buf, move |result, mut buf: B| {
        let result = result.map_err(|failure| {
            failure.during(Operation::Read, told.place(start, buf.as_mut().len()))
        });
        call_back(|| done(result, buf));
    });
}

/// No other thread may fill `buf`, so each piece comes in a buffer of its own; the budget limits how many there are.
pub(super) fn read_at(core: &Arc<Core>, start: Sector, buf: &mut [u8]) -> Result<()> {
    let length = buf.len();
    read_pieces(core, start, buf)
        .map_err(|failure| failure.during(Operation::Read, core.place(start, length)))
}

type Arrived = (Piece, std::result::Result<(), Failure>, Vec<u8>);

fn read_pieces(
    core: &Arc<Core>,
    start: Sector,
    buf: &mut [u8],
) -> std::result::Result<(), Failure> {
    let offset = core.range(start, buf.len()).map(offset)?;
    let (sender, arrived) = mpsc::channel::<Arrived>();
    let mut outcome = Ok(());
    let mut spare: Vec<Vec<u8>> = Vec::new();
    let mut pieces = cut(offset, 0, buf.len(), core.request_size());
    let mut in_flight = 0usize;
    loop {
        let next = if outcome.is_ok() { pieces.next() } else { None };
        if let Some(piece) = next {
            let mut data = spare.pop().unwrap_or_default();
            data.resize(piece.range().len(), 0);
            let sender = sender.clone();
            fetch(core, piece.offset, data, move |result, data| {
                // Whoever waits for it has not gone away.
                let _ = sender.send((piece, result, data));
            });
            in_flight = in_flight.saturating_add(1);
        } else if in_flight == 0 {
            return outcome;
        }
        let waited = match next {
            Some(_) => None,
            None => arrived.recv().ok(),
        };
        for (piece, result, data) in waited.into_iter().chain(arrived.try_iter()) {
            in_flight = in_flight.saturating_sub(1);
            match (result, buf.get_mut(piece.range())) {
                (Ok(()), Some(place)) => place.copy_from_slice(&data),
                (Err(failure), _) if outcome.is_ok() => outcome = Err(failure),
                _ => {}
            }
            spare.push(data);
        }
    }
}

/// Where a range within a disk begins, in bytes.
fn offset(range: SectorRange) -> u64 {
    range.start().byte_offset().map_or(u64::MAX, ByteLen::get)
}

fn begin<B, F>(core: &Arc<Core>, start: Sector, mut buf: B, done: F)
where
    B: AsMut<[u8]> + Send + 'static,
    F: FnOnce(std::result::Result<(), Failure>, B) + Send + 'static,
{
    match core.range(start, buf.as_mut().len()) {
        Ok(range) => fetch(core, offset(range), buf, done),
        Err(failure) => done(Err(failure), buf),
    }
}

/// Reads what was found to be within the disk.
fn fetch<B, F>(core: &Arc<Core>, offset: u64, mut buf: B, done: F)
where
    B: AsMut<[u8]> + Send + 'static,
    F: FnOnce(std::result::Result<(), Failure>, B) + Send + 'static,
{
    let length = buf.as_mut().len();
    let request = Arc::new(Request {
        number: core.flight.enter(),
        core: Arc::clone(core),
        job: Mutex::new(Some(Box::new(Submitted { buf, done }))),
    });
    let tally = Tally::new({
        let request = Arc::clone(&request);
        move |failed| settle(&request, failed)
    });
    let pieces = cut(offset, 0, length, core.request_size());
    tally.send(pieces, |piece, done| send(&request, piece, done));
    tally.all_sent();
}

/// Asks for a piece. If there is a connection, `done` hears of it.
fn send(request: &Arc<Request>, piece: Piece, done: Done<()>) -> std::result::Result<(), Failure> {
    let core = &request.core;
    let open = core.link.current()?;
    let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
    let permit = open.budget.reserve(length);
    let compression = core.options.compression.number();
    let io = Io::read(open.handle, compression, piece.offset, piece.length);
    let target = PieceTarget {
        request: Arc::clone(request),
        piece,
        permit,
        done,
    };
    open.session.read(io, Box::new(target));
    Ok(())
}

/// Where a piece goes.
struct PieceTarget {
    request: Arc<Request>,
    piece: Piece,
    permit: Permit,
    done: Done<()>,
}

impl Target for PieceTarget {
    fn fill_part(
        &mut self,
        part: Range<u32>,
        fill: &mut dyn FnMut(&mut [u8]) -> std::result::Result<(), Failure>,
    ) -> std::result::Result<(), Failure> {
        // Only the thread that receives looks here.
        let mut job = self.request.job.lock();
        let bytes = job.as_mut().and_then(|job| {
            let piece = job.bytes().get_mut(self.piece.range())?;
            let [start, end] = [part.start, part.end].map(usize::try_from);
            piece.get_mut(start.ok()?..end.ok()?)
        });
        fill(bytes.ok_or(Failure::Closed)?)
    }

    fn finish(self: Box<Self>, result: std::result::Result<(), Failure>) {
        drop(self.permit);
        (self.done)(result);
    }
}

/// All pieces have come, or failed.
fn settle(request: &Arc<Request>, failed: Failed) {
    let lasting = failed
        .iter()
        .find(|(_, failure)| !(failure.is_lost_connection() || failure.is_out_of_memory()));
    if let Some((_, failure)) = lasting {
        return finish(request, Err(failure.clone()));
    }
    if failed.is_empty() {
        return finish(request, Ok(()));
    }
    let again = Arc::clone(request);
    recover(
        &request.core,
        Box::new(move |result| {
            let repeat = |(piece, failure)| repeat(&again, piece, failure);
            let result = result.and_then(|()| failed.into_iter().try_for_each(repeat));
            finish(&again, result);
        }),
    );
}

/// Reads a piece again: over a new connection, or in smaller ones.
fn repeat(
    request: &Arc<Request>,
    piece: Piece,
    failure: Failure,
) -> std::result::Result<(), Failure> {
    let read_now = |piece| {
        let (done, result) = one_shot();
        send(request, piece, done)?;
        result()
    };
    let result = if failure.is_out_of_memory() {
        Err(failure)
    } else {
        read_now(piece)
    };
    match result {
        Err(failure) if failure.is_out_of_memory() => {
            in_smaller_pieces(&request.core, piece, read_now)
        }
        result => result,
    }
}

fn finish(request: &Request, result: std::result::Result<(), Failure>) {
    let job = request.job.lock().take();
    if let Some(job) = job {
        job.finish(result);
    }
    request.core.flight.leave(request.number);
}
