//! From the outcome of a request to the bytes of its reply.

use std::iter::once;
use std::ops::Range;

use super::budget::Permit;
use super::buffer::Buffer;
use super::execute::{Failure, Outcome, part};
use super::output::{Chunk, Reply};
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
        chunks: Vec::new(),
        _permit: permit,
    };
    match result {
        Ok(Outcome::Done) => reply.head = answer.success(),
        Ok(Outcome::Data(_, _)) if request.length == 0 => reply.head = answer.empty_read(),
        Ok(Outcome::Data(data, _)) if framing == Framing::Simple => {
            reply.head = answer.success();
            reply.data = Some(data);
        }
        Ok(Outcome::Data(data, holes)) if holes.is_empty() => {
            let length = data.as_slice().len();
            answer.put_data(&mut reply.head, true, request.offset, length);
            reply.data = Some(data);
        }
        Ok(Outcome::Data(data, holes)) => sparse(&mut reply, answer, request, data, &holes),
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

/// A read with holes: a chunk for each of them, and for what lies between.
fn sparse(
    reply: &mut Reply<'_>,
    answer: Answer,
    request: &Request,
    data: Buffer,
    holes: &[Range<u64>],
) {
    let end = request.offset + request.length;
    let head = &mut reply.head;
    let mut at = request.offset;
    for hole in holes.iter().cloned().chain(once(end..end)) {
        if at < hole.start {
            let data = part(request, at..hole.start);
            answer.put_data(head, hole.start == end, at, data.len());
            let head_end = head.len();
            reply.chunks.push(Chunk { head_end, data });
        }
        if !hole.is_empty() {
            let length = part(request, hole.clone()).len();
            answer.put_hole(head, hole.end == end, hole.start, length);
        }
        at = hole.end;
    }
    if reply.chunks.is_empty() {
        return;
    }
    // Behind the last data there may be holes.
    let head_end = head.len();
    reply.chunks.push(Chunk {
        head_end,
        data: 0..0,
    });
    reply.data = Some(data);
}
