//! From the outcome of a request to the bytes of its reply.

use super::budget::Permit;
use super::data::{Data, Piece, Source, part};
use super::execute::{Failure, Outcome};
use super::output::{Body, Reply};
use crate::nbd::wire::reply::{Answer, Framing};
use crate::nbd::wire::request::Request;

/// Makes the one reply to `request`. The permit is given back when the reply was sent.
pub(super) fn reply<'b>(
    request: &Request,
    framing: Framing,
    result: Result<Outcome, Failure>,
    permit: Permit<'b>,
) -> Reply<'b> {
    let answer = Answer {
        framing,
        cookie: request.cookie,
        offset: request.offset,
    };
    let mut reply = Reply {
        head: Vec::new(),
        data: None,
        bodies: Vec::new(),
        _permit: permit,
    };
    match result {
        Ok(Outcome::Done) => reply.head = answer.success(),
        Ok(Outcome::Data(_)) if request.length == 0 => reply.head = answer.empty_read(),
        Ok(Outcome::Data(data)) => put_data(&mut reply, answer, request, data),
        Ok(Outcome::Status(contexts)) => {
            let mut left = contexts.len();
            for (id, descriptors) in contexts {
                left -= 1;
                answer.put_status(&mut reply.head, left == 0, id, &descriptors);
            }
        }
        Err(Failure { error, position }) => {
            reply.head = answer.error(error.number(), error.message(), position);
        }
    }
    reply
}

/// A read: a chunk for each hole that the client is told of, and one for what lies between two of them.
fn put_data(reply: &mut Reply<'_>, answer: Answer, request: &Request, data: Data) {
    let end = request.offset + request.length;
    let head = &mut reply.head;
    let has_chunks = answer.framing.has_chunks();
    if !has_chunks {
        *head = answer.success();
    }
    let is_hole = |piece: &Piece| data.tells_holes && matches!(piece.source, Source::Zeroes);
    // The end of the last chunk.
    let mut told = request.offset;
    let mut pieces = data.pieces.into_iter();
    while let Some(piece) = pieces.as_slice().first() {
        let start = piece.range.start;
        if is_hole(piece) {
            told = piece.range.end;
            let length = part(request, start..told).len();
            answer.put_hole(head, told == end, start, length);
        } else if has_chunks && start == told {
            let between = pieces.as_slice().iter().take_while(|piece| !is_hole(piece));
            told = between.last().map_or(end, |piece| piece.range.end);
            let length = part(request, start..told).len();
            answer.put_data(head, told == end, start, length);
        }
        let Some(Piece { range, source }) = pieces.next() else {
            break;
        };
        let part = part(request, range);
        let body = match source {
            Source::Zeroes if data.tells_holes => continue,
            Source::Zeroes => Body::Zeroes(part.len()),
            Source::Memory => Body::Memory(part),
            Source::File(file) => Body::File(file, part.len()),
        };
        reply.bodies.push((head.len(), body));
    }
    reply.data = data.buffer;
}
