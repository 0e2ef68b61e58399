//! An authentication daemon that answers from a script.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::SupportedProtocolVersion;

use super::Listener;
use super::tls::{BOTH, Identity, Raw, Recorded, accept};

pub(crate) const GREETING: &str = "220 VMware Authentication Daemon Version 1.10: SSL Required, \
    ServerDaemonProtocol:SOAP, MKSDisplayProtocol:VNC , VMXARGS supported, NFCSSL supported/t, SHA256 supported\r\n";

/// What the daemon does, beginning with what a host of today does.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) greeting: String,
    pub(crate) identity: Identity,
    /// What is presented in the second session.
    pub(crate) second: Identity,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    /// What is answered to `BANNER`; nothing hangs up.
    pub(crate) banner: Option<&'static str>,
    /// What is answered to `THUMBPRINT_SHA2` instead of the digest.
    pub(crate) digest: Option<String>,
    pub(crate) proxy: Option<&'static str>,
    /// What the disk service says at once.
    pub(crate) first: &'static [u8],
    /// Before each answer.
    pub(crate) pause: Duration,
}

impl Daemon {
    pub(crate) fn new() -> Self {
        let identity = Identity::new(&["localhost"]);
        Self {
            greeting: GREETING.to_owned(),
            second: identity.clone(),
            identity,
            versions: BOTH,
            banner: Some("220 welcome\r\n"),
            digest: None,
            proxy: Some("200 Connect ha-nfc\r\n"),
            first: b"",
            pause: Duration::ZERO,
        }
    }
}

/// A daemon on a port of its own, and what clients said to it.
pub(crate) struct Authd {
    listener: Listener,
    /// Each connection's lines.
    pub(crate) lines: Arc<Mutex<Vec<Vec<String>>>>,
    /// All bytes of all connections.
    pub(crate) raw: Raw,
    /// What came behind the hand-over, decrypted if the client encrypted it.
    pub(crate) service: Arc<Mutex<Vec<u8>>>,
}

impl Authd {
    pub(crate) fn new(daemon: Daemon) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let raw = Raw::default();
        let service = Arc::new(Mutex::new(Vec::new()));
        let (kept, kept_raw, kept_service) =
            (Arc::clone(&lines), Arc::clone(&raw), Arc::clone(&service));
        let listener = Listener::new(move |mut tcp| {
            let number = {
                let mut lines = kept.lock().expect("no panic");
                lines.push(Vec::new());
                lines.len() - 1
            };
            tcp.write_all(daemon.greeting.as_bytes())?;
            let stream = Recorded::new(tcp, Arc::clone(&kept_raw));
            let mut session = accept(daemon.identity.config(daemon.versions), stream)?;
            let encrypted =
                loop {
                    let line = read_line(&mut session)?;
                    kept.lock().expect("no panic")[number].push(line.clone());
                    thread::sleep(daemon.pause);
                    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
                    let answer =
                        match word {
                            "SESSION" => continue,
                            "BANNER" => daemon.banner.map(str::to_owned),
                            "THUMBPRINT_SHA2" => Some(daemon.digest.clone().unwrap_or_else(|| {
                                format!("200 {}\r\n", daemon.identity.sha256())
                            })),
                            "PROXY" => daemon.proxy.map(str::to_owned),
                            _ => Some("530 Please login with USER and PASS\r\n".to_owned()),
                        };
                    let Some(answer) = answer else {
                        return Ok(());
                    };
                    session.write_all(answer.as_bytes())?;
                    session.flush()?;
                    if word == "PROXY" && answer.starts_with("200 ") {
                        break rest.ends_with("ssl");
                    }
                };
            // Without a farewell.
            let (state, mut stream) = session.into_parts();
            drop(state);
            let keep = |bytes: &[u8]| kept_service.lock().expect("no panic").extend(bytes);
            if encrypted {
                let mut second = accept(daemon.second.config(daemon.versions), stream)?;
                second.write_all(daemon.first)?;
                second.flush()?;
                echo(&mut second, keep)
            } else {
                stream.write_all(daemon.first)?;
                echo(&mut stream, keep)
            }
        });
        Self {
            listener,
            lines,
            raw,
            service,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.port
    }

    /// The lines of all connections, one after another.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").concat()
    }

    pub(crate) fn connections(&self) -> usize {
        self.lines.lock().expect("no panic").len()
    }
}

fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line).expect("a line is text"))
}

fn echo(stream: &mut (impl Read + Write), keep: impl Fn(&[u8])) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        keep(&piece[..count]);
        stream.write_all(&piece[..count])?;
        stream.flush()?;
    }
}
