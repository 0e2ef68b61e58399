//! The thread that receives: each message goes to whoever waits for it.

use super::Shared;
use super::incoming::Incoming;
use super::table::{Late, Pending, Read};
use crate::compress::Compression;
use crate::failure::{Breach, Failure};
use crate::wire::aio::{Direction, ErrorReply, HEADER, Header, Io, Kind, Reply};

/// A host that says that another one serves the disk was never seen; its message has one of these numbers.
const MOVED: std::ops::RangeInclusive<u32> = 14..=21;

/// Receives until the connection ends.
pub(super) fn run(shared: &Shared) {
    // Also when a callback panics, nobody may wait for ever.
    let _end = EndOnDrop(shared);
    let mut reader = Reader {
        shared,
        incoming: Incoming::new(shared),
        scratch: Vec::new(),
    };
    loop {
        if let Err(failure) = reader.message() {
            tracing::debug!(%failure, "a connection to a host ends");
            shared.end(failure);
            return;
        }
    }
}

struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end(Failure::Closed);
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    incoming: Incoming<'a>,
    /// Compressed data, and data that nobody waits for.
    scratch: Vec<u8>,
}

impl Reader<'_> {
    fn message(&mut self) -> Result<(), Failure> {
        self.incoming.end_message();
        let mut header = [0; HEADER];
        self.incoming.fill(&mut header)?;
        let header = Header::decode(&header)?;
        let payload = self.incoming.take(header.size)?;
        match Reply::decode(header.kind, &payload)? {
            Reply::Error(error) => self.refusal(header.operation, error),
            Reply::Io(io) => match io.direction {
                Direction::Read => self.data(header.operation, io),
                Direction::Write => self.written(header.operation, io),
            },
            Reply::Other(kind) if MOVED.contains(&kind.number()) => {
                Err(Failure::Moved(kind.number()))
            }
            Reply::Other(kind) => Err(Failure::Protocol(Breach::UnknownKind(kind.number()))),
            reply => {
                let extra = self.incoming.take(reply.extra())?;
                self.answer(header.operation, reply, extra)
            }
        }
    }

    fn refusal(&mut self, operation: u32, error: ErrorReply) -> Result<(), Failure> {
        let text = self.incoming.take(error.text)?;
        let failure = Failure::refused(error.code, &text);
        let pending = {
            let mut table = self.shared.table.lock();
            if table.was_refused(operation) {
                // Each part of a write may be refused.
                return Ok(());
            }
            table.refuse(operation)
        };
        match pending {
            Some(pending) => pending.fail(failure),
            // What is refused, if not a request, is all.
            None => return Err(failure),
        }
        Ok(())
    }

    fn answer(&mut self, operation: u32, reply: Reply, extra: Vec<u8>) -> Result<(), Failure> {
        let pending = {
            let mut table = self.shared.table.lock();
            match table.take(operation) {
                None if table.take_late(operation, Late::Answer(reply.kind())) => return Ok(()),
                pending => pending,
            }
        };
        match pending {
            Some(Pending::Call { kind, done }) if kind == reply.kind() => {
                done(Ok((reply, extra)));
                Ok(())
            }
            Some(pending) => self.misfit(pending),
            None => Err(Failure::breach("an answer to nothing")),
        }
    }

    fn written(&mut self, operation: u32, io: Io) -> Result<(), Failure> {
        let pending = {
            let mut table = self.shared.table.lock();
            match table.take(operation) {
                None if table.take_late(operation, Late::Answer(Kind::Io)) => return Ok(()),
                pending => pending,
            }
        };
        match pending {
            Some(Pending::Write {
                offset,
                length,
                done,
            }) if (offset, length) == (io.offset, io.total) => {
                done(match io.handle_or_status {
                    0 => Ok(()),
                    status => Err(Failure::refused_by(status)),
                });
                Ok(())
            }
            Some(pending) => self.misfit(pending),
            None => Err(Failure::breach("an answer to nothing")),
        }
    }

    fn data(&mut self, operation: u32, io: Io) -> Result<(), Failure> {
        let pending = {
            let mut table = self.shared.table.lock();
            match table.take(operation) {
                None if table.take_late(operation, Late::Data(io.length)) => None,
                None => return Err(Failure::breach("data that nobody asked for")),
                pending => pending,
            }
        };
        match pending {
            None => {
                self.receive_scratch(io.reply_extra())?;
                Ok(())
            }
            Some(Pending::Read(read)) => self.part(operation, io, read),
            Some(pending) => self.misfit(pending),
        }
    }

    /// One part of what was read.
    fn part(&mut self, operation: u32, io: Io, mut read: Read) -> Result<(), Failure> {
        if let Err(failure) = self.receive_part(io, &mut read) {
            // The connection has ended before whoever waits can ask for more.
            self.shared.end(failure.clone());
            read.target.finish(Err(failure.clone()));
            return Err(failure);
        }
        if read.parts.are_whole(read.length) {
            read.target.finish(Ok(()));
            return Ok(());
        }
        let entered = self
            .shared
            .table
            .lock()
            .enter(operation, Pending::Read(read));
        if let Err((pending, failure)) = entered {
            pending.fail(failure);
        }
        Ok(())
    }

    fn receive_part(&mut self, io: Io, read: &mut Read) -> Result<(), Failure> {
        let end = io.part.checked_add(io.length);
        let part = match end {
            Some(end) if end <= read.length => io.part..end,
            _ => return Err(Failure::breach("data beyond what was asked for")),
        };
        if io.handle_or_status != 0 {
            return Err(Failure::breach("data that could not be read"));
        }
        if (io.offset, io.total) != (read.offset, read.length) {
            return Err(Failure::breach("data of another request"));
        }
        if !read.parts.add(part.clone()) {
            return Err(Failure::breach("data that came before, or of no length"));
        }
        let Some(method) = Compression::from_number(io.compression) else {
            return Err(Failure::breach("an unknown compression"));
        };
        if method == Compression::None {
            if io.sent != io.length {
                return Err(Failure::breach("data with two lengths"));
            }
            let incoming = &mut self.incoming;
            return read.target.fill_part(part, &mut |into| incoming.fill(into));
        }
        self.receive_scratch(io.sent)?;
        let data = self.scratch.as_slice();
        read.target
            .fill_part(part, &mut |into| Ok(method.decompress(data, into)?))
    }

    fn receive_scratch(&mut self, count: u32) -> Result<(), Failure> {
        // At most two megabytes; `Reply::decode` has checked it.
        self.scratch
            .resize(usize::try_from(count).unwrap_or_default(), 0);
        self.incoming.fill(&mut self.scratch)
    }

    /// The answer is not one to this request.
    fn misfit(&self, pending: Pending) -> Result<(), Failure> {
        let failure = Failure::breach("an answer to another request");
        self.shared.end(failure.clone());
        pending.fail(failure.clone());
        Err(failure)
    }
}
