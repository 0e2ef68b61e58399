//! Carries commands out against an export.

use std::panic::{AssertUnwindSafe, catch_unwind};

use disk_units::ByteLen;

use super::buffer::Buffer;
use super::data::{self, Data, Ways};
use super::handshake::Negotiated;
use super::request::{Command, describe};
use super::sent_file::SentFiles;
use super::status::{Bounds, block_status};
use crate::nbd::ErrorNumber;
use crate::nbd::export::{Export, ExportError};
use crate::nbd::wire::reply::Descriptor;
use crate::nbd::wire::request::Request;

/// What a command gives back.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// The bytes of a read.
    Data(Data),
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

/// What commands are carried out against.
#[derive(Clone, Copy)]
pub(super) struct Executor<'a> {
    pub(super) export: &'a dyn Export,
    pub(super) negotiated: &'a Negotiated,
    /// Extents in one reply.
    pub(super) max_extents: usize,
    /// If the connection sends from files, and the export stays as it is meanwhile.
    pub(super) files: Option<&'a SentFiles>,
}

impl Executor<'_> {
    /// Carries out `command`. `buffer` holds the payload of a write, or takes the data of a read; the other commands
    /// have none. A panic in the export becomes an error for the client, and the session goes on.
    pub(super) fn execute(
        self,
        command: Command,
        request: &Request,
        buffer: Option<Buffer>,
    ) -> Result<Outcome, Failure> {
        let Self {
            export, negotiated, ..
        } = self;
        let attempt = || match command {
            Command::Read { holes } => {
                let buffer = buffer.expect("reads always come with a buffer");
                let ways = Ways {
                    tells_holes: holes,
                    files: self.files,
                };
                data::read(request, buffer, ways, export).map(Outcome::Data)
            }
            Command::BlockStatus { one, contexts } => {
                let bounds = Bounds {
                    most: if one { 1 } else { self.max_extents },
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
        let idle = std::sync::Arc::new(crate::nbd::session::quota::Quota::new(0));
        let pool = crate::nbd::session::buffer::Pool::new(&idle);
        let map = Map(vec![(1, BlockState::Data)]);
        let buffer = Some(pool.take(1));
        let negotiated = negotiated(Framing::Structured);
        let executor = Executor {
            export: &map,
            negotiated: &negotiated,
            max_extents: 1,
            files: None,
        };
        executor
            .execute(command, &request, buffer)
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
        let idle = std::sync::Arc::new(crate::nbd::session::quota::Quota::new(0));
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
