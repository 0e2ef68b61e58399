//! Sending: requests get their numbers in the order in which they are sent, and are never mixed.

use std::io::IoSlice;

use crate::compress::Compression;
use crate::failure::Failure;
use crate::stream::{ByteStream, write_all};
use crate::wire::aio::{Direction, Io};

/// Who may send. It is locked while the messages of one request are sent.
#[derive(Default)]
pub(super) struct Sender {
    next: u32,
}

impl Sender {
    /// The number of the next request. After four billion requests an old one may still be in flight.
    pub(super) fn next(&mut self, is_taken: impl Fn(u32) -> bool) -> u32 {
        let mut number = self.next;
        while is_taken(number) {
            number = number.wrapping_add(1);
        }
        self.next = number.wrapping_add(1);
        number
    }

    pub(super) fn outgoing<'a>(&mut self, stream: &'a dyn ByteStream) -> Outgoing<'a> {
        Outgoing(stream)
    }
}

pub(super) struct Outgoing<'a>(&'a dyn ByteStream);

impl Outgoing<'_> {
    /// Sends a header with its payload, and what follows it.
    pub(super) fn message(&mut self, message: &[u8], extra: &[u8]) -> Result<(), Failure> {
        let mut slices = [IoSlice::new(message), IoSlice::new(extra)];
        write_all(self.0, &mut slices)?;
        Ok(())
    }
}

/// A request to write.
pub(crate) struct Write<'a> {
    /// The open disk.
    pub(crate) handle: u64,
    /// Where on the disk, in bytes.
    pub(crate) offset: u64,
    /// What, at most 4 GiB.
    pub(crate) data: &'a [u8],
    pub(crate) compression: Compression,
    /// The most data of one message, in bytes.
    pub(crate) buffer: u32,
}

/// A part of it, as it is sent.
pub(super) struct OutgoingPart<'a> {
    pub(super) io: Io,
    raw: &'a [u8],
    compressed: Option<Vec<u8>>,
}

impl OutgoingPart<'_> {
    pub(super) fn data(&self) -> &[u8] {
        self.compressed.as_deref().unwrap_or(self.raw)
    }
}

impl<'a> Write<'a> {
    pub(super) fn length(&self) -> u32 {
        length(self.data)
    }

    /// Cuts it into parts and compresses each, before anybody is kept from sending.
    pub(super) fn compress(&self) -> Vec<OutgoingPart<'a>> {
        let buffer = usize::try_from(self.buffer.max(1)).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        let mut begin = 0u32;
        for raw in self.data.chunks(buffer) {
            let mut small = Vec::new();
            let compressed = self.compression.compress(raw, &mut small).then_some(small);
            let method = match &compressed {
                Some(_) => self.compression,
                None => Compression::None,
            };
            let sent = compressed.as_deref().unwrap_or(raw);
            parts.push(OutgoingPart {
                io: Io {
                    handle_or_status: self.handle,
                    direction: Direction::Write,
                    compression: method.number(),
                    offset: self.offset,
                    total: self.length(),
                    part: begin,
                    length: length(raw),
                    sent: length(sent),
                },
                raw,
                compressed,
            });
            begin = begin.saturating_add(length(raw));
        }
        parts
    }
}

fn length(data: &[u8]) -> u32 {
    data.len().try_into().unwrap_or(u32::MAX)
}
