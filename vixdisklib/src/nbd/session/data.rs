//! The bytes of a read: what is known to be zero, what was read, and what lies in a file and is sent from there.

use std::iter::once;
use std::ops::Range;

use disk_units::ByteLen;

use super::buffer::Buffer;
use super::execute::Failure;
use super::holes::holes;
use super::sent_file::{SentFile, SentFiles};
use crate::nbd::export::Export;
use crate::nbd::wire::request::Request;

/// Shorter reads are answered from memory: finding out what is a hole and what lies in a file costs more.
const LONG: u64 = 16 << 10;

/// What was read, in pieces, in order and without gaps.
#[derive(Debug)]
pub(super) struct Data {
    /// As long as the read; holds what the pieces say. None if they all lie elsewhere.
    pub(super) buffer: Option<Buffer>,
    pub(super) pieces: Vec<Piece>,
    /// Whether the client is told of zeroes, instead of getting them.
    pub(super) tells_holes: bool,
}

/// A run of bytes of the export.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) range: Range<u64>,
    pub(super) source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    Zeroes,
    /// In the buffer, at its place.
    Memory,
    File(SentFile),
}

/// How the bytes of a read may reach the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways<'a> {
    pub(super) tells_holes: bool,
    /// None if nothing is sent from files.
    pub(super) files: Option<&'a SentFiles>,
}

/// Reads what is neither zero nor sent from a file. Nothing is sent before all is read, so a failure leaves no chunk half
/// finished.
pub(super) fn read(
    request: &Request,
    mut buffer: Buffer,
    ways: Ways<'_>,
    export: &dyn Export,
) -> Result<Data, Failure> {
    let is_long = request.length >= LONG;
    let zeroes = if ways.tells_holes || (is_long && export.knows_zeroes()) {
        holes(
            export,
            ByteLen::new(request.offset),
            ByteLen::new(request.length),
        )
    } else {
        Vec::new()
    };
    let mut reading = Reading {
        request,
        buffer: &mut buffer,
        export,
        files: ways.files,
        pieces: Vec::with_capacity(2 * zeroes.len() + 1),
    };
    let end = request.offset + request.length;
    let mut at = request.offset;
    for hole in zeroes.into_iter().chain(once(end..end)) {
        reading.data(at..hole.start)?;
        at = hole.end;
        if !hole.is_empty() {
            reading.push(hole, Source::Zeroes);
        }
    }
    let pieces = reading.pieces;
    let is_used = |piece: &Piece| matches!(piece.source, Source::Memory);
    let is_used = pieces.iter().any(is_used);
    Ok(Data {
        buffer: is_used.then_some(buffer),
        pieces,
        tells_holes: ways.tells_holes,
    })
}

struct Reading<'a> {
    request: &'a Request,
    buffer: &'a mut Buffer,
    export: &'a dyn Export,
    files: Option<&'a SentFiles>,
    pieces: Vec<Piece>,
}

impl Reading<'_> {
    /// Finds or reads what is no zeroes.
    fn data(&mut self, mut range: Range<u64>) -> Result<(), Failure> {
        while !range.is_empty() {
            let length = range.end - range.start;
            let Some(file) = self.file(range.start, length) else {
                return self.memory(range);
            };
            let end = range.start + file.range.length.get().min(length);
            self.push(range.start..end, Source::File(file));
            range.start = end;
        }
        Ok(())
    }

    /// Where the front of what is left lies in a file, if that is worth it: what lies in short pieces is read at once.
    fn file(&self, offset: u64, length: u64) -> Option<SentFile> {
        let _turn = self.files.filter(|_| length >= LONG)?.turn()?;
        let range = self
            .export
            .file_range(ByteLen::new(offset), ByteLen::new(length))?;
        (range.length.get() >= LONG).then_some(SentFile { range, _turn })
    }

    fn memory(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let part = part(self.request, range.clone());
        let read = self.export.read_at(
            ByteLen::new(range.start),
            &mut self.buffer.as_mut_slice()[part],
        );
        read.map_err(|error| Failure {
            error,
            position: Some(range.start).filter(|start| *start != self.request.offset),
        })?;
        self.push(range, Source::Memory);
        Ok(())
    }

    fn push(&mut self, range: Range<u64>, source: Source) {
        self.pieces.push(Piece { range, source });
    }
}

/// Where a range of the export lies in the buffer of a read.
pub(super) fn part(request: &Request, range: Range<u64>) -> Range<usize> {
    let position = |offset: u64| {
        usize::try_from(offset - request.offset).expect("inside a buffer, which is in memory")
    };
    position(range.start)..position(range.end)
}
