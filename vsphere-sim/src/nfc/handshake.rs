//! The older messages that lead to a session for disks.

use std::io;

use vsphere_nfc::wire::classic::{FRAME, Frame};

use super::channel::Channel;
use super::peer::Peer;
use crate::injection::Injection;
use crate::transcript::Event;

/// The oldest version that can be spoken.
const OLDEST: u32 = 3;
/// The messages of a client, in the only order in which they were ever seen. The first comes if the daemon was told a tag.
const ORDER: [u32; 6] = [43, 33, 51, 54, 55, 52];
/// What an injected refusal says.
const REFUSAL: &[u8] = b"NFC session refused\0";

/// The handshake with one client.
pub(super) struct Handshake<'a> {
    peer: &'a Peer,
    channel: &'a Channel,
    /// What message 43 has to hold, if the daemon was told a tag.
    tag: Option<Vec<u8>>,
    /// Whether the answer to the probe waits for the client's version.
    late: bool,
    /// How many messages of [`ORDER`] have come, or were not to come.
    step: usize,
}

/// Takes the last message of a client that closed its session, if it sends one, and waits for the end of the connection.
///
/// Who hangs up before makes the client's last write fail.
pub(super) fn farewell(peer: &Peer, channel: &Channel) -> io::Result<()> {
    let mut bytes = [0; FRAME];
    loop {
        match channel.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let frame = Frame::decode(&bytes).map_err(io::Error::other)?;
        peer.message()?;
        peer.note(Event::Classic {
            connection: peer.connection,
            message: frame.number(),
        });
    }
}

/// What becomes of the handshake after a message.
enum Next {
    GoOn,
    Done,
    End,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(peer: &'a Peer, channel: &'a Channel, tag: Option<Vec<u8>>) -> Self {
        let planned = peer.site.injections.holds(|injection| match injection {
            Injection::ProbeReply { late } => Some(*late),
            _ => None,
        });
        Self {
            peer,
            channel,
            late: planned.unwrap_or(peer.site.profile.delays_probe_reply()),
            step: usize::from(tag.is_none()),
            tag,
        }
    }

    /// Whether a session for disks follows.
    pub(super) fn run(mut self) -> io::Result<bool> {
        loop {
            let mut bytes = [0; FRAME];
            self.channel.read_older(&mut bytes)?;
            let frame = Frame::decode(&bytes).map_err(io::Error::other)?;
            self.peer.message()?;
            self.peer.note(Event::Classic {
                connection: self.peer.connection,
                message: frame.number(),
            });
            match self.take(&frame)? {
                Next::GoOn => {}
                Next::Done => return Ok(true),
                Next::End => return Ok(false),
            }
        }
    }

    fn take(&mut self, frame: &Frame) -> io::Result<Next> {
        match frame {
            Frame::Ping => return Ok(Next::GoOn),
            Frame::SessionComplete => return Ok(Next::End),
            frame if ORDER.get(self.step) != Some(&frame.number()) => return self.refuse(),
            _ => self.step += 1,
        }
        match frame {
            Frame::ClientRandom(tag) if self.tag.as_ref() != Some(tag) => self.refuse(),
            Frame::Probe if !self.late => self.reply_to_probe(),
            Frame::Version { version, .. } => {
                if *version < OLDEST {
                    return self.refuse();
                }
                if self.late
                    && let Next::End = self.reply_to_probe()?
                {
                    return Ok(Next::End);
                }
                let version = self.peer.site.profile.nfc_version();
                self.reply(&Frame::Version { version, second: 0 })
            }
            Frame::Connection { .. } => {
                let mut names = vec![0; usize::try_from(frame.extra()).unwrap_or_default()];
                self.channel.read_older_rest(&mut names)?;
                Ok(Next::GoOn)
            }
            Frame::OpenAio => match self.reply(&Frame::OpenAio)? {
                Next::GoOn => Ok(Next::Done),
                next => Ok(next),
            },
            _ => Ok(Next::GoOn),
        }
    }

    fn reply_to_probe(&self) -> io::Result<Next> {
        self.reply(&Frame::ProbeReply { knows_version: 1 })
    }

    fn refuse(&self) -> io::Result<Next> {
        self.send(&Frame::SessionComplete)?;
        Ok(Next::End)
    }

    fn reply(&self, frame: &Frame) -> io::Result<Next> {
        let number = frame.number();
        let with_error = self.peer.happens(|injection| match injection {
            Injection::ClassicRefused {
                instead_of,
                with_error,
            } if *instead_of == number => Some(*with_error),
            _ => None,
        });
        match with_error {
            None => {
                self.send(frame)?;
                Ok(Next::GoOn)
            }
            Some(false) => self.refuse(),
            Some(true) => {
                let text = u32::try_from(REFUSAL.len()).unwrap_or_default();
                self.send(&Frame::Error {
                    kind: 1,
                    code: 2,
                    text,
                })?;
                self.channel.send(REFUSAL, &[])?;
                Ok(Next::End)
            }
        }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        self.peer.message()?;
        self.peer.wait();
        self.channel.send(&frame.encode(), &[])
    }
}
