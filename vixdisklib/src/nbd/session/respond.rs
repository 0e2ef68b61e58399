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

/// A read: in one chunk, or, where the client can be told of holes, in one for each of them and for what lies between.
fn put_data(reply: &mut Reply<'_>, answer: Answer, request: &Request, data: Data) {
    let end = request.offset + request.length;
    let head = &mut reply.head;
    if !data.tells_holes {
        match answer.framing {
            Framing::Simple => *head = answer.success(),
            Framing::Structured | Framing::Extended => {
                let length = part(request, request.offset..end).len();
                answer.put_data(head, true, request.offset, length);
            }
        }
    }
    for Piece { range, source } in data.pieces {
        let part = part(request, range.clone());
        let is_last = range.end == end;
        let body = match source {
            Source::Zeroes if data.tells_holes => {
                answer.put_hole(head, is_last, range.start, part.len());
                continue;
            }
            Source::Zeroes => Body::Zeroes(part.len()),
            Source::Memory => Body::Memory(part.clone()),
            Source::File(file) => Body::File(file, part.len()),
        };
        if data.tells_holes {
            answer.put_data(head, is_last, range.start, part.len());
        }
        reply.bodies.push((head.len(), body));
    }
    reply.data = data.buffer;
}
