//! Writing.

use std::sync::Arc;

use disk_units::{ByteLen, Sector};

use super::core::Core;
use super::flight::call_back;
use super::piece::{Failed, Piece, Tally, cut, in_smaller_pieces};
use super::recovery::recover;
use crate::error::{ErrorKind, Operation, Result};
use crate::failure::Failure;
use crate::session::{Done, Write, one_shot};

pub(super) fn submit<B>(
    core: &Arc<Core>,
    start: Sector,
    data: B,
    done: impl FnOnce(Result<()>, B) + Send + 'static,
) where
    B: AsRef<[u8]> + Send + 'static,
{
    let number = core.flight.enter();
    let finish = {
        let core = Arc::clone(core);
        move |result: std::result::Result<(), Failure>, data: B| {
            let result = result.map_err(|failure| {
                failure.during(Operation::Write, core.place(start, data.as_ref().len()))
            });
            call_back(|| done(result, data));
            core.flight.leave(number);
        }
    };
    if let Err(failure) = check(core, start, data.as_ref().len()) {
        finish(Err(failure), data);
        return;
    }
    // The data is needed here until all is sent, and then where pieces are repeated.
    let (keep, kept) = std::sync::mpsc::sync_channel(1);
    let tally = Tally::new({
        let core = Arc::clone(core);
        move |failed: Failed| {
            let Ok(data) = kept.recv() else { return };
            if failed.is_empty() {
                return finish(Ok(()), data);
            }
            let again = Arc::clone(&core);
            recover(
                &core,
                Box::new(move |result| {
                    let result = result.and_then(|()| {
                        let bytes: &[u8] = B::as_ref(&data);
                        repeat(&again, bytes, failed)
                    });
                    finish(result, data);
                }),
            );
        }
    });
    send_all(core, start, data.as_ref(), &tally);
    // Nothing is settled before this, so there is somebody to take it.
    let _ = keep.send(data);
    tally.all_sent();
}

pub(super) fn write_at(core: &Arc<Core>, start: Sector, data: &[u8]) -> Result<()> {
    let write = || {
        check(core, start, data.len())?;
        let (done, result) = one_shot();
        let tally = Tally::new(move |failed| done(Ok(failed)));
        send_all(core, start, data, &tally);
        tally.all_sent();
        repeat(core, data, result()?)
    };
    write().map_err(|failure| failure.during(Operation::Write, core.place(start, data.len())))
}

fn check(core: &Core, start: Sector, length: usize) -> std::result::Result<(), Failure> {
    if !core.options.writable {
        return Err(Failure::request(
            ErrorKind::ReadOnly,
            "the disk was opened for reading",
        ));
    }
    core.range(start, length).map(drop)
}

fn send_all(core: &Core, start: Sector, data: &[u8], tally: &Arc<Tally>) {
    // `check` has found it within the disk.
    let offset = start.byte_offset().map_or(u64::MAX, ByteLen::get);
    let pieces = cut(offset, 0, data.len(), core.request_size());
    tally.send(pieces, |piece, done| send(core, piece, data, done));
}

/// Sends a piece. If there is a connection, `done` hears of it.
fn send(
    core: &Core,
    piece: Piece,
    data: &[u8],
    done: Done<()>,
) -> std::result::Result<(), Failure> {
    let open = core.link.current()?;
    let data = data.get(piece.range()).unwrap_or_default();
    let permit = open.budget.reserve(data.len());
    open.note_write();
    let write = Write {
        handle: open.handle,
        offset: piece.offset,
        data,
        compression: core.options.compression,
        buffer: open.buffer,
    };
    let done = move |result| {
        drop(permit);
        done(result);
    };
    open.session.write(&write, Box::new(done));
    Ok(())
}

/// Writes again, in smaller pieces, what the host had no memory for. Nothing else is written again: it is not known
/// whether it was.
fn repeat(core: &Core, data: &[u8], failed: Failed) -> std::result::Result<(), Failure> {
    if let Some((_, failure)) = failed
        .iter()
        .find(|(_, failure)| !failure.is_out_of_memory())
    {
        return Err(failure.clone());
    }
    failed.into_iter().try_for_each(|(piece, _)| {
        in_smaller_pieces(core, piece, |piece| {
            let (done, result) = one_shot();
            send(core, piece, data, done)?;
            result()
        })
    })
}
