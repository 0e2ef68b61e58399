//! A byte stream that one thread reads while others write, in clear text or encrypted.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

use parking_lot::Mutex;
use rustls::ServerConnection;

/// So much is received at once, encrypted.
const RECEIVE: usize = 64 << 10;
/// Bytes of the header of a TLS record, of which the last two tell how many follow.
const RECORD_HEADER: usize = 5;
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

    /// Fills the buffer with an older message. One that stands in the same TLS record as another before it is left alone
    /// until more comes, as was observed on ESXi: a client that sends so waits for ever.
    pub(super) fn read_older(&self, buf: &mut [u8]) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let mut received = self.received.lock();
            if received.left() > 0 {
                received.add_record(tls, &self.socket)?;
            }
        }
        self.read_older_rest(buf)
    }

    /// Fills the buffer with what belongs to the message before it, in the same record or in others.
    pub(super) fn read_older_rest(&self, buf: &mut [u8]) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let mut received = self.received.lock();
            while received.left() < buf.len() {
                received.add_record(tls, &self.socket)?;
            }
        }
        self.read_exact(buf)
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
    /// Decrypted bytes that were not taken.
    fn left(&self) -> usize {
        self.plain.len() - self.taken
    }

    /// Receives one record and no byte more.
    fn add_record(
        &mut self,
        tls: &Mutex<ServerConnection>,
        mut socket: &TcpStream,
    ) -> io::Result<()> {
        let Self { raw, plain, .. } = self;
        socket.read_exact(&mut raw[..RECORD_HEADER])?;
        let length = usize::from(raw[3]) << 8 | usize::from(raw[4]);
        let record = raw.get_mut(..RECORD_HEADER + length);
        let record = record.ok_or_else(|| io::Error::other("a TLS record is too long"))?;
        socket.read_exact(&mut record[RECORD_HEADER..])?;
        decrypt(&mut tls.lock(), record, plain)
    }

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

/// So many bytes of a buffer that grows when it has to, and keeps what was in it: that is cheaper than to clear it.
pub(super) fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        *buffer = vec![0; length];
    }
    &mut buffer[..length]
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;
    use crate::tls::Identity;

    /// A channel, and a client at its other end; the channel has little patience.
    fn pair() -> (Channel, StreamOwned<ClientConnection, TcpStream>) {
        let identity = Identity::for_data().expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket =
            TcpStream::connect(listener.local_addr().expect("a port")).expect("it listens");
        let mut roots = RootCertStore::empty();
        let certificate = identity.certificate().to_vec().into();
        roots.add(certificate).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let client = thread::spawn(move || {
            let mut client = StreamOwned::new(client, socket);
            client.flush().expect("hands are shaken");
            client
        });
        let (mut socket, _) = listener.accept().expect("a client");
        let mut tls = ServerConnection::new(identity.config()).expect("a server");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).expect("hands are shaken");
        }
        let patience = Duration::from_millis(50);
        socket.set_read_timeout(Some(patience)).expect("a socket");
        (
            Channel::encrypted(socket, tls),
            client.join().expect("a client"),
        )
    }

    #[test]
    fn a_message_behind_another_in_a_record_waits_for_more() {
        let (channel, mut client) = pair();
        let older = || {
            let mut buf = [0; 2];
            channel.read_older(&mut buf).map(|()| buf)
        };
        for message in [b"aa", b"bb"] {
            client.write_all(message).expect("it is sent");
        }
        assert_eq!(older().expect("its own record"), *b"aa");
        assert_eq!(older().expect("its own record"), *b"bb");

        client.write_all(b"ccdd").expect("it is sent");
        assert_eq!(older().expect("the first of the record"), *b"cc");
        older().expect_err("the second is left alone");
        client.write_all(b"ee").expect("it is sent");
        assert_eq!(older().expect("more came"), *b"dd");
        client.write_all(b"ff").expect("it is sent");
        assert_eq!(older().expect("more came"), *b"ee");
    }

    #[test]
    fn what_belongs_to_a_message_comes_in_any_records() {
        let (channel, mut client) = pair();
        for part in [&b"hhna"[..], b"mes", b"zz"] {
            client.write_all(part).expect("it is sent");
        }
        let (mut head, mut rest, mut next) = ([0; 2], [0; 5], [0; 2]);
        channel.read_older(&mut head).expect("it came");
        channel.read_older_rest(&mut rest).expect("it came");
        channel.read_older(&mut next).expect("its own record");
        assert_eq!((&head, &rest, &next), (b"hh", b"names", b"zz"));
        client.write_all(b"the rest").expect("it is sent");
        let mut bytes = [0; 8];
        channel.read_exact(&mut bytes).expect("it came");
        assert_eq!(&bytes, b"the rest");
    }
}
