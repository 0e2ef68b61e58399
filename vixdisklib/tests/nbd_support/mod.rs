//! What the tests of the server share: an export in memory, and a hand-made client.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::big_endian_bytes,
    reason = "messages are built by hand, so that the server's encoder is not its own judge"
)]

pub(crate) mod certificates;

use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex};

use vixdisklib::ByteLen;
use vixdisklib::nbd::{BlockState, BlockVisitor, ErrorNumber, Export, ExportError, ZeroRequest};

const GRAIN: usize = 65_536;

/// An export in memory. Its allocation map is what it holds: a grain of zeroes is a hole.
#[derive(Clone)]
pub(crate) struct Ram {
    bytes: Arc<Mutex<Vec<u8>>>,
    read_only: bool,
    door: Arc<(Mutex<bool>, Condvar)>,
    flushed: Arc<Mutex<Vec<u8>>>,
}

impl Ram {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(bytes)),
            read_only: false,
            door: Arc::new((Mutex::new(true), Condvar::new())),
            flushed: Arc::default(),
        }
    }

    pub(crate) fn read_only(bytes: Vec<u8>) -> Self {
        Self {
            read_only: true,
            ..Self::new(bytes)
        }
    }

    /// The bytes now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// The bytes as of the last flush.
    pub(crate) fn flushed(&self) -> Vec<u8> {
        self.flushed.lock().unwrap().clone()
    }

    /// While the door is shut, reads wait.
    pub(crate) fn door(&self, open: bool) {
        *self.door.0.lock().unwrap() = open;
        self.door.1.notify_all();
    }
}

fn index(position: ByteLen) -> usize {
    usize::try_from(position.get()).unwrap()
}

impl Export for Ram {
    fn size(&self) -> ByteLen {
        ByteLen::new(self.bytes.lock().unwrap().len() as u64)
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn can_trim(&self) -> bool {
        true
    }

    fn preferred_block(&self) -> ByteLen {
        ByteLen::new(GRAIN as u64)
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        let (open, changed) = &*self.door;
        drop(
            changed
                .wait_while(open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
        buf.copy_from_slice(&self.bytes.lock().unwrap()[index(offset)..][..buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        self.bytes.lock().unwrap()[index(offset)..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        if request.fast_only && !index(offset).is_multiple_of(GRAIN) {
            return Err(ExportError::new(ErrorNumber::NotSupported, "not a grain"));
        }
        self.bytes.lock().unwrap()[index(offset)..][..index(length)].fill(0);
        Ok(())
    }

    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.write_zeroes(offset, length, ZeroRequest::default())
    }

    fn flush(&self) -> Result<(), ExportError> {
        *self.flushed.lock().unwrap() = self.bytes();
        Ok(())
    }

    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        let bytes = self.bytes.lock().unwrap();
        let mut at = index(offset);
        let end = at + index(length);
        while at < end {
            let grain = at / GRAIN * GRAIN;
            let next = (grain + GRAIN).min(bytes.len());
            let state = if bytes[grain..next].iter().all(|byte| *byte == 0) {
                BlockState::Hole
            } else {
                BlockState::Data
            };
            if let ControlFlow::Break(()) = visit(ByteLen::new((next - at) as u64), state) {
                break;
            }
            at = next;
        }
        Ok(())
    }
}

/// Bytes with data, zeroes and odd ends: `grains` grains of 64 KiB and 1000 bytes more.
pub(crate) fn pattern(grains: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = vec![0; grains * GRAIN + 1000];
    for (number, grain) in bytes.chunks_mut(GRAIN).enumerate() {
        if !number.is_multiple_of(3) {
            for byte in grain {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = state.to_be_bytes()[0];
            }
        }
    }
    bytes
}

/// A client that sends what it is told and checks only what it must.
pub(crate) struct Client<S>(pub(crate) S);

impl<S: Read + Write> Client<S> {
    /// Says hello on a new connection.
    pub(crate) fn greet(stream: S) -> Self {
        let mut client = Self(stream);
        assert_eq!(client.read(18), b"NBDMAGICIHAVEOPT\0\x03");
        client.send(&3_u32.to_be_bytes());
        client
    }

    /// Chooses an export by GO, without structured replies.
    pub(crate) fn go(mut self, name: &str) -> Self {
        let length = u32::try_from(name.len()).unwrap();
        self.send(b"IHAVEOPT\0\0\0\x07");
        self.send(&(length + 6).to_be_bytes());
        self.send(&length.to_be_bytes());
        self.send(name.as_bytes());
        self.send(&[0, 0]);
        let facts = self.read(32);
        assert_eq!(facts[12..16], [0, 0, 0, 3]);
        let ack = self.read(20);
        assert_eq!(ack[12..16], [0, 0, 0, 1]);
        self
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn request(&mut self, command: u16, cookie: u64, offset: u64, length: u32) {
        let mut bytes = vec![0x25, 0x60, 0x95, 0x13, 0, 0];
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        self.send(&bytes);
    }

    /// Reads a simple reply: error and cookie.
    pub(crate) fn reply(&mut self) -> (u32, u64) {
        let reply = self.read(16);
        assert_eq!(reply[..4], [0x67, 0x44, 0x66, 0x98]);
        (
            u32::from_be_bytes(reply[4..8].try_into().unwrap()),
            u64::from_be_bytes(reply[8..].try_into().unwrap()),
        )
    }

    /// Whether the server has hung up, and sent nothing before.
    pub(crate) fn is_over(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            // That the server says nothing for as long as this client waits is no end.
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}
