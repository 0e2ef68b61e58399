//! The authentication daemon: lines of text within the first TLS session, up to the service that the client wants.

use std::io::{self, Read, Write};

use vsphere_nfc::wire::authd::{Command, Greeting, Reply};
use zeroize::Zeroizing;

use super::peer::Peer;
use crate::injection::{Capability, Injection};
use crate::transcript::Event;
use crate::world::Ticket;

/// How the conversation ended well.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) ticket: Ticket,
    /// Whether a second TLS session follows.
    pub(super) encrypted: bool,
    /// What the client's first message has to repeat.
    pub(super) tag: Option<Vec<u8>>,
}

/// The daemon with one client.
pub(super) struct Daemon<'a> {
    peer: &'a Peer,
    without: Option<Capability>,
    ticket: Option<Ticket>,
    tag: Option<Vec<u8>>,
}

impl<'a> Daemon<'a> {
    pub(super) fn new(peer: &'a Peer) -> Self {
        let without = peer.happens(|injection| match injection {
            Injection::Greeting { without } => Some(*without),
            _ => None,
        });
        Self {
            peer,
            without,
            ticket: None,
            tag: None,
        }
    }

    /// What is said first, in clear text.
    pub(super) fn greeting(&self) -> Vec<u8> {
        let mut greeting = Greeting::of_esxi();
        let left_out = match self.without {
            Some(Capability::Sha256) => "SHA256 supported",
            Some(Capability::NfcSsl) => "NFCSSL supported/t",
            None => "",
        };
        greeting
            .capabilities
            .retain(|capability| capability != left_out);
        greeting.encode()
    }

    /// Talks until the client is connected to a service; none when it was refused, or went.
    pub(super) fn talk(mut self, stream: &mut (impl Read + Write)) -> io::Result<Option<Admitted>> {
        loop {
            let line = match read_line(stream, self.peer.site.limits.line_length)? {
                Line::Text(line) => line,
                Line::End => return Ok(None),
                Line::Bad(reply) => {
                    self.say(stream, "?", reply)?;
                    return Ok(None);
                }
            };
            self.peer.message()?;
            match Command::decode(&line) {
                Command::Session(id) => {
                    if !self.take_ticket(id) {
                        return Ok(None);
                    }
                }
                Command::Proxy(service) => {
                    let reply = self.proxy(service);
                    let connected = reply.is_ok();
                    self.say(stream, "PROXY", reply.unwrap_or_else(|refusal| refusal))?;
                    if !connected {
                        return Ok(None);
                    }
                    return Ok(self.ticket.map(|ticket| Admitted {
                        ticket,
                        encrypted: service.ends_with("ssl"),
                        tag: self.tag,
                    }));
                }
                command => {
                    let (name, reply, go_on) = self.answer(&command);
                    self.say(stream, name, reply)?;
                    if !go_on {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Whether the conversation goes on; a bad ticket is told with the next reply.
    fn take_ticket(&mut self, id: &str) -> bool {
        let refused = self.peer.happens(|injection| match injection {
            Injection::TicketRefused { silent } => Some(*silent),
            _ => None,
        });
        let ticket = self.peer.site.tickets.take(id.trim());
        self.ticket = ticket.filter(|_| refused.is_none());
        self.command("SESSION", None);
        self.peer.note(Event::TicketTaken {
            connection: self.peer.connection,
            accepted: self.ticket.is_some(),
        });
        refused != Some(true)
    }

    fn answer(&mut self, command: &Command<'_>) -> (&'static str, Reply, bool) {
        let is_in = self.ticket.is_some();
        match command {
            Command::Banner if is_in => (
                "BANNER",
                reply(220, "VMware Authentication Daemon Version 1.10"),
                true,
            ),
            // As observed when a client has no ticket.
            Command::Banner => ("BANNER", please_login(), false),
            Command::ThumbprintSha2(_) if !is_in || self.without == Some(Capability::Sha256) => {
                ("THUMBPRINT_SHA2", please_login(), is_in)
            }
            Command::ThumbprintSha2(tag) if tag.contains(':') || tag.trim().is_empty() => {
                ("THUMBPRINT_SHA2", reply(501, "Invalid arguments"), true)
            }
            Command::ThumbprintSha2(tag) => {
                self.tag = Some(tag.trim().as_bytes().to_vec());
                let other = self.peer.is(&Injection::AnnouncedSha256);
                let site = &self.peer.site;
                let identity = if other { &site.other_data } else { &site.data };
                ("THUMBPRINT_SHA2", reply(200, identity.sha256()), true)
            }
            Command::Other(line) if line.starts_with("USER ") => {
                ("USER", reply(331, "Password required"), true)
            }
            Command::Other(line) if line.starts_with("PASS ") => {
                ("PASS", reply(530, "Login incorrect"), true)
            }
            _ => ("?", please_login(), true),
        }
    }

    fn proxy(&mut self, service: &str) -> Result<Reply, Reply> {
        if self.ticket.is_none() {
            return Err(please_login());
        }
        let endpoint = match service {
            "nfc" | "vpxa-nfc" => "ha-nfc",
            "nfcssl" | "vpxa-nfcssl" if self.without != Some(Capability::NfcSsl) => "ha-nfcssl",
            _ => return Err(reply(500, "No such service")),
        };
        if self.peer.is(&Injection::ProxyRefused) {
            return Err(reply(500, "No such service"));
        }
        if self.peer.is(&Injection::SessionLimit) || !self.peer.site.sessions_left.has(1) {
            return Err(reply(500, "Too many sessions"));
        }
        Ok(reply(200, format!("Connect {endpoint}")))
    }

    fn say(&self, stream: &mut impl Write, command: &'static str, reply: Reply) -> io::Result<()> {
        self.command(command, Some(reply.code));
        self.peer.message()?;
        self.peer.wait();
        stream.write_all(&reply.encode())?;
        stream.flush()
    }

    fn command(&self, command: &'static str, code: Option<u16>) {
        self.peer.note(Event::Authd {
            connection: self.peer.connection,
            command,
            code,
        });
    }
}

fn reply(code: u16, text: impl Into<String>) -> Reply {
    Reply {
        code,
        text: text.into(),
    }
}

fn please_login() -> Reply {
    reply(530, "Please login with USER and PASS")
}

enum Line {
    Text(Zeroizing<String>),
    End,
    Bad(Reply),
}

/// A line, byte by byte: what follows it may be of another session.
fn read_line(stream: &mut impl Read, limit: usize) -> io::Result<Line> {
    let mut line = Zeroizing::new(Vec::with_capacity(limit));
    let mut byte = [0];
    loop {
        if stream.read(&mut byte)? == 0 {
            return Ok(Line::End);
        }
        if byte == *b"\n" {
            break;
        }
        if line.len() >= limit {
            return Ok(Line::Bad(reply(500, "Line too long")));
        }
        line.push(byte[0]);
    }
    let text = line.strip_suffix(b"\r").unwrap_or(&line);
    Ok(match std::str::from_utf8(text) {
        Ok(text) => Line::Text(Zeroizing::new(text.to_owned())),
        Err(_) => Line::Bad(reply(501, "Invalid arguments")),
    })
}
