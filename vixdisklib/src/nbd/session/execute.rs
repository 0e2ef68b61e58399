//! Carries commands out against an export.

use std::iter::once;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use disk_units::ByteLen;

use super::buffer::Buffer;
use super::handshake::Negotiated;
use super::holes::holes;
use super::request::{Command, describe};
use super::status::{Bounds, block_status};
use crate::nbd::ErrorNumber;
use crate::nbd::export::{Export, ExportError};
use crate::nbd::wire::reply::Descriptor;
use crate::nbd::wire::request::Request;

/// What a command gives back.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// The bytes of a read. Those in the holes, which are in order and in bytes of the export, are zeroes that were
    /// not read: the buffer holds anything there.
    Data(Buffer, Vec<Range<u64>>),
    /// The id of each context and what it says.
    Status(Vec<(u32, Vec<Descriptor>)>),
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ExportError,
    /// Where, if that is not simply the start of the request.
    pub(super) position: Option<u64>,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self {
            error,
            position: None,
        }
    }
}

/// Carries out `command`. `buffer` holds the payload of a write, or takes the data of a read; the other commands
/// have none. A panic in the export becomes an error for the client, and the session goes on.
pub(super) fn execute(
    command: Command,
    request: &Request,
    buffer: Option<Buffer>,
    export: &dyn Export,
    negotiated: &Negotiated,
    max_extents: usize,
) -> Result<Outcome, Failure> {
    let attempt = || match command {
        Command::Read { holes } => {
            let buffer = buffer.expect("reads always come with a buffer");
            read(request, buffer, holes, export)
        }
        Command::BlockStatus { one, contexts } => {
            let bounds = Bounds {
                most: if one { 1 } else { max_extents },
                longest: negotiated.framing.longest_extent(),
            };
            status(request, contexts, bounds, export, negotiated).map_err(Failure::from)
        }
        _ => perform(command, request, buffer, export).map_err(Failure::from),
    };
    let result = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| {
        tracing::error!(request = describe(request, ""), "the export panicked");
        let message = describe(request, "internal error of the server");
        Err(ExportError::new(ErrorNumber::Io, message).into())
    });
    result.map_err(|failure| Failure {
        error: plausible(failure.error, command),
        ..failure
    })
}

/// Reads all but the holes. Nothing is sent before all is read, so a failure leaves no chunk half finished.
fn read(
    request: &Request,
    mut buffer: Buffer,
    may_skip: bool,
    export: &dyn Export,
) -> Result<Outcome, Failure> {
    let offset = ByteLen::new(request.offset);
    let length = ByteLen::new(request.length);
    let holes = if may_skip {
        holes(export, offset, length)
    } else {
        Vec::new()
    };
    if holes.is_empty() {
        if !length.is_zero() {
            export.read_at(offset, buffer.as_mut_slice())?;
        }
        return Ok(Outcome::Data(buffer, holes));
    }
    let end = request.offset + request.length;
    let mut at = request.offset;
    for hole in holes.iter().cloned().chain(once(end..end)) {
        if at < hole.start {
            let part = part(request, at..hole.start);
            export
                .read_at(ByteLen::new(at), &mut buffer.as_mut_slice()[part])
                .map_err(|error| Failure {
                    error,
                    position: Some(at),
                })?;
        }
        at = hole.end;
    }
    Ok(Outcome::Data(buffer, holes))
}

/// Where a range of the export lies in the buffer of a read.
pub(super) fn part(request: &Request, range: Range<u64>) -> Range<usize> {
    let position = |offset: u64| {
        usize::try_from(offset - request.offset).expect("inside a buffer, which is in memory")
    };
    position(range.start)..position(range.end)
}

fn status(
    request: &Request,
    contexts: u16,
    bounds: Bounds,
    export: &dyn Export,
    negotiated: &Negotiated,
) -> Result<Outcome, ExportError> {
    let offset = ByteLen::new(request.offset);
    let length = ByteLen::new(request.length);
    let mut answers = Vec::new();
    for (index, context) in negotiated.contexts.iter().enumerate() {
        if contexts & 1 << index != 0 {
            let descriptors = block_status(export, *context, offset, length, bounds)?;
            answers.push((context.id(), descriptors));
        }
    }
    Ok(Outcome::Status(answers))
}

fn perform(
    command: Command,
    request: &Request,
    buffer: Option<Buffer>,
    export: &dyn Export,
) -> Result<Outcome, ExportError> {
    let offset = ByteLen::new(request.offset);
    let length = ByteLen::new(request.length);
    let fua = match command {
        Command::Write { fua } => {
            let buffer = buffer.expect("writes always come with a buffer");
            export.write_at(offset, buffer.as_slice())?;
            fua
        }
        Command::WriteZeroes { request, fua } => {
            export.write_zeroes(offset, length, request)?;
            fua
        }
        Command::Trim { fua } => {
            export.trim(offset, length)?;
            fua
        }
        Command::Flush => {
            export.flush()?;
            false
        }
        Command::Cache | Command::Nothing => false,
        Command::Read { .. } | Command::BlockStatus { .. } => {
            unreachable!("these have answers and are dealt with above")
        }
    };
    if fua {
        export.flush_range(offset, length)?;
    }
    Ok(Outcome::Done)
}

/// Some numbers mean something special to clients; an export may use them only where they mean that.
fn plausible(error: ExportError, command: Command) -> ExportError {
    let fast = matches!(command, Command::WriteZeroes { request, .. } if request.fast_only);
    match error.number() {
        ErrorNumber::NotSupported if fast => error,
        ErrorNumber::NotSupported | ErrorNumber::Overflow | ErrorNumber::Shutdown => {
            ExportError::new(ErrorNumber::Io, error.message())
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::export::{BlockState, ZeroRequest};
    use crate::nbd::session::testing::{Map, negotiated};
    use crate::nbd::wire::reply::Framing;
    use crate::nbd::wire::request::CommandFlags;

    fn run(command: Command) -> ErrorNumber {
        let request = Request {
            flags: CommandFlags::empty(),
            command: 0,
            cookie: 0,
            offset: 0,
            length: 1,
            payload: 0,
        };
        let idle = std::sync::Arc::new(crate::nbd::session::buffer::Idle::new(0));
        let pool = crate::nbd::session::buffer::Pool::new(&idle);
        let map = Map(vec![(1, BlockState::Data)]);
        let buffer = Some(pool.take(1));
        let negotiated = negotiated(Framing::Structured);
        execute(command, &request, buffer, &map, &negotiated, 1)
            .unwrap_err()
            .error
            .number()
    }

    #[test]
    fn special_numbers_pass_only_where_clients_expect_them() {
        let zeroes = |fast_only| Command::WriteZeroes {
            request: ZeroRequest {
                may_free: true,
                fast_only,
            },
            fua: false,
        };
        assert_eq!(run(zeroes(true)), ErrorNumber::NotSupported);
        assert_eq!(run(zeroes(false)), ErrorNumber::Io);
        assert_eq!(run(Command::Write { fua: false }), ErrorNumber::Io);
    }

    /// Notes what it is asked to make durable.
    #[derive(Default)]
    struct Flushes(parking_lot::Mutex<Vec<(u64, u64)>>);

    impl Export for Flushes {
        fn size(&self) -> ByteLen {
            ByteLen::new(1000)
        }
        fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
            Ok(())
        }
        fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
            Ok(())
        }
        fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
            Ok(())
        }
        fn flush(&self) -> Result<(), ExportError> {
            self.0.lock().push((0, 1000));
            Ok(())
        }
        fn flush_range(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
            self.0.lock().push((offset.get(), length.get()));
            Ok(())
        }
    }

    #[test]
    fn what_must_be_durable_at_once_is_flushed_by_itself() {
        let request = Request {
            flags: CommandFlags::empty(),
            command: 0,
            cookie: 0,
            offset: 30,
            length: 4,
            payload: 0,
        };
        let export = Flushes::default();
        let idle = std::sync::Arc::new(crate::nbd::session::buffer::Idle::new(0));
        let pool = crate::nbd::session::buffer::Pool::new(&idle);
        let zeroes = ZeroRequest::default();
        let flushed = |command| {
            let buffer = Some(pool.take(4));
            perform(command, &request, buffer, &export).unwrap();
            std::mem::take(&mut *export.0.lock())
        };
        for (fua, expected) in [(false, vec![]), (true, vec![(30, 4)])] {
            assert_eq!(flushed(Command::Write { fua }), expected);
            assert_eq!(flushed(Command::Trim { fua }), expected);
            let zero = Command::WriteZeroes {
                request: zeroes,
                fua,
            };
            assert_eq!(flushed(zero), expected);
        }
        assert_eq!(flushed(Command::Flush), [(0, 1000)]);
    }

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(run(Command::Read { holes: false }), ErrorNumber::Io);
    }
}
