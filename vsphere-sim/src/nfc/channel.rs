//! A byte stream that one thread reads while others write, in clear text or encrypted.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

use parking_lot::Mutex;
use rustls::ServerConnection;

/// So much is received at once, encrypted.
const RECEIVE: usize = 64 << 10;
/// So much is encrypted at once.
const ENCRYPT: usize = 256 << 10;

/// The connection after its handshakes.
///
/// The lock of the encryption is not held while the socket blocks: a client that takes nothing does not keep this side
/// from receiving.
#[derive(Debug)]
pub(super) struct Channel {
    socket: TcpStream,
    tls: Option<Mutex<ServerConnection>>,
    received: Mutex<Received>,
    /// Held by who sends a message; encrypted bytes on their way.
    sending: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct Received {
    raw: Box<[u8]>,
    /// Decrypted bytes, of which some are taken.
    plain: Vec<u8>,
    taken: usize,
}

impl Channel {
    pub(super) fn clear(socket: TcpStream) -> Self {
        Self::new(socket, None)
    }

    /// Goes on with a session whose handshake is done.
    pub(super) fn encrypted(socket: TcpStream, mut tls: ServerConnection) -> Self {
        tls.set_buffer_limit(None);
        Self::new(socket, Some(Mutex::new(tls)))
    }

    fn new(socket: TcpStream, tls: Option<Mutex<ServerConnection>>) -> Self {
        let raw = if tls.is_some() { RECEIVE } else { 0 };
        Self {
            socket,
            tls,
            received: Mutex::new(Received {
                raw: vec![0; raw].into_boxed_slice(),
                plain: Vec::new(),
                taken: 0,
            }),
            sending: Mutex::default(),
        }
    }

    /// Fills the buffer.
    pub(super) fn read_exact(&self, buf: &mut [u8]) -> io::Result<()> {
        match &self.tls {
            None => (&self.socket).read_exact(buf),
            Some(tls) => self.read_encrypted(tls, buf),
        }
    }

    fn read_encrypted(&self, tls: &Mutex<ServerConnection>, mut buf: &mut [u8]) -> io::Result<()> {
        let mut received = self.received.lock();
        loop {
            let count = received.take(buf);
            buf = &mut buf[count..];
            if buf.is_empty() {
                return Ok(());
            }
            let Received { raw, plain, taken } = &mut *received;
            let count = (&self.socket).read(raw)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            plain.clear();
            *taken = 0;
            decrypt(&mut tls.lock(), &raw[..count], plain)?;
        }
    }

    /// Sends a message in one piece, whoever else sends.
    pub(super) fn send(&self, head: &[u8], extra: &[u8]) -> io::Result<()> {
        let mut encrypted = self.sending.lock();
        let Some(tls) = &self.tls else {
            return write_both(&self.socket, head, extra);
        };
        let mut joined;
        let (head, mut extra) = if extra.len() < 1 << 12 {
            joined = head.to_vec();
            joined.extend_from_slice(extra);
            (joined.as_slice(), &[][..])
        } else {
            (head, extra)
        };
        let mut first = Some(head);
        loop {
            encrypted.clear();
            {
                let mut tls = tls.lock();
                if let Some(head) = first.take() {
                    tls.writer().write_all(head)?;
                }
                let (now, later) = extra.split_at(extra.len().min(ENCRYPT));
                tls.writer().write_all(now)?;
                extra = later;
                while tls.wants_write() {
                    tls.write_tls(&mut *encrypted)?;
                }
            }
            (&self.socket).write_all(&encrypted)?;
            if extra.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends the connection, in the middle of whatever.
    pub(super) fn cut(&self) {
        // It may have ended by itself.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Received {
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let waiting = &self.plain[self.taken..];
        let count = waiting.len().min(buf.len());
        buf[..count].copy_from_slice(&waiting[..count]);
        self.taken += count;
        count
    }
}

/// Decrypts all that was received; an incomplete record stays with the session.
fn decrypt(tls: &mut ServerConnection, mut raw: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    while !raw.is_empty() {
        tls.read_tls(&mut raw)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let count = state.plaintext_bytes_to_read();
        let start = plain.len();
        plain.resize(start + count, 0);
        tls.reader().read_exact(&mut plain[start..])?;
        if state.peer_has_closed() {
            break;
        }
    }
    Ok(())
}

fn write_both(mut socket: &TcpStream, mut head: &[u8], mut extra: &[u8]) -> io::Result<()> {
    while !head.is_empty() {
        let count = socket.write_vectored(&[IoSlice::new(head), IoSlice::new(extra)])?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = count.min(head.len());
        head = &head[of_head..];
        extra = &extra[count - of_head..];
    }
    socket.write_all(extra)
}
