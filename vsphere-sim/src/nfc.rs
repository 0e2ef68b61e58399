//! The data port: a greeting, TLS, tickets, a handshake, and then disks.
//!
//! ```text
//! serve            a connection from its begin to its end     nfc.rs
//!  ├─ peer             whose it is, and what is done to it    peer.rs
//!  ├─ authd            lines of text within TLS               authd.rs
//!  ├─ channel          bytes after that, encrypted or not     channel.rs
//!  ├─ handshake        the older messages                     handshake.rs
//!  └─ session          requests of an open session            session.rs
//!      ├─ file             opening disks: who may             file.rs
//!      ├─ blocks           what is allocated                  blocks.rs
//!      ├─ reads            several at the same time           reads.rs
//!      ├─ writes           parts of a write                   writes.rs
//!      └─ sender           replies, also late and broken      sender.rs
//! ```

mod authd;
mod blocks;
mod channel;
mod file;
mod handshake;
mod peer;
mod reads;
mod sender;
mod session;
mod writes;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConnection, StreamOwned};

use crate::injection::Injection;
use crate::site::{Port, Site};
use crate::tls::Identity;
use crate::transcript::Event;
use crate::world::Ticket;
use authd::{Admitted, Daemon};
use channel::Channel;
use handshake::Handshake;
use peer::Peer;
use session::Session;

/// Serves one connection until it ends.
pub(crate) fn serve(site: &Arc<Site>, connection: u64, stream: TcpStream) {
    site.note(Event::NfcConnected { connection });
    let peer = Arc::new(Peer::new(site, connection));
    let reason = match talk(&peer, stream) {
        Ok(reason) => reason.to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "closed by the client".to_owned()
        }
        Err(error) => error.to_string(),
    };
    site.note(Event::Disconnected {
        connection,
        port: Port::Nfc.name(),
        reason,
    });
}

fn talk(peer: &Arc<Peer>, mut socket: TcpStream) -> io::Result<&'static str> {
    let limits = peer.site.limits;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(limits.nfc_idle))?;
    socket.set_write_timeout(Some(limits.nfc_idle))?;
    let daemon = Daemon::new(peer);
    peer.message()?;
    peer.wait();
    socket.write_all(&daemon.greeting())?;
    let tls = handshake(peer, &peer.site.data, &mut socket, 1)?;
    let mut first = StreamOwned::new(tls, socket);
    let admitted = daemon.talk(&mut first)?;
    // Without a word: the next byte belongs to what follows.
    let (_, mut socket) = first.into_parts();
    let Some(admitted) = admitted else {
        return Ok("refused by the daemon");
    };
    let Admitted {
        ticket,
        encrypted,
        tag,
    } = admitted;
    let channel = if encrypted {
        let other = peer.is(&Injection::SecondCertificate);
        let identity = if other {
            &peer.site.other_data
        } else {
            &peer.site.data
        };
        let tls = handshake(peer, identity, &mut socket, 2)?;
        Channel::encrypted(socket, tls)
    } else {
        Channel::clear(socket)
    };
    converse(peer, channel, ticket, tag)
}

/// The messages of a client that was let in.
fn converse(
    peer: &Arc<Peer>,
    channel: Channel,
    ticket: Ticket,
    tag: Option<Vec<u8>>,
) -> io::Result<&'static str> {
    let channel = Arc::new(channel);
    if !Handshake::new(peer, &channel, tag).run()? {
        return Ok("ended in the handshake");
    }
    let result = Session::new(Arc::clone(peer), Arc::clone(&channel), ticket).run();
    if result.is_ok() {
        handshake::farewell(peer, &channel)?;
    }
    channel.cut();
    result
}

/// For fuzzers: the lines of a client.
pub(crate) fn answer_lines(site: &Arc<Site>, stream: &mut (impl Read + Write)) {
    let peer = Peer::new(site, 0);
    // Whether it ends well is up to the client.
    let _ = Daemon::new(&peer).talk(stream);
}

/// For fuzzers: the messages of a client that was let in.
pub(crate) fn answer_messages(
    site: &Arc<Site>,
    socket: TcpStream,
    ticket: Ticket,
    tag: Option<Vec<u8>>,
) {
    let peer = Arc::new(Peer::new(site, 0));
    // Whether it ends well is up to the client.
    let _ = converse(&peer, Channel::clear(socket), ticket, tag);
}

/// A TLS handshake, the `number`th of this connection.
fn handshake(
    peer: &Peer,
    identity: &Identity,
    socket: &mut TcpStream,
    number: u8,
) -> io::Result<ServerConnection> {
    let mut tls = ServerConnection::new(identity.config()).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(socket)?;
    }
    peer.wait();
    peer.note(Event::Encrypted {
        connection: peer.connection,
        port: Port::Nfc.name(),
        number,
    });
    Ok(tls)
}
