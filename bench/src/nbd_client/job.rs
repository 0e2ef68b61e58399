//! Requests of one size on one connection, a number of them in flight.

use std::io::{IoSlice, IoSliceMut, Read, Write};

use vixdisklib::{AlignedBuf, SECTOR_SIZE, SectorCount};

use super::Result;
use super::connection::{Command, Connection, REPLY, REQUEST, reply, request};

/// Replies up to this size are received many at a time; longer ones go to their place at once.
const SMALL: usize = 16 << 10;
/// Bytes that are received at once while replies are small.
const RECEIVE: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

pub(crate) struct Job {
    connection: Connection,
    direction: Direction,
    /// Bytes of each request.
    size: usize,
    depth: usize,
    /// What is written, or where what is read goes: at a page boundary.
    data: AlignedBuf,
    /// Bytes in `data` that were received and not looked at, while replies are small.
    received: usize,
    /// The beginning of the next reply that came with the last one, while replies are long.
    header: ([u8; REPLY], usize),
}

impl Job {
    pub(crate) fn new(
        connection: Connection,
        direction: Direction,
        size: usize,
        depth: usize,
    ) -> Result<Self> {
        let bytes = size.max(RECEIVE);
        let mut data = AlignedBuf::new(SectorCount::new(u64::try_from(bytes / SECTOR_SIZE)?));
        if direction == Direction::Write {
            data.fill(7);
        }
        Ok(Self {
            connection,
            direction,
            size,
            depth,
            data,
            received: 0,
            header: ([0; REPLY], 0),
        })
    }

    /// Whole blocks of the size of a request in the export.
    pub(crate) fn blocks(&self) -> u64 {
        self.connection.size / u64::try_from(self.size).expect("a usize has at most 64 bits")
    }

    /// Requests each of `blocks`, and flushes what was written.
    pub(crate) fn run(mut self, blocks: &mut dyn Iterator<Item = u64>) -> Result {
        let mut in_flight = 0;
        loop {
            in_flight += self.send(blocks, self.depth - in_flight)?;
            if in_flight == 0 {
                break;
            }
            in_flight -= self.receive()?;
        }
        let mut last = Vec::new();
        if self.direction == Direction::Write {
            request(&mut last, Command::Flush, 0, 0, 0);
            self.connection.stream.write_all(&last)?;
            self.receive()?;
            last.clear();
        }
        request(&mut last, Command::Disconnect, 0, 0, 0);
        Ok(self.connection.stream.write_all(&last)?)
    }

    /// Sends requests for the next blocks, at most `most`, and tells how many.
    fn send(&mut self, blocks: &mut dyn Iterator<Item = u64>, most: usize) -> Result<usize> {
        let mut heads = Vec::with_capacity(most * REQUEST);
        let command = match self.direction {
            Direction::Read => Command::Read,
            Direction::Write => Command::Write,
        };
        let size = u64::try_from(self.size)?;
        for block in blocks.take(most) {
            request(&mut heads, command, block, block * size, self.size);
        }
        let count = heads.len() / REQUEST;
        if self.direction == Direction::Read {
            self.connection.stream.write_all(&heads)?;
            return Ok(count);
        }
        for head in heads.chunks(REQUEST) {
            let mut parts = [IoSlice::new(head), IoSlice::new(&self.data[..self.size])];
            let mut parts = &mut parts[..];
            while !parts.is_empty() {
                let sent = self.connection.stream.write_vectored(parts)?;
                IoSlice::advance_slices(&mut parts, sent);
            }
        }
        Ok(count)
    }

    /// Waits for at least one reply, and tells how many came.
    fn receive(&mut self) -> Result<usize> {
        match self.direction {
            Direction::Write => {
                let mut head = [0; REPLY];
                self.connection.stream.read_exact(&mut head)?;
                reply(&head).map(|_| 1)
            }
            Direction::Read if self.size <= SMALL => self.receive_small(),
            Direction::Read => self.receive_long().map(|()| 1),
        }
    }

    fn receive_small(&mut self) -> Result<usize> {
        let whole = REPLY + self.size;
        loop {
            let read = self
                .connection
                .stream
                .read(&mut self.data[self.received..])?;
            if read == 0 {
                return Err("the server hung up".into());
            }
            self.received += read;
            let count = self.received / whole;
            for number in 0..count {
                let head = self.data[number * whole..]
                    .first_chunk()
                    .ok_or("a short reply")?;
                reply(head)?;
            }
            self.data.copy_within(count * whole..self.received, 0);
            self.received -= count * whole;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Receives one reply, and with its last bytes the head of the next one if that has come.
    fn receive_long(&mut self) -> Result {
        let (mut head, have) = self.header;
        self.connection.stream.read_exact(&mut head[have..])?;
        reply(&head)?;
        let mut next = [0; REPLY];
        let mut done = 0;
        while done < self.size {
            let mut parts = [
                IoSliceMut::new(&mut self.data[done..self.size]),
                IoSliceMut::new(&mut next),
            ];
            let read = self.connection.stream.read_vectored(&mut parts)?;
            if read == 0 {
                return Err("the server hung up".into());
            }
            done += read;
        }
        self.header = (next, done - self.size);
        Ok(())
    }
}
