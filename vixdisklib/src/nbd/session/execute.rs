//! Carries commands out against an export.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use disk_units::ByteLen;

use super::buffer::Buffer;
use super::request::{Command, describe};
use crate::nbd::ErrorNumber;
use crate::nbd::export::{BlockState, Export, ExportError};
use crate::nbd::wire::transmission::{Descriptor, Request, STATE_HOLE, STATE_ZERO};

/// The longest extent of one descriptor: the largest multiple of 64 KiB that fits its 32 bits, so that pieces of
/// longer ones stay aligned.
const MAX_EXTENT: u64 = (1 << 32) - (1 << 16);

/// What a command gives back.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Data(Buffer),
    Status(Vec<Descriptor>),
}

/// Carries out `command`. `buffer` holds the payload of a write, or takes the data of a read; the other commands
/// have none. A panic in the export becomes an error for the client, and the session goes on.
pub(super) fn execute(
    command: Command,
    request: &Request,
    buffer: Option<Buffer>,
    export: &dyn Export,
    max_extents: usize,
) -> Result<Outcome, ExportError> {
    let attempt = || perform(command, request, buffer, export, max_extents);
    let result = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| {
        tracing::error!(request = describe(request, ""), "the export panicked");
        let message = describe(request, "internal error of the server");
        Err(ExportError::new(ErrorNumber::Io, message))
    });
    result.map_err(|error| plausible(error, command))
}

fn perform(
    command: Command,
    request: &Request,
    buffer: Option<Buffer>,
    export: &dyn Export,
    max_extents: usize,
) -> Result<Outcome, ExportError> {
    let offset = ByteLen::new(request.offset);
    let length = ByteLen::new(u64::from(request.length));
    let fua = match (command, buffer) {
        (Command::Read, Some(mut buffer)) => {
            if !length.is_zero() {
                export.read_at(offset, buffer.as_mut_slice())?;
            }
            return Ok(Outcome::Data(buffer));
        }
        (Command::BlockStatus { one }, _) => {
            let most = if one { 1 } else { max_extents };
            return block_status(offset, length, most, export).map(Outcome::Status);
        }
        (Command::Write { fua }, Some(buffer)) => {
            export.write_at(offset, buffer.as_slice())?;
            fua
        }
        (Command::Read | Command::Write { .. }, None) => {
            unreachable!("reads and writes always come with a buffer")
        }
        (Command::WriteZeroes { request, fua }, _) => {
            export.write_zeroes(offset, length, request)?;
            fua
        }
        (Command::Trim { fua }, _) => {
            export.trim(offset, length)?;
            fua
        }
        (Command::Flush, _) => true,
        (Command::Cache | Command::Nothing, _) => false,
    };
    if fua {
        export.flush()?;
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

/// Asks the export, merges neighbours of one state, cuts at the end of the range and at 32 bits.
fn block_status(
    offset: ByteLen,
    length: ByteLen,
    most: usize,
    export: &dyn Export,
) -> Result<Vec<Descriptor>, ExportError> {
    let mut status = Status {
        descriptors: Vec::new(),
        run: None,
        left: length.get(),
        most,
    };
    let result = export.block_status(offset, length, &mut |length, state| {
        status.add(length.get(), state)
    });
    status.finish();
    match result {
        Err(error) if status.descriptors.is_empty() => Err(error),
        _ => {
            if status.descriptors.is_empty() {
                // The protocol wants at least one; the export gave none, so nothing is known.
                status.push(length.get(), BlockState::Data);
            }
            Ok(status.descriptors)
        }
    }
}

struct Status {
    descriptors: Vec<Descriptor>,
    /// The state and length of what is not in `descriptors` yet, because its neighbour may belong to it.
    run: Option<(BlockState, u64)>,
    left: u64,
    most: usize,
}

impl Status {
    fn add(&mut self, length: u64, state: BlockState) -> ControlFlow<()> {
        let length = length.min(self.left);
        self.left -= length;
        match &mut self.run {
            Some((current, total)) if *current == state => *total += length,
            _ => {
                self.finish();
                self.run = (length > 0).then_some((state, length));
            }
        }
        let full = self.descriptors.len() >= self.most;
        if full || self.left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn finish(&mut self) {
        if let Some((state, length)) = self.run.take() {
            self.push(length, state);
        }
    }

    fn push(&mut self, mut length: u64, state: BlockState) {
        let flags = match state {
            BlockState::Data => 0,
            BlockState::Zero => STATE_ZERO,
            BlockState::Hole => STATE_HOLE | STATE_ZERO,
        };
        while length > 0 && self.descriptors.len() < self.most {
            let piece = u32::try_from(length.min(MAX_EXTENT)).expect("cut to 32 bits just now");
            self.descriptors.push(Descriptor {
                length: piece,
                flags,
            });
            length -= u64::from(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::export::ZeroRequest;

    /// An export that is nothing but a map.
    struct Map(Vec<(u64, BlockState)>);

    impl Export for Map {
        fn size(&self) -> ByteLen {
            ByteLen::new(self.0.iter().map(|piece| piece.0).sum())
        }
        fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
            panic!("no contents")
        }
        fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
            Err(ExportError::new(ErrorNumber::NotSupported, "no contents"))
        }
        fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
            Err(ExportError::new(ErrorNumber::NotSupported, "slow"))
        }
        fn flush(&self) -> Result<(), ExportError> {
            Ok(())
        }
        fn block_status(
            &self,
            _: ByteLen,
            _: ByteLen,
            visit: &mut crate::nbd::BlockVisitor<'_>,
        ) -> Result<(), ExportError> {
            for (length, state) in &self.0 {
                if visit(ByteLen::new(*length), *state).is_break() {
                    return Ok(());
                }
            }
            Err(ExportError::new(ErrorNumber::Io, "end of the map"))
        }
    }

    fn status(map: &Map, length: u64, most: usize) -> Vec<(u32, u32)> {
        block_status(ByteLen::ZERO, ByteLen::new(length), most, map)
            .unwrap()
            .into_iter()
            .map(|descriptor| (descriptor.length, descriptor.flags))
            .collect()
    }

    #[test]
    fn neighbours_merge_and_the_range_cuts() {
        let map = Map(vec![
            (10, BlockState::Data),
            (20, BlockState::Data),
            (5, BlockState::Hole),
            (100, BlockState::Zero),
        ]);
        assert_eq!(status(&map, 40, 9), [(30, 0), (5, 3), (5, 2)]);
        assert_eq!(status(&map, 40, 2), [(30, 0), (5, 3)]);
        assert_eq!(status(&map, 40, 1), [(30, 0)]);
        assert_eq!(status(&map, 7, 1), [(7, 0)]);
        assert_eq!(status(&map, 1000, 9), [(30, 0), (5, 3), (100, 2)]);
    }

    #[test]
    fn long_extents_split_at_aligned_lengths() {
        let map = Map(vec![(u64::from(u32::MAX) * 2, BlockState::Hole)]);
        let longest = u32::try_from(MAX_EXTENT).unwrap();
        let got = status(&map, u64::from(u32::MAX), 9);
        assert_eq!(got, [(longest, 3), (65_535, 3)]);
        assert_eq!(status(&map, u64::from(u32::MAX), 1), [(longest, 3)]);
    }

    #[test]
    fn an_export_without_an_answer_is_an_error_only_if_it_says_so() {
        let error = block_status(ByteLen::ZERO, ByteLen::new(1), 1, &Map(Vec::new()));
        assert_eq!(error.unwrap_err().message(), "end of the map");
    }

    fn run(command: Command) -> ErrorNumber {
        let request = Request {
            flags: crate::nbd::wire::transmission::CommandFlags::empty(),
            command: 0,
            cookie: 0,
            offset: 0,
            length: 1,
        };
        let pool = std::sync::Arc::new(crate::nbd::session::buffer::Pool::default());
        let map = Map(vec![(1, BlockState::Data)]);
        let buffer = Some(pool.take(1));
        execute(command, &request, buffer, &map, 1)
            .unwrap_err()
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

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(run(Command::Read), ErrorNumber::Io);
    }
}
