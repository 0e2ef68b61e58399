//! The lines of the authentication daemon on port 902: its greeting, the client's commands, and its replies.
//!
//! Lines are ASCII and end with CR LF. The greeting comes in clear text; everything else inside the first TLS session.

use std::fmt;

use super::WireError;

/// The longest accepted line in bytes, its end included.
pub const MAX_LINE: usize = 4096;

/// The first line of `received`, without its end, and how many bytes it and its end take; none when the end of the line
/// was not received yet.
///
/// # Errors
/// [`WireError::TooLong`] when there is no end within [`MAX_LINE`] bytes; [`WireError::Line`] when the line has bytes
/// that are not printable ASCII.
pub fn take_line(received: &[u8]) -> Result<Option<(&str, usize)>, WireError> {
    let within = received.get(..MAX_LINE).unwrap_or(received);
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        if within.len() == MAX_LINE {
            return Err(WireError::TooLong {
                what: "a line",
                actual: received.len().try_into().unwrap_or(u64::MAX),
                limit: MAX_LINE,
            });
        }
        return Ok(None);
    };
    let (line, _) = within.split_at(end);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| text.chars().all(is_printable))
        .ok_or(WireError::Line("a line with bytes that are no text"))?;
    Ok(Some((text, end.saturating_add(1))))
}

fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\t')
}

/// What the daemon says first, in clear text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The name and version of the daemon.
    pub banner: String,
    /// What it can do, as announced, such as `NFCSSL supported`.
    pub capabilities: Vec<String>,
}

impl Greeting {
    /// The greeting of an ESXi 7 or 8 host.
    #[must_use]
    pub fn of_esxi() -> Self {
        let capabilities = [
            "SSL Required",
            "ServerDaemonProtocol:SOAP",
            "MKSDisplayProtocol:VNC",
            "VMXARGS supported",
            "NFCSSL supported/t",
            "SHA256 supported",
        ];
        Self {
            banner: "VMware Authentication Daemon Version 1.10".to_owned(),
            capabilities: capabilities.map(str::to_owned).to_vec(),
        }
    }

    /// Takes a greeting apart. Capabilities lose what follows a slash.
    ///
    /// # Errors
    /// [`WireError::Line`] when the line is no greeting.
    pub fn decode(line: &str) -> Result<Self, WireError> {
        let text = line
            .strip_prefix("220 ")
            .ok_or(WireError::Line("the greeting does not begin with 220"))?;
        let (banner, list) = text.split_once(": ").unwrap_or((text, ""));
        let capabilities = list
            .split(',')
            .map(|item| item.split('/').next().unwrap_or(item).trim())
            .filter(|item| !item.is_empty());
        Ok(Self {
            banner: banner.to_owned(),
            capabilities: capabilities.map(str::to_owned).collect(),
        })
    }

    /// The line with its end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let list = self.capabilities.join(", ");
        format!("220 {}: {list}\r\n", self.banner).into_bytes()
    }

    /// Whether the daemon tells the SHA-256 digest of its certificate.
    #[must_use]
    pub fn announces_sha256(&self) -> bool {
        self.has("SHA256 supported")
    }

    /// Whether the disk protocol may be encrypted.
    #[must_use]
    pub fn announces_nfc_ssl(&self) -> bool {
        self.has("NFCSSL supported")
    }

    /// Whether everything after the greeting is encrypted.
    #[must_use]
    pub fn requires_ssl(&self) -> bool {
        self.has("SSL Required")
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities
            .iter()
            .any(|item| item.split('/').next() == Some(capability))
    }
}

/// What a client says. `Debug` shows no ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Presents a ticket. It is not answered.
    Session(&'a str),
    /// Asks for a line that tells whether the ticket was taken; answered with 220.
    Banner,
    /// Asks for the SHA-256 digest of the host's certificate, and names the tag that the handshake repeats; answered
    /// with 200.
    ThumbprintSha2(&'a str),
    /// Connects to a service of the host; answered with 200, after which the service speaks.
    Proxy(&'a str),
    /// A line that is none of these.
    Other(&'a str),
}

impl<'a> Command<'a> {
    /// Takes a line apart. Any line is a command.
    #[must_use]
    pub fn decode(line: &'a str) -> Self {
        if line.trim_end() == "BANNER" {
            return Self::Banner;
        }
        match line.split_once(' ') {
            Some(("SESSION", ticket)) => Self::Session(ticket),
            Some(("THUMBPRINT_SHA2", tag)) => Self::ThumbprintSha2(tag),
            Some(("PROXY", service)) => Self::Proxy(service),
            _ => Self::Other(line),
        }
    }

    /// The line with its end. It holds the ticket if the command does.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let line = match self {
            Self::Session(ticket) => format!("SESSION {ticket}\r\n"),
            // The space belongs to the command.
            Self::Banner => "BANNER \r\n".to_owned(),
            Self::ThumbprintSha2(tag) => format!("THUMBPRINT_SHA2 {tag}\r\n"),
            Self::Proxy(service) => format!("PROXY {service}\r\n"),
            Self::Other(line) => format!("{line}\r\n"),
        };
        line.into_bytes()
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(_) => formatter.write_str("Session(..)"),
            Self::Banner => formatter.write_str("Banner"),
            Self::ThumbprintSha2(tag) => write!(formatter, "ThumbprintSha2({tag:?})"),
            Self::Proxy(service) => write!(formatter, "Proxy({service:?})"),
            // What was meant as a ticket may be in here.
            Self::Other(_) => formatter.write_str("Other(..)"),
        }
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits: 200 or 220 for success, 500 and above for a refusal.
    pub code: u16,
    /// What follows the code.
    pub text: String,
}

impl Reply {
    /// Takes a line apart.
    ///
    /// # Errors
    /// [`WireError::Line`] when it does not begin with three digits.
    pub fn decode(line: &str) -> Result<Self, WireError> {
        let (digits, text) = line.split_once(' ').unwrap_or((line, ""));
        let code = digits
            .parse()
            .ok()
            .filter(|_| digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or(WireError::Line("a reply without a code"))?;
        Ok(Self {
            code,
            text: text.to_owned(),
        })
    }

    /// The line with its end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        format!("{:03} {}\r\n", self.code, self.text).into_bytes()
    }

    /// Whether the command was carried out.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_of_a_host_is_taken_apart() {
        let bytes = b"220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, \
            MKSDisplayProtocol:VNC , VMXARGS supported, NFCSSL supported/t, SHA256 supported\r\n\x16\x03";
        let (line, taken) = take_line(bytes).unwrap().unwrap();
        assert_eq!(taken, bytes.len() - 2);
        let greeting = Greeting::decode(line).unwrap();
        assert_eq!(greeting.banner, "VMware Authentication Daemon Version 1.10");
        assert_eq!(greeting.capabilities.len(), 6);
        assert_eq!(greeting.capabilities[2], "MKSDisplayProtocol:VNC");
        assert!(greeting.announces_sha256() && greeting.announces_nfc_ssl());
        assert!(greeting.requires_ssl());
    }

    #[test]
    fn an_older_host_announces_less() {
        let line =
            "220 VMware Authentication Daemon Version 1.10: SSL Required, NFCSSL supported/t";
        let greeting = Greeting::decode(line).unwrap();
        assert!(greeting.announces_nfc_ssl() && !greeting.announces_sha256());
        assert!(!Greeting::decode("220 hello").unwrap().requires_ssl());
        assert!(Greeting::decode("530 go away").is_err());
    }

    #[test]
    fn commands_are_the_bytes_that_hosts_expect() {
        let commands = [
            (Command::Session("52a-b"), "SESSION 52a-b\r\n"),
            (Command::Banner, "BANNER \r\n"),
            (
                Command::ThumbprintSha2("PlainText"),
                "THUMBPRINT_SHA2 PlainText\r\n",
            ),
            (Command::Proxy("vpxa-nfcssl"), "PROXY vpxa-nfcssl\r\n"),
            (Command::Other("USER root"), "USER root\r\n"),
        ];
        for (command, line) in commands {
            assert_eq!(command.encode(), line.as_bytes());
            assert_eq!(Command::decode(line.trim_end_matches("\r\n")), command);
        }
    }

    #[test]
    fn no_ticket_is_shown() {
        assert_eq!(format!("{:?}", Command::Session("hidden")), "Session(..)");
        assert!(!format!("{:?}", Command::decode("SESSIONID hidden")).contains("hidden"));
    }

    #[test]
    fn replies_have_three_digits() {
        let reply = Reply::decode("200 Connect ha-nfcssl").unwrap();
        assert!(reply.is_success());
        assert_eq!(reply.encode(), b"200 Connect ha-nfcssl\r\n");
        assert!(!Reply::decode("530 Login incorrect").unwrap().is_success());
        for line in ["", "20 x", "2000 x", "+20 x", "abc x"] {
            assert!(Reply::decode(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lines_have_an_end_and_a_limit() {
        assert_eq!(take_line(b"200 half").unwrap(), None);
        assert_eq!(take_line(b"a\nb\r\n").unwrap(), Some(("a", 2)));
        assert!(take_line(&[b'x'; MAX_LINE]).is_err());
        assert!(take_line(b"caf\xc3\xa9\r\n").is_err());
        let mut longest = vec![b'x'; MAX_LINE - 2];
        longest.extend(b"\r\n");
        assert_eq!(take_line(&longest).unwrap().unwrap().1, MAX_LINE);
    }
}
